"""The general checks: number, integer, one_of, of_shape, broadcastable; and what is an array.

Each message names the function, the argument, what came, and what to do instead.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from .values import condition

_COMPUTED_AS_THEY_ARE = ("float16", "bfloat16", "float32", "float64")


def as_array(name: str, argument: str, x: Any) -> Array:
    try:
        if isinstance(x, (str, bytes)):  # of which NumPy would make dtypes
            raise TypeError
        return jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: {argument} must be an array of numbers, got {type(x).__name__}; "
            "pass a JAX or NumPy array."
        ) from error


def real_array(name: str, argument: str, x: Any) -> Array:
    """x as a real floating array; integers, booleans and float8 become float32."""
    x = as_array(name, argument, x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: {argument} must be real, got {x.dtype}; pass {argument}.real.")
    if x.dtype.name in _COMPUTED_AS_THEY_ARE:
        return x
    if jnp.issubdtype(x.dtype, jnp.number) or x.dtype == jnp.bool_:
        return x.astype(jnp.float32)
    raise TypeError(f"{name}: {argument} must hold numbers, got {x.dtype}.")


class Range(NamedTuple):
    """Where a number may lie: of a Python number and of an array, and in words."""

    contains: Callable[[Any], Any]
    within: str
    must: str
    outside: str


NON_NEGATIVE = Range(lambda x: x >= 0.0, "≥ 0", "be a number ≥ 0", "is negative or NaN")
FINITE = Range(
    lambda x: (x >= 0.0) & (x < math.inf),
    "≥ 0",
    "be a finite number ≥ 0",
    "is negative or not finite",
)
POSITIVE = Range(
    lambda x: (x > 0.0) & (x < math.inf),
    "above 0",
    "be a finite number above 0",
    "is not a finite number above 0",
)
UNIT = Range(lambda x: (x >= 0.0) & (x <= 1.0), "in [0, 1]", "lie in [0, 1]", "lies outside [0, 1]")


def number(name: str, argument: str, given: Any, within: Range | None = None) -> Array:
    """One number, which may be traced; NaN if it lies outside the range."""
    x = real_array(name, argument, given)
    if x.shape:
        raise ValueError(
            f"{name}: {argument} must be one number, got shape {x.shape}; use jax.vmap for several."
        )
    if within is None:
        return x
    valid = within.contains(x)
    condition(lambda: valid, f"{name}: {argument} {within.outside}.")
    return jnp.where(valid, x, jnp.asarray(jnp.nan, x.dtype))


def python_number(name: str, argument: str, given: Any, within: Range, hint: str = "") -> None:
    """A number that is known before the call; it raises if it lies outside the range."""
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"{name}: {argument} must be a number {within.within}, got {given!r}.")
    if not within.contains(given):
        raise ValueError(f"{name}: {argument} must {within.must}, got {given!r}{hint}.")


def integer(
    name: str,
    argument: str,
    given: Any,
    *,
    positive: bool = False,
    optional: bool = False,
    hint: str = "",
) -> Any:
    """A Python int, or whatever else is an index; None too if it is optional."""
    if optional and given is None:
        return None
    fits = hasattr(given, "__index__") and not isinstance(given, bool)
    if not fits or (positive and operator.index(given) < 1):
        error = ValueError if positive else TypeError
        kind = f"{'a positive' if positive else 'an'} int{' or None' if optional else ''}"
        raise error(f"{name}: {argument} must be {kind}, got {given!r}{hint}.")
    return operator.index(given)


def one_of(name: str, argument: str, given: Any, choices: tuple[str | None, ...]) -> None:
    if given not in choices:
        *others, last = ("None" if choice is None else f'"{choice}"' for choice in choices)
        raise ValueError(
            f"{name}: {argument} must be {', '.join(others)} or {last}, got {given!r}."
        )


def of_shape(
    name: str,
    argument: str,
    x: Array,
    shape: tuple[int, ...],
    must: str,
    of: str,
    *,
    hint: str = "broadcast it with jnp.broadcast_to",
) -> Array:
    """x, which `must`, such as "hold one number per token", of a shape that follows from `of`."""
    if x.shape != shape:
        raise ValueError(
            f"{name}: {argument} must {must}, {shape} for {of}, got {x.shape}; {hint}."
        )
    return x


def broadcastable(
    name: str, argument: str, x: Array, of: str, shape: tuple[int, ...], *, hint: str
) -> Array:
    """x, which broadcasts to the shape of the argument `of`."""
    try:
        fits = jnp.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: {argument} of shape {x.shape} does not broadcast to {of} of shape {shape}; "
            f"{hint}."
        )
    return x
