"""Scalars relatively exact on both sides: softplus, the sigmoid, the entropy of a coin."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .dtypes import largest, smallest
from .elementary import exp, log, log1p


def not_below_0(x: Array) -> Array:
    """x, and 0 where a rounding is all that it is below; a maximum may drop a NaN on XLA:CPU."""
    return jnp.where(x < 0.0, 0.0, x)


def log_of(ratio: Array, less_one: Array) -> Array:
    """log(ratio), given ratio − 1 as well. A ratio below the smallest normal number counts as that.

    Beyond the reach of log1p's argument log does better; and in float64 XLA's log1p is two digits
    short between −1/2 and −1/4.
    """
    close = jnp.abs(less_one) <= 0.25
    far = log(jnp.maximum(jnp.where(close, 1.0, ratio), smallest(ratio)))
    return jnp.where(close, log1p(jnp.where(close, less_one, 0.0)), far)


def log1p_of(x: Array) -> Array:
    """log1p, with the two digits that XLA's lacks in float64 between −1/2 and −1/4."""
    return log_of(1.0 + x, x) if x.dtype == jnp.float64 else log1p(x)


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + e^x), relatively exact on both sides."""
    return jnp.maximum(x, 0.0) + log1p(exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For x = 0, where max and |·| have no derivative.
    (x,), (moving,) = primals, tangents
    return softplus(x), sigmoid(x) * moving


@jax.custom_jvp
def sigmoid(x: Array) -> Array:
    """1/(1 + e^{−x}), relatively exact on both sides."""
    tail = exp(-jnp.abs(x))
    return jnp.where(x > 0, 1.0, tail) / (1.0 + tail)


@sigmoid.defjvp
def _sigmoid_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For x = 0, as above.
    (x,), (moving,) = primals, tangents
    return sigmoid(x), sigmoid(x) * sigmoid(-x) * moving


def entropy_of_logit(logit: Array) -> Array:
    """Entropy of a coin with the given logit: log1p(e^{−|z|}) + |z| σ(−|z|), 0 at z = ±inf."""
    distance = jnp.minimum(jnp.abs(logit), largest(logit))
    tail = exp(-distance)
    return log1p(tail) + distance * tail / (1.0 + tail)
