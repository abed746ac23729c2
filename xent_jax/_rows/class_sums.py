"""Several sums over the classes in one read of the data.

On a GPU each sum has its data under a name of its own, so that no array stands between two: they
become one kernel. XLA:CPU shares within a block, the compiler of a TPU within one kernel: both are
left to it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, across, class_sum, local
from .apart import renamed


def class_sums(
    axes: Axes, terms: tuple[Callable[..., Array], ...], numbers: Any, *data: Array
) -> tuple[Array, ...]:
    """Σ term(numbers, *data) over the classes, for each (jitted) term; numbers per row."""
    sums = _local_sums(local(axes), terms, numbers, *data)
    return tuple(lax.psum(x, across(axes)) for x in sums) if across(axes) else sums


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _local_sums(axes: Axes, terms: Any, numbers: Any, *data: Array) -> tuple[Array, ...]:
    return lax.platform_dependent(
        numbers,
        *data,
        cpu=partial(_plain_sums, axes, terms),
        tpu=partial(_one_reduction, axes, terms),
        default=partial(_separate_sums, axes, terms),
    )


@_local_sums.defjvp
def _local_sums_jvp(axes: Axes, terms: Any, primals: Any, tangents: Any) -> Any:
    # A reduction of several arrays has no derivative.
    moving = jax.jvp(partial(_plain_sums, axes, terms), primals, tangents)[1]
    return _local_sums(axes, terms, *primals), moving


def _plain_sums(axes: Axes, terms: Any, numbers: Any, *data: Array) -> tuple[Array, ...]:
    return tuple(sum_of_loop(term(numbers, *data), axes) for term in terms)


def sum_of_loop(x: Array, axes: Axes) -> Array:
    """Σ x over the classes, of terms that XLA:CPU is to compute in one loop."""
    return class_sum(of_one_loop(x), axes)


def of_one_loop(x: Array) -> Array:
    """x, as the result of one loop of XLA:CPU, whatever it is summed over.

    Otherwise a sum takes the last operations that made x, and what they need is written as arrays,
    of which some hold a constant; but it takes no select, which here changes nothing.
    """
    return jnp.where(x != x, jnp.nan, x)


def _separate_sums(axes: Axes, terms: Any, numbers: Any, *data: Array) -> tuple[Array, ...]:
    numbers = lax.optimization_barrier(numbers)
    return tuple(
        class_sum(term(numbers, *renamed(data, name)), axes) for name, term in enumerate(terms, 1)
    )


def _one_reduction(axes: Axes, terms: Any, numbers: Any, *data: Array) -> tuple[Array, ...]:
    values = tuple(term(numbers, *data) for term in terms)
    zeros = tuple(jnp.zeros((), x.dtype) for x in values)

    def add(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(x + y for x, y in zip(a, b, strict=True))

    inner = sorted(local(axes))
    return tuple(lax.expand_dims(x, inner) for x in lax.reduce(values, zeros, add, inner))
