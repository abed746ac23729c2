"""The Bernoulli row: elementwise entropy, cross entropy, KL and Jensen–Shannon of binary logits.

A logit z stands for the two outcomes with logits (z, 0): probability σ(z) of class 1.
"""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._conventions import compiled, in_base, match_precision
from ._numerics import binary_entropy, compute_dtype, largest, sigmoid, softplus, widen
from ._rows import directional, elementwise_slopes, judge
from ._softmax_divergence import js, kl


def _moved(
    slopes: Callable[..., tuple[Array, ...]], verdict: Array, data: Any, moving: Any
) -> Array:
    """The tangent of a function of each element: no class axes, every element a row of its own."""
    return directional(partial(elementwise_slopes, slopes), (verdict, *data), moving, ())


@jax.custom_jvp
def _entropy(logits: Array) -> Array:
    return binary_entropy(widen(logits))


@partial(_entropy.defjvp, symbolic_zeros=True)
def _entropy_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edge z = ±inf: −z σ(z) σ(−z) is 0 there.
    def gradients(z: Array) -> tuple[Array]:
        finite = jnp.clip(z, -largest(z), largest(z))
        return (-finite * sigmoid(z) * sigmoid(-z),)

    value = _entropy(*primals)
    return value, _moved(gradients, jnp.ones((), value.dtype), primals, tangents)


@jax.custom_jvp
def _cross_entropy(logits: Array, y: Array, positive: Array, verdict: Array) -> Array:
    """π·y·softplus(−z) + (1 − y)·softplus(z), π the weight of class 1: nothing is subtracted."""
    z, y, positive = widen(logits), widen(y), widen(positive)
    one, zero = _weighted(positive, y), 1.0 - y
    above = jnp.where((zero == 0.0) | (z <= 0.0), 0.0, zero * z)
    below = jnp.where((one == 0.0) | (z >= 0.0), 0.0, one * -z)
    value = above + below + (one + zero) * jnp.log1p(jnp.exp(-jnp.abs(z)))
    return judge(value, widen(verdict))


@partial(_cross_entropy.defjvp, symbolic_zeros=True)
def _cross_entropy_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For saturated logits: (1 − y) σ(z) − π y σ(−z) keeps the tail that σ(z) − y rounds away.
    z, y, positive, verdict = primals

    def gradients(z: Array, y: Array, positive: Array) -> tuple[Array, ...]:
        finite = jnp.clip(z, -largest(z), largest(z))
        by_z = (1.0 - y) * sigmoid(z) - _weighted(positive, y) * sigmoid(-z)
        # π·softplus(−z) − softplus(z), which for π = 1 is −z.
        alike = jnp.abs(positive - 1.0) <= 0.5
        near = (jnp.where(alike, positive, 1.0) - 1.0) * softplus(-finite) - finite
        by_y = jnp.where(alike, near, positive * softplus(-finite) - softplus(finite))
        return by_z, by_y, y * softplus(-finite)

    value = _cross_entropy(*primals)
    return value, _moved(gradients, verdict, (z, y, positive), tangents[:3])


def _weighted(positive: Array, y: Array) -> Array:
    """π·y; a label 0 has no use for the weight of class 1, whatever it is."""
    return jnp.where(y == 0.0, 0.0, positive * y)


def _data(name: str, argument: str, logits: Any, where: Any) -> tuple[Array, Array | None]:
    """The logits, 0 at the elements that do not exist, and the mask."""
    z = check.real_array(name, argument, logits)
    if where is None:
        check.no_nan(name, argument, z)
        return z, None
    kept = check.mask(name, argument, where, z)
    z = jnp.where(kept, z, jnp.zeros((), z.dtype))
    check.no_nan(name, argument, z)
    return z, kept


def finish_elements(name: str, value: Array, kept: Array | None, base: Any) -> Array:
    return in_base(name, value if kept is None else jnp.where(kept, value, 0.0), base)


