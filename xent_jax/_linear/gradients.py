"""The loss of a chunk and its gradients: three matrix products.

A part of a chunk computes its logits, the values of the row function, the derivatives of the loss
by them, and with the partials of the values the slopes by the logits; two more products per chunk
and they are slopes by x and w.
"""

import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import vary_like, vary_over, varying
from .._math.dtypes import compute_dtype, largest
from .._math.sizes import is_one
from .chunks import in_chunks, in_parts
from .heads import (
    Classes,
    Head,
    Plan,
    Tokens,
    logits_and_pull,
    raw_logits,
    slope_by_w,
    slope_by_x,
)
from .per_token import beside
from .platforms import cut, features_whole, padded
from .schedule import Limits, devices_of, schedule
from .token_values import inputs, partials_of, values_and_residuals_of


class Arguments(NamedTuple):
    """Weights: (tokens…); parameters of the loss, of any shape, are shared by the tokens."""

    heads: tuple[Head, ...]
    weights: Array
    tokens: Tokens
    classes: Classes
    parameters: tuple[Array, ...]


def losses_of(
    plan: Plan, values: tuple[Array, ...], tokens: Tokens, parameters: tuple[Array, ...]
) -> Array:
    """The loss of each token, (tokens…): the first value where the plan has no loss."""
    rows = tokens.row_mask.shape[:-1]
    each = tuple(jnp.broadcast_to(x, (*rows, *x.shape)) for x in parameters)
    return _losses(plan, values, tokens.row_mask, tokens.of_loss, each)


def _losses(plan: Plan, values: Any, row_mask: Array, of_loss: Any, each: Any) -> Array:
    if plan.loss is None:
        return values[0][..., 0]
    return plan.loss(values, row_mask, of_loss, each)


def constants_of(plan: Plan, values: tuple[Array, ...]) -> tuple[Array, ...]:
    """The values that are told beside the loss, and not differentiated."""
    found = values[len(values) - plan.constants :]
    return tuple(lax.stop_gradient(v[..., 0]) for v in found)


def unless_left_out(values: Array, weights: Array) -> Array:
    """The values, 0 for those that are not finite and have weight 0: 0·inf would be NaN."""
    return jnp.where((weights == 0.0) & ~jnp.isfinite(values), 0.0, values)


def meeting_logits(x: Arguments) -> Any:
    """What each shard of the classes has a part of the gradients of."""
    return x.heads, x.tokens.data, x.classes


def others(x: Arguments) -> Any:
    """What each shard of the classes has the whole gradients of."""
    return x.weights, x.tokens.row_mask, x.tokens.of_loss, x.parameters


class _Sums(NamedTuple):
    """What adds up over the tokens, None where it is not wanted; of heads in their order."""

    by_w: list[Array | None]
    by_b: list[Array | None]
    by_classes: list[Array | None]
    by_shaping: list[Array | None]
    by_parameters: list[Array | None]


class _Results(NamedTuple):
    """What each token has."""

    losses: Array
    constants: tuple[Array, ...]
    by_data: list[Array | None]
    by_data_of_loss: list[Array | None]


def sum_and_gradients(
    plan: Plan,
    want: Arguments,
    limits: Limits,
    arguments: Arguments,
    live: Array | None,
    differentiated: bool = False,
) -> tuple[Array, tuple[Array, ...], Any]:
    """Σ weight · loss, the constants of each token, and the gradients by what is wanted.

    Those by `meeting_logits`, and apart from them by the others, None where they are not wanted.
    """
    heads, weights, tokens, classes, parameters = arguments
    heads, classes = padded(limits, heads, classes)
    heads = tuple(h._replace(w=features_whole(h.w)) for h in heads)
    whole = _varied(plan, Arguments(heads, weights, tokens, classes, parameters))
    how = schedule(weights.shape, devices_of(weights, plan.devices), limits)
    step = partial(_chunk, plan, want, whole, how.parts > 1)
    if differentiated:
        step = jax.checkpoint(step, prevent_cse=False)
    given = (inputs(heads), weights, tokens)
    sums, (found, dxs) = in_chunks(how, step, _zero_sums(plan, want, whole), given, live)
    by_heads: Any = tuple(
        Head(dx, cut(features_whole(dw), h.w), cut(db, h.b))
        for h, dx, dw, db in zip(arguments.heads, dxs, sums.by_w, sums.by_b, strict=True)
    )
    shaping = jax.tree.unflatten(jax.tree.structure(classes.shaping), sums.by_shaping)
    by_classes = Classes(None, tuple(map(cut, sums.by_classes, arguments.classes.data)), shaping)
    of_shard = _leaves_like(meeting_logits(arguments), (by_heads, tuple(found.by_data), by_classes))
    losses = unless_left_out(found.losses, weights)
    # An infinite slope is made finite, as those of the row functions are.
    by_weights = jnp.clip(losses, -largest(losses), largest(losses)) if want.weights else None
    of_whole = (by_weights, None, *found.by_data_of_loss, *sums.by_parameters)
    return jnp.sum(weights * losses), found.constants, (of_shard, of_whole)


