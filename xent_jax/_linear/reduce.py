"""What the functions of the linear row do alike: heads, masks, weights, reductions, units."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import _checks as check
from .._call import in_base, some_kept
from .._class_axes import Axes, class_count
from .._math.dtypes import compute_dtype, is_floating
from .._rows.row_function import RowFunction
from .gradients import Arguments, constants_of, losses_of, unless_left_out
from .heads import Classes, Head, Plan, Shaping, Tokens
from .per_token import beside
from .schedule import devices_of
from .token_values import token_values
from .weighted_sum import weighted_sum


class Options(NamedTuple):
    """The keywords that are known when a call is compiled."""

    reduction: str | None = None
    base: float | None = None
    chunk_size: int | None = None
    precision: Any = None
    axis_name: Any = None
    ignore_index: int | None = None
    return_statistics: bool = False
    devices: int | None = None  # that split the tokens, where the types tell


class Batch(NamedTuple):
    """The heads, the shape of their tokens as given and as they are worked on, and the classes."""

    heads: tuple[Head, ...]
    shape: tuple[int, ...]
    tokens: tuple[Any, ...]
    kept: Array | None
    shaping: Shaping
    class_axes: tuple[str, ...]

    @property
    def dtype(self) -> Any:
        return compute_dtype(self.heads[0].x)

    @property
    def axes(self) -> Axes:
        """The class axes of w."""
        return (1, *self.class_axes)

    @property
    def classes(self) -> int:
        """K, over all shards of the classes."""
        return class_count(self.heads[0].w, self.axes)

    def per_token(self, x: Array, *rest: Any) -> Array:
        """An array of the shape of the tokens as given, as they are worked on."""
        return x.reshape(*self.tokens, *rest)


def batch(name: str, arguments: Any, given: Any, options: Options, where: Any, shape: Any) -> Batch:
    """One or two heads given as (x, w, b), checked against each other."""
    checked = [check.head(name, names, *head) for names, head in zip(arguments, given, strict=True)]
    tokens = lead = checked[0][0].shape[:-1]
    check.heads_agree(name, arguments, checked)
    if devices_of(checked[0][0]).all == 1 or not lead:  # else an axis may be split, and stays
        tokens = (math.prod(lead),)
    wide = jnp.float64 in [x.dtype for x, _, _ in checked]
    heads = []
    for x, w, b in checked:
        if wide:
            x, w = x.astype(jnp.float64), w.astype(jnp.float64)
        if b is not None and jnp.float64 in (b.dtype, x.dtype):
            b = b.astype(compute_dtype(x))
        heads.append(Head(x.reshape(*tokens, x.shape[-1]), w, b))
    dtype, classes = compute_dtype(heads[0].x), checked[0][1].shape[1]
    if where is not None:
        where = check.class_mask(name, where, classes)
    softcap, logits_fn, temperature = shape
    if softcap is not None:
        softcap = check.number(name, "softcap", softcap, check.POSITIVE).astype(dtype)
    if temperature is not None:
        temperature = check.number(name, "temperature", temperature, check.POSITIVE).astype(dtype)
    shaping = Shaping(softcap, logits_fn, temperature)
    axes = check.mesh_axes(name, options.axis_name, arguments[0][1], heads[0].w)
    return Batch(tuple(heads), lead, tokens, where, shaping, axes)


def row_masks(here: Batch, counted: Array | None = None, valid: Array | None = None) -> Array:
    """Per token: 0 if it is left out, NaN if its labels are not valid, else 1; (tokens…, 1)."""
    row_mask = jnp.ones(here.tokens, here.dtype)
    if valid is not None:
        row_mask = jnp.where(valid, row_mask, jnp.nan)
    if counted is not None:
        row_mask = jnp.where(counted, row_mask, 0.0)
    if here.kept is not None:
        some = some_kept(here.kept[None], (1, here.kept.size), here.axes)
        row_mask = jnp.where(jnp.ravel(some).reshape((1,) * row_mask.ndim), row_mask, 0.0)
    return row_mask[..., None]


def plan(
    name: str,
    here: Batch,
    row: RowFunction,
    options: Options,
    loss: Callable[..., Array] | None = None,
    *,
    constants: int = 0,
    weighs: bool = False,
) -> Plan:
    chunk, hint = options.chunk_size, "; None chooses it from the shapes"
    chunk = check.integer(name, "chunk_size", chunk, positive=True, optional=True, hint=hint)
    precision = check.precision(name, options.precision)
    ignores = options.ignore_index is not None
    f = here.shaping.logits_fn
    whole_rows = f is not None and f.rank > 0
    return Plan(
        row,
        loss,
        chunk,
        precision,
        here.class_axes,
        constants,
        ignores,
        weighs,
        whole_rows,
        options.devices,
    )


class Reduced(NamedTuple):
    """The result, the constants of each token, and which tokens counted; of the tokens as given."""

    value: Array
    constants: tuple[Array, ...]
    counted: Array


class Inputs(NamedTuple):
    """What the row function and the loss take beside the logits, and how the losses are weighed.

    A mean divides by Σ weight · mass, where the weights are those of the tokens as given.
    """

    tokens: Tokens
    weights: Any = None
    normalizer: Any = None
    of_classes: tuple[Array, ...] = ()
    parameters: tuple[Array, ...] = ()
    mass: Array | None = None


def reduced(name: str, here: Batch, how: Plan, options: Options, inputs: Inputs) -> Reduced:
    """weight · loss per token, or their sum, or their mean."""
    check.reduction(name, options.reduction, inputs.normalizer)
    tokens, parameters = inputs.tokens, inputs.parameters
    classes = Classes(here.kept, inputs.of_classes, here.shaping)
    weights = _weights(name, here, inputs)
    row_mask = tokens.row_mask[..., 0]
    heads = tuple(h._replace(x=_finite_where_seen(h.x, row_mask, weights)) for h in here.heads)
    tokens = tokens._replace(of_loss=tuple(_finite_data(x, weights) for x in tokens.of_loss))
    if options.reduction is None:
        values = token_values(how, heads, tokens, classes)
        constants = constants_of(how, values)
        losses = losses_of(how, values, tokens, parameters)
        value = (weights * unless_left_out(losses, weights)).reshape(here.shape)
    else:
        arguments = Arguments(heads, weights, tokens, classes, parameters)
        value, constants = weighted_sum(how, arguments)
    value = in_base(name, value, options.base)
    if options.reduction == "mean":
        value = _mean(name, value, weights, inputs)
    counted = weights != 0.0
    constants = tuple(jnp.where(counted, x, jnp.zeros((), x.dtype)) for x in constants)
    shaped = tuple(x.reshape(here.shape) for x in constants)
    return Reduced(value, shaped, counted.reshape(here.shape))


def _weights(name: str, here: Batch, inputs: Inputs) -> Array:
    """Per token, 0 for one that is left out."""
    given = jnp.ones((), here.dtype)
    if inputs.weights is not None:
        given = here.per_token(
            check.example_weights(name, inputs.weights, here.shape, "token", "this x")
        )
    return jnp.where(inputs.tokens.row_mask[..., 0] == 0.0, 0.0, given.astype(here.dtype))


def _mean(name: str, total: Array, weights: Array, inputs: Inputs) -> Array:
    if inputs.normalizer is not None:
        normalizer = check.number(name, "normalizer", inputs.normalizer).astype(total.dtype)
    elif inputs.mass is not None:
        normalizer = jnp.sum(jnp.where(weights == 0.0, 0.0, weights * inputs.mass))
    else:
        normalizer = jnp.sum(weights)
    empty = normalizer == 0.0
    return jnp.where(empty, 0.0, total / jnp.where(empty, 1.0, normalizer))


def _finite_data(x: Array, weights: Array) -> Array:
    """Data of the loss, 1 for what is not finite and has weight 0: it would make gradients NaN."""
    if not is_floating(x):
        return x
    return jnp.where(beside(weights == 0.0, x) & ~jnp.isfinite(x), jnp.ones((), x.dtype), x)


def _finite_where_seen(x: Array, row_mask: Array, weights: Array) -> Array:
    """x without what is left out: a NaN there would reach the gradient of w as 0·NaN."""
    broken = ~jnp.all(jnp.isfinite(x), axis=-1)
    left_out = (row_mask == 0.0) | ((weights == 0.0) & broken)
    return jnp.where(left_out[..., None], jnp.zeros((), x.dtype), x)