def _two_outcomes(z: Array) -> Array:
    return jnp.stack([z, jnp.zeros_like(z)])


def _pair(name: str, p_logits: Any, q_logits: Any, where: Any) -> tuple[Array, Array, Array | None]:
    zp, kept = _data(name, "p_logits", p_logits, where)
    zq, _ = _data(name, "q_logits", q_logits, where)
    check.same_shape(name, "p_logits", zp, "q_logits", zq)
    return *match_precision(zp, zq), kept


def _recomputed(divergence: Callable[..., Array]) -> Callable[[Array, Array], Array]:
    """The divergence of two outcomes each; it keeps its inputs, not what it has per element."""

    @partial(jax.checkpoint, prevent_cse=False)
    def f(zp: Array, zq: Array) -> Array:
        return divergence(
            (0,), jnp.ones_like(zp, compute_dtype(zp))[None], *map(_two_outcomes, (zp, zq))
        )[0]

    return f


@compiled("base")
def sigmoid_entropy(
    logits: ArrayLike, *, where: ArrayLike | None = None, base: float | None = None
) -> Array:
    """Entropy of independent binary outcomes, elementwise: log1p(e^{−|z|}) + |z| σ(−|z|).

    Args:
        logits: any shape; σ(z) is the probability of class 1.
        where: boolean, broadcast against logits; False gives 0, with gradient 0.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per logit: the same shape, float32 (float64 for float64 input), in nats unless
        `base` is given.

    Edge cases: z = ±inf: 0, with gradient 0 · a NaN logit gives NaN for that element.

    Example:
        >>> import jax.numpy as jnp
        >>> print(sigmoid_entropy(jnp.array([0.0, jnp.inf]), base=2))
        [1. 0.]

    References: Shannon (1948), A Mathematical Theory of Communication, section 6.

    See also: `softmax_entropy` for exclusive classes.
    """
    name = "sigmoid_entropy"
    z, kept = _data(name, "logits", logits, where)
    return finish_elements(name, _entropy(z), kept, base)


@compiled("base", "ignore_index", "label_smoothing")
def sigmoid_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    pos_weight: ArrayLike | None = None,
) -> Array:
    """Binary cross entropy, elementwise: π·y·softplus(−z) + (1 − y)·softplus(z), π = 1.

    Hard labels subtract nothing, so a confident prediction keeps its loss and its gradient.

    Args:
        logits: any shape; σ(z) is the probability of class 1.
        labels: the same shape; integers or booleans, the class 0 or 1; or floats, the
            probability of class 1.
        where: boolean, broadcast against logits; False gives 0, with gradient 0.
        base: unit of the result, None for nats, 2 for bits.
        ignore_index: the id of elements to leave out: loss 0 and gradient 0.
        label_smoothing: α in [0, 1], labels become (1 − α)·labels + α/2.
        pos_weight: π ≥ 0, the weight of class 1, broadcast against logits: one number, or one for
            each label of a multi-label problem, such as (count of zeros) / (count of ones).

    Returns:
        One number per logit: the same shape, float32 (float64 for float64 input), in nats unless
        `base` is given.

    Edge cases: z = ±inf: 0 for the label it is sure of, +inf for the other · an id other than 0
    and 1, or a label outside [0, 1], gives NaN for that element · so does a NaN logit · a
    negative or NaN pos_weight gives NaN where the label is not 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(sigmoid_cross_entropy(jnp.array([0.0, 20.0]), jnp.array([1, 1])))
        [6.9314718e-01 2.0611537e-09]

    References: Cox (1958), The Regression Analysis of Binary Sequences.

    See also: `softmax_cross_entropy` for exclusive classes.
    """
    name = "sigmoid_cross_entropy"
    z, y, verdict, kept = labelled_elements(
        name, logits, labels, where, ignore_index, label_smoothing
    )
    positive = jnp.ones((), compute_dtype(z))
    if pos_weight is not None:
        positive = check.pos_weight(name, pos_weight, z.shape)
        z, positive = match_precision(z, positive)
        z, y = match_precision(z, y)
        positive = jnp.where(positive >= 0, positive, jnp.asarray(jnp.nan, positive.dtype))
    # Under an explicit mesh a select wants its arguments split alike.
    positive = jnp.broadcast_to(positive, z.shape) + jnp.zeros_like(z, positive.dtype)
    value = _cross_entropy(z, y, positive, verdict.astype(z.dtype))
    return finish_elements(name, value, kept, base)


