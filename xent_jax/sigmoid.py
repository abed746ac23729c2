"""The Bernoulli row: elementwise entropy, cross entropy, KL and Jensen–Shannon of binary logits.

A logit z stands for the two outcomes with logits (z, 0): probability σ(z) of class 1.
"""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import compiled, in_base
from ._math.dtypes import compute_dtype, match_precision, widen
from ._rows import bernoulli as rows


def _data(name: str, argument: str, logits: Any, where: Any) -> tuple[Array, Array | None]:
    """The logits, 0 at the elements that do not exist, and the mask."""
    z = check.real_array(name, argument, logits)
    if where is None:
        check.no_nan(name, argument, z)
        return z, None
    kept = check.mask(name, argument, where, z, elementwise=True)
    z = jnp.where(kept, z, jnp.zeros((), z.dtype))
    check.no_nan(name, argument, z)
    return z, kept


def finish_elements(name: str, value: Array, kept: Array | None, base: Any) -> Array:
    """The value in the asked unit, 0 at the elements that do not exist."""
    return in_base(name, value if kept is None else jnp.where(kept, value, 0.0), base)


def _logits_pair(
    name: str, p_logits: Any, q_logits: Any, where: Any
) -> tuple[Array, Array, Array | None]:
    zp, kept = _data(name, "p_logits", p_logits, where)
    zq, _ = _data(name, "q_logits", q_logits, where)
    check.same_shape(name, "p_logits", zp, "q_logits", zq)
    return *match_precision(zp, zq), kept


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
    return finish_elements(name, rows.entropy((), None, z), kept, base)


@compiled("base", "ignore_index")
def sigmoid_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
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
    z, y, element_mask, kept = labelled_elements(
        name, logits, labels, where, ignore_index, label_smoothing
    )
    positive = jnp.ones((), compute_dtype(z))
    if pos_weight is not None:
        positive = check.label_weights(name, "pos_weight", pos_weight, z.shape)
        z, positive = match_precision(z, positive)
        z, y = match_precision(z, y)
        positive = jnp.where(positive >= 0, positive, jnp.asarray(jnp.nan, positive.dtype))
    # Under an explicit mesh a select wants its arguments split alike.
    positive = jnp.broadcast_to(positive, z.shape) + jnp.zeros_like(z, positive.dtype)
    value = rows.cross_entropy((), element_mask, z, y, positive)
    return finish_elements(name, value, kept, base)


def labelled_elements(
    name: str, logits: Any, labels: Any, where: Any, ignore_index: Any, label_smoothing: Any
) -> tuple[Array, Array, Array, Array | None]:
    """The logits, smoothed labels, the mask of valid elements, and that of those that exist."""
    z, kept = _data(name, "logits", logits, where)
    y, ids = check.label_array(name, labels)
    check.same_shape(name, "logits", z, "labels", y)
    check.ignore_index_for_ids(name, ignore_index, ids)
    counted = jnp.ones(z.shape, bool) if kept is None else kept
    if ignore_index is not None:
        counted &= check.differs(y, ignore_index)
    valid = (y >= 0) & (y <= 1)
    check.unit_interval(name, "labels", lambda: jnp.where(counted, valid, True))
    if ids:
        y = y.astype(compute_dtype(z))
    y = jnp.where(counted, y, jnp.zeros((), y.dtype))
    z, y = match_precision(z, y)
    if label_smoothing is not None:
        alpha = check.number(name, "label_smoothing", label_smoothing, check.UNIT)
        alpha = alpha.astype(compute_dtype(y))
        y = (1.0 - alpha) * widen(y) + alpha / 2
    element_mask = jnp.where(counted, jnp.where(valid, 1.0, jnp.nan), 0.0).astype(z.dtype)
    return z, y, element_mask, kept


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
    zp, zq, kept = _logits_pair(name, p_logits, q_logits, where)
    return finish_elements(name, rows.kl((), None, zp, zq), kept, base)


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
    zp, zq, kept = _logits_pair(name, p_logits, q_logits, where)
    return finish_elements(name, rows.js((), None, zp, zq), kept, base)
