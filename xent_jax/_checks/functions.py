"""Functions that a user gives, and the data of their tokens."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .general import as_array


def function(name: str, argument: str, given: Any, example: str) -> None:
    if not callable(given):
        raise TypeError(
            f"{name}: {argument} must be a function, got {type(given).__name__}; such as {example}."
        )


def takes(name: str, argument: str, f: Any, what: str, *values: Any) -> None:
    """Whether a function can be called with so many values."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # as of some built-in functions
        return
    try:
        signature.bind(*values)
    except TypeError as error:
        raise TypeError(
            f"{name}: {argument} is called with {what} of one token, {len(values)} arguments: "
            f"{error}; data follow labels, one array for each."
        ) from None


def elementwise(name: str, argument: str, wanted: Any, out: Any, example: str) -> None:
    """Whether a function maps an array to one of the same shape and dtype."""
    got = jax.tree.leaves(out)
    fits = len(got) == 1 and (got[0].shape, got[0].dtype) == (wanted.shape, wanted.dtype)
    if not fits:
        raise TypeError(
            f"{name}: {argument} must map {wanted.dtype}{list(wanted.shape)} to the same shape and "
            f"dtype, got {_shown(got)}; use {example}."
        )


def one_number(name: str, argument: str, out: Any) -> None:
    """Whether a function of one token gives one real number."""
    real = getattr(out, "shape", None) == () and jnp.issubdtype(out.dtype, jnp.floating)
    if not real:
        raise TypeError(
            f"{name}: {argument} is a function of one token, as for jax.vmap, and must give one "
            f"floating number, got {_shown(out)}; sums over tokens are what reduction= is for."
        )


def _shown(out: Any) -> str:
    return ", ".join(f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(out)) or "nothing"


def labels_of_function(name: str, out: Any, classes: tuple[int, ...]) -> None:
    shape = getattr(out, "shape", None)
    if shape != classes:
        raise TypeError(
            f"{name}: labels as a function of one token must give one label per class, {classes}, "
            f"got {'no single array' if shape is None else shape}."
        )


def no_data_beside_ids(name: str, data: Any) -> None:
    if data:
        raise TypeError(
            f"{name}: data are for labels that are a function, got {len(data)} beside ids; options "
            "go by keyword, as b= and weights=."
        )


def no_ignore_index(name: str, ignore_index: Any) -> None:
    if ignore_index is not None:
        raise ValueError(
            f"{name}: ignore_index={ignore_index!r} goes with ids, and labels are a function; give "
            "labels 0, or weights 0, instead."
        )


def token_data(name: str, place: str, x: Any, tokens: tuple[int, ...]) -> Array:
    """Data of the tokens, their axes first, of size one where shared; a number is that of all."""
    if isinstance(x, (str, bytes)):
        raise TypeError(f"{name}: {place} must be an array, got {x!r}; options go by keyword.")
    x = as_array(name, place, x)
    lead = x.shape[: len(tokens)] if x.ndim else (1,) * len(tokens)
    fits = len(lead) == len(tokens) and all(
        (isinstance(n, int) and n == 1) or n == m for n, m in zip(lead, tokens, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name}: {place} must have the axes of the tokens first, {tokens} for this x, of size "
            f"one where shared, got shape {x.shape}; of a sequence give adv[:, None], of shape "
            "(B, 1)."
        )
    x = x if x.ndim else x.reshape(lead)
    return jnp.broadcast_to(x, (*tokens, *x.shape[len(tokens) :]))
