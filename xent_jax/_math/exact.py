"""Sums, differences and products with their rounding errors."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


@jax.jit
def exact_difference(a: Array, b: Array) -> tuple[Array, Array]:
    """a − b as a rounded number and its rounding error (Knuth 1969, The Art, 4.2.2, theorem B)."""
    d = a - b
    minus_b = d - a
    return d, (a - (d - minus_b)) - (b + minus_b)


@jax.jit
def exact_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a·b as a number and the rest of it (Dekker 1971, A Floating-Point Technique).

    The halves come from masks, which neither overflow nor depend on how a sum is evaluated. One
    takes the last bit of the product too: a sum with it is not fused to one that rounds once.
    """
    product = _without_bits(a * b, 1)
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = a_high * b_high - product
    return product, ((error + a_high * b_low) + a_low * b_high) + a_low * b_low


def _halves(x: Array) -> tuple[Array, Array]:
    """x as a sum of two numbers with half its digits; the high one is a constant when x moves."""
    high = lax.stop_gradient(_without_bits(x, 27 if x.dtype == jnp.float64 else 12))
    return high, x - high


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _without_bits(x: Array, count: int) -> Array:
    """x without so many of its last bits."""
    bits = jnp.uint64 if x.dtype == jnp.float64 else jnp.uint32
    return lax.bitcast_convert_type(lax.bitcast_convert_type(x, bits) >> count << count, x.dtype)


@_without_bits.defjvp
def _without_bits_jvp(count: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # Bits have no derivative.
    return _without_bits(primals[0], count), tangents[0]


def exact_sum(high: Array, low: Array, axis: int) -> tuple[Array, Array]:
    """The sum along the axis, which stays, of numbers high + low, as such a number.

    Each rounding error is added to the low part: it has twice the digits of its dtype, and in two
    steps loses fewer of them. An axis that an explicit mesh splits is one step.
    """
    if jax.typeof(high).sharding.spec[axis] is not None:
        return _one_sum(high, low, axis)
    size = high.shape[axis]
    step = math.isqrt(size - 1) + 1
    parts = -(-size // step)

    def split(x: Array) -> Array:
        padding = [(0, parts * step - size if a == axis else 0) for a in range(x.ndim)]
        return jnp.pad(x, padding).reshape(*x.shape[:axis], parts, step, *x.shape[axis + 1 :])

    first = _one_sum(split(high), split(low), axis)
    high, low = (jnp.squeeze(x, axis) for x in first)
    return _one_sum(high, low, axis)


SUM_STEP = 32


def sum_in_steps(x: Array) -> Array:
    """The sum over the first axis, of a few at a time: a running sum of many loses digits.

    It differentiates as a sum does, which `exact_sum` does not.
    """
    while isinstance(x.shape[0], int) and x.shape[0] > SUM_STEP:  # a symbolic size is one step
        padding = [(0, -x.shape[0] % SUM_STEP), *[(0, 0)] * (x.ndim - 1)]
        x = jnp.sum(jnp.pad(x, padding).reshape(-1, SUM_STEP, *x.shape[1:]), axis=1)
    return jnp.sum(x, axis=0)


def _one_sum(high: Array, low: Array, axis: int) -> tuple[Array, Array]:
    zero = jnp.zeros((), high.dtype)
    sums = lax.reduce((high, low), (zero, zero), _exact_add, (axis,))
    return lax.expand_dims(sums[0], (axis,)), lax.expand_dims(sums[1], (axis,))


def _exact_add(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    high, error = exact_difference(a[0], -b[0])
    return high, (a[1] + b[1]) + error
