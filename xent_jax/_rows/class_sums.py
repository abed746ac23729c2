"""Several sums over the classes in one read of the data, and what keeps XLA:GPU from writing more.

XLA:GPU writes out what two kernels share and it finds dear to compute twice, as large as the data.
Under names of their own the kernels share nothing: each computes all it needs, and those that read
the same data become one, in which LLVM finds the names to be of one number and computes once what
is made of it. XLA:CPU shares within a block, the compiler of a TPU within one kernel: both are left
to it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, across, class_sum, local
from .._math.dtypes import widen


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def apart(numbers: Any, platforms: tuple[str, ...] = ("cpu", "gpu")) -> Any:
    """The same numbers, by which nothing is shared with kernels that use the given ones."""
    cpu, gpu = (lax.optimization_barrier if x in platforms else _same for x in ("cpu", "gpu"))
    return lax.platform_dependent(numbers, cpu=cpu, tpu=_same, default=gpu)


def _same(x: Any) -> Any:
    return x


@jax.custom_jvp
def data_apart(*data: Array) -> tuple[Array, ...]:
    """The same data, by which a CPU shares nothing, and a GPU within one kernel alone.

    A barrier around them would keep XLA:CPU from fusing what makes them: a 0 that it does not know
    to be one is added.
    """

    def plus_0(*data: Array) -> tuple[Array, ...]:
        zero = lax.optimization_barrier(jnp.zeros(()))
        return tuple(x + zero.astype(x.dtype) for x in data)

    return lax.platform_dependent(*data, cpu=plus_0, tpu=_all_the_same, default=renamed)


def _all_the_same(*data: Array) -> tuple[Array, ...]:
    return data


@partial(data_apart.defjvp, symbolic_zeros=True)
def _data_apart_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    # What does not move stays without a tangent: times an infinite slope a 0 would be NaN.
    return data_apart(*primals), tangents


def renamed(*data: Array, name: int = 1) -> tuple[Array, ...]:
    """The same floats, which XLA does not know to be the same, but LLVM does."""

    def under_name(x: Array) -> Array:
        wide = widen(x)  # as which they are used: XLA:GPU fuses 16-bit integers worse
        bits = lax.bitcast_convert_type(wide, f"uint{8 * wide.dtype.itemsize}")
        salt = jnp.array(name, bits.dtype)
        return lax.bitcast_convert_type((bits ^ salt) ^ salt, wide.dtype).astype(x.dtype)

    return tuple(map(under_name, data))


@apart.defjvp
def _apart_jvp(platforms: tuple[str, ...], primals: Any, tangents: Any) -> tuple[Any, Any]:
    # JAX 0.12 cannot transpose a barrier of which some operands alone are linear.
    return apart(*primals, platforms), tangents[0]


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
        class_sum(term(numbers, *renamed(*data, name=name)), axes)
        for name, term in enumerate(terms, 1)
    )


def _one_reduction(axes: Axes, terms: Any, numbers: Any, *data: Array) -> tuple[Array, ...]:
    values = tuple(term(numbers, *data) for term in terms)
    zeros = tuple(jnp.zeros((), x.dtype) for x in values)

    def add(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(x + y for x, y in zip(a, b, strict=True))

    inner = sorted(local(axes))
    return tuple(lax.expand_dims(x, inner) for x in lax.reduce(values, zeros, add, inner))
