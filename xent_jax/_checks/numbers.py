"""Options that are one number in a range, and may be traced.

A Python number out of range raises. A traced one gives NaN; `value_checks` then names it.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from .arrays import real_array, scalar
from .values import condition


def python_number(
    name: str, argument: str, given: Any, lowest: float, highest: float, hint: str = ""
) -> None:
    """Whether a Python number lies in [lowest, highest], or below infinity."""
    bounded = highest < math.inf
    within = f"in [{lowest:g}, {highest:g}]" if bounded else f"≥ {lowest:g}"
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"{name}: {argument} must be a number {within}, got {given!r}.")
    if not lowest <= given <= highest or given == math.inf:
        must = f"lie {within}" if bounded else f"be a finite number {within}"
        raise ValueError(f"{name}: {argument} must {must}, got {given!r}{hint}.")


def number(
    name: str,
    argument: str,
    given: Any,
    lowest: float = 0.0,
    highest: float = math.inf,
    finite: bool = False,
) -> Array:
    """One number, NaN if it lies outside the range."""
    x = scalar(name, argument, given)
    valid = (x >= lowest) & (x <= highest)
    if finite:
        valid &= jnp.isfinite(x)
    what = "is negative or not finite" if finite else "is negative or NaN"
    what = what if highest == math.inf else f"lies outside [{lowest:g}, {highest:g}]"
    condition(lambda: valid, f"{name}: {argument} {what}.")
    return jnp.where(valid, x, jnp.asarray(jnp.nan, x.dtype))


def positive(name: str, argument: str, given: Any) -> Array:
    """One number above 0, NaN if it is not."""
    x = scalar(name, argument, given)
    valid = (x > 0.0) & (x < math.inf)
    condition(lambda: valid, f"{name}: {argument} is not a finite number above 0.")
    return jnp.where(valid, x, jnp.asarray(jnp.nan, x.dtype))


def broadcastable(name: str, argument: str, given: Any, shape: tuple[int, ...]) -> Array:
    """A non-negative array that broadcasts to the shape of the logits."""
    x = real_array(name, argument, given)
    try:
        fits = jnp.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: {argument} of shape {x.shape} does not broadcast to logits of shape "
            f"{shape}; give one number, or one per label."
        )
    condition(lambda: x >= 0, f"{name}: {argument} holds a negative or NaN weight.")
    return x
