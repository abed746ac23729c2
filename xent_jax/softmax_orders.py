"""The softmax row of any order α: entropies of Rényi and Tsallis, the divergence of Rényi."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax import Array
from jax.typing import ArrayLike

from ._call import Rows, compiled, finish, logits_data, logits_pair, mask_of_rows
from ._order import of_order
from ._rows.softmax_order import softmax_renyi_entropy_row, softmax_tsallis_entropy_row
from ._rows.softmax_order_divergence import softmax_renyi_divergence_row


@compiled()
def softmax_renyi_entropy(
    logits: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Rényi entropy of order α of the softmax p of logits, H_α = log(Σ_j p_j^α)/(1 − α).

    It is log1p(s) + log(Σ_j p_j e^{(1 − α)u_j})/(1 − α), two terms that are not negative, exact
    for confident rows: u_j = max z − z_j, and s = Σ e^{−u_j} over all entries but one maximal.
    α = 0 counts the possible classes, α = 1 is the Shannon entropy, α = 2 the collision entropy,
    and α = +inf the min-entropy −log max p.

    Args:
        logits: (..., K).
        alpha: the order α ≥ 0, one number, also traced and differentiated.
            A sweep over orders, with jax.vmap too, compiles once.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: logit −inf: a class of probability 0, which α = 0 does not count · one +inf logit:
    that class has probability 1, several share it · no 0/0 at α = 1: value, slopes and the
    derivative by α pass smoothly · a negative or NaN α gives NaN, a NaN logit, or −inf everywhere,
    NaN for that example · `where` all False gives 0, with gradient 0.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([20.0, 0.0, 0.0, -1.0])
        >>> orders = jnp.array([0.0, 1.0, 2.0, jnp.inf])
        >>> for h in jax.vmap(lambda alpha: softmax_renyi_entropy(logits, alpha))(orders):
        ...     print(f"{h:.4e}")
        1.3863e+00
        1.0325e-07
        9.7611e-09
        4.8806e-09

    References: Rényi (1961), On Measures of Entropy and Information, equation 1.21.

    See also: `renyi_entropy` for probabilities, `softmax_entropy`, `softmax_tsallis_entropy`.
    """
    name = "softmax_renyi_entropy"
    rows = Rows(axis, where, base, keepdims, axis_name)
    z, axes, kept = logits_data(name, "logits", logits, rows)
    value = of_order(name, softmax_renyi_entropy_row, alpha, axes, mask_of_rows(z, axes, kept), z)
    return finish(name, value, axes, rows)


@compiled()
def softmax_tsallis_entropy(
    logits: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Tsallis entropy of order α of the softmax p of logits, S_α = (1 − Σ_j p_j^α)/(α − 1).

    It is d(c) + e^{(1 − α)c}·Σ_j p_j d(u_j), terms that are not negative, exact for confident rows:
    d(x) = (1 − e^{(1 − α)x})/(α − 1), u_j = max z − z_j, and c = −log max p. α = 1 is the Shannon
    entropy, α = 2 the Gini impurity 1 − Σ p².

    Args:
        logits: (..., K).
        alpha: the order α ≥ 0, one number, also traced and differentiated.
            A sweep over orders, with jax.vmap too, compiles once.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input). It is no length of a code, and has no base.

    Edge cases: logit −inf: a class of probability 0 · one +inf logit: that class has probability 1,
    several share it · no 0/0 at α = 1: value, slopes and the derivative by α pass smoothly · α = 0
    gives the number of possible classes less 1, α = +inf gives 0 · a negative or NaN α gives NaN, a
    NaN logit, or −inf everywhere, NaN for that example · `where` all False gives 0, with
    gradient 0.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([20.0, 0.0, 0.0, -1.0])
        >>> print(f"{softmax_tsallis_entropy(logits, 2):.4e}")
        9.7611e-09

    References: Tsallis (1988), Possible Generalization of Boltzmann-Gibbs Statistics, equation 1.

    See also: `tsallis_entropy` for probabilities, `softmax_entropy`, `softmax_renyi_entropy`.
    """
    name = "softmax_tsallis_entropy"
    rows = Rows(axis, where, None, keepdims, axis_name)
    z, axes, kept = logits_data(name, "logits", logits, rows)
    value = of_order(name, softmax_tsallis_entropy_row, alpha, axes, mask_of_rows(z, axes, kept), z)
    return finish(name, value, axes, rows)


@compiled()
def softmax_renyi_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Rényi divergence of order α of two softmaxes, log(Σ_j p_j^α q_j^{1−α})/(α − 1), p the truth.

    It is never negative. α = 1 is the KL divergence, α = ½ is −2 log of the Bhattacharyya
    coefficient, α = 0 is −log Σ_{p>0} q, and α = +inf is log max p/q. Accurate for softmaxes that
    nearly agree and for those far apart, whatever the offsets of the logits.

    Args:
        p_logits: (..., K), the truth.
        q_logits: the same shape, the model.
        alpha: the order α ≥ 0, one number, also traced and differentiated.
            A sweep over orders, with jax.vmap too, compiles once.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of p_logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: equal logits: exactly 0 · both −inf: contributes 0 · q-logit −inf where p has mass:
    +inf for α ≥ 1, finite below unless p and q are disjoint · one +inf logit: that class has
    probability 1, several share it · no 0/0 at α = 1: value, slopes and the derivative by α pass
    smoothly · a negative or NaN α gives NaN, a NaN logit, or −inf everywhere, NaN for that
    example · `where` all False gives 0, with gradient 0.

    Example:
        >>> import jax.numpy as jnp
        >>> z = jnp.array([0.0, 1.0, 2.0])
        >>> for alpha in (0.5, 1, 2):
        ...     print(f"{softmax_renyi_divergence(z, z + jnp.array([1e-4, 0.0, 0.0]), alpha):.3e}")
        2.048e-10
        4.096e-10
        8.193e-10

    References: Rényi (1961), On Measures of Entropy and Information, equation 3.3; van Erven &
    Harremoës (2014), Rényi Divergence and Kullback-Leibler Divergence, equation 1.

    See also: `renyi_divergence` for probabilities, `softmax_kl_divergence`.
    """
    name = "softmax_renyi_divergence"
    rows = Rows(axis, where, base, keepdims, axis_name)
    zp, zq, axes, row_mask = logits_pair(name, p_logits, q_logits, rows)
    value = of_order(name, softmax_renyi_divergence_row, alpha, axes, row_mask, zp, zq)
    return finish(name, value, axes, rows)
