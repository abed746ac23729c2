"""The row of Bernoulli probabilities: elementwise entropy, cross entropy, KL and Jensen–Shannon.

A probability p stands for the two outcomes (p, 1 − p).
"""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from typing import Any

from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import compiled
from ._elements import element_data, element_pair, finish_elements
from ._rows.binary import (
    binary_cross_entropy_row,
    binary_entropy_row,
    binary_js_row,
    binary_kl_row,
)


@compiled()
def binary_entropy(
    p: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Entropy of binary outcomes, elementwise: −p log p − (1 − p) log(1 − p).

    log(1 − p) is log1p(−p): a p that is small beside 1 keeps its part.

    Args:
        p: any shape, the probability of class 1.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per probability: the same shape, float32 (float64 for float64 input), in nats
        unless `base` is given.

    Edge cases: p = 0 or 1: 0, with finite slopes · a p outside [0, 1], or NaN, gives NaN for that
    element.

    Example:
        >>> import jax.numpy as jnp
        >>> print(binary_entropy(jnp.array([0.5, 1.0, 1e-9]), base=2))
        [1.000000e+00 0.000000e+00 3.134005e-08]

    References: Shannon (1948), A Mathematical Theory of Communication, section 6.

    See also: `sigmoid_entropy` for logits, `entropy` for exclusive classes.
    """
    name = "binary_entropy"
    p, kept = element_data(name, "p", p, where)
    check.binary_probabilities(name, "p", p)
    return finish_elements(name, binary_entropy_row((), None, p), kept, base)


@compiled()
def binary_cross_entropy(
    p: ArrayLike,
    q: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Cross entropy of binary outcomes, elementwise: −p log q − (1 − p) log(1 − q).

    Of a model that ends in a sigmoid give the logits to `sigmoid_cross_entropy` instead: q has lost
    what a confident prediction is sure of.

    Args:
        p: any shape, the true probability of class 1: a label, hard or soft, of any real dtype.
        q: the same shape, the probability of the model.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per probability: the same shape, float32 (float64 for float64 input), in nats
        unless `base` is given.

    Edge cases: p > 0 where q = 0, or p < 1 where q = 1: +inf · p = q = 0 or 1: 0, with finite
    slopes · a p or q outside [0, 1], or NaN, gives NaN for that element.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([1.0, 0.0, 0.25]), jnp.array([0.5, 0.125, 0.25])
        >>> print(binary_cross_entropy(p, q))
        [0.6931472  0.13353139 0.56233513]

    References: Cox (1958), The Regression Analysis of Binary Sequences.

    See also: `sigmoid_cross_entropy` for logits, `cross_entropy` for exclusive classes.
    """
    name = "binary_cross_entropy"
    check.labels_first(name, p, q)
    return _of_pair(name, binary_cross_entropy_row, p, q, where, base)


@compiled()
def binary_kl_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """D(p‖q) between binary outcomes, elementwise, p the truth, never negative.

    p log(p/q) + (1 − p) log((1 − p)/(1 − q)) as a sum of non-negative terms, exact for p near q.

    Args:
        p: any shape, the true probability of class 1.
        q: the same shape, the probability of the model.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per probability: the same shape, float32 (float64 for float64 input), in nats
        unless `base` is given.

    Edge cases: p = q: exactly 0 · p > 0 where q = 0, or p < 1 where q = 1: +inf · a p or q outside
    [0, 1], or NaN, gives NaN for that element.

    Example:
        >>> import jax.numpy as jnp
        >>> divergences = binary_kl_divergence(jnp.array([0.5, 0.5]), jnp.array([0.25, 0.5001]))
        >>> print([f"{x:.5g}" for x in divergences])
        ['0.14384', '2.0007e-08']

    References: Kullback & Leibler (1951), On Information and Sufficiency, equation 2.4.

    See also: `sigmoid_kl_divergence` for logits, `kl_divergence` for exclusive classes.
    """
    return _of_pair("binary_kl_divergence", binary_kl_row, p, q, where, base)


@compiled()
def binary_js_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    where: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Jensen–Shannon divergence between binary outcomes, elementwise, 0 to log 2.

    ½ D(p‖m) + ½ D(q‖m) with m = (p + q)/2, of both outcomes; exact for p near q.

    Args:
        p: any shape, a probability of class 1.
        q: the same shape.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per probability: the same shape, float32 (float64 for float64 input), in nats
        unless `base` is given.

    Edge cases: p = q: exactly 0 · 0 against 1: log 2 · a p or q outside [0, 1], or NaN, gives NaN
    for that element.

    Example:
        >>> import jax.numpy as jnp
        >>> print(binary_js_divergence(jnp.array([0.0, 0.5]), jnp.array([1.0, 0.5]), base=2))
        [1. 0.]

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 4.1.

    See also: `sigmoid_js_divergence` for logits, `js_divergence` for exclusive classes.
    """
    return _of_pair("binary_js_divergence", binary_js_row, p, q, where, base)


def _of_pair(name: str, row: Any, p: Any, q: Any, where: Any, base: Any) -> Array:
    p, q, kept = element_pair(name, ("p", "q"), (p, q), where)
    for argument, x in (("p", p), ("q", q)):
        check.binary_probabilities(name, argument, x)
    return finish_elements(name, row((), None, p, q), kept, base)
