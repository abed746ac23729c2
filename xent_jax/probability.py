"""The probability row: entropy, cross entropy, KL and Jensen–Shannon of probability vectors."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax import Array
from jax.typing import ArrayLike

from ._call import Rows, compiled, finish, probability_data, probability_pair
from ._rows.probability import cross_entropy_row, entropy_row, js_row, kl_row


@compiled()
def entropy(
    p: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Shannon entropy of probability vectors, H(p) = −Σ_j p_j log p_j.

    Args:
        p: (..., K) probabilities, not normalised here.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: 0·log 0 = 0, with the slope of the smallest normal number there (finite, in both
    AD modes) · a negative or NaN p gives NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.6, 0.2, 0.2])
        >>> print(f"{entropy(p):.6f} nats, {entropy(p, base=2):.6f} bits")
        0.950271 nats, 1.370951 bits

    References: Shannon (1948), A Mathematical Theory of Communication, section 6.

    See also: `softmax_entropy` for logits, `cross_entropy`.
    """
    name = "entropy"
    rows = Rows(axis, where, base, keepdims)
    p, axes = probability_data(name, "p", p, rows)
    return finish(name, entropy_row(axes, None, p), axes, rows)


@compiled()
def cross_entropy(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Cross entropy of q under the truth p, H(p, q) = −Σ_j p_j log q_j = H(p) + D(p‖q).

    It is not symmetric, and not 0 for p = q: what measures the difference is `kl_divergence`.

    Args:
        p: (..., K) true probabilities.
        q: the same shape, the probabilities of the model.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = 0 contributes 0 even where q = 0, with finite slopes · p > 0 where q = 0: +inf
    · a negative or NaN p or q gives NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{cross_entropy(p, q):.5f} = {entropy(p):.5f} + {kl_divergence(p, q):.5f}")
        0.97857 = 0.95027 + 0.02830

    References: Cover & Thomas (2006), Elements of Information Theory, section 5.4.

    See also: `softmax_cross_entropy` for logits and labels, `kl_divergence`.
    """
    name = "cross_entropy"
    rows = Rows(axis, where, base, keepdims)
    p, q, axes = probability_pair(name, p, q, rows)
    return finish(name, cross_entropy_row(axes, None, p, q), axes, rows)


@compiled()
def kl_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Kullback–Leibler divergence D(p‖q) = Σ_j p_j log(p_j/q_j) − p_j + q_j ≥ 0, p the truth.

    For normalised p and q the last two terms add to 0; for others this is the generalised KL. Each
    term is p·φ(log(p/q)), φ(x) = e^{−x} − 1 + x ≥ 0: close distributions lose no digit.

    Args:
        p: (..., K) true probabilities.
        q: the same shape, the probabilities of the model.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = q: exactly 0 · p = 0 contributes q, with a finite slope · p > 0 where q = 0:
    +inf · a negative or NaN p or q gives NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{kl_divergence(p, q):.6f}")
        0.028300

    References: Kullback & Leibler (1951), On Information and Sufficiency, equation 2.4; Csiszár
    (1991), Why Least Squares and Maximum Entropy?, for the generalised form.

    See also: `softmax_kl_divergence` for logits, `js_divergence` for a symmetric measure.
    """
    name = "kl_divergence"
    rows = Rows(axis, where, base, keepdims)
    p, q, axes = probability_pair(name, p, q, rows)
    return finish(name, kl_row(axes, None, p, q), axes, rows)


@compiled()
def js_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Jensen–Shannon divergence ½ D(p‖m) + ½ D(q‖m) with m = (p + q)/2, from 0 to log 2.

    Args:
        p: (..., K) probabilities.
        q: the same shape.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = q: exactly 0 · disjoint p and q: log 2 · zeros contribute their limit, with
    finite slopes · a negative or NaN p or q gives NaN for that example · `where` all False: 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{js_divergence(p, q):.6f}")
        0.007310

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 4.1.

    See also: `softmax_js_divergence` for logits, `kl_divergence`.
    """
    name = "js_divergence"
    rows = Rows(axis, where, base, keepdims)
    p, q, axes = probability_pair(name, p, q, rows)
    return finish(name, js_row(axes, None, p, q), axes, rows)
