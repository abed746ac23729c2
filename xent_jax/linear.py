"""The linear row: softmax functions of logits x @ w + b that are never materialised."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import compiled
from ._class_axes import take_class
from ._epilogue import loss_of_row
from ._labelled import class_weight_array, smoothing_share, traced_amounts, weight_of
from ._linear.heads import Classes, Tokens
from ._linear.reduce import Batch, Options, batch, plan, reduced, row_masks
from ._linear.rows import labelled_row
from ._linear.token_values import token_values
from ._math.costs import focal, itself
from ._rows.softmax_divergence import js, kl
from ._rows.softmax_statistics import statistics
from ._statistics import SoftmaxStatistics, as_statistics, statistics_names

_STATIC = ("reduction", "logits_fn", "base", "chunk_size", "axis_name")


@compiled(*_STATIC, "ignore_index")
def linear_softmax_cross_entropy(
    x: ArrayLike,
    w: ArrayLike,
    labels: ArrayLike,
    *,
    label_probs: ArrayLike | None = None,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: str | None = None,
    normalizer: ArrayLike | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    focal_gamma: ArrayLike | None = None,
    z_loss: ArrayLike | None = None,
    ignore_index: int | None = None,
    logits_fn: Any = None,
    base: float | None = None,
    chunk_size: int | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Cross entropy of softmax(x @ w + b) at class ids, without the tokens × classes logits.

    −log p_y = u_y + log1p(s) with the numbers of `softmax_cross_entropy`, chunk after chunk of the
    tokens; with `reduction` the gradients by x and w come from the same pass: three matrix products
    for loss and gradients.

    Args:
        x: (..., D), one vector of features per token.
        w: (D, K), for instance `embedding.T` of a tied embedding: no copy is made.
        labels: integers (...), the class ids; or (..., k) with `label_probs`.
        label_probs: (..., k), the probability of each of k classes per token (a top-k teacher);
            a class that is not named counts 0, and so does one that `where` masks.
        b: (K,), added to the logits.
        where: boolean (K,); False means that the class does not exist (a padded vocabulary).
        weights: (...), multiplies the loss of each token; 0 skips one.
        reduction: None for one loss per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w, 0 if Σ w
            is 0; a token that `ignore_index` leaves out has weight 0.
        normalizer: with "mean", what to divide by instead of Σ w: the count over all devices, or
            over all the micro-batches of a step.
        label_smoothing: α in [0, 1], labels become (1 − α)·labels + α/K, K the number of classes
            that `where` keeps.
        class_weights: (K,), the weight w_j of each class: smoothed labels y become w·y, and for
            class ids "mean" divides by Σ weights·w_y.
        focal_gamma: γ ≥ 0 of the focal loss (1 − p)^γ·(−log p), as in `softmax_focal_loss`.
        z_loss: adds z_loss·(log Σ e^z)² to the loss of each token (in nats, before `base`),
            whatever the class weights.
        ignore_index: the id of tokens to leave out: loss 0 and gradient 0; of several ids per
            token it leaves out that one, such as the padding of fewer than k.
        logits_fn: any differentiable elementwise map of the logits, such as
            `lambda z: 30 * jnp.tanh(z / 30)`; it must not close over traced values.
        base: unit of the result, None for nats, 2 for bits.
        chunk_size: tokens per chunk; None chooses from the shapes, so that the logits of a chunk
            take 64 MiB, or a quarter of what the gradient of w takes if that is more.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes (w, b, where) are
            split; labels stay global ids. One vector of tokens per sum goes over that axis, and
            the gradient by x.

    Returns:
        (...), or a scalar with `reduction`; float32 (float64 for float64 input), in nats unless
        `base` is given. Whatever comes in, the products are summed and the softmax is computed in
        that dtype; p − y is cast to the dtype of x and w for its two products.

    Edge cases: those of `softmax_cross_entropy` · an id outside [0, K) gives NaN for that token · a
    label masked by `where`: +inf · a weight of 0 leaves out even an infinite loss · no tokens:
    "sum" and "mean" are 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, w = jnp.eye(3, 2), jnp.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
        >>> loss = linear_softmax_cross_entropy(x, w, jnp.array([0, 1, 2]), reduction="mean")
        >>> print(f"{loss:.3f} nats, perplexity {jnp.exp(loss):.3f}")
        0.390 nats, perplexity 1.477

    References: Wijmans et al. (2024), Cut Your Losses in Large-Vocabulary Language Models, for the
    problem; de Brébisson & Vincent (2016), The Z-loss, and Chowdhery et al. (2022), PaLM, section
    5, for `z_loss`.

    See also: `softmax_cross_entropy` for logits that exist, `linear_softmax_statistics`.
    """
    name = "linear_softmax_cross_entropy"
    options = Options(where, weights, reduction, normalizer, logits_fn, base, chunk_size, axis_name)
    here = batch(name, [("x", "w", "b")], [(x, w, b)], options)
    alpha, z_weight = traced_amounts(name, label_smoothing, z_loss, here.dtype)
    ids, counted, valid = _ids(name, here, labels, label_probs, ignore_index)
    row_mask = row_masks(here, counted, valid)[:, None]
    logits = jax.ShapeDtypeStruct((1, here.heads[0].w.shape[1]), here.dtype)
    few, smoothing = label_probs is not None, alpha is not None
    one = laid = jnp.ones((1, 1), here.dtype)
    of_loss, mass = (jnp.ones_like(row_mask),), None
    if class_weights is not None:
        flat = class_weight_array(name, class_weights, here.heads[0].w, here.axes)
        flat = flat.astype(here.dtype)
        laid = flat[None]
        if not few:
            weight = weight_of(flat, ids, here.heads[0].w, here.axes)
            of_loss, mass = (jnp.where(row_mask == 0.0, 0.0, weight),), weight[:, 0]
    kept = None if here.kept is None else here.kept[None]
    share, count = smoothing_share(kept, laid, logits, here.axes)
    f, parameter = itself, ()
    if focal_gamma is not None:
        gamma = check.number(name, "focal_gamma", focal_gamma).astype(here.dtype).reshape(1, 1)
        f, parameter = focal, (gamma,)

    data = (ids,)
    if few:
        data = (_label_probs(name, here, labels, label_probs, ids, ignore_index), ids)
    row, names = labelled_row(f, few, smoothing, z_weight is not None)
    count = jnp.asarray(count, here.dtype)
    amounts = (alpha, count if smoothing else None, z_weight)
    given = tuple(x.reshape(1, 1) for x in amounts if x is not None)
    loss = _TokenLoss(f, names, len(parameter), smoothing, z_weight is not None)
    of_classes = (laid, share, one, *parameter)
    how = plan(name, here, row, options, loss)
    tokens = Tokens(row_mask, data, of_loss)
    return reduced(name, here, how, tokens, options, of_classes, (*parameter, *given), mass)


