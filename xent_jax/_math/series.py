"""Power series for what cancels near 0: Taylor's, or economized to fewer terms."""

import math
from collections.abc import Callable, Sequence
from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from .elementary import expm1

Coefficient = Callable[[int], float]


def polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """Σ_k c_k x^k, by Horner's rule."""
    *lower, highest = coefficients
    value = jnp.full_like(x, highest)
    for coefficient in reversed(lower):
        value = value * x + coefficient
    return value


def taylor(x: Array, coefficient: Coefficient, first: int, last: int) -> Array:
    """Σ coefficient(k)·x^(k − first) for k from first to last."""
    return polynomial(x, [coefficient(k) for k in range(first, last + 1)])


@cache
def economized(
    coefficient: Coefficient, first: int, count: int, low: float, high: float
) -> tuple[float, ...]:
    """So many coefficients in place of Taylor's from the first on, for x between low and high.

    Of the series in Chebyshev's polynomials the last terms are left out (Lanczos 1938,
    Trigonometric Interpolation of Empirical and Analytical Functions): no error stands out.
    """
    of_taylor = np.polynomial.Polynomial([coefficient(k) for k in range(first, first + 3 * count)])
    in_chebyshev = of_taylor.convert(kind=np.polynomial.Chebyshev, domain=[low, high])
    kept = in_chebyshev.truncate(count).convert(kind=np.polynomial.Polynomial)
    return tuple(map(float, kept.coef))


def inverse_factorial(k: int) -> float:
    return 1.0 / math.factorial(k)


def exponential_order(x: Array) -> int:
    """The last term of e^x that counts for |x| ≤ 1: the next one is below half an ulp."""
    return 18 if x.dtype == jnp.float64 else 10


def economized_taylor(
    x: Array, coefficient: Coefficient, first: int, counts: tuple[int, int], low: float, high: float
) -> Array:
    """`taylor` for x between low and high: so many terms, economized, or so many in float64."""
    count, of_float64 = counts
    if x.dtype == jnp.float64:
        return taylor(x, coefficient, first, first + of_float64 - 1)
    return polynomial(x, economized(coefficient, first, count, low, high))


def phi(x: Array) -> Array:
    """φ(x) = e^{−x} − 1 + x ≥ 0 for |x| ≤ 1, to rounding: x² times a polynomial.

    expm1(−x) + x would lose every digit as x → 0.
    """
    return x * x * _phi_quotient(x)


def _phi_quotient(x: Array) -> Array:
    """φ(x)/x² for |x| ≤ 1."""
    return economized_taylor(-x, inverse_factorial, 2, (8, 17), -1.0, 1.0)


def phi_over_square(x: Array) -> Array:
    """φ(x)/x², ½ at x = 0."""
    close = jnp.abs(x) <= 1.0
    inside, beyond = jnp.where(close, x, 0.0), jnp.where(close, 1.0, x)
    return jnp.where(close, _phi_quotient(inside), (expm1(-beyond) + beyond) / beyond / beyond)
