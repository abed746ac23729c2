"""Options that are numbers or choices."""

import operator
from typing import Any

import jax
import jax.numpy as jnp


def log_base(name: str, base: Any) -> float:
    try:
        number = float(base)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: base must be a number or None, got {base!r}.") from None
    if not number > 0.0 or number == 1.0 or number == float("inf"):
        raise ValueError(
            f"{name}: base must be positive, finite and not 1, got {base!r}; "
            "use base=2 for bits, or None for nats."
        )
    return number


def reduction(name: str, given: Any, normalizer: Any) -> None:
    if given not in (None, "sum", "mean"):
        raise ValueError(f'{name}: reduction must be None, "sum" or "mean", got {given!r}.')
    if normalizer is not None and given != "mean":
        raise ValueError(
            f'{name}: normalizer is what reduction="mean" divides by, got reduction={given!r}; '
            'pass reduction="mean".'
        )


def chunk_size(name: str, given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not hasattr(given, "__index__") or operator.index(given) < 1:
        raise ValueError(
            f"{name}: chunk_size must be a positive int or None, got {given!r}; "
            "None chooses it from the shapes."
        )
    return operator.index(given)


def precision(name: str, given: Any) -> Any:
    """What `jax.lax.dot_general` takes, hashable."""
    try:
        hash(given)
        jax.eval_shape(lambda x: jax.lax.dot(x, x, precision=given), jnp.zeros((1, 1)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: precision must be a jax.lax.PrecisionLike, got {given!r}; such as None, "
            '"highest", or a jax.lax.DotAlgorithmPreset.'
        ) from error
    return given


def elementwise(name: str, argument: str, wanted: Any, out: Any, example: str) -> None:
    """Whether a function maps an array to one of the same shape and dtype."""
    got = jax.tree.leaves(out)
    fits = len(got) == 1 and (got[0].shape, got[0].dtype) == (wanted.shape, wanted.dtype)
    if not fits:
        shown = ", ".join(f"{x.dtype}{list(x.shape)}" for x in got)
        raise TypeError(
            f"{name}: {argument} must map {wanted.dtype}{list(wanted.shape)} to the same shape and "
            f"dtype, got {shown}; use {example}."
        )


def function(name: str, argument: str, given: Any, example: str) -> None:
    if not callable(given):
        raise TypeError(
            f"{name}: {argument} must be a function, got {type(given).__name__}; such as {example}."
        )


def estimator(name: str, kind: Any) -> None:
    if kind not in ("k1", "k2", "k3"):
        raise ValueError(f'{name}: kind must be "k1", "k2" or "k3", got {kind!r}.')
