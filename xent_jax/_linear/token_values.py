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

from .._class_axes import across
from .._math.dtypes import widen
from .._rows.class_sums import apart
from .._rows.row_function import value_and_residuals
from .chunks import in_chunks
from .heads import Classes, Head, Plan, Tokens, chunk_logits, logit_tangent, moving


def token_values(
    plan: Plan, heads: tuple[Head, ...], tokens: Tokens, classes: Classes
) -> tuple[Array, ...]:
    """Each value of the row function of the plan, (tokens, 1)."""
    return _token_values(plan, heads, tokens, classes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _token_values(plan: Plan, heads: Any, tokens: Tokens, classes: Classes) -> tuple[Array, ...]:
    def values(_: Any, part: tuple[Any, Tokens]) -> tuple[Any, tuple[Array, ...]]:
        xs, here = part
        zs = [
            chunk_logits(plan, classes, h._replace(x=x))[0] for h, x in zip(heads, xs, strict=True)
        ]
        return (), values_and_residuals(plan, zs, here, classes)[0]

    return in_chunks(plan.chunk, values, (), (inputs(heads), tokens))[1]


@partial(_token_values.defjvp, symbolic_zeros=True)
def _token_values_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    # For memory: neither logits nor partials are kept, and for the partials that do not cancel.
    heads, tokens, classes = primals
    moving_heads, moving_tokens, moving_classes = tangents
    of_classes = tuple(map(moving, moving_classes.data))
    # Their cotangents add up over the chunks: in the dtype of computation.
    wide = [(moving(t.w), None if t.b is None else moving(t.b)) for t in moving_heads]

    @partial(jax.checkpoint, prevent_cse=False)
    def moved(_: Any, part: Any) -> tuple[Any, tuple[Array, ...]]:
        xs, here, moving_xs, moving_data = part
        here_heads = [h._replace(x=x) for h, x in zip(heads, xs, strict=True)]
        zs, pulls = zip(*(chunk_logits(plan, classes, h) for h in here_heads), strict=True)
        steps = [
            logit_tangent(h, tx, tw, tb)
            for h, tx, (tw, tb) in zip(here_heads, moving_xs, wide, strict=True)
        ]
        values, residuals = values_and_residuals(plan, zs, here, classes)
        floating = [v for v in values if jnp.issubdtype(v.dtype, jnp.floating)]
        results = []
        all_partials = partials_of(plan, residuals, zs, here, classes)
        for value, partials in zip(floating, all_partials, strict=True):
            of_logits = [pull(g) for pull, g in zip(pulls, partials)]
            of_data = zip(partials[len(zs) :], (*moving_data, *of_classes))
            pairs = [*zip(of_logits, steps), *of_data]
            products = [
                jnp.sum(g * widen(t), 1, keepdims=True)
                for g, t in pairs
                if g is not None and t is not None
            ]
            results.append(over_shards(plan, products, value))
        return (), tuple(results)

    moving_xs = tuple(moving(t.x, wide=False) for t in moving_heads)
    moving_data = tuple(map(moving, moving_tokens.data))
    parts = (inputs(heads), tokens, moving_xs, moving_data)
    values = _token_values(plan, *primals)
    of_floats = iter(in_chunks(plan.chunk, moved, (), parts)[1])
    return values, tuple(
        next(of_floats) if jnp.issubdtype(v.dtype, jnp.floating) else zero_from_primal(v)
        for v in values
    )


def inputs(heads: tuple[Head, ...]) -> tuple[Array, ...]:
    return tuple(h.x for h in heads)


def values_and_residuals(
    plan: Plan, zs: Any, here: Tokens, classes: Classes
) -> tuple[tuple[Array, ...], Any]:
    """The values of the row function, always as a tuple, and its residuals."""
    data = (*zs, *here.data, *classes.data)
    values, residuals = value_and_residuals(plan.row, plan.axes, here.row_mask, *data)
    return values if isinstance(values, tuple) else (values,), residuals


def partials_of(
    plan: Plan, residuals: Any, zs: Any, here: Tokens, classes: Classes
) -> tuple[tuple[Array | None, ...], ...]:
    """The partials of each value that has some."""
    data = (*zs, *here.data, *classes.data)
    residuals = apart(residuals)
    return plan.row.masked_partials(plan.axes, here.row_mask, residuals, *data)


def over_shards(plan: Plan, parts: list[Array], like: Array) -> Array:
    """The sum of the parts, over the shards of the classes too."""
    if not parts:
        return jnp.zeros_like(like)
    total = sum(parts[1:], parts[0])
    return jax.lax.psum(total, across(plan.axes)) if across(plan.axes) else total
