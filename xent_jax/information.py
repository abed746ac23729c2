"""Information measures of probability vectors beyond the grid.

Perplexity, conditional entropy and mutual information, the Rényi and Tsallis families, and
estimates of the KL divergence from samples.
"""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import compiled, finish, mask_of_rows, probability_data, probability_pair
from ._class_axes import Axes
from ._math.dtypes import compute_dtype, match_precision
from ._rows import joint as joint_rows
from ._rows import order as order_rows
from ._rows import probability as probability_rows
from ._rows.kl_estimate import kl_estimate as sample_rows
from ._rows.row_function import RowFunction

_OPTIONS = ("axis", "base", "keepdims")


@compiled("axis", "keepdims")
def perplexity(
    p: ArrayLike,
    q: ArrayLike | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """Perplexity, the exponential of the entropy of p, or of the cross entropy of q under p.

    exp(−Σ_j p_j log p_j) is the size of a uniform choice as uncertain as p, and
    exp(−Σ_j p_j log q_j) of one as uncertain as p is to those who expect q. That of a language
    model is jnp.exp of the mean `softmax_cross_entropy` of its logits and the ids that came.

    Args:
        p: (..., K) true probabilities.
        q: the same shape, the probabilities of the model; None for those of p itself.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p and q; False means that the outcome does not exist.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example, a count of outcomes: the shape of p without the class axes, float32
        (float64 for float64 input).

    Edge cases: p = 0 contributes nothing, with finite slopes · p > 0 where q = 0: +inf · a negative
    or NaN p or q gives NaN for that example · `where` all False gives 1.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.5, 0.25, 0.25, 0.0]), jnp.array([0.25, 0.25, 0.25, 0.25])
        >>> print(f"{perplexity(p):.4f} {perplexity(p, q):.4f}")
        2.8284 4.0000

    References: Jelinek, Mercer, Bahl & Baker (1977), Perplexity: a Measure of the Difficulty of
    Speech Recognition Tasks.

    See also: `entropy`, `cross_entropy`, which it is the exponential of.
    """
    name = "perplexity"
    if q is None:
        x, axes = probability_data(name, "p", p, axis, where)
        cost = probability_rows.entropy(axes, None, x)
    else:
        x, y, axes = probability_pair(name, p, q, axis, where)
        cost = probability_rows.cross_entropy(axes, None, x, y)
    return finish(name, jnp.exp(cost), axes, None, keepdims)


def _of_joint(
    name: str, rows: RowFunction, joint: Any, axis: Any, where: Any, base: Any, keepdims: bool
) -> Array:
    check.joint_axes(name, joint, axis)
    p, axes = probability_data(name, "joint", joint, axis, where)
    return finish(name, rows(axes, None, p), axes, base, keepdims)


@compiled(*_OPTIONS)
def conditional_entropy(
    joint: ArrayLike,
    *,
    axis: tuple[int, int] = (-2, -1),
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Conditional entropy of Y given X, H(Y|X) = Σ_xy p_xy log(p_x/p_xy) with p_x = Σ_y p_xy.

    What is left to know of Y once X is known. Every term is ≥ 0 and exact where y is nearly
    determined by x, which the difference H(X, Y) − H(X) is not.

    Args:
        joint: (..., X, Y) joint probabilities, not normalised here: for a table of counts pass
            `table / table.sum()`.
        axis: the axis of X, which is known, and that of Y.
        where: boolean, broadcast against joint; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep both axes, with size one.

    Returns:
        One number per example: the shape of joint without both axes, float32 (float64 for float64
        input), in nats unless `base` is given.

    Edge cases: y a function of x: exactly 0 · p_xy = 0 contributes 0, with the slope of the
    smallest normal number there, and 0 where p_x = 0 too · a negative or NaN probability gives NaN
    for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> joint = jnp.array([[0.5, 0.0], [0.25, 0.25]])
        >>> print(f"{conditional_entropy(joint, base=2):.4f} bits")
        0.5000 bits
        >>> print(f"{conditional_entropy(joint, axis=(1, 0)):.4f} nats of X given Y")
        0.4774 nats of X given Y

    References: Cover & Thomas (2006), Elements of Information Theory, equation 2.10.

    See also: `mutual_information`, `entropy` with both axes for H(X, Y).
    """
    rows = joint_rows.conditional_entropy
    return _of_joint("conditional_entropy", rows, joint, axis, where, base, keepdims)


@compiled(*_OPTIONS)
def mutual_information(
    joint: ArrayLike,
    *,
    axis: tuple[int, int] = (-2, -1),
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Mutual information of X and Y, I = Σ_xy p_xy log(p_xy W/(p_x p_y)) ≥ 0, W = Σ p.

    It is D(p_xy ‖ p_x p_y/W), and each term is that of `kl_divergence`. The log ratios of nearly
    independent variables are computed with twice the digits of the dtype: they are as exact as
    others, of the probabilities as given.

    Args:
        joint: (..., X, Y) joint probabilities, not normalised here: for a table of counts pass
            `table / table.sum()`.
        axis: the axis of X and that of Y; their order does not matter.
        where: boolean, broadcast against joint; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep both axes, with size one.

    Returns:
        One number per example: the shape of joint without both axes, float32 (float64 for float64
        input), in nats unless `base` is given.

    Edge cases: independent as they are rounded: exactly 0 · p_xy = 0 contributes p_x p_y/W, with
    the slope of the smallest normal number there · a negative or NaN probability gives NaN for that
    example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> joint = jnp.array([[0.5, 0.0], [0.25, 0.25]])
        >>> print(f"{mutual_information(joint):.6f}")
        0.215762
        >>> print(mutual_information(jnp.outer(jnp.array([0.5, 0.5]), jnp.array([0.25, 0.75]))))
        0.0

    References: Cover & Thomas (2006), Elements of Information Theory, equation 2.28.

    See also: `conditional_entropy`, which is H(Y) − I; `kl_divergence`.
    """
    rows = joint_rows.mutual_information
    return _of_joint("mutual_information", rows, joint, axis, where, base, keepdims)


def _of_order(
    name: str, argument: str, rows: RowFunction, order: Any, axes: Axes, *data: Array
) -> Array:
    # A bad order gives NaN for every row, and is 1 for the formulae.
    order = check.number(name, argument, order, check.NON_NEGATIVE).astype(compute_dtype(data[0]))
    order = order.reshape((1,) * data[0].ndim)
    bad = jnp.isnan(order)
    row_mask = mask_of_rows(data[0], axes, None, valid=~bad)
    return rows(axes, row_mask, *data, jnp.where(bad, 1.0, order))


@compiled(*_OPTIONS)
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
        alpha: the order ≥ 0, one number; it may be traced and differentiated, and a sweep over
            orders, with jax.vmap too, compiles once.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p; False means that the outcome does not exist.
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
    p, axes = probability_data(name, "p", p, axis, where)
    value = _of_order(name, "alpha", order_rows.renyi_entropy, alpha, axes, p)
    return finish(name, value, axes, base, keepdims)


@compiled(*_OPTIONS)
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
        alpha: the order ≥ 0, one number; it may be traced and differentiated, and a sweep over
            orders, with jax.vmap too, compiles once.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p and q; False means that the outcome does not exist.
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
    p, q, axes = probability_pair(name, p, q, axis, where)
    value = _of_order(name, "alpha", order_rows.renyi_divergence, alpha, axes, p, q)
    return finish(name, value, axes, base, keepdims)


@compiled("axis", "keepdims")
def tsallis_entropy(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """Tsallis entropy of order q, S_q(p) = Σ_j (p_j − p_j^q)/(q − 1), the Shannon entropy at q = 1.

    For p that adds to 1 this is (1 − Σ p^q)/(q − 1); q = 2 is the Gini impurity 1 − Σ p².

    Args:
        p: (..., K) probabilities, not normalised here.
        q: the order ≥ 0, one number; it may be traced and differentiated, and a sweep over orders,
            with jax.vmap too, compiles once.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p; False means that the outcome does not exist.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input). It is no length of a code, and has no base.

    Edge cases: p = 0 contributes nothing, with the slope of the smallest normal number there · no
    0/0 at q = 1: value, slopes and the derivative by q pass smoothly · q = 0 gives #{p > 0} − Σp,
    q = +inf gives 0 · a negative or NaN q gives NaN, a negative or NaN p NaN for that example ·
    `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.25, 0.25])
        >>> print(f"{tsallis_entropy(p, 1):.6f} {tsallis_entropy(p, 2):.6f}")
        1.039721 0.625000

    References: Tsallis (1988), Possible Generalization of Boltzmann-Gibbs Statistics, equation 1.

    See also: `renyi_entropy`, which is −log1p((1 − q)·S_q)/(q − 1) for p that adds to 1, `entropy`.
    """
    name = "tsallis_entropy"
    p, axes = probability_data(name, "p", p, axis, where)
    value = _of_order(name, "q", order_rows.tsallis_entropy, q, axes, p)
    return finish(name, value, axes, None, keepdims)


@compiled("kind")
def kl_estimate(
    log_p: ArrayLike, log_q: ArrayLike, *, kind: str = "k3", where: ArrayLike | None = None
) -> Array:
    """Estimates of D(p‖q) from samples of p, elementwise: a number per sample, to be averaged.

    With l = log p(x) − log q(x) at a sample x of p:

    - "k1": l, unbiased, of either sign and of high variance;
    - "k2": l²/2, biased, ≥ 0 and of low variance;
    - "k3": e^{−l} − 1 + l, unbiased, ≥ 0 and of low variance where p and q are close.

    As losses, with the samples of p held fixed. By log_q: the gradients of "k1" and "k3" estimate
    that of D(p‖q) without bias, that of "k2" does not. By log_p, where p is the policy that was
    sampled: the gradient of "k2" estimates that of D(p‖q) without bias; that of "k1" has mean 0,
    and that of "k3" is, on average, the gradient of D(q‖p).

    Args:
        log_p: any shape, the log-probability of each sample under p, which it was drawn from.
        log_q: the same shape, its log-probability under q.
        kind: "k1", "k2" or "k3".
        where: boolean, broadcast against log_p; False gives 0, with gradient 0.

    Returns:
        One number per sample: the same shape, float32 (float64 for float64 input), in nats.

    Edge cases: log_p = log_q: exactly 0 · log_q = −inf: +inf · a NaN, or both infinite alike, gives
    NaN for that sample.

    Example:
        >>> import jax.numpy as jnp
        >>> log_p, log_q = jnp.log(jnp.array([0.6, 0.2])), jnp.log(jnp.array([0.5, 0.3]))
        >>> for kind in ("k1", "k2", "k3"):
        ...     print(kind, kl_estimate(log_p, log_q, kind=kind).round(4))
        k1 [ 0.1823 -0.4055]
        k2 [0.0166 0.0822]
        k3 [0.0157 0.0945]

    References: Schulman (2020), Approximating KL Divergence,
    http://joschu.net/blog/kl-approx.html; there the samples are of q.

    See also: `softmax_kl_divergence`, exact where all logits are at hand.
    """
    name = "kl_estimate"
    check.one_of(name, "kind", kind, ("k1", "k2", "k3"))
    log_p, log_q = check.real_array(name, "log_p", log_p), check.real_array(name, "log_q", log_q)
    check.same_shape(name, "log_p", log_p, "log_q", log_q)
    kept = None if where is None else check.mask(name, "log_p", where, log_p, elementwise=True)
    data = [("log_p", log_p), ("log_q", log_q)]
    if kept is not None:
        data = [(a, jnp.where(kept, x, jnp.zeros((), x.dtype))) for a, x in data]
    for argument, x in data:
        check.no_nan(name, argument, x)
    value = sample_rows(kind)((), None, *match_precision(*(x for _, x in data)))
    return value if kept is None else jnp.where(kept, value, 0.0)
