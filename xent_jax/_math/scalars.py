"""Scalars relatively exact on both sides: softplus, the sigmoid, the entropy of a coin."""

import jax.numpy as jnp
from jax import Array

from .dtypes import largest, smallest
from .elementary import exp, log, log1p


def log_of(ratio: Array, less_one: Array) -> Array:
    """log(ratio), given ratio − 1 as well. A ratio below the smallest normal number counts as that.

    Beyond the reach of log1p's argument log does better; and in float64 XLA's log1p is two digits
    short between −1/2 and −1/4.
    """
    close = jnp.abs(less_one) <= 0.25
    far = log(jnp.maximum(jnp.where(close, 1.0, ratio), smallest(ratio)))
    return jnp.where(close, log1p(jnp.where(close, less_one, 0.0)), far)


def softplus(x: Array) -> Array:
    """log(1 + e^x), relatively exact on both sides, and differentiable at 0."""
    above, below = jnp.where(x > 0, x, 0.0), jnp.where(x > 0, 0.0, x)
    return jnp.where(x > 0, above + log1p(exp(-above)), log1p(exp(below)))


def sigmoid(x: Array) -> Array:
    """1/(1 + e^{−x}), relatively exact on both sides, and differentiable at 0."""
    above, below = jnp.where(x > 0, x, 0.0), jnp.where(x > 0, 0.0, x)
    tail = exp(below)
    return jnp.where(x > 0, 1.0 / (1.0 + exp(-above)), tail / (1.0 + tail))


def binary_entropy(logit: Array) -> Array:
    """Entropy of a coin with the given logit: log1p(e^{−|z|}) + |z| σ(−|z|), 0 at z = ±inf."""
    distance = jnp.minimum(jnp.abs(logit), largest(logit))
    tail = exp(-distance)
    return log1p(tail) + distance * tail / (1.0 + tail)
