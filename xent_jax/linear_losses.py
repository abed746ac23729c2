"""Any loss of a linear head's log-probabilities, and the head of independent labels."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from collections.abc import Callable
from typing import Any, Literal

from jax import Array
from jax.lax import PrecisionLike
from jax.typing import ArrayLike

from ._call import compiled
from ._linear import functions
from ._linear.by_types import Given, by_types, shaping
from ._linear.prepare import ids_or_function, prepare_labels, prepare_loss
from ._linear.reduce import Options


@compiled(prepare_loss)
def linear_softmax_loss(
    loss_fn: Callable[..., Array],
    x: ArrayLike,
    w: ArrayLike,
    labels: ArrayLike | None,
    *data: Any,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] | None = None,
    normalizer: ArrayLike | None = None,
    ignore_index: int | None = None,
    return_statistics: bool = False,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Any:
    """Any loss of log-probability, logsumexp and entropy of softmax(x @ w + b), in one pass.

    l = loss_fn(statistics, *data) of each token; with `reduction` loss and gradients by x, w, b,
    the data and whatever loss_fn closes over cost three matrix products, in both AD modes, as
    those of `linear_softmax_cross_entropy`, which is loss_fn = lambda s: −s.log_prob.

    Args:
        loss_fn: a function of one token, as for `jax.vmap`: of its `SoftmaxStatistics` (`log_prob`,
            `logsumexp`, `entropy`, in nats; `argmax`, `correct` and `rank`, constant) and of its
            data, to one floating number. What it does not look at is not computed. It may close
            over traced values, which are differentiated.
        x: (..., D), one vector of features per token.
        w: (D, K).
        labels: integers (...), the class ids; None for a loss without log_prob and correct.
        data: arrays, or trees of them, that have the axes of the tokens first, of size one where
            they share a value: advantages (B, 1), old log-probabilities (B, T). A number is the
            same for all tokens.
        b: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,).
        weights: one weight per example, 1 by default; 0 leaves it out.
        reduction: None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.
        normalizer: with "mean", what to divide by instead of Σ w.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        return_statistics: give (loss, `SoftmaxStatistics`), from the same pass, not differentiated.
        logits_fn: any differentiable map of the logits of a token, elementwise or not.
        softcap: logits become softcap·tanh(logits / softcap), before `logits_fn`.
        temperature: logits are divided by it, after `softcap` and `logits_fn`.
        base: unit of the result, None for nats, 2 for bits.
            Divides the whole by its logarithm.
        chunk_size: tokens per chunk that a device holds; None chooses from the shapes.
        precision: of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        (...), or a scalar with `reduction`; float32 (float64 for float64 input), in nats unless
        `base` is given. With `return_statistics` (loss, statistics).

    Edge cases: those of `linear_softmax_statistics` · a token of weight 0, or one that is ignored,
    adds exactly 0, whatever its data · an id outside [0, K) gives NaN for that token.

    Example:
        >>> import jax.numpy as jnp
        >>> def clipped(s, advantage, old):  # PPO
        ...     ratio = jnp.exp(s.log_prob - old)
        ...     bounded = jnp.clip(ratio, 0.8, 1.2)
        ...     return -jnp.minimum(ratio * advantage, bounded * advantage) - 0.01 * s.entropy
        >>> x, w = jnp.eye(3, 2), jnp.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
        >>> advantage, old = jnp.array([1.0, -1.0, 0.5]), jnp.array([-0.1, -0.1, -1.0])
        >>> ids = jnp.array([0, 1, 2])
        >>> loss = linear_softmax_loss(clipped, x, w, ids, advantage, old, reduction="mean")
        >>> print(f"{loss:.4f}")
        -0.1559

    References: Schulman et al. (2017), Proximal Policy Optimization Algorithms, equation 7; Shao
    et al. (2024), DeepSeekMath, equation 3, for a group-relative loss.

    See also: `linear_softmax_cross_entropy`, `linear_softmax_statistics` for the numbers alone,
    `kl_estimate` for penalties.
    """
    tokens = {"x": x, "labels": labels, "weights": weights, "data": data}
    numbers = {"normalizer": normalizer, **shaping(logits_fn, softcap, temperature)}
    numbers |= {"loss_fn": loss_fn}
    given = Given(tokens, {"w": w}, {"b": b, "where": where}, numbers)
    options = Options(reduction, base, chunk_size, precision, axis_name, ignore_index)
    options = options._replace(return_statistics=return_statistics)
    return by_types("linear_softmax_loss", functions.linear_given_loss, options, given)


@compiled(prepare_labels)
def linear_sigmoid_cross_entropy(
    x: ArrayLike,
    w: ArrayLike,
    labels: ArrayLike | Callable[..., Array],
    *data: Any,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] | None = None,
    normalizer: ArrayLike | None = None,
    ignore_index: int | None = None,
    pos_weight: ArrayLike | None = None,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Binary cross entropies of σ(x @ w + b), summed over the classes, without the logits.

    Σ_j π_j·y_j·softplus(−z_j) + (1 − y_j)·softplus(z_j) of each token, as
    `sigmoid_cross_entropy` summed over the last axis, chunk after chunk of the tokens; with
    `reduction` the gradients come from the same pass: three matrix products for loss and gradients.

    Args:
        x: (..., D), one vector of features per token (an image, an example).
        w: (D, K).
        labels: integers (..., k), the ids of the classes that are 1, of which any may be repeated;
            or a function of one token's data, as for `jax.vmap`, that gives (K,) labels in [0, 1],
            constants to differentiation: `lambda y: y` for labels 0 and 1 of all classes as data.
            With `axis_name` it gives those of all shards.
        data: arrays, or trees of them, for that function, that have the axes of the tokens first.
        b: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,).
        weights: one weight per example, 1 by default; 0 leaves it out.
        reduction: None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.
            The loss of a token is the sum over its classes.
        normalizer: with "mean", what to divide by instead of Σ w.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
            Of several ids per token it leaves out that one, such as the padding of fewer than k.
        pos_weight: π ≥ 0, the weight of label 1: one number, or one per class.
        logits_fn: any differentiable map of the logits of a token, elementwise or not.
        softcap: logits become softcap·tanh(logits / softcap), before `logits_fn`.
        temperature: logits are divided by it, after `softcap` and `logits_fn`.
        base: unit of the result, None for nats, 2 for bits.
        chunk_size: tokens per chunk that a device holds; None chooses from the shapes.
        precision: of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        (...), or a scalar with `reduction`; float32 (float64 for float64 input), in nats unless
        `base` is given. The mean is over tokens, not over classes.

    Edge cases: those of `sigmoid_cross_entropy` · an id outside [0, K) that is not ignored gives
    NaN for that token, and so does a label outside [0, 1] · a weight of 0 leaves out even an
    infinite loss.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> images, texts = jnp.eye(2), jnp.array([[1.0, 0.0], [0.6, 0.8]])  # SigLIP
        >>> pairs = jnp.arange(2)[:, None]  # the text that belongs to each image
        >>> loss = linear_sigmoid_cross_entropy(
        ...     10 * images, texts.T, pairs, b=-10.0, reduction="mean"
        ... )
        >>> print(f"{loss:.4f}")
        1.4191

    References: Zhai et al. (2023), Sigmoid Loss for Language Image Pre-Training, equation 1.

    See also: `sigmoid_cross_entropy` for logits that exist, `linear_softmax_cross_entropy`.
    """
    numbers = {"normalizer": normalizer, **shaping(logits_fn, softcap, temperature)}
    ids, numbers["labels_fn"] = ids_or_function(labels)
    tokens = {"x": x, "labels": ids, "weights": weights, "data": data}
    classes = {"b": b, "where": where, "pos_weight": pos_weight}
    given = Given(tokens, {"w": w}, classes, numbers)
    options = Options(reduction, base, chunk_size, precision, axis_name, ignore_index)
    body = functions.linear_independent_cross_entropy
    return by_types("linear_sigmoid_cross_entropy", body, options, given)
