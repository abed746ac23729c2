"""Imbalanced classes: how often each one occurs, and the weights and priors made of that."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import compiled
from ._class_counts import (
    frequencies,
    inverse_effective_number,
    log_beta,
    log_prior,
    valid_counts,
    with_ones,
)
from ._math.dtypes import widen


@compiled()
def class_frequencies(
    labels: ArrayLike,
    num_classes: int,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """How often each class occurs, n_k = Σ_i w_i [labels_i = k].

    For labels that are distributions it is their sum, n_k = Σ_i w_i labels_ik.

    Args:
        labels: class ids, an integer array of any shape; or distributions (..., K), floating.
        num_classes: K.
        weights: one weight per example, 1 by default; 0 leaves it out.
            The shape of the ids, or of the distributions without their class axis.

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
    return frequencies(name, labels, num_classes, weights)


@compiled()
def logit_adjustment(counts: ArrayLike, *, tau: ArrayLike = 1.0) -> Array:
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
    n, valid = valid_counts(name, counts)
    tau = widen(check.number(name, "tau", tau)).astype(n.dtype)
    return valid * log_prior(n, tau)


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
    n, valid = valid_counts("balanced_class_weights", counts)
    present, occurring = with_ones(n)
    total = jnp.sum(n, axis=-1, keepdims=True)
    weights = total / occurring / jnp.maximum(present, 1.0)
    return valid * jnp.where(n == 0.0, 0.0, weights)


@compiled()
def effective_number_weights(counts: ArrayLike, *, beta: ArrayLike) -> Array:
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
    n, valid = valid_counts(name, counts)
    present, occurring = with_ones(n)
    weights = jnp.where(n == 0.0, 0.0, inverse_effective_number(occurring, log_beta(name, beta, n)))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return valid * weights * (present / jnp.where(present == 0.0, 1.0, total))
