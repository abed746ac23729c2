"""Imbalanced classes: how often each one occurs, and the weights and priors made of that."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import _checks as check
from ._call import PythonNumber, compiled
from ._class_axes import in_explicit_mesh
from ._math.dtypes import match_precision, widen


@compiled("num_classes")
def class_frequencies(
    labels: ArrayLike, num_classes: int, weights: ArrayLike | None = None
) -> Array:
    """How often each class occurs, n_k = Σ_i w_i [labels_i = k].

    For labels that are distributions it is their sum, n_k = Σ_i w_i labels_ik.

    Args:
        labels: class ids, an integer array of any shape; or distributions (..., K), floating.
        num_classes: K.
        weights: one number per example, 1 by default: the shape of the ids, or of the
            distributions without their class axis.

    Returns:
        (K,) int32 for ids without weights, exact; otherwise float32 (float64 for float64 input).

    Edge cases: an id outside [0, K), such as −1 or −100 for padding, is not counted, and neither
    its weight nor the gradient of that is looked at · no examples: zeros · a negative or NaN
    probability gives NaN for its class.

    Example:
        >>> import jax.numpy as jnp
        >>> class_frequencies(jnp.array([0, 2, 2, -1]), 3)
        Array([1, 0, 2], dtype=int32)
        >>> print(class_frequencies(jnp.array([[0.5, 0.5], [0.0, 1.0]]), 2))
        [0.5 1.5]

    See also: `logit_adjustment`, `balanced_class_weights`, `effective_number_weights`, which take
    what this returns.
    """
    name = "class_frequencies"
    num_classes = check.integer(name, "num_classes", num_classes, positive=True)
    labels, ids = check.label_array(name, labels)
    if not ids:
        check.distributions(name, labels, num_classes)
        check.probabilities(name, "labels", labels)
    if weights is not None:
        examples = labels.shape if ids else labels.shape[:-1]
        weights = widen(check.example_weights(name, weights, examples, "label", "these labels"))
    if ids:
        weights = jnp.ones_like(labels, jnp.int32) if weights is None else weights
        return _count(labels, num_classes, weights)
    shares = jnp.where(labels < 0.0, jnp.nan, widen(labels))
    if weights is not None:
        shares, weights = match_precision(shares, weights)
        shares = shares * weights[..., None]
    return jnp.sum(shares, axis=tuple(range(shares.ndim - 1)))


def _count(ids: Array, num_classes: int, weights: Array) -> Array:
    """(K,), the weights of each class added up."""
    zero = jnp.zeros((), weights.dtype)
    if in_explicit_mesh(ids, weights):
        # JAX refuses to scatter by indices that are split over devices.
        classes = lax.broadcasted_iota(ids.dtype, (1,) * ids.ndim + (num_classes,), ids.ndim)
        hits = jnp.where(ids[..., None] == classes, weights[..., None], zero)
        return jnp.sum(hits, axis=tuple(range(ids.ndim)))
    # Negative indices would wrap: K is what the scatter drops.
    ids = jnp.where((ids >= 0) & (ids < num_classes), ids, num_classes).ravel()
    # A single running sum in float32 would lose whatever follows 2²⁴: one per block of examples,
    # in no more memory than the examples take. Counts are exact in any case.
    blocks = 1
    if weights.dtype != jnp.int32 and isinstance(ids.size, int):  # not a symbolic one
        blocks = max(1, min(math.isqrt(ids.size), ids.size // num_classes))
    weights = weights.ravel()
    if blocks > 1:
        missing = -ids.size % blocks
        ids = jnp.pad(ids, (0, missing), constant_values=num_classes)
        weights = jnp.pad(weights, (0, missing))
    ids, weights = ids.reshape(blocks, -1), weights.reshape(blocks, -1)
    sums = jnp.full((blocks, num_classes), zero)
    return jnp.sum(sums.at[jnp.arange(blocks)[:, None], ids].add(weights, mode="drop"), axis=0)


def _counts(name: str, given: Any) -> tuple[Array, Array]:
    """The counts in the dtype of computation, and per row what to multiply the result by.

    That is 1, or NaN for a row with a bad count, whose counts are 0 here: XLA:CPU may compile the
    exponential of a NaN that it knows of into any number.
    """
    counts, valid = check.counts(name, given)
    counts = widen(jnp.where(valid, counts, jnp.zeros((), counts.dtype)))
    return counts, jnp.where(valid, 1.0, jnp.nan).astype(counts.dtype)


def _occurring(counts: Array) -> tuple[Array, Array]:
    """K₊, the number of classes with a count above 0, and the counts with 1 instead of 0."""
    present = jnp.sum(counts > 0.0, axis=-1, keepdims=True).astype(counts.dtype)
    return present, jnp.where(counts == 0.0, 1.0, counts)


@compiled()
def logit_adjustment(counts: ArrayLike, tau: ArrayLike = 1.0) -> Array:
    """What to add to the logits in training so that rare classes count, τ log π_k, π = n / Σ n.

    A classifier trained on `logits + logit_adjustment(counts)` predicts with its bare `logits`, for
    classes that are equally likely: leave the adjustment out at test time. τ = 1 is consistent for
    the mean of the recalls of the classes.

    Args:
        counts: (..., K) how often each class occurs, integers or not, in any unit.
        tau: one number, which may be traced; 0 adjusts nothing.

    Returns:
        The shape of counts, float32 (float64 for float64 counts), in nats.

    Edge cases: a class with count 0: −inf, so that it is impossible, and a constant to
    differentiation; 0 if τ = 0 · all counts 0: 0 · a negative, infinite or NaN count gives NaN for
    its row.

    Example:
        >>> import jax.numpy as jnp
        >>> print(logit_adjustment(jnp.array([50, 25, 25])))
        [-0.6931472 -1.3862944 -1.3862944]

    References: Menon et al. (2021), Long-Tail Learning via Logit Adjustment, equation 10.

    See also: `class_frequencies` for the counts, `balanced_class_weights`.
    """
    name = "logit_adjustment"
    n, valid = _counts(name, counts)
    tau = widen(check.number(name, "tau", tau)).astype(n.dtype)
    total = jnp.sum(n, axis=-1, keepdims=True)
    # Σ_{j ≠ k} n_j: the difference would cancel for a class with more than half of the total, which
    # no class but the most frequent one has.
    most = lax.argmax(n, n.ndim - 1, jnp.int32)[..., None]
    top = lax.broadcasted_iota(jnp.int32, n.shape, n.ndim - 1) == most
    rest = jnp.sum(jnp.where(top, 0.0, n), axis=-1, keepdims=True)
    others = jnp.where(top, rest, total - n)
    adjustment = -tau * jnp.log1p(others / _occurring(n)[1])
    impossible = lax.stop_gradient(jnp.where(tau == 0.0, 0.0, -jnp.inf * tau))
    edge = jnp.where(total == 0.0, 0.0, impossible)
    return valid * jnp.where(n == 0.0, edge, adjustment)


@compiled()
def balanced_class_weights(counts: ArrayLike) -> Array:
    """Class weights that give every class the same influence, N / (K₊ n_k), N = Σ n.

    K₊ is how many classes occur. The mean of the weights over the examples is 1. It is
    scikit-learn's `class_weight="balanced"`.

    Args:
        counts: (..., K) how often each class occurs, integers or not.

    Returns:
        The shape of counts, float32 (float64 for float64 counts).

    Edge cases: a class with count 0 has weight 0 · a negative, infinite or NaN count gives NaN for
    its row.

    Example:
        >>> import jax.numpy as jnp
        >>> print(balanced_class_weights(jnp.array([6, 2, 0])))
        [0.6666667 2.        0.       ]

    References: King & Zeng (2001), Logistic Regression in Rare Events Data, section 4.2.

    See also: `effective_number_weights`, between these and no weights; `class_frequencies`.
    """
    n, valid = _counts("balanced_class_weights", counts)
    present, occurring = _occurring(n)
    total = jnp.sum(n, axis=-1, keepdims=True)
    weights = total / occurring / jnp.maximum(present, 1.0)
    return valid * jnp.where(n == 0.0, 0.0, weights)


@compiled()
def effective_number_weights(counts: ArrayLike, beta: ArrayLike) -> Array:
    """Class weights by the effective number of examples, (1 − β) / (1 − β^n_k) up to a factor.

    The factor makes them add to K₊, the number of classes that occur. β = 0 gives every class the
    same weight, β = 1 the inverse of its count; between them, examples beyond about 1/(1 − β) add
    little to a class.

    Args:
        counts: (..., K) how often each class occurs, integers or not.
        beta: one number in [0, 1], 0.9 to 0.9999 in the paper; it may be traced. A Python number
            keeps digits of 1 − β that float32 has not.

    Returns:
        The shape of counts, float32 (float64 for float64 counts).

    Edge cases: a class with count 0 has weight 0 · a negative, infinite or NaN count gives NaN for
    its row.

    Example:
        >>> import jax.numpy as jnp
        >>> print(effective_number_weights(jnp.array([1000, 10, 0]), beta=0.999).round(4))
        [0.031 1.969 0.   ]

    References: Cui et al. (2019), Class-Balanced Loss Based on Effective Number of Samples,
    equation 2 and section 4.

    See also: `balanced_class_weights`, `class_frequencies`.
    """
    name = "effective_number_weights"
    n, valid = _counts(name, counts)
    present, occurring = _occurring(n)
    weights = jnp.where(n == 0.0, 0.0, _inverse_effective_number(occurring, _rate(name, beta, n)))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return valid * weights * (present / jnp.where(present == 0.0, 1.0, total))


def _rate(name: str, beta: Any, n: Array) -> Array:
    """log β. Of a Python number in float64: in float32 1 − β would lose digits as β → 1."""
    if isinstance(beta, PythonNumber):
        known = math.log(beta.value) if beta.value > 0.0 else -math.inf
        return jnp.full((), known, n.dtype)
    beta = check.number(name, "beta", beta, check.UNIT).astype(n.dtype)
    return jnp.log1p(beta - 1.0)


def _inverse_effective_number(n: Array, rate: Array) -> Array:
    """1 / (1 − βⁿ) up to a factor, which makes it tend to 1/n as β → 1; 1 for β = 0."""
    never, always = rate == -jnp.inf, rate == 0.0
    rate = jnp.where(never | always, -1.0, rate)
    x = n * rate
    # Where βⁿ is small, JAX would differentiate expm1 as its value + 1, which cancels.
    inverse = rate / jnp.where(x > -math.log(2.0), jnp.expm1(x), jnp.exp(x) - 1.0)
    return jnp.where(never, 1.0, jnp.where(always, 1.0 / n, inverse))