def _axes_of_results(plan: Plan, whole: Arguments) -> tuple[frozenset[str], frozenset[str]]:
    """Over which mesh axes what meets the logits varies, and what meets the losses.

    Those are the same on all shards of the classes.
    """
    of_logits = frozenset().union(*map(varying, jax.tree.leaves(whole)))
    return of_logits, of_logits - frozenset(plan.class_axes)


def _varied(plan: Plan, whole: Arguments) -> Arguments:
    """With what the functions close over varying already, so that no slope by it is added up over
    the mesh inside a loop."""
    of_logits, of_losses = _axes_of_results(plan, whole)
    shaping = jax.tree.map(partial(vary_over, of_logits), whole.classes.shaping)
    parameters = tuple(vary_over(of_losses, x) for x in whole.parameters)
    return whole._replace(classes=whole.classes._replace(shaping=shaping), parameters=parameters)


def _zero_sums(plan: Plan, want: Arguments, whole: Arguments) -> _Sums:
    of_logits, of_losses = _axes_of_results(plan, whole)

    def zeros(over: frozenset[str], x: Array | None, wanted: Any) -> Array | None:
        if x is None or not wanted:
            return None
        return vary_over(over, jnp.zeros(x.shape, compute_dtype(x)))

    def of(xs: Any, wanted: Any, over: frozenset[str] = of_logits) -> list[Array | None]:
        return [zeros(over, x, w) for x, w in zip(xs, wanted, strict=True)]

    heads, classes = whole.heads, whole.classes
    by_w = of([h.w for h in heads], [w.w for w in want.heads])
    return _Sums(
        list(map(features_whole, by_w)),
        of([h.b for h in heads], [w.b for w in want.heads]),
        of(classes.data, want.classes.data),
        of(jax.tree.leaves(classes.shaping), jax.tree.leaves(want.classes.shaping)),
        of(whole.parameters, want.parameters, of_losses),
    )


def _chunk(
    plan: Plan, want: Arguments, whole: Arguments, parted: bool, sums: _Sums, given: Any
) -> tuple[_Sums, tuple[_Results, list[Array | None]]]:
    """A chunk: the slopes of its parts by the logits, and one product for each of dx and dw."""
    part = partial(_part, plan, want, whole)
    run = partial(in_parts, part) if parted else part
    xs = given[0]
    sums, (slopes, found) = run(sums, given)
    dxs: list[Any] = []
    dws: list[Any] = []
    for head, x, g, wanted, dw in zip(whole.heads, xs, slopes, want.heads, sums.by_w, strict=True):
        dxs.append(slope_by_x(plan, g, head.w) if wanted.x else None)
        dws.append(dw if dw is None else features_whole(dw + slope_by_w(plan, x, g)))
    return sums._replace(by_w=dws), (found, dxs)