@dataclass(frozen=True)
class _TokenLoss:
    """`loss_of_row` of the named values, with parameters in order: those of f, α and K, z-loss."""

    f: Callable[..., Array]
    names: tuple[str, ...]
    parameters_of_f: int
    smoothing: bool
    z_loss: bool

    def __call__(
        self, values: Any, row_mask: Array, of_loss: tuple[Array, ...], parameters: Any
    ) -> Array:
        of_f, amounts = parameters[: self.parameters_of_f], list(parameters[self.parameters_of_f :])
        alpha = amounts.pop(0) if self.smoothing else None
        count = amounts.pop(0) if self.smoothing else 1.0
        z_loss = amounts.pop(0) if self.z_loss else None
        numbers, (weight,) = dict(zip(self.names, values, strict=True)), of_loss
        return loss_of_row(numbers, row_mask, self.f, of_f, weight, alpha, count, z_loss)


def _label_probs(
    name: str, here: Batch, labels: Any, label_probs: Any, ids: Array, ignore_index: Any
) -> Array:
    """(tokens, k): the probabilities that were given, 0 for ids that do not count."""
    probs = check.real_array(name, "label_probs", label_probs)
    check.same_shape(name, "labels", jnp.asarray(labels), "label_probs", probs)
    probs = probs.reshape(ids.shape)
    check.probabilities(name, "label_probs", probs)
    named = _named(here, jnp.asarray(labels).reshape(ids.shape), ids, ignore_index)
    probs = jnp.where(named, probs, jnp.zeros((), probs.dtype))
    return probs.astype(here.dtype) if jnp.float64 in (here.dtype, probs.dtype) else probs


