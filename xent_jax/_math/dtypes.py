"""The dtype of computation, and the numbers that stand in for 0 and ∞ in it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax


def compute_dtype(x: Any) -> Any:
    """float64 for float64, float32 for everything narrower."""
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def widen(x: Array) -> Array:
    """x in the dtype of computation; integers and booleans are left alone."""
    return x.astype(compute_dtype(x)) if is_floating(x) else x


def of_bits(move: Callable[[Array], Array], x: Array) -> Array:
    """move(x), for a function that only picks entries.

    XLA:CPU would move a wide copy of all of a 16-bit float, but not of its bits.
    """
    if x.dtype not in (jnp.bfloat16, jnp.float16):
        return move(x)
    return lax.bitcast_convert_type(move(lax.bitcast_convert_type(x, jnp.uint16)), x.dtype)


def largest(x: Any) -> float:
    """The largest finite number of the dtype of computation: it stands in for infinity."""
    return float(jnp.finfo(compute_dtype(x)).max)


def smallest(x: Any) -> float:
    """The smallest normal number of the dtype of computation: it stands in for 0 under a log."""
    return float(jnp.finfo(compute_dtype(x)).tiny)


def match_precision(a: Array, b: Array) -> tuple[Array, Array]:
    """Both arrays, float64 if one of them is: under strict promotion float32 would clash."""
    if jnp.float64 in (a.dtype, b.dtype):
        return a.astype(jnp.float64), b.astype(jnp.float64)
    return a, b
