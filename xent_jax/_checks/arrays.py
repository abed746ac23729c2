"""Arrays: that they hold numbers, and that their shapes agree."""

import inspect
from difflib import get_close_matches
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_COMPUTED_AS_THEY_ARE = ("float16", "bfloat16", "float32", "float64")


def real_array(name: str, argument: str, x: Any) -> Array:
    """x as a real floating array; integers, booleans and float8 become float32."""
    x = as_array(name, argument, x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: {argument} must be real, got {x.dtype}; pass {argument}.real.")
    if x.dtype.name in _COMPUTED_AS_THEY_ARE:
        return x
    if _is_number(x):
        return x.astype(jnp.float32)
    raise TypeError(f"{name}: {argument} must hold numbers, got {x.dtype}.")


def as_array(name: str, argument: str, x: Any) -> Array:
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: {argument} must be an array of numbers, got {type(x).__name__}; "
            "pass a JAX or NumPy array."
        ) from error


def _is_number(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.number) or x.dtype == jnp.bool_


def kinds_of_arguments(f: Any, options: Any, args: Any, kwargs: Any) -> None:
    """What JAX refuses before it calls f: an array where a plain value belongs, or a string."""
    try:
        given = inspect.signature(f).bind(*args, **kwargs).arguments
    except TypeError as error:
        names = list(inspect.signature(f).parameters)
        close = [m for k in kwargs if k not in names for m in get_close_matches(k, names, 1)]
        hint = "data are positional, options go by keyword."
        hint = f"did you mean {close[0]!r}?" if close else hint
        raise TypeError(f"{f.__name__}: {error}; {hint}") from None
    for argument, x in given.items():
        if argument in options:
            try:
                hash(x)
            except TypeError:
                raise TypeError(
                    f"{f.__name__}: {argument} must be a plain Python value, known when the call "
                    f"is compiled, got {type(x).__name__}; pass int(...), float(...) or a tuple."
                ) from None
        elif isinstance(x, (str, bytes)):
            as_array(f.__name__, argument, x)


def same_shape(name: str, first: str, a: Array, second: str, b: Array) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{name}: {first} and {second} must have the same shape, got {a.shape} and {b.shape}; "
            "broadcast one with jnp.broadcast_to, or use jax.vmap."
        )


def mask(name: str, argument: str, where: Any, x: Array) -> Array:
    """where as a boolean array that broadcasts to the shape of the data."""
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_:
        raise TypeError(
            f"{name}: where must be boolean, got {where.dtype}; pass a comparison such as mask > 0."
        )
    try:
        fits = jnp.broadcast_shapes(where.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: where of shape {where.shape} does not broadcast to {argument} of shape "
            f"{x.shape}; give it that shape, or axes of size one."
        )
    return where


def class_mask(name: str, where: Any, classes: int) -> Array:
    """where as one boolean per class."""
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_ or where.shape != (classes,):
        raise (ValueError if where.dtype == jnp.bool_ else TypeError)(
            f"{name}: where must hold one boolean per class, shape ({classes},), "
            f"got {where.dtype} of shape {where.shape}; tokens are left out by weights."
        )
    return where


def per_token(name: str, argument: str, x: Any, shape: tuple[int, ...]) -> Array:
    """A floating array with one number per token."""
    x = real_array(name, argument, x)
    if x.shape != shape:
        raise ValueError(
            f"{name}: {argument} must hold one number per token, {shape} for this x, got "
            f"{x.shape}; jnp.broadcast_to({argument}, {shape}) makes it so."
        )
    return x


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


def one_number(name: str, argument: str, out: Any) -> None:
    """Whether a function of one token gives one real number."""
    real = getattr(out, "shape", None) == () and jnp.issubdtype(out.dtype, jnp.floating)
    if not real:
        got = ", ".join(f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(out)) or "nothing"
        raise TypeError(
            f"{name}: {argument} is a function of one token, as for jax.vmap, and must give one "
            f"floating number, got {got}; sums over tokens are what reduction= is for."
        )


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


def per_entry(name: str, argument: str, x: Any, shape: tuple[int, ...]) -> Array:
    """A floating array with one number per label."""
    x = real_array(name, argument, x)
    if x.shape != shape:
        raise ValueError(
            f"{name}: {argument} must hold one number per label, {shape} for these labels, got "
            f"{x.shape}; broadcast it with jnp.broadcast_to."
        )
    return x


def scalar(name: str, argument: str, x: Any) -> Array:
    x = real_array(name, argument, x)
    if x.shape:
        raise ValueError(
            f"{name}: {argument} must be one number, got shape {x.shape}; use jax.vmap for several."
        )
    return x
