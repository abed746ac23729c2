"""The softmax row: entropy, cross entropy, KL and Jensen–Shannon of categorical logits."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import _checks as check
from ._conventions import compiled, finish, match_precision, row_data, some_kept
from ._numerics import (
    depth,
    directional,
    exact_weight,
    has_one_peak,
    largest,
    partition,
    peak,
)
from ._passes import (
    Axes,
    class_sum,
    compute_dtype,
)
from ._softmax_divergence import js, kl
from ._softmax_labels import at_class, under_target

_OPTIONS = ("axis", "base", "keepdims")


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _entropy(axes: Axes, logits: Array) -> Array:
    return _entropy_rows(axes, logits)[0]


def _entropy_rows(axes: Axes, logits: Array) -> tuple[Array, Array, Array]:
    """H = log T + E/T with E = Σ w u, and m and T.

    For a unique maximum log T = log1p(s) needs s = T − 1 without cancellation. One pass gives
    E + s; what remains, log1p(s) − s/T ≈ s²/2, forgives the rounding of T − 1.
    """
    huge = largest(logits)
    m = peak(logits, axes)
    total = partition(logits, m, axes)
    one_peak = has_one_peak(total)

    def term(z: Array, m: Array, one_peak: Array) -> Array:
        u = jnp.minimum(m - z, huge)
        w = jnp.exp(-u)
        return w * (u + one_peak) - jnp.floor(w) * one_peak

    spread = class_sum(term, logits, m, one_peak.astype(m.dtype), axes=axes)
    s = total - 1.0
    value = spread / total + jnp.where(one_peak, jnp.log1p(s) - s / total, jnp.log(total))
    # The pass above has no care for +inf: there the tied classes share the mass.
    value = jnp.where(m == huge, jnp.log(total), value)
    return jnp.where(total > 0.0, value, jnp.nan), m, total


@partial(_entropy.defjvp, symbolic_zeros=True)
def _entropy_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂H/∂z = p·(u − E_p u): log p + H = Ē − u has lost its common part, the log of T.
    # For the cancellation, the edges, and to keep no array of gradients.
    (logits,) = primals
    huge = largest(logits)
    value = _entropy(axes, logits)
    _, m, total = _entropy_rows(axes, logits)

    def weighted_depth(z: Array, m: Array) -> Array:
        u = jnp.minimum(depth(z, m), huge)
        return jnp.exp(-u) * u

    mean = class_sum(weighted_depth, logits, m, axes=axes) / total

    def gradients(logits: Array, m: Array, total: Array, mean: Array) -> tuple[Array]:
        u = jnp.minimum(depth(logits, m), huge)
        return (exact_weight(logits, m) / total * (u - mean),)

    residuals = (logits, m, total, mean)
    return value, directional(gradients, residuals, tangents, value, axes)


def _existing(value: Array, kept: Array | None, shape: tuple[int, ...], axes: Axes) -> Array:
    """The value, 0 for the rows in which `where` leaves no outcome."""
    alive = some_kept(kept, shape, axes)
    return value if alive is None else jnp.where(alive, value, 0.0)


def _check_logits(name: str, argument: str, logits: Array, kept: Array | None, axes: Axes) -> None:
    check.no_nan(name, argument, logits)
    impossible = jnp.all(logits == -jnp.inf, axis=axes, keepdims=True)
    alive = some_kept(kept, logits.shape, axes)
    check.some_class_possible(name, argument, impossible if alive is None else impossible & alive)


@compiled(*_OPTIONS)
def softmax_entropy(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    name = "softmax_entropy"
    z, axes, kept = row_data(name, "logits", logits, axis, where, -jnp.inf)
    _check_logits(name, "logits", z, kept, axes)
    value = _existing(_entropy(axes, z), kept, z.shape, axes)
    return finish(name, value, axes, base, keepdims)


@compiled(*_OPTIONS, "ignore_index", "label_smoothing")
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Array:
    name = "softmax_cross_entropy"
    z, axes, kept = row_data(name, "logits", logits, axis, where, -jnp.inf)
    _check_logits(name, "logits", z, kept, axes)
    y, ids = check.label_array(name, labels)
    check.ignore_index_for_ids(name, ignore_index, ids)
    smoothing = check.smoothing(name, label_smoothing)
    alive = some_kept(kept, z.shape, axes)
    share = _uniform(z, kept, axes)
    if ids:
        check.id_shape(name, y, z, axes)
        y, verdict = _safe_ids(name, y, z, axes, ignore_index, alive)
        if smoothing == 0.0:
            value = at_class(axes, z, y, verdict)
        else:
            value = under_target(axes, "ids", smoothing, z, y, share, verdict)
    else:
        check.same_shape(name, "logits", z, "labels", y)
        if kept is not None:
            y = jnp.where(kept, y, jnp.zeros((), y.dtype))
        check.probabilities(name, "labels", y)
        z, y = match_precision(z, y)
        verdict = _verdict(z, True if alive is None else alive, True)
        value = under_target(axes, "soft", smoothing, z, y, share, verdict)
    return finish(name, value, axes, base, keepdims)


def _verdict(z: Array, alive: Any, valid: Any) -> Array:
    """Per row: 0 if it is to be left out, NaN if its labels are not valid, else 1."""
    sound = jnp.where(valid, 1.0, jnp.nan)
    return jnp.where(alive, sound, 0.0).astype(compute_dtype(z))


def _safe_ids(
    name: str, labels: Array, z: Array, axes: Axes, ignore_index: int | None, alive: Array | None
) -> tuple[Array, Array]:
    """The ids with their class axes, in range, and the verdict on each row."""
    classes = math.prod(z.shape[a] for a in axes)
    labels = lax.expand_dims(labels, sorted(axes))
    counted = jnp.ones(labels.shape, bool) if alive is None else alive
    if ignore_index is not None:
        counted &= labels != ignore_index
    valid = (labels >= 0) & (labels <= classes - 1)
    check.ids_in_range(name, valid | ~counted, classes)
    return jnp.where(valid, labels, 0).astype(jnp.int32), _verdict(z, counted, valid)


def _uniform(z: Array, kept: Array | None, axes: Axes) -> Array:
    """The uniform distribution over the classes that exist, broadcastable to the logits."""
    dtype = compute_dtype(z)
    if kept is None:
        classes = math.prod(z.shape[a] for a in axes)
        return jnp.full((1,) * z.ndim, 1.0 / classes, dtype)
    kept = jnp.broadcast_to(kept, z.shape).astype(dtype)
    return kept / jnp.sum(kept, axis=axes, keepdims=True)


def _pair(
    name: str, p_logits: Any, q_logits: Any, axis: Any, where: Any
) -> tuple[Array, Array, Axes, Array | None]:
    zp, axes, kept = row_data(name, "p_logits", p_logits, axis, where, -jnp.inf)
    zq, _, _ = row_data(name, "q_logits", q_logits, axis, where, -jnp.inf)
    check.same_shape(name, "p_logits", zp, "q_logits", zq)
    _check_logits(name, "p_logits", zp, kept, axes)
    _check_logits(name, "q_logits", zq, kept, axes)
    return *match_precision(zp, zq), axes, kept


@compiled(*_OPTIONS)
def softmax_kl_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    name = "softmax_kl_divergence"
    zp, zq, axes, kept = _pair(name, p_logits, q_logits, axis, where)
    value = _existing(kl(axes, zp, zq), kept, zp.shape, axes)
    return finish(name, value, axes, base, keepdims)


@compiled(*_OPTIONS)
def softmax_js_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    name = "softmax_js_divergence"
    zp, zq, axes, kept = _pair(name, p_logits, q_logits, axis, where)
    value = _existing(js(axes, zp, zq), kept, zp.shape, axes)
    return finish(name, value, axes, base, keepdims)