def _ids(
    name: str, here: Batch, labels: Any, probs: Any, ignore_index: int | None
) -> tuple[Array, Array | None, Array]:
    """The ids (tokens, 1 or k) in range; which tokens count; which have valid ids."""
    labels, integers = check.label_array(name, labels)
    if not integers:
        raise TypeError(
            f"{name}: labels must be integer class ids, got {labels.dtype}; give a distribution "
            "over few classes as ids with label_probs."
        )
    check.ignore_index_for_ids(name, ignore_index, True)
    few = labels.shape[-1:] if probs is not None else ()
    check.token_labels(name, labels, here.shape, few)
    classes = here.classes
    ids = labels.reshape(math.prod(here.shape), *few)
    ids = ids if few else ids[:, None]
    in_range, counted = (ids >= 0) & (ids <= classes - 1), None
    valid = in_range
    if ignore_index is not None:
        named = check.differs(ids, ignore_index)
        valid, counted = in_range | ~named, jnp.any(named, 1)
    valid = jnp.all(valid, 1)
    check.ids_in_range(name, lambda: valid, classes)
    return jnp.where(in_range, ids, 0).astype(jnp.int32), counted, valid


def _named(here: Batch, given: Array, ids: Array, ignore_index: int | None) -> Array:
    """Which of a token's ids count: not those that are ignored, nor classes that do not exist."""
    named = jnp.ones(ids.shape, bool)
    if ignore_index is not None:
        named = check.differs(given, ignore_index)
    if here.kept is not None:
        kept = jnp.broadcast_to(here.kept[None], (ids.shape[0], here.kept.size))
        each = jnp.split(ids, ids.shape[1], 1)
        exists = [take_class(kept.astype(here.dtype), y, here.axes) for y in each]
        named &= jnp.concatenate(exists, 1) > 0.0
    return named