def labelled_elements(
    name: str, logits: Any, labels: Any, where: Any, ignore_index: Any, label_smoothing: Any
) -> tuple[Array, Array, Array, Array | None]:
    """The logits, smoothed labels, the verdict on each element, and the mask."""
    z, kept = _data(name, "logits", logits, where)
    y, ids = check.label_array(name, labels)
    check.same_shape(name, "logits", z, "labels", y)
    check.ignore_index_for_ids(name, ignore_index, ids)
    smoothing = check.smoothing(name, label_smoothing)
    counted = jnp.ones(z.shape, bool) if kept is None else kept
    if ignore_index is not None:
        counted &= check.differs(y, ignore_index)
    valid = (y >= 0) & (y <= 1)
    check.unit_interval(name, "labels", jnp.where(counted, valid, True))
    if ids:
        y = y.astype(compute_dtype(z))
    y = jnp.where(counted, y, jnp.zeros((), y.dtype))
    z, y = match_precision(z, y)
    if smoothing != 0.0:
        y = (1.0 - smoothing) * widen(y) + smoothing / 2
    verdict = jnp.where(counted, jnp.where(valid, 1.0, jnp.nan), 0.0).astype(z.dtype)
    return z, y, verdict, kept


@compiled("base")
def sigmoid_kl_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """D(p‖q) between independent binary outcomes, elementwise: p = σ(p_logits) the truth.

    `softmax_kl_divergence` of the logits (z, 0), with its accuracy.

    Args:
        p_logits: any shape, the truth.
        q_logits: the same shape, the model.
        where: boolean, broadcast against the logits; False gives 0, with gradient 0.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per logit: the same shape, float32 (float64 for float64 input), in nats unless
        `base` is given.

    Edge cases: equal logits, ±inf among them: exactly 0 · q sure of what p is not sure of: +inf ·
    a NaN logit gives NaN for that element.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{sigmoid_kl_divergence(jnp.array(0.0), jnp.array(2.0)):.6f}")
        0.433781

    References: Kullback & Leibler (1951), On Information and Sufficiency, equation 2.4.

    See also: `softmax_kl_divergence` for exclusive classes, `sigmoid_js_divergence`.
    """
    name = "sigmoid_kl_divergence"
    zp, zq, kept = _pair(name, p_logits, q_logits, where)
    return finish_elements(name, _recomputed(kl)(zp, zq), kept, base)


@compiled("base")
def sigmoid_js_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Jensen–Shannon divergence between independent binary outcomes, elementwise.

    `softmax_js_divergence` of the logits (z, 0), with its accuracy.

    Args:
        p_logits: any shape.
        q_logits: the same shape.
        where: boolean, broadcast against the logits; False gives 0, with gradient 0.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per logit: the same shape, float32 (float64 for float64 input), in nats unless
        `base` is given.

    Edge cases: equal logits, ±inf among them: exactly 0 · +inf against −inf: log 2 · a NaN logit
    gives NaN for that element.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{sigmoid_js_divergence(jnp.array(0.0), jnp.array(2.0)):.6f}")
        0.089541

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 4.1.

    See also: `softmax_js_divergence` for exclusive classes, `sigmoid_kl_divergence`.
    """
    name = "sigmoid_js_divergence"
    zp, zq, kept = _pair(name, p_logits, q_logits, where)
    return finish_elements(name, _recomputed(js)(zp, zq), kept, base)
