"""Entropies and a divergence of any order α: the families of Rényi and of Tsallis."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax import Array
from jax.typing import ArrayLike

from ._call import Rows, compiled, finish, probability_data, probability_pair
from ._order import of_order
from ._rows.order import renyi_divergence_row, renyi_entropy_row, tsallis_entropy_row


@compiled()
def renyi_entropy(
    p: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Rényi entropy of order α, H_α(p) = log(Σ_j p_j^α)/(1 − α), the Shannon entropy at α = 1.

    α = 0 counts the possible outcomes (log #{p > 0}), α = 2 is the collision entropy, and α = +inf
    the min-entropy −log max p. For p that does not add to 1, Σp·log(Σp^α/Σp)/(1 − α): `entropy(p)`
    at α = 1 for every p, in value and gradient.

    Args:
        p: (..., K) probabilities, not normalised here.
        alpha: the order α ≥ 0, one number, also traced and differentiated.
            A sweep over orders, with jax.vmap too, compiles once.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = 0 contributes nothing, with the slope of the smallest normal number there · no
    0/0 at α = 1: value, slopes and the derivative by α pass smoothly · a negative or NaN α gives
    NaN, a negative or NaN p NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.25, 0.25])
        >>> orders = jnp.array([0.0, 1.0, 2.0, jnp.inf])
        >>> for h in jax.vmap(lambda alpha: renyi_entropy(p, alpha, base=2))(orders):
        ...     print(f"{h:.4f}")
        1.5850
        1.5000
        1.4150
        1.0000

    References: Rényi (1961), On Measures of Entropy and Information, equation 1.21, and 2.1 for
    distributions that do not add to 1; van Erven & Harremoës (2014), Rényi Divergence and
    Kullback-Leibler Divergence, section III.

    See also: `entropy`, `renyi_divergence`, `tsallis_entropy`.
    """
    name = "renyi_entropy"
    rows = Rows(axis, where, base, keepdims)
    p, axes = probability_data(name, "p", p, rows)
    value = of_order(name, renyi_entropy_row, alpha, axes, None, p)
    return finish(name, value, axes, rows)


@compiled()
def renyi_divergence(
    p: ArrayLike,
    q: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Rényi divergence of order α, D_α(p‖q) = log(Σ_j p_j^α q_j^{1−α})/(α − 1) ≥ 0, p the truth.

    α = 1 is the KL divergence, α = ½ is −2 log of the Bhattacharyya coefficient, α = 0 is
    −log Σ_{p>0} q, and α = +inf is log max p/q. For p and q that do not add to 1, with P = Σp and
    Q = Σq, it is P·log(Σ p^α q^{1−α}/P)/(α − 1) − P + Q: `kl_divergence` at α = 1 for every p
    and q, in value and gradient.

    Args:
        p: (..., K) true probabilities.
        q: the same shape, the probabilities of the model.
        alpha: the order α ≥ 0, one number, also traced and differentiated.
            A sweep over orders, with jax.vmap too, compiles once.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = q: exactly 0 · p > 0 where q = 0: +inf for α ≥ 1, finite below unless p and q
    are disjoint · p = 0 has finite slopes · no 0/0 at α = 1: value, slopes and the derivative by α
    pass smoothly · a negative or NaN α gives NaN, a negative or NaN p or q NaN for that example ·
    `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> for alpha in (0.5, 1, 2):
        ...     print(f"{renyi_divergence(p, q, alpha):.6f}")
        0.014711
        0.028300
        0.051960

    References: Rényi (1961), On Measures of Entropy and Information, equation 3.3; van Erven &
    Harremoës (2014), Rényi Divergence and Kullback-Leibler Divergence, equation 1.

    See also: `kl_divergence`, `renyi_entropy`.
    """
    name = "renyi_divergence"
    rows = Rows(axis, where, base, keepdims)
    p, q, axes = probability_pair(name, p, q, rows)
    value = of_order(name, renyi_divergence_row, alpha, axes, None, p, q)
    return finish(name, value, axes, rows)


@compiled()
def tsallis_entropy(
    p: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """Tsallis entropy of order α, S_α(p) = Σ_j (p_j − p_j^α)/(α − 1), the Shannon entropy at α = 1.

    For p that adds to 1 this is (1 − Σ p^α)/(α − 1); α = 2 is the Gini impurity 1 − Σ p².

    Args:
        p: (..., K) probabilities, not normalised here.
        alpha: the order α ≥ 0, one number, also traced and differentiated.
            A sweep over orders, with jax.vmap too, compiles once.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input). It is no length of a code, and has no base.

    Edge cases: p = 0 contributes nothing, with the slope of the smallest normal number there · no
    0/0 at α = 1: value, slopes and the derivative by α pass smoothly · α = 0 gives #{p > 0} − Σp,
    α = +inf gives 0 · a negative or NaN α gives NaN, a negative or NaN p NaN for that example ·
    `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.25, 0.25])
        >>> print(f"{tsallis_entropy(p, 1):.6f} {tsallis_entropy(p, 2):.6f}")
        1.039721 0.625000

    References: Tsallis (1988), Possible Generalization of Boltzmann-Gibbs Statistics, equation 1.

    See also: `renyi_entropy`, which is −log1p((1 − α)·S_α)/(α − 1) for p that adds to 1, `entropy`.
    """
    name = "tsallis_entropy"
    rows = Rows(axis, where, None, keepdims)
    p, axes = probability_data(name, "p", p, rows)
    value = of_order(name, tsallis_entropy_row, alpha, axes, None, p)
    return finish(name, value, axes, rows)
