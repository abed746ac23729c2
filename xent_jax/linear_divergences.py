"""Divergences between two linear heads, streamed together: KL for distillation, Jensen–Shannon."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from collections.abc import Callable
from typing import Literal

from jax import Array
from jax.lax import PrecisionLike
from jax.typing import ArrayLike

from ._call import compiled
from ._linear import functions
from ._linear.by_types import Given, by_types, shaping
from ._linear.prepare import prepare_logits_fn
from ._linear.reduce import Options


@compiled(prepare_logits_fn)
def linear_softmax_kl_divergence(
    xp: ArrayLike,
    wp: ArrayLike,
    xq: ArrayLike,
    wq: ArrayLike,
    *,
    bp: ArrayLike | None = None,
    bq: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] | None = None,
    normalizer: ArrayLike | None = None,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """D(p‖q) between softmax(xp @ wp + bp), the truth, and softmax(xq @ wq + bq).

    Both heads are streamed together; Σ p_j·φ(log(p_j/q_j)) as in `softmax_kl_divergence`. What
    shapes logits shapes those of both. Differentiable in both heads: for distillation the teacher's
    side is simply not differentiated, and costs nothing then.

    Args:
        xp: (..., Dp), features of the truth (the teacher).
        wp: (Dp, K).
        xq: (..., Dq), features of the model (the student), of the same tokens.
        wq: (Dq, K).
        bp: (K,), added to the logits; or one number.
        bq: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,).
        weights: one weight per example, 1 by default; 0 leaves it out.
        reduction: None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.
        normalizer: with "mean", what to divide by instead of Σ w.
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

    Edge cases: those of `softmax_kl_divergence`: equal heads give exactly 0.

    Example:
        >>> import jax.numpy as jnp
        >>> x, w = jnp.ones((1, 2)), jnp.array([[0.0, 1.0], [0.0, 1.0]])
        >>> print(linear_softmax_kl_divergence(x, 0 * w, x, w).round(6))
        [0.433781]

    References: Hinton, Vinyals & Dean (2015), Distilling the Knowledge in a Neural Network.

    See also: `softmax_kl_divergence` for logits that exist, `linear_softmax_js_divergence`.
    """
    tokens, heads = {"xp": xp, "xq": xq, "weights": weights}, {"wp": wp, "wq": wq}
    numbers = {"normalizer": normalizer, **shaping(logits_fn, softcap, temperature)}
    given = Given(tokens, heads, {"bp": bp, "bq": bq, "where": where}, numbers)
    options = Options(reduction, base, chunk_size, precision, axis_name)
    return by_types("linear_softmax_kl_divergence", functions.linear_kl_divergence, options, given)


@compiled(prepare_logits_fn)
def linear_softmax_js_divergence(
    xp: ArrayLike,
    wp: ArrayLike,
    xq: ArrayLike,
    wq: ArrayLike,
    *,
    bp: ArrayLike | None = None,
    bq: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Literal["sum", "mean"] | None = None,
    normalizer: ArrayLike | None = None,
    logits_fn: Callable[[Array], Array] | None = None,
    softcap: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
    base: float | None = None,
    chunk_size: int | None = None,
    precision: PrecisionLike = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Jensen–Shannon divergence between softmax(xp @ wp + bp) and softmax(xq @ wq + bq).

    Σ_j m_j·(h_j tanh h_j − log cosh h_j) with m = (p + q)/2 and h = ½ log(p/q), as in
    `softmax_js_divergence`, chunk after chunk, both heads streamed together. What shapes logits
    shapes those of both.

    Args:
        xp: (..., Dp), features on one side.
        wp: (Dp, K).
        xq: (..., Dq), features on the other side, of the same tokens.
        wq: (Dq, K).
        bp: (K,), added to the logits; or one number.
        bq: (K,), added to the logits; or one number.
        where: boolean; False means that the outcome does not exist: it adds nothing.
            Of shape (K,).
        weights: one weight per example, 1 by default; 0 leaves it out.
        reduction: None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.
        normalizer: with "mean", what to divide by instead of Σ w.
        logits_fn: any differentiable map of the logits of a token, elementwise or not.
        softcap: logits become softcap·tanh(logits / softcap), before `logits_fn`.
        temperature: logits are divided by it, after `softcap` and `logits_fn`.
        base: unit of the result, None for nats, 2 for bits.
        chunk_size: tokens per chunk that a device holds; None chooses from the shapes.
        precision: of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        (...), or a scalar with `reduction`; float32 (float64 for float64 input), in nats unless
        `base` is given; from 0 to log 2 per token.

    Edge cases: those of `softmax_js_divergence`: equal heads give exactly 0, disjoint ones log 2.

    Example:
        >>> import jax.numpy as jnp
        >>> x, w = jnp.ones((1, 1)), jnp.array([[0.0, 1.0]])
        >>> print(linear_softmax_js_divergence(x, w, x, w[:, ::-1]).round(6))
        [0.110944]

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 4.1.

    See also: `softmax_js_divergence` for logits that exist, `linear_softmax_kl_divergence`.
    """
    tokens, heads = {"xp": xp, "xq": xq, "weights": weights}, {"wp": wp, "wq": wq}
    numbers = {"normalizer": normalizer, **shaping(logits_fn, softcap, temperature)}
    given = Given(tokens, heads, {"bp": bp, "bq": bq, "where": where}, numbers)
    options = Options(reduction, base, chunk_size, precision, axis_name)
    return by_types("linear_softmax_js_divergence", functions.linear_js_divergence, options, given)
