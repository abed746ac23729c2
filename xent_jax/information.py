"""Information measures of probability vectors beyond the grid.

Perplexity, conditional entropy and mutual information, and estimates of the KL divergence from
samples.
"""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from typing import Any, Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import Rows, compiled, finish, probability_data, probability_pair
from ._elements import element_pair, finish_elements
from ._estimates import KLEstimate, estimate_of_samples
from ._rows.joint import conditional_entropy_row, mutual_information_row
from ._rows.kl_estimate import kl_estimate_row
from ._rows.probability import cross_entropy_row, entropy_row
from ._rows.row_function import RowFunction


@compiled()
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
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
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
    rows = Rows(axis, where, None, keepdims)
    if q is None:
        x, axes = probability_data(name, "p", p, rows)
        cost = entropy_row(axes, None, x)
    else:
        x, y, axes = probability_pair(name, p, q, rows)
        cost = cross_entropy_row(axes, None, x, y)
    return finish(name, jnp.exp(cost), axes, rows)


def _of_joint(name: str, row: RowFunction, joint: Any, rows: Rows) -> Array:
    check.joint_axes(name, joint, rows.axis)
    p, axes = probability_data(name, "joint", joint, rows)
    return finish(name, row(axes, None, p), axes, rows)


@compiled()
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
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

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
    rows = Rows(axis, where, base, keepdims)
    return _of_joint("conditional_entropy", conditional_entropy_row, joint, rows)


@compiled()
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
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

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

    See also: `conditional_entropy`, which is H(Y) − I; `ensemble_information` and
    `softmax_ensemble_information` where X is the member of an ensemble; `kl_divergence`.
    """
    rows = Rows(axis, where, base, keepdims)
    return _of_joint("mutual_information", mutual_information_row, joint, rows)


@compiled()
def kl_estimate(
    log_p: ArrayLike,
    log_q: ArrayLike,
    *,
    kind: Literal["k1", "k2", "k3"] = "k3",
    where: ArrayLike | None = None,
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
        where: boolean; False means that the outcome does not exist: it adds nothing.

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

    See also: `kl_estimate_with_error`, the average of least variance with its standard error;
    `softmax_kl_divergence`, exact where all logits are at hand.
    """
    name = "kl_estimate"
    check.one_of(name, "kind", kind, ("k1", "k2", "k3"))
    p, q, kept = element_pair(name, ("log_p", "log_q"), (log_p, log_q), where)
    return finish_elements(name, kl_estimate_row(kind)((), None, p, q), kept)


@compiled()
def kl_estimate_with_error(
    log_p: ArrayLike,
    log_q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> KLEstimate:
    """D(p‖q) from independent samples of p, with its standard error: mean(l) + λ·mean(e^{−l} − 1).

    l = log p(x) − log q(x) at a sample x of p. e^{−l} − 1 has mean 0: it is a control variate, and
    λ = −Cov(l, e^{−l})/Var(e^{−l}), from the same samples, makes the variance least. λ = 0 is the
    average of "k1" of `kl_estimate`, λ = 1 that of "k3". Computed from e^{−l} − 1 + l ≥ 0, the
    estimate keeps its digits where p and q are close.

    Args:
        log_p: any shape, the log-probability of each sample under p, which it was drawn from.
        log_q: the same shape, its log-probability under q.
        axis: the axis of the samples, or several axes that hold them together.
        where: boolean; False means that the outcome does not exist: it adds nothing.

    Returns:
        A NamedTuple of arrays, the shape of log_p without the axes of the samples, float32 (float64
        for float64 input), in nats: `value`; `standard_error`, √(Σ residual²/((n − 2)·n)); and
        `coefficient`, λ. The value is differentiated with λ held constant, the others are not: as a
        loss it is a mixture of "k1" and "k3".

    Edge cases: log_p = log_q: value and error exactly 0 · two samples or fewer have an error of NaN
    · λ = 1 where l does not vary · log_q = −inf: the value is +inf, the error NaN · a NaN, or
    log_p = −inf, which no sample of p has, gives NaN · `where` all False gives 0, with gradient 0.

    Tails: for q with heavier tails than p the variance of e^{−l} may be infinite; where it is one
    sample that counts, λ nears 0 and the value the average of l, also where e^{−l} is no number.
    Where p and q are so far apart that hardly a sample has e^{−l} ≥ 1, the regression extrapolates,
    and value and error mislead: the average of "k1" is to be trusted there. λ from the same samples
    adds a bias of order 1/n.

    Example:
        >>> import jax.numpy as jnp
        >>> log_p = jnp.log(jnp.array([0.6, 0.2, 0.6, 0.6, 0.2]))
        >>> log_q = jnp.log(jnp.array([0.5, 0.3, 0.5, 0.5, 0.2]))
        >>> found = kl_estimate_with_error(log_p, log_q)
        >>> print(f"{found.value:.4f} ± {found.standard_error:.4f}, λ = {found.coefficient:.3f}")
        0.0283 ± 0.0082, λ = 0.882

    References: Owen (2013), Monte Carlo Theory, Methods and Examples, section 8.9, for control
    variates by regression; Schulman (2020), Approximating KL Divergence,
    http://joschu.net/blog/kl-approx.html, for this one with λ = 1.

    See also: `kl_estimate`, a number per sample; `softmax_kl_divergence`, exact where all logits
    are at hand.
    """
    return estimate_of_samples("kl_estimate_with_error", log_p, log_q, axis, where)
