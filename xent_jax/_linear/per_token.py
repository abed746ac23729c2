"""Functions and numbers of one token along the axes of all tokens."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
from jax import Array


def at_each(f: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """f along so many first axes of all its arguments, which stay where a mesh has put them."""
    return reduce(lambda g, _: jax.vmap(g), range(axes), f)


def beside(numbers: Array, x: Array) -> Array:
    """One number per token, beside data that have more axes."""
    return numbers.reshape(numbers.shape + (1,) * (x.ndim - numbers.ndim))