@compiled(*_STATIC)
def linear_softmax_entropy(
    x: ArrayLike,
    w: ArrayLike,
    *,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: str | None = None,
    normalizer: ArrayLike | None = None,
    logits_fn: Any = None,
    base: float | None = None,
    chunk_size: int | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Entropy of softmax(x @ w + b), without the tokens × classes logits.

    H = log1p(s) + Σ_j e^{−u_j} u_j / (1 + s), as in `softmax_entropy`, chunk after chunk.

    Args:
        x: (..., D), one vector of features per token.
        w: (D, K).
        b: (K,), added to the logits.
        where: boolean (K,); False means that the class does not exist.
        weights, reduction, normalizer, logits_fn, base, chunk_size, axis_name: as in
            `linear_softmax_cross_entropy`.

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
    name = "linear_softmax_entropy"
    options = Options(where, weights, reduction, normalizer, logits_fn, base, chunk_size, axis_name)
    here = batch(name, [("x", "w", "b")], [(x, w, b)], options)
    nothing = jnp.zeros((1, 1), here.dtype)
    how = plan(name, here, statistics("entropy"), options)
    return reduced(name, here, how, Tokens(row_masks(here)[:, None], ()), options, (nothing,) * 3)


@compiled(*_STATIC)
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
    reduction: str | None = None,
    normalizer: ArrayLike | None = None,
    logits_fn: Any = None,
    base: float | None = None,
    chunk_size: int | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """D(p‖q) between softmax(xp @ wp + bp), the truth, and softmax(xq @ wq + bq).

    Both heads are streamed together; Σ p_j·φ(log(p_j/q_j)) as in `softmax_kl_divergence`.
    Differentiable in both heads: for distillation the teacher's side is simply not differentiated,
    and costs nothing then.

    Args:
        xp: (..., Dp), features of the truth (the teacher).
        wp: (Dp, K).
        xq: (..., Dq), features of the model (the student), of the same tokens.
        wq: (Dq, K).
        bp, bq: (K,), added to the logits.
        where: boolean (K,); False means that the class does not exist.
        logits_fn: applied to the logits of both heads.
        weights, reduction, normalizer, base, chunk_size, axis_name: as in
            `linear_softmax_cross_entropy`.

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
    name = "linear_softmax_kl_divergence"
    options = Options(where, weights, reduction, normalizer, logits_fn, base, chunk_size, axis_name)
    here = batch(name, _PAIR, [(xp, wp, bp), (xq, wq, bq)], options)
    how = plan(name, here, kl, options)
    return reduced(name, here, how, Tokens(row_masks(here)[:, None], ()), options)


_PAIR = [("xp", "wp", "bp"), ("xq", "wq", "bq")]


@compiled(*_STATIC)
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
    reduction: str | None = None,
    normalizer: ArrayLike | None = None,
    logits_fn: Any = None,
    base: float | None = None,
    chunk_size: int | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Jensen–Shannon divergence between softmax(xp @ wp + bp) and softmax(xq @ wq + bq).

    Σ_j m_j·(h_j tanh h_j − log cosh h_j) with m = (p + q)/2 and h = ½ log(p/q), as in
    `softmax_js_divergence`, chunk after chunk, both heads streamed together.

    Args:
        xp: (..., Dp), features on one side.
        wp: (Dp, K).
        xq: (..., Dq), features on the other side, of the same tokens.
        wq: (Dq, K).
        bp, bq: (K,), added to the logits.
        where: boolean (K,); False means that the class does not exist.
        logits_fn: applied to the logits of both heads.
        weights, reduction, normalizer, base, chunk_size, axis_name: as in
            `linear_softmax_cross_entropy`.

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
    name = "linear_softmax_js_divergence"
    options = Options(where, weights, reduction, normalizer, logits_fn, base, chunk_size, axis_name)
    here = batch(name, _PAIR, [(xp, wp, bp), (xq, wq, bq)], options)
    how = plan(name, here, js, options)
    return reduced(name, here, how, Tokens(row_masks(here)[:, None], ()), options)


@compiled("logits_fn", "base", "chunk_size", "axis_name")
def linear_softmax_statistics(
    x: ArrayLike,
    w: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    logits_fn: Any = None,
    base: float | None = None,
    chunk_size: int | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> SoftmaxStatistics:
    """Log-probability of the label, logsumexp, entropy, argmax and accuracy, from one pass.

    log p_y = −(u_y + log1p(s)), log Σ e^z = max z + log1p(s) and H = log1p(s) + Σ e^{−u} u/(1 + s):
    what an evaluation or a policy gradient needs of the logits x @ w + b, without them.

    Args:
        x: (..., D), one vector of features per token.
        w: (D, K).
        labels: integers (...), the class ids; None if there are none.
        b: (K,), added to the logits.
        where: boolean (K,); False means that the class does not exist.
        logits_fn, chunk_size, axis_name: as in `linear_softmax_cross_entropy`.
        base: unit of log_prob, logsumexp and entropy, None for nats, 2 for bits.

    Returns:
        A NamedTuple of arrays (...): `log_prob`, `logsumexp` and `entropy` in float32 (float64 for
        float64 input) are differentiable in x, w and b; `argmax` is int32, the first of tied
        classes; `correct` is boolean, whether it is the label. Without labels `log_prob` and
        `correct` are None.

    Edge cases: those of `softmax_cross_entropy` and `softmax_entropy` · an id outside [0, K): a
    log_prob of NaN, and not correct · a masked label: log_prob −inf · `where` all False: 0 for all.

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
    name = "linear_softmax_statistics"
    options = Options(where, None, None, None, logits_fn, base, chunk_size, axis_name)
    here = batch(name, [("x", "w", "b")], [(x, w, b)], options)
    names, of_labels, ids, valid = statistics_names(labels is not None), (), None, None
    if labels is not None:
        ids, _, valid = _ids(name, here, labels, None, None)
        of_labels = (ids,)
    nothing = jnp.zeros((1, 1), here.dtype)
    row_mask = row_masks(here)[:, None]
    how = plan(name, here, statistics(*names), options)
    classes = Classes(here.kept, (nothing,) * (2 if of_labels else 3))
    values = token_values(how, here.heads, Tokens(row_mask, of_labels), classes)
    shaped = [v.reshape(here.shape) for v in values]
    ids = None if ids is None else ids.reshape(here.shape)
    valid = None if valid is None else valid.reshape(here.shape)
    row_mask = row_mask.reshape(here.shape)
    return as_statistics(name, dict(zip(names, shaped, strict=True)), ids, valid, row_mask, base)
