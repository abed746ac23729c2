"""What the functions of the linear row do alike: heads, masks, weights, reductions, units."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .. import _checks as check
from .._call import in_base, some_kept
from .._class_axes import Axes, class_count
from .._math.dtypes import compute_dtype
from .._rows.row_function import RowFunction
from .chunks import chunk_size, shards_of_tokens
from .heads import Classes, Head, Plan, Tokens
from .token_values import token_values
from .weighted_sum import losses_of, unless_left_out, weighted_sum


class Options(NamedTuple):
    """The keywords that every function of the linear row takes."""

    where: Any
    weights: Any
    reduction: Any
    normalizer: Any
    logits_fn: Any
    base: Any
    chunk_size: Any
    axis_name: Any


class Batch(NamedTuple):
    """The heads with their tokens in one axis, the shape those had, and which classes exist."""

    heads: tuple[Head, ...]
    shape: tuple[int, ...]
    kept: Array | None
    axes: Axes

    @property
    def dtype(self) -> Any:
        return compute_dtype(self.heads[0].x)

    @property
    def classes(self) -> int:
        """K, over all shards of the classes."""
        return class_count(self.heads[0].w, self.axes)


def batch(name: str, arguments: Any, given: Any, options: Options) -> Batch:
    """One or two heads given as (x, w, b), checked against each other."""
    checked = [check.head(name, names, *head) for names, head in zip(arguments, given, strict=True)]
    shape, classes = checked[0][0].shape[:-1], checked[0][1].shape[1]
    check.heads_agree(name, arguments, checked)
    wide = jnp.float64 in [x.dtype for x, _, _ in checked]
    heads = []
    for x, w, b in checked:
        if wide:
            x, w = x.astype(jnp.float64), w.astype(jnp.float64)
            b = None if b is None else b.astype(jnp.float64)
        heads.append(Head(x.reshape(math.prod(shape), x.shape[-1]), w, b))
    logits = jax.ShapeDtypeStruct((1, classes), compute_dtype(heads[0].x))
    check.logits_fn(name, options.logits_fn, logits)
    kept = options.where
    if kept is not None:
        kept = check.class_mask(name, kept, classes)
    return Batch(
        tuple(heads),
        shape,
        kept,
        (1, *check.mesh_axes(name, options.axis_name, arguments[0][1], heads[0].w)),
    )


def row_masks(here: Batch, counted: Array | None = None, valid: Array | None = None) -> Array:
    """Per token: 0 if it is left out, NaN if its labels are not valid, else 1."""
    row_mask = jnp.ones(here.heads[0].x.shape[0], here.dtype)
    if valid is not None:
        row_mask = jnp.where(valid.reshape(-1), row_mask, jnp.nan)
    if counted is not None:
        row_mask = jnp.where(counted.reshape(-1), row_mask, 0.0)
    if here.kept is not None:
        some = some_kept(here.kept[None], (1, here.kept.size), here.axes)
        row_mask = jnp.where(jnp.ravel(some), row_mask, 0.0)
    return row_mask


def plan(
    name: str,
    here: Batch,
    row: RowFunction,
    options: Options,
    loss: Callable[..., Array] | None = None,
) -> Plan:
    chunk = check.chunk_size(name, options.chunk_size)
    if chunk is None:
        chunk = min(chunk_size(h.x.shape[0], h) for h in here.heads)
        chunk = max(1, chunk // len(here.heads))
    shards = shards_of_tokens(here.heads[0].x)
    return Plan(row, loss, options.logits_fn, -(-chunk // shards) * shards, here.axes)


def reduced(
    name: str,
    here: Batch,
    how: Plan,
    tokens: Tokens,
    options: Options,
    of_classes: tuple[Array, ...] = (),
    parameters: tuple[Array, ...] = (),
    mass: Array | None = None,
) -> Array:
    """weight · loss per token, or their sum, or their mean: divided by Σ weight · mass."""
    check.reduction(name, options.reduction, options.normalizer)
    classes, row_mask = Classes(here.kept, of_classes), tokens.row_mask[:, 0]
    weights = jnp.where(row_mask == 0.0, 0.0, jnp.ones((), here.dtype))
    if options.weights is not None:
        given = check.per_token(name, "weights", options.weights, here.shape).reshape(-1)
        weights = jnp.where(row_mask == 0.0, 0.0, given.astype(here.dtype))
    count = weights if mass is None else jnp.where(weights == 0.0, 0.0, weights * mass)
    heads = tuple(h._replace(x=_finite_where_seen(h.x, row_mask, weights)) for h in here.heads)
    if options.reduction is None:
        values = token_values(how, heads, tokens, classes)
        losses = losses_of(how, values, tokens, parameters)[:, 0]
        losses = weights * unless_left_out(losses, weights)
        return in_base(name, losses.reshape(here.shape), options.base)
    total = weighted_sum(how, heads, weights, tokens, classes, parameters)
    total = in_base(name, total, options.base)
    if options.reduction == "sum":
        return total
    normalizer = jnp.sum(count)
    if options.normalizer is not None:
        normalizer = check.scalar(name, "normalizer", options.normalizer).astype(total.dtype)
    empty = normalizer == 0.0
    return jnp.where(empty, 0.0, total / jnp.where(empty, 1.0, normalizer))


def _finite_where_seen(x: Array, row_mask: Array, weights: Array) -> Array:
    """x without what is left out: a NaN there would reach the gradient of w as 0·NaN."""
    broken = ~jnp.all(jnp.isfinite(x), axis=1)
    left_out = (row_mask == 0.0) | ((weights == 0.0) & broken)
    return jnp.where(left_out[:, None], jnp.zeros((), x.dtype), x)
