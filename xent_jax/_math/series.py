"""Taylor series for what cancels near 0."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from .elementary import expm1


def taylor(x: Array, coefficient: Callable[[int], float], first: int, last: int) -> Array:
    """Σ coefficient(k)·x^(k − first) for k from first to last, by Horner's rule."""
    series = jnp.full_like(x, coefficient(last))
    for k in range(last - 1, first - 1, -1):
        series = series * x + coefficient(k)
    return series


def inverse_factorial(k: int) -> float:
    return 1.0 / math.factorial(k)


def exponential_order(x: Array) -> int:
    """The last term of e^x that counts for |x| ≤ 1: the next one is below half an ulp."""
    return 18 if x.dtype == jnp.float64 else 10


def phi(x: Array) -> Array:
    """φ(x) = e^{−x} − 1 + x ≥ 0 for |x| ≤ 1, to rounding: its Taylor series, x² times a polynomial.

    expm1(−x) + x would lose every digit as x → 0.
    """
    return x * x * taylor(-x, inverse_factorial, 2, exponential_order(x))


def phi_over_square(x: Array) -> Array:
    """φ(x)/x², ½ at x = 0."""
    close = jnp.abs(x) <= 1.0
    inside, beyond = jnp.where(close, x, 0.0), jnp.where(close, 1.0, x)
    near = taylor(-inside, inverse_factorial, 2, exponential_order(x))
    return jnp.where(close, near, (expm1(-beyond) + beyond) / beyond / beyond)
