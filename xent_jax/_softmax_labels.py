"""Cross entropy of a softmax at a class id, or under a distribution over the classes.

With u = m − z the depth below the row maximum and s = Σ e^{−u} over all entries but one maximal:
the cost of class j is −log p_j = u_j + log1p(s), a sum of two non-negative numbers.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._numerics import (
    depth,
    directional,
    exact_weight,
    judge,
    largest,
    log_partition,
    nonzero,
    partition,
    peak,
)
from ._passes import (
    Axes,
    class_max,
    class_sum,
    compute_dtype,
    widen,
)


def class_index(logits: Array, axes: Axes) -> Array:
    """0 … K − 1 along the class axes, flat in the order in which `axes` names them.

    Floating, so that "is this the label" is arithmetic (see is_class), while that is exact.
    """
    sizes = [logits.shape[a] for a in axes]
    dtype = compute_dtype(logits)
    exact = math.prod(sizes) <= 1 / jnp.finfo(dtype).eps
    flat = jnp.arange(math.prod(sizes), dtype=dtype if exact else jnp.int32).reshape(sizes)
    shape = [n if a in axes else 1 for a, n in enumerate(logits.shape)]
    return jnp.transpose(flat, sorted(range(len(axes)), key=axes.__getitem__)).reshape(shape)


def is_class(index: Array, ids: Array) -> Array:
    """1 at the class with that id, 0 elsewhere; by arithmetic, which XLA:CPU fuses into a sum."""
    if jnp.issubdtype(index.dtype, jnp.integer):
        return (index == ids).astype(jnp.float32)
    return 1.0 - jnp.minimum(jnp.square(index - ids), 1.0)


def logit_of(logits: Array, ids: Array, index: Array, axes: Axes) -> Array:
    """z_y for each row, with the class axes kept as axes of size one."""
    if _is_sharded(logits):
        # A gather along a sharded axis is refused; a comparison costs one sum over the shards.
        def if_label(z: Array, index: Array, ids: Array) -> Array:
            return jnp.where(index == ids, z, 0.0)

        return class_sum(if_label, logits, index, ids.astype(index.dtype), axes=axes)
    where: list[Array] = [lax.broadcasted_iota(ids.dtype, ids.shape, a) for a in range(ids.ndim)]
    for a in reversed(axes):
        ids, where[a] = jnp.divmod(ids, logits.shape[a])
    return widen(logits.at[tuple(where)].get(mode="promise_in_bounds"))


def _is_sharded(x: Array) -> bool:
    """Whether the type of x names mesh axes, as it does under an explicit mesh."""
    return any(axis is not None for axis in jax.typeof(x).sharding.spec)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def at_class(axes: Axes, logits: Array, ids: Array, verdict: Array) -> Array:
    """−log p at the class ids (in range), judged row by row; all keep the class axes."""
    cost, _, _ = _at_class(axes, logits, ids)
    return judge(cost, verdict)


def _at_class(axes: Axes, logits: Array, ids: Array) -> tuple[Array, Array, Array]:
    """−log p_y, m and T, leaving out the label in place of a maximal entry: s = A + e^{−u_y} − 1.

    If the label is the unique maximum then s = A, with no subtraction; if not, A ≥ 1 and the cost
    is at least log 2, so the subtraction is harmless.
    """
    m = peak(logits, axes)
    index = class_index(logits, axes)
    z_y = logit_of(logits, ids, index, axes)

    def other_weight(z: Array, m: Array, index: Array, ids: Array) -> Array:
        return jnp.exp(-depth(z, m)) * (1.0 - is_class(index, ids))

    others = class_sum(other_weight, logits, m, index, ids.astype(index.dtype), axes=axes)
    # Against +inf any other logit has probability 0.
    below = jnp.where((m == largest(logits)) & (z_y < m), jnp.inf, depth(z_y, m))
    total = others + jnp.exp(-below)
    cost = below + jnp.log1p(others + jnp.expm1(-below))
    return cost, m, total


@partial(at_class.defjvp, symbolic_zeros=True)
def _at_class_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂/∂z_j = p_j, and p_y − 1 = expm1(−cost) at the label.
    # For the cancellation there, and to keep no array of gradients.
    logits, ids, verdict = primals
    _, m, total = _at_class(axes, logits, ids)
    cost = at_class(axes, logits, ids, jnp.ones_like(verdict))
    value = judge(cost, verdict)

    def gradients(logits: Array, m: Array, total: Array, cost: Array, ids: Array) -> tuple[Array]:
        p = exact_weight(logits, m) / total
        index = class_index(logits, axes)
        return (jnp.where(index == ids.astype(index.dtype), jnp.expm1(-cost), p),)

    residuals = (logits, m, total, cost, ids)
    return value, directional(gradients, residuals, tangents[:1], value, axes, verdict)


def _target(kind: str, smoothing: float, labels: Array, index: Array, share: Array) -> Array:
    """The distribution y over the classes: (1 − α)·labels + α·share, never stored for ids."""
    y = is_class(index, labels) if kind == "ids" else labels
    return y if smoothing == 0.0 else (1.0 - smoothing) * y + smoothing * share


def _cost(logits: Array, m: Array, log_total: Array, y: Array) -> Array:
    """−log p of each class. An infinite cost is made finite where y = 0, so that 0·inf is 0."""
    huge = largest(logits)
    cap = huge / (1.0 - nonzero(y))
    return jnp.minimum(depth(logits, m), cap) + log_total


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def under_target(
    axes: Axes, kind: str, smoothing: float, logits: Array, labels: Array, share: Array,
    verdict: Array,
) -> Array:  # fmt: skip
    """−Σ y log p for y = (1 − α)·labels + α·share, judged row by row, keeping the class axes.

    kind "ids": labels are class ids of size one along the class axes; kind "soft": a distribution.
    """
    return _under_target(axes, kind, smoothing, logits, labels, share, verdict)[0]


def _under_target(
    axes: Axes, kind: str, smoothing: float, logits: Array, labels: Array, share: Array,
    verdict: Array,
) -> tuple[Array, tuple[Array, ...]]:  # fmt: skip
    m = peak(logits, axes)
    total = partition(logits, m, axes)
    log_total, s = log_partition(logits, m, total, axes)
    index = class_index(logits, axes)
    if kind == "ids":
        labels = labels.astype(index.dtype)
    target = partial(_target, kind, smoothing)

    def term(z: Array, m: Array, log_total: Array, *y: Array) -> Array:
        return target(*y) * _cost(z, m, log_total, target(*y))

    value = class_sum(term, logits, m, log_total, labels, index, share, axes=axes)
    # Σ y: the uniform share and a class id have mass 1.
    mass = jnp.ones_like(m)
    if kind == "soft":
        given = class_sum(lambda y: y, labels, axes=axes)
        mass = (1.0 - smoothing) * given + smoothing
    # Against +inf any other logit has probability 0.
    value = jnp.where((m == largest(logits)) & (value > mass * log_total + 1.0), jnp.inf, value)
    if kind == "soft":
        lowest = -class_max(jnp.negative, labels, axes=axes)
        value = jnp.where(lowest < 0.0, jnp.nan, value)
    value = jnp.where(total > 0.0, value, jnp.nan)
    return judge(value, verdict), (m, total, s, log_total, mass)


@partial(under_target.defjvp, symbolic_zeros=True)
def _under_target_jvp(
    axes: Axes, kind: str, smoothing: float, primals: Any, tangents: Any
) -> tuple[Array, Array]:
    # ∂/∂z = Y p − y = p·(Y − y) − y·(1 − p), Y = Σ y, with 1 − p = (s + 1 − e^{−u})/T.
    # For the cancellation there and the edge y = 0, and to keep no array of gradients.
    logits, labels, share, verdict = primals
    _, rows = _under_target(axes, kind, smoothing, *primals)

    def gradients(logits: Array, labels: Array, share: Array, *rows: Array) -> tuple[Array, ...]:
        m, total, s, log_total, mass = rows
        index = class_index(logits, axes)
        if kind == "ids":
            labels = labels.astype(index.dtype)
        y = _target(kind, smoothing, labels, index, share)
        u = depth(logits, m)
        p, p_of_others = exact_weight(logits, m) / total, (s - jnp.expm1(-u)) / total
        slope = p * (mass - y) - y * p_of_others
        return slope, (1.0 - smoothing) * _cost(logits, m, log_total, y)

    value = under_target(axes, kind, smoothing, *primals)
    residuals = (logits, labels, share, *rows)
    return value, directional(gradients, residuals, tangents[:2], value, axes, verdict)
