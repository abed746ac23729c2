"""Statistics of softmaxes: what an evaluation or a policy gradient needs of logits, in one pass."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from collections.abc import Callable

from jax import Array
from jax.lax import PrecisionLike
from jax.typing import ArrayLike

from ._call import Rows, compiled
from ._linear import functions
from ._linear.by_types import Given, by_types, shaping
from ._linear.prepare import prepare_logits_fn
from ._linear.reduce import Options
from ._statistics import SoftmaxStatistics, statistics_of_logits


@compiled()
def softmax_statistics(
    logits: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    base: float | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> SoftmaxStatistics:
    """Log-probability of the label, logsumexp, entropy, argmax, accuracy and rank, from one read.

    log p_y = −(u_y + log1p(s)), log Σ e^z = max z + log1p(s) and H = log1p(s) + Σ e^{−u} u/(1 + s):
    what an evaluation or a policy gradient needs of the logits.

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; None if there are none.
        axis: the class axis, or several axes that hold one distribution together.
            A class id is the flat index over them, in the order `axis` names them.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        base: unit of the result, None for nats, 2 for bits.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        A NamedTuple of arrays, the shape of logits without the class axes: `log_prob`, `logsumexp`
        and `entropy` in float32 (float64 for float64 input) are differentiable; `argmax` is int32,
        the first of tied classes; `correct` is boolean, whether it is the label; `rank` is int32,
        the number of logits above that of the label, which ties do not count as: the label is among
        the k first where rank < k, and 1/(1 + rank) is its reciprocal rank. Without labels
        `log_prob`, `correct` and `rank` are None.

    Edge cases: those of `softmax_cross_entropy` and `softmax_entropy` · an id outside [0, K): a
    log_prob of NaN, and not correct · a label masked by `where`: log_prob −inf · `where` all False:
    0 for all numbers, and not correct · an example without a valid label: a rank of K.

    Example:
        >>> import jax.numpy as jnp
        >>> s = softmax_statistics(jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([1]))
        >>> print(jnp.exp(s.log_prob), s.argmax, s.correct)
        [0.75] [1] [ True]

    References: Schulman et al. (2017), Proximal Policy Optimization Algorithms, for a use of
    log-probability and entropy together.

    See also: `linear_softmax_statistics` for logits x @ w + b that never exist.
    """
    rows = Rows(axis, where, base, False, axis_name)
    return statistics_of_logits("softmax_statistics", logits, labels, rows, ignore_index)


@compiled(prepare_logits_fn)
def linear_softmax_statistics(
    x: ArrayLike,
    w: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> SoftmaxStatistics:
    """Log-probability of the label, logsumexp, entropy, argmax, accuracy and rank, from one pass.

    log p_y = −(u_y + log1p(s)), log Σ e^z = max z + log1p(s) and H = log1p(s) + Σ e^{−u} u/(1 + s):
    what an evaluation or a policy gradient needs of the logits x @ w + b, without them.

    Args:
        x: (..., D), one vector of features per token.
        w: (D, K).
        labels: integers (...), the class ids; None if there are none.
        b: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,).
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        logits_fn: any differentiable map of the logits of a token, elementwise or not.
        softcap: logits become softcap·tanh(logits / softcap), before `logits_fn`.
        temperature: logits are divided by it, after `softcap` and `logits_fn`.
        base: unit of the result, None for nats, 2 for bits.
        chunk_size: tokens per chunk that a device holds; None chooses from the shapes.
        precision: of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        A NamedTuple of arrays (...): `log_prob`, `logsumexp` and `entropy` in float32 (float64 for
        float64 input) are differentiable in x, w and b; `argmax` is int32, the first of tied
        classes; `correct` is boolean, whether it is the label; `rank` is int32, the number of
        logits above that of the label: it is among the k first where rank < k. Without labels
        `log_prob`, `correct` and `rank` are None.

    Edge cases: those of `softmax_cross_entropy` and `softmax_entropy` · an id outside [0, K): a
    log_prob of NaN, not correct, a rank of K · a masked label: log_prob −inf · `where` all False: 0
    for all.

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.array([[0.0, jnp.log(3.0)]])
        >>> s = linear_softmax_statistics(jnp.ones((1, 1)), w, jnp.array([1]))
        >>> print(jnp.exp(s.log_prob), s.argmax, s.correct)
        [0.75] [1] [ True]

    References: Schulman et al. (2017), Proximal Policy Optimization Algorithms, for a use of
    log-probability and entropy together.

    See also: `linear_softmax_cross_entropy` for the loss alone.
    """
    tokens, classes = {"x": x, "labels": labels}, {"b": b, "where": where}
    given = Given(tokens, {"w": w}, classes, shaping(logits_fn, softcap, temperature))
    options = Options(None, base, chunk_size, precision, axis_name, ignore_index)
    return by_types("linear_softmax_statistics", functions.linear_statistics, options, given)
