"""Masks: which classes or elements exist."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from .general import as_array, broadcastable, of_shape


def mask(name: str, argument: str, where: Any, x: Array, elementwise: bool = False) -> Array:
    """where as a boolean array that broadcasts to the shape of the data."""
    where = _boolean(name, where)
    hint = "give it that shape, or axes of size one"
    if where.ndim < x.ndim and where.shape == x.shape[: where.ndim]:
        hint = f"give it the shape {where.shape + (1,) * (x.ndim - where.ndim)}"
        if not elementwise:
            hint = (
                "where says which classes exist, a mask of examples goes to jnp.average(values, "
                f"weights=mask): {hint} to have 0 for an example"
            )
    return broadcastable(name, "where", where, argument, x.shape, hint=hint)


def class_mask(name: str, where: Any, classes: int) -> Array:
    """where as one boolean per class."""
    return of_shape(
        name,
        "where",
        _boolean(name, where),
        (classes,),
        "hold one boolean per class",
        "these logits",
        hint="tokens are left out by weights=",
    )


def _boolean(name: str, where: Any) -> Array:
    where = as_array(name, "where", where)
    if where.dtype != jnp.bool_:
        raise TypeError(
            f"{name}: where must be boolean, got {where.dtype}; pass a comparison such as mask > 0."
        )
    return where
