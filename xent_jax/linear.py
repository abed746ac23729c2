"""The linear row: softmax functions of logits x @ w + b that are never materialised."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from collections.abc import Callable
from typing import Any, Literal

from jax import Array
from jax.lax import PrecisionLike
from jax.typing import ArrayLike

from ._call import compiled
from ._linear import functions
from ._linear.by_types import Given, by_types, shaping
from ._linear.prepare import prepare_logits_fn
from ._linear.reduce import Options


@compiled(prepare_logits_fn)
def linear_softmax_cross_entropy(
    x: ArrayLike,
    w: ArrayLike,
    labels: ArrayLike,
    *,
    label_probs: ArrayLike | None = None,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] | None = None,
    normalizer: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    focal_gamma: ArrayLike | None = None,
    z_loss: ArrayLike | None = None,
    return_statistics: bool = False,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Any:
    """Cross entropy of softmax(x @ w + b) at class ids, without the tokens × classes logits.

    −log p_y = u_y + log1p(s) with the numbers of `softmax_cross_entropy`, chunk after chunk of the
    tokens; with `reduction` the gradients by x and w come from the same pass: three matrix products
    for loss and gradients. Tokens that do not count cost nothing: they are put behind the others,
    and chunks without one that counts are skipped.

    Args:
        x: (..., D), one vector of features per token.
        w: (D, K), for instance `embedding.T` of a tied embedding: no copy is made. x and w have
            one dtype.
        labels: integers (...), the class ids; or (..., k) with `label_probs`.
        label_probs: (..., k), the probability of each of k classes per token (a top-k teacher);
            a class that is not named counts 0, and so does one that `where` masks.
        b: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,), for instance of a padded vocabulary.
        weights: one weight per example, 1 by default; 0 leaves it out.
            (...), multiplies the loss of each token.
        reduction: None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.
            A token that `ignore_index` leaves out has weight 0; 0 if Σ w is 0.
        normalizer: with "mean", what to divide by instead of Σ w.
            The count over all devices, or over all the micro-batches of a step.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
            Of several ids per token it leaves out that one, such as the padding of fewer than k.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
            K counts those that `where` keeps.
        class_weights: (K,), the weight w_j of each class: smoothed labels y become w·y.
            For class ids "mean" divides by Σ weights·w_y.
        focal_gamma: γ ≥ 0 of the focal loss (1 − p)^γ·(−log p), as in `softmax_focal_loss`.
        z_loss: adds z_loss·(log Σ e^z)² to each loss, in nats, before `base`.
            Class weights do not weigh it.
        return_statistics: give (loss, `SoftmaxStatistics`), from the same pass, not differentiated.
            0 and not correct for tokens of weight 0. With `label_probs` they have no log_prob.
        logits_fn: any differentiable map of the logits of a token, elementwise or not.
            It may close over traced values, which are differentiated. With `axis_name` one that is
            not elementwise sees the logits of a shard.
        softcap: logits become softcap·tanh(logits / softcap), before `logits_fn`.
        temperature: logits are divided by it, after `softcap` and `logits_fn`.
        base: unit of the result, None for nats, 2 for bits.
        chunk_size: tokens per chunk that a device holds; None chooses from the shapes.
            On a CPU so that the logits of a chunk take 64 MiB, or a quarter of what the gradient of
            w takes if that is more; elsewhere 4096 to 8192, fewer where there are more than 150,000
            classes.
        precision: of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.
            w, b and `where` are those of a shard; labels stay global ids. One vector of tokens per
            sum goes over that axis, and the gradient by x.

    Returns:
        (...), or a scalar with `reduction`; float32 (float64 for float64 input), in nats unless
        `base` is given. Whatever comes in, the products are summed and the softmax is computed in
        that dtype; p − y is cast to the dtype of x and w for its two products.

    Edge cases: those of `softmax_cross_entropy` · an id outside [0, K) gives NaN for that token · a
    label masked by `where`: +inf · a weight of 0 leaves out even an infinite loss · no tokens:
    "sum" and "mean" are 0 · a softcap or temperature that is not above 0 gives NaN.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, w = jnp.eye(3, 2), jnp.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
        >>> loss = linear_softmax_cross_entropy(x, w, jnp.array([0, 1, 2]), reduction="mean")
        >>> print(f"{loss:.3f} nats, perplexity {jnp.exp(loss):.3f}")
        0.390 nats, perplexity 1.477

    References: Wijmans et al. (2024), Cut Your Losses in Large-Vocabulary Language Models, for the
    problem; de Brébisson & Vincent (2016), The Z-loss, and Chowdhery et al. (2022), PaLM, section
    5, for `z_loss`.

    See also: `softmax_cross_entropy` for logits that exist, `linear_softmax_loss` for any loss of
    log-probability, entropy and logsumexp.
    """
    tokens = {"x": x, "labels": labels, "label_probs": label_probs, "weights": weights}
    classes = {"b": b, "where": where, "class_weights": class_weights}
    numbers = {"label_smoothing": label_smoothing, "focal_gamma": focal_gamma, "z_loss": z_loss}
    numbers |= {"normalizer": normalizer, **shaping(logits_fn, softcap, temperature)}
    given = Given(tokens, {"w": w}, classes, numbers)
    options = Options(reduction, base, chunk_size, precision, axis_name, ignore_index)
    options = options._replace(return_statistics=return_statistics)
    return by_types("linear_softmax_cross_entropy", functions.linear_cross_entropy, options, given)


@compiled(prepare_logits_fn)
def linear_softmax_entropy(
    x: ArrayLike,
    w: ArrayLike,
    *,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] | None = None,
    normalizer: ArrayLike | None = None,
    return_statistics: bool = False,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Any:
    """Entropy of softmax(x @ w + b), without the tokens × classes logits.

    H = log1p(s) + Σ_j e^{−u_j} u_j / (1 + s), as in `softmax_entropy`, chunk after chunk.

    Args:
        x: (..., D), one vector of features per token.
        w: (D, K).
        b: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,).
        weights: one weight per example, 1 by default; 0 leaves it out.
        reduction: None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.
        normalizer: with "mean", what to divide by instead of Σ w.
        return_statistics: give (loss, `SoftmaxStatistics`), from the same pass, not differentiated.
        logits_fn: any differentiable map of the logits of a token, elementwise or not.
        softcap: logits become softcap·tanh(logits / softcap), before `logits_fn`.
        temperature: logits are divided by it, after `softcap` and `logits_fn`.
        base: unit of the result, None for nats, 2 for bits.
        chunk_size: tokens per chunk that a device holds; None chooses from the shapes.
        precision: of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        (...), or a scalar with `reduction`; float32 (float64 for float64 input), in nats unless
        `base` is given.

    Edge cases: those of `softmax_entropy`.

    Example:
        >>> import jax.numpy as jnp
        >>> print(linear_softmax_entropy(jnp.zeros((2, 3)), jnp.ones((3, 4)), base=2))
        [2. 2.]

    References: Jaynes (1957), Information Theory and Statistical Mechanics, equation 2.11.

    See also: `softmax_entropy` for logits that exist, `linear_softmax_statistics`.
    """
    numbers = {"normalizer": normalizer, **shaping(logits_fn, softcap, temperature)}
    given = Given({"x": x, "weights": weights}, {"w": w}, {"b": b, "where": where}, numbers)
    options = Options(reduction, base, chunk_size, precision, axis_name)
    options = options._replace(return_statistics=return_statistics)
    return by_types("linear_softmax_entropy", functions.linear_entropy, options, given)