def _part(
    plan: Plan, want: Arguments, whole: Arguments, sums: _Sums, given: Any
) -> tuple[_Sums, tuple[list[Array], _Results]]:
    """The slopes by the logits of each head, in the dtype of its operands."""
    xs, weights, here = given
    heads = [h._replace(x=x) for h, x in zip(whole.heads, xs, strict=True)]
    zs, pulls = zip(
        *(logits_and_pull(whole.classes, raw_logits(plan, h)) for h in heads), strict=True
    )
    values, residuals = values_and_residuals_of(plan, zs, here, whole.classes)
    losses, pull = _loss_and_pull(plan, values, here, whole.parameters, want.parameters)
    by_values, by_data_of_loss, by_parameters = pull(vary_like(weights, losses))
    left_out = weights == 0.0
    partials = partials_of(plan, residuals, zs, here, whole.classes)
    places = len(zs) + len(here.data) + len(whole.classes.data)
    slopes = _slopes(left_out, by_values, partials, places)
    of_raw, by_b, by_shaping = [], [], sums.by_shaping
    for g, pull_raw, h, db in zip(slopes[: len(zs)], pulls, heads, sums.by_b, strict=True):
        raw, shaping = pull_raw(g)
        of_raw.append(raw.astype(h.w.dtype))
        by_b.append(None if db is None else db + jnp.sum(raw, tuple(range(raw.ndim - 1))))
        by_shaping = _added(by_shaping, jax.tree.leaves(shaping))
    first = len(zs) + len(here.data)
    by_data = [
        _summed_to(x.shape, g) if wanted and g is not None else None
        for g, wanted, x in zip(slopes[len(zs) : first], want.tokens.data, here.data, strict=True)
    ]
    by_data_of_loss = [
        _unless_undefined(left_out, g) if wanted else None
        for g, wanted in zip(by_data_of_loss, want.tokens.of_loss, strict=True)
    ]
    by_parameters = [
        _unless_undefined(left_out, g) if total is not None else None
        for g, total in zip(by_parameters, sums.by_parameters, strict=True)
    ]
    sums = sums._replace(
        by_b=by_b,
        by_classes=_added(sums.by_classes, slopes[first:]),
        by_shaping=by_shaping,
        by_parameters=_added(sums.by_parameters, by_parameters),
    )
    return sums, (of_raw, _Results(losses, constants_of(plan, values), by_data, by_data_of_loss))


def _loss_and_pull(
    plan: Plan,
    values: tuple[Array, ...],
    here: Tokens,
    parameters: tuple[Array, ...],
    wanted: tuple[Any, ...],
) -> tuple[Array, Callable[[Array], Any]]:
    """The losses, and their derivatives by values, data and wanted parameters, all per token."""
    rows = here.row_mask.shape[:-1]
    each = [jnp.broadcast_to(x, (*rows, *x.shape)) for x in parameters]
    moving_values = values[: len(values) - plan.constants]

    def loss(values_: Any, of_loss: Any, moving: Any) -> Array:
        given = tuple(x if y is None else y for x, y in zip(each, moving, strict=True))
        values_ = (*values_, *values[len(values_) :])
        return _losses(plan, values_, here.row_mask, of_loss, given)

    moving = [x if want else None for x, want in zip(each, wanted, strict=True)]
    return jax.vjp(loss, moving_values, here.of_loss, moving)


def _slopes(left_out: Array, by_values: Any, partials: Any, places: int) -> list[Any]:
    """Σ over the values of (derivative of the loss by it)·(its partial), for each argument."""
    floating = [g for g in by_values if g.dtype != jax.dtypes.float0]
    found: list[Array | None] = []
    for i in range(places):
        terms = [
            g * of_value[i]
            for g, of_value in zip(floating, partials)
            if i < len(of_value) and of_value[i] is not None
        ]
        total = reduce(operator.add, terms) if terms else None
        found.append(None if total is None else _unless_undefined(left_out, total))
    return found


def _unless_undefined(left_out: Array, slope: Array) -> Array:
    """The slope; 0 where weight 0 meets what is not finite: a finite one moves by its weight."""
    return jnp.where(beside(left_out, slope) & ~jnp.isfinite(slope), 0.0, slope)


def _added(sums: list[Array | None], slopes: list[Array | None]) -> list[Array | None]:
    """The sums, with slopes per token or per entry summed to their shapes."""
    slopes = slopes + [None] * (len(sums) - len(slopes))
    return [
        total if total is None or g is None else total + _summed_to(total.shape, g)
        for total, g in zip(sums, slopes, strict=True)
    ]


def _summed_to(shape: tuple[int, ...], x: Array) -> Array:
    """x summed over the axes that the shape has not, or has with size one."""
    x = jnp.sum(x, tuple(range(x.ndim - len(shape))))
    one = [a for a, (n, m) in enumerate(zip(shape, x.shape)) if is_one(n) and not is_one(m)]
    return jnp.sum(x, tuple(one), keepdims=True)


def _leaves_like(arguments: Any, gradients: Any) -> tuple[Array | None, ...]:
    """One gradient, or None, for each leaf of the arguments."""
    structure = jax.tree.structure(arguments)
    return tuple(structure.flatten_up_to(gradients))
