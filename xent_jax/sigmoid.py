"""The Bernoulli row: elementwise entropy, cross entropy, KL and Jensen–Shannon of binary logits.

A logit z stands for the two outcomes with logits (z, 0): probability σ(z) of class 1.
"""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax import Array
from jax.typing import ArrayLike

from ._call import Labelling, compiled
from ._elements import (
    element_data,
    element_pair,
    finish_elements,
    labelled_elements,
    with_weight_of_1,
)
from ._rows.bernoulli import (
    sigmoid_cross_entropy_row,
    sigmoid_entropy_row,
    sigmoid_js_row,
    sigmoid_kl_row,
)


@compiled()
def sigmoid_entropy(
    logits: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Entropy of independent binary outcomes, elementwise: log1p(e^{−|z|}) + |z| σ(−|z|).

    Args:
        logits: any shape; σ(z) is the probability of class 1.
        where: boolean; False means that the outcome does not exist: it adds nothing.
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
    z, kept = element_data(name, "logits", logits, where)
    return finish_elements(name, sigmoid_entropy_row((), None, z), kept, base)


@compiled()
def sigmoid_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Binary cross entropy, elementwise: π·y·softplus(−z) + (1 − y)·softplus(z), π = 1.

    Hard labels subtract nothing, so a confident prediction keeps its loss and its gradient.

    Args:
        logits: any shape; σ(z) is the probability of class 1.
        labels: the same shape; integers or booleans, the class 0 or 1; or floats, the
            probability of class 1.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
            K is 2.
        pos_weight: π ≥ 0, the weight of label 1: one number, or one per class.
            Broadcast against logits: one for each label of a multi-label problem, such as (count of
            zeros) / (count of ones).
        base: unit of the result, None for nats, 2 for bits.

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
    labelling = Labelling(ignore_index, label_smoothing)
    z, y, element_mask, kept = labelled_elements(name, logits, labels, where, labelling)
    data = with_weight_of_1(name, pos_weight, z, y)
    return finish_elements(name, sigmoid_cross_entropy_row((), element_mask, *data), kept, base)


@compiled()
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
        where: boolean; False means that the outcome does not exist: it adds nothing.
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
    zp, zq, kept = element_pair(name, ("p_logits", "q_logits"), (p_logits, q_logits), where)
    return finish_elements(name, sigmoid_kl_row((), None, zp, zq), kept, base)


@compiled()
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
        where: boolean; False means that the outcome does not exist: it adds nothing.
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
    zp, zq, kept = element_pair(name, ("p_logits", "q_logits"), (p_logits, q_logits), where)
    return finish_elements(name, sigmoid_js_row((), None, zp, zq), kept, base)
