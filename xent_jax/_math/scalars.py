"""Scalars relatively exact on both sides: softplus, the sigmoid, the entropy of a coin."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .dtypes import largest, smallest
from .elementary import exp, log, log1p


def not_below_0(x: Array) -> Array:
    """x, and 0 where a rounding is all that it is below; a maximum may drop a NaN on XLA:CPU."""
    return jnp.where(x < 0.0, 0.0, x)


@jax.custom_jvp
def log_of(ratio: Array, less_one: Array) -> Array:
    """log(ratio), given ratio − 1 as well, which has more digits near 1.

    A ratio below the smallest normal number counts as that.
    """
    ratio = jnp.where(_is_near_1(less_one), 1.0 + less_one, jnp.maximum(ratio, smallest(ratio)))
    return _with_rounding(ratio, less_one)


def _is_near_1(less_one: Array) -> Array:
    return jnp.abs(less_one) <= 0.25


@log_of.defjvp
def _log_of_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # Of what has more digits as well.
    (ratio, less_one), (moving, moving_less_one) = primals, tangents
    moving = jnp.where(_is_near_1(less_one), moving_less_one, moving)
    below = ratio < smallest(ratio)
    return log_of(ratio, less_one), jnp.where(below, 0.0, moving / jnp.where(below, 1.0, ratio))


@jax.custom_jvp
def log1p_of(x: Array) -> Array:
    """log(1 + x) for the elements of a row: XLA:CPU takes half the time of its log1p.

    That one is also two digits short in float64 between −1/2 and −1/4.
    """
    return lax.platform_dependent(x, cpu=lambda x: _with_rounding(1.0 + x, x), default=log1p)


@log1p_of.defjvp
def _log1p_of_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # Of one formula for all platforms.
    (x,), (moving,) = primals, tangents
    return log1p_of(x), moving / (1.0 + x)


def _with_rounding(ratio: Array, less_one: Array) -> Array:
    """The logarithm of a rounded ratio, and what its rounding left out."""
    # In this order: XLA would take (1 + x) − 1 for x.
    rounding = (1.0 - ratio) + less_one
    return log(ratio) + jnp.where(ratio < jnp.inf, rounding / jnp.maximum(ratio, 1.0), 0.0)


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + e^x), relatively exact on both sides."""
    return jnp.maximum(x, 0.0) + log1p_of(exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For x = 0, where max and |·| have no derivative.
    (x,), (moving,) = primals, tangents
    return softplus(x), outcomes(x)[0] * moving


@jax.custom_jvp
def outcomes(x: Array) -> tuple[Array, Array]:
    """σ(x) = 1/(1 + e^{−x}) and 1 − σ(x) = σ(−x), relatively exact on both sides."""
    tail = exp(-jnp.abs(x))
    inverse = 1.0 / (1.0 + tail)
    rare = tail * inverse
    return jnp.where(x > 0, inverse, rare), jnp.where(x > 0, rare, inverse)


@outcomes.defjvp
def _outcomes_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    # For x = 0, as above.
    (x,), (moving,) = primals, tangents
    one, zero = outcomes(x)
    moving = one * zero * moving
    return (one, zero), (moving, -moving)


def entropy_of_logit(logit: Array) -> Array:
    """Entropy of a coin with the given logit: log1p(e^{−|z|}) + |z| σ(−|z|), 0 at z = ±inf."""
    distance = jnp.minimum(jnp.abs(logit), largest(logit))
    tail = exp(-distance)
    return log1p_of(tail) + distance * tail / (1.0 + tail)
