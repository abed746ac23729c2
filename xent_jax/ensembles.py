"""Information of ensembles: how uncertain a prediction is, and what the models disagree on."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax.typing import ArrayLike

from ._call import Rows, compiled
from ._ensembles import (
    EnsembleInformation,
    information_of_logits,
    information_of_probabilities,
)


@compiled()
def ensemble_information(
    p: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    ensemble_axis: int = 0,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    base: float | None = None,
) -> EnsembleInformation:
    """Predictive, expected and mutual information of an ensemble: H(m) = Σ_n a_n H(p_n) + I.

    m = Σ_n a_n p_n is the mixture of the members' predictions p_n under their weights a_n, and
    I = Σ_n a_n D(p_n‖m) ≥ 0 their Jensen–Shannon divergence, the mutual information of outcome and
    member: a sum of terms ≥ 0, exact where the members agree and H(m) − Σ a H would cancel.

    Args:
        p: (N, ..., K) probabilities of N members, not normalised here.
        axis: the class axis, or several axes that hold one distribution together.
        ensemble_axis: the axis of the members.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        weights: (N,), one weight per member, 1 by default, made to add to 1; 0 leaves it out.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        A NamedTuple of arrays, the shape of p without the axes of members and classes:
        `predictive`, H(m), `expected`, what is uncertain whatever the member, and `mutual`, what
        the members disagree on; float32 (float64 for float64 input), in nats unless `base` is
        given.

    Edge cases: members that agree: mutual exactly 0 · p = 0 contributes nothing, with finite slopes
    · a negative or NaN p gives NaN for that example · a negative or NaN weight, or no weight above
    0: NaN · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[0.9, 0.1], [0.5, 0.5]])
        >>> print("{:.4f} = {:.4f} + {:.4f}".format(*ensemble_information(p)))
        0.6109 = 0.5091 + 0.1017

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 5.1; Houlsby,
    Huszár, Ghahramani & Lengyel (2011), Bayesian Active Learning for Classification and Preference
    Learning, equation 2.

    See also: `softmax_ensemble_information` for logits, `js_divergence` for two distributions,
    `mutual_information` for a table.
    """
    rows = Rows(axis, where, base)
    name = "ensemble_information"
    return information_of_probabilities(name, p, weights, rows, ensemble_axis)


@compiled()
def softmax_ensemble_information(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    ensemble_axis: int = 0,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    base: float | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> EnsembleInformation:
    """Predictive, expected and mutual information of an ensemble's logits: H(m) = Σ a_n H(p_n) + I.

    m = Σ_n a_n p_n is the mixture of the softmaxes p_n under the members' weights a_n, and
    I = Σ_n a_n D(p_n‖m) ≥ 0, the information between outcome and member (the score of BALD). Its
    log ratios are those of the logits: exact for confident members and for such as nearly agree,
    where H(m) − Σ a H cancels.

    Args:
        logits: (N, ..., K) of N members, such as networks or samples of dropout.
        axis: the class axis, or several axes that hold one distribution together.
        ensemble_axis: the axis of the members.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        weights: (N,), one weight per member, 1 by default, made to add to 1; 0 leaves it out.
        base: unit of the result, None for nats, 2 for bits.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        A NamedTuple of arrays, the shape of logits without the axes of members and classes:
        `predictive`, H(m), `expected`, what is uncertain whatever the member, and `mutual`, what
        the members disagree on; float32 (float64 for float64 input), in nats unless `base` is
        given.

    Edge cases: members that agree: mutual exactly 0 · logit −inf: a class of probability 0 · a NaN
    logit, or −inf everywhere in a member, gives NaN for that example · a negative or NaN weight, or
    no weight above 0: NaN · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.9, 0.1], [0.5, 0.5]]))
        >>> print("{:.4f} = {:.4f} + {:.4f}".format(*softmax_ensemble_information(logits)))
        0.6109 = 0.5091 + 0.1017

    References: Houlsby, Huszár, Ghahramani & Lengyel (2011), Bayesian Active Learning for
    Classification and Preference Learning, equation 2; Lakshminarayanan, Pritzel & Blundell (2017),
    Simple and Scalable Predictive Uncertainty Estimation Using Deep Ensembles, section 2.4.

    See also: `ensemble_information` for probabilities, `softmax_js_divergence` for two.
    """
    name = "softmax_ensemble_information"
    rows = Rows(axis, where, base, False, axis_name)
    return information_of_logits(name, logits, weights, rows, ensemble_axis)
