"""exp, log, log1p and expm1 to an ulp or two on every platform.

By default those of a TPU are fast and wrong by a hundred ulps (exp) to thousands (the others).
CPUs and GPUs have one implementation, and ignore the accuracy that is asked for.
"""

from jax import Array, lax

_HIGHEST = lax.AccuracyMode.HIGHEST


def exp(x: Array) -> Array:
    """e^x."""
    return lax.exp(x, accuracy=_HIGHEST)


def expm1(x: Array) -> Array:
    """e^x − 1, relatively exact near x = 0."""
    return lax.expm1(x, accuracy=_HIGHEST)


def log(x: Array) -> Array:
    """The natural logarithm."""
    return lax.log(x, accuracy=_HIGHEST)


def log1p(x: Array) -> Array:
    """log(1 + x), relatively exact near x = 0."""
    return lax.log1p(x, accuracy=_HIGHEST)
