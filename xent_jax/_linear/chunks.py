"""A step over chunks of the tokens, those that are left out behind and not worked on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import vary_like
from .per_token import beside
from .schedule import Schedule

Step = Callable[[Any, Any], tuple[Any, Any]]


def in_chunks(
    schedule: Schedule,
    step: Step,
    carry: Any,
    tokens: Any,
    live: Array | None = None,
    differentiable: bool = False,
) -> tuple[Any, Any]:
    """jax.lax.scan of step over chunks of the tokens.

    `live` tells which tokens count; the others come behind them, stably, within each stretch, and
    chunks without a live one are skipped: their results are 0. Skipping by the number of chunks
    leaves the carry where it is, which a conditional would copy; but that loop is not
    differentiable, and then it is a conditional.
    """
    if schedule.is_whole:
        return step(carry, tokens)
    stretched = jax.tree.map(schedule.stretched, tokens)
    length = jax.tree.leaves(stretched)[0].shape[schedule.axis + 1]
    order = None
    if live is None:
        chunks = jax.tree.map(schedule.split, stretched)
        carry, results = lax.scan(step, carry, chunks)
    else:
        order, alive = _order(schedule, live)
        chunks = jax.tree.map(lambda x: schedule.split(order.put(x)), stretched)
        loop = _conditional if differentiable else _counted
        carry, results = loop(step, carry, chunks, alive)

    def join(x: Array) -> Array:
        x = schedule.join(x, length)
        x = x if order is None else order.back(x)
        a = schedule.axis
        return x.reshape(*x.shape[:a], schedule.stretches * length, *x.shape[a + 2 :])

    return carry, jax.tree.map(join, results)


class _Order(NamedTuple):
    """Of the tokens of each stretch, along an axis: live ones first; and the way back."""

    places: Array
    back_places: Array
    axis: int

    def put(self, x: Array) -> Array:
        return _along(x, self.places, self.axis)

    def back(self, x: Array) -> Array:
        return _along(x, self.back_places, self.axis)


def _along(x: Array, places: Array, axis: int) -> Array:
    if places.ndim == 2 and places.shape[0] == 1:  # a plain gather of rows
        return x[0].at[places[0]].get(mode="promise_in_bounds", unique_indices=True)[None]
    return jnp.take_along_axis(x, beside(places, x), axis, mode="promise_in_bounds")


def _order(schedule: Schedule, live: Array) -> tuple[_Order, Array]:
    """The order, and which chunks then have a live token."""
    live, axis = schedule.stretched(live), schedule.axis + 1
    places = jnp.argsort(~live, axis=axis, stable=True)
    order = _Order(places, jnp.argsort(places, axis=axis), axis)
    chunks = schedule.split(order.put(live))
    return order, jnp.any(chunks, axis=tuple(range(1, chunks.ndim)))


def in_parts(step: Step, carry: Any, parts: Any) -> tuple[Any, Any]:
    """jax.lax.scan of step, which does not write zeros before it writes the results."""
    count = jax.tree.leaves(parts)[0].shape[0]
    return _loop(step, carry, parts, jnp.asarray(count, jnp.int32), lax.empty)


def _counted(step: Step, carry: Any, chunks: Any, alive: Array) -> tuple[Any, Any]:
    """The live chunks come first: the loop ends with the last of them."""
    return _loop(step, carry, chunks, jnp.sum(alive, dtype=jnp.int32), jnp.zeros)


def _loop(
    step: Step, carry: Any, chunks: Any, count: Array, start: Callable[..., Array]
) -> tuple[Any, Any]:
    """So many of the steps, whose results take the place of what was there at the start."""
    first = jax.tree.map(lambda x: x[0], chunks)
    total = jax.tree.leaves(chunks)[0].shape[0]
    results = jax.tree.map(
        lambda x: vary_like(start((total, *x.shape), x.dtype), x),
        jax.eval_shape(step, carry, first)[1],
    )

    def turn(state: Any) -> Any:
        i, carry, results = state
        part = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), chunks)
        carry, new = step(carry, part)
        results = jax.tree.map(
            lambda all, x: lax.dynamic_update_index_in_dim(all, x, i, 0), results, new
        )
        return i + 1, carry, results

    zero = vary_like(jnp.zeros((), jnp.int32), count)
    state = lax.while_loop(lambda state: state[0] < count, turn, (zero, carry, results))
    return state[1], state[2]


def _conditional(step: Step, carry: Any, chunks: Any, alive: Array) -> tuple[Any, Any]:
    results = jax.eval_shape(step, carry, jax.tree.map(lambda x: x[0], chunks))[1]

    def skip(carry: Any, _: Any) -> tuple[Any, Any]:
        zeros = (vary_like(jnp.zeros(x.shape, x.dtype), x) for x in jax.tree.leaves(results))
        return carry, jax.tree.unflatten(jax.tree.structure(results), zeros)

    def turn(carry: Any, given: Any) -> tuple[Any, Any]:
        chunk, here = given
        return lax.cond(here, step, skip, carry, chunk)

    return lax.scan(turn, carry, (chunks, alive))
