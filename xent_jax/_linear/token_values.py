"""The values of a row function of a head's logits, one number per token, chunk after chunk.

The tangent is computed chunk by chunk under jax.checkpoint: its transpose computes the logits
again, four matrix products in all.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import zero_from_primal

from .._class_axes import vary_like
from .._math.dtypes import is_floating, widen
from .._rows.apart import apart
from .._rows.row_function import instantiate, value_and_residuals
from .chunks import in_chunks
from .heads import (
    Classes,
    Head,
    Plan,
    Tokens,
    moving,
    of_rank,
    over_shards,
    raw_logits,
    raw_tangent,
    shaped,
)
from .platforms import by_platform, features_whole, limits_here, padded
from .schedule import Limits, devices_of, schedule


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def token_values(
    plan: Plan, heads: tuple[Head, ...], tokens: Tokens, classes: Classes
) -> tuple[Array, ...]:
    """Each value of the row function of the plan, (tokens…, 1)."""
    return values_of_live(plan, live_tokens(plan, tokens), heads, tokens, classes)


def live_tokens(plan: Plan, tokens: Tokens, weights: Array | None = None) -> Array | None:
    """Which tokens count (tokens…), None for all; those of weight 0 do not if weights are given."""
    live = tokens.row_mask[..., 0] != 0.0 if plan.ignores else None
    if weights is None or not plan.weighs:
        return live
    return weights != 0.0 if live is None else live & (weights != 0.0)


def values_of_live(
    plan: Plan, live: Array | None, heads: Any, tokens: Tokens, classes: Classes
) -> tuple[Array, ...]:
    """The values, 0 for a chunk without a live token."""

    def compute(limits: Limits, heads: Any, classes: Classes, rest: Any) -> tuple[Array, ...]:
        heads, classes = padded(limits, heads, classes)
        heads = tuple(h._replace(w=features_whole(h.w)) for h in heads)

        def step(_: Any, part: tuple[Any, Tokens]) -> tuple[Any, tuple[Array, ...]]:
            xs, here = part
            zs = [
                shaped(classes, raw_logits(plan, h._replace(x=x)))
                for h, x in zip(heads, xs, strict=True)
            ]
            return (), values_and_residuals_of(plan, zs, here, classes)[0]

        xs, tokens, live = rest
        limits = limits._replace(chunk=limits.part)
        how = schedule(xs[0].shape[:-1], devices_of(xs[0], plan.devices), limits)
        return in_chunks(how, step, (), (xs, tokens), live)[1]

    rest = (inputs(heads), tokens, live)
    return by_platform(plan, heads, live is not None, compute, heads, classes, rest)


@partial(token_values.defjvp, symbolic_zeros=True)
def _token_values_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    # For memory: neither logits nor partials are kept, and for the partials that do not cancel.
    heads, tokens, classes = primals
    moving_heads, moving_tokens, moving_classes = tangents
    rows = jax.tree.leaves((inputs(heads), tokens))

    def vary(tree: Any) -> Any:
        # Before the loop, so that over a mesh its transpose adds up after it, not at every chunk.
        return jax.tree.map(lambda x: vary_like(x, *rows), tree)

    of_classes = vary(tuple(map(moving, moving_classes.data)))
    # Their cotangents add up over the chunks: in the dtype of computation.
    wide = [
        vary((features_whole(moving(t.w)), None if t.b is None else moving(t.b)))
        for t in moving_heads
    ]
    moving_xs = tuple(map(_moving_x, moving_heads, heads))
    shaping = vary(jax.tree.map(instantiate, classes.shaping, moving_classes.shaping))
    heads = tuple(Head(h.x, features_whole(vary(h.w)), vary(h.b)) for h in heads)
    classes = vary(classes)

    @partial(jax.checkpoint, prevent_cse=False)
    def moved(_: Any, part: Any) -> tuple[Any, tuple[Array, ...]]:
        xs, here, moving_xs, moving_data = part
        zs, steps = zip(
            *(
                _logits_and_tangent(plan, classes, shaping, h._replace(x=x), (tx, *summed))
                for h, x, tx, summed in zip(heads, xs, moving_xs, wide, strict=True)
            ),
            strict=True,
        )
        values, residuals = values_and_residuals_of(plan, zs, here, classes)
        found = partials_of(plan, residuals, zs, here, classes)
        beside = tuple(None if t is None else of_rank(t, zs[0].ndim) for t in of_classes)
        along = (*steps, *moving_data, *beside)
        return (), tuple(
            over_shards(plan, _products(partials, along), value)
            for value, partials in zip(_moving(plan, values), found, strict=True)
        )

    parts = (inputs(heads), tokens, moving_xs, tuple(map(moving, moving_tokens.data)))
    values = token_values(plan, *primals)
    live = live_tokens(plan, tokens)
    x = heads[0].x
    how = schedule(x.shape[:-1], devices_of(x, plan.devices), limits_here(plan, heads))
    steps = in_chunks(how, moved, (), parts, live, differentiable=True)[1]
    of_values = {id(v): step for v, step in zip(_moving(plan, values), steps, strict=True)}
    return values, tuple(of_values.get(id(v), zero_from_primal(v)) for v in values)


def _moving(plan: Plan, values: tuple[Array, ...]) -> list[Array]:
    """The values that are differentiated: no indices, and no constants."""
    found = values[: len(values) - plan.constants]
    return [v for v in found if is_floating(v)]


def _moving_x(tangent: Head, head: Head) -> Array | None:
    x = moving(tangent.x, wide=False)
    return None if x is None else vary_like(x, head.w)


def _logits_and_tangent(
    plan: Plan, classes: Classes, moving_shaping: Any, head: Head, moving_head: tuple[Any, ...]
) -> tuple[Array, Array | None]:
    """The logits of a chunk, and how they move, or None if they do not."""
    raw, step = raw_logits(plan, head), raw_tangent(plan, head, *moving_head)
    if classes.shaping.is_nothing:
        return shaped(classes, raw), step
    step = jnp.zeros_like(raw) if step is None else step
    return jax.jvp(
        lambda raw, s: shaped(classes._replace(shaping=s), raw),
        (raw, classes.shaping),
        (step, moving_shaping),
    )


def _products(partials: Any, along: Any) -> list[Array]:
    """Σ over the classes of partial · tangent, for each argument that has both."""
    return [
        jnp.sum(g * widen(t), -1, keepdims=True)
        for g, t in zip(partials, along)
        if g is not None and t is not None
    ]


def inputs(heads: tuple[Head, ...]) -> tuple[Array, ...]:
    return tuple(h.x for h in heads)


def _row_data(zs: Any, here: Tokens, classes: Classes) -> tuple[Array, ...]:
    return (*zs, *here.data, *(of_rank(x, zs[0].ndim) for x in classes.data))


def values_and_residuals_of(
    plan: Plan, zs: Any, here: Tokens, classes: Classes
) -> tuple[tuple[Array, ...], Any]:
    """The values of the row function, always as a tuple, and its residuals."""
    data = _row_data(zs, here, classes)
    values, residuals = value_and_residuals(plan.row, plan.axes(zs[0]), here.row_mask, *data)
    return values if isinstance(values, tuple) else (values,), residuals


def partials_of(
    plan: Plan, residuals: Any, zs: Any, here: Tokens, classes: Classes
) -> tuple[tuple[Array | None, ...], ...]:
    """The partials of each value that is differentiated."""
    residuals = apart(residuals)
    data = _row_data(zs, here, classes)
    return plan.row.masked_partials(plan.axes(zs[0]), here.row_mask, residuals, *data)
