"""Linear heads: features, weights and bias."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from .general import of_shape, real_array


def head(
    name: str, arguments: tuple[str, str, str], x: Any, w: Any, b: Any
) -> tuple[Array, Array, Array | None]:
    """x (..., D) and w (D, K) of one dtype, and b (K,) or None; a single number is all of b."""
    x_name, w_name, b_name = arguments
    x, w = real_array(name, x_name, x), real_array(name, w_name, w)
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[0]:
        hint = f"the last axis of {x_name} is contracted with the first of {w_name}"
        if w.ndim == 2 and x.shape[-1:] == w.shape[1:]:
            hint = f"pass {w_name}.T"
        elif x.ndim == 2 <= w.ndim and w.shape[-1] == x.shape[0]:
            hint = f"swapped? {x_name} comes first, then {w_name}"
        raise ValueError(
            f"{name}: {x_name} must be (..., features) and {w_name} (features, classes), got "
            f"{x.shape} and {w.shape}; {hint}."
        )
    if w.shape[1] == 0:
        raise ValueError(
            f"{name}: {w_name} of shape {w.shape} has no classes; "
            "a distribution needs at least one."
        )
    _same_dtype(name, (x_name, x), (w_name, w))
    if b is None:
        return x, w, None
    b = real_array(name, b_name, b)
    if b.shape:
        must, of = "hold one number per class", f"{w_name} of shape {w.shape}"
        of_shape(name, b_name, b, w.shape[1:], must, of, hint="or give one number for all")
    return x, w, jnp.broadcast_to(b, w.shape[1:])


def _same_dtype(name: str, first: tuple[str, Array], second: tuple[str, Array]) -> None:
    """A product of two dtypes would run in the slower one, in silence."""
    (x_name, x), (w_name, w) = first, second
    if x.dtype == w.dtype:
        return
    wide, narrow = (x_name, w_name) if x.dtype.itemsize > w.dtype.itemsize else (w_name, x_name)
    raise TypeError(
        f"{name}: {x_name} and {w_name} must have one dtype, got {x.dtype} and {w.dtype}; cast "
        f"one, {wide}.astype({narrow}.dtype) for speed or {narrow}.astype({wide}.dtype) for digits."
    )


def heads_agree(name: str, arguments: Any, heads: Any) -> None:
    """Two heads have the same tokens and the same classes."""
    (x, w, _), *others = heads
    for (x_name, w_name, _), (other_x, other_w, _) in zip(arguments[1:], others, strict=True):
        if other_x.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"{name}: {arguments[0][0]} and {x_name} must hold the same tokens, got shapes "
                f"{x.shape} and {other_x.shape}; all axes but the last are tokens."
            )
        if other_w.shape[1] != w.shape[1]:
            raise ValueError(
                f"{name}: {arguments[0][1]} and {w_name} must have the same classes, got shapes "
                f"{w.shape} and {other_w.shape}; the last axis holds the classes."
            )
