"""Options that are choices or plain numbers."""

from typing import Any

import jax
import jax.numpy as jnp

from .general import one_of


def log_base(name: str, base: Any) -> float:
    try:
        number = float(base)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(base, str):
        raise TypeError(f"{name}: base must be a number or None, got {base!r}.")
    if not number > 0.0 or number == 1.0 or number == float("inf"):
        raise ValueError(
            f"{name}: base must be positive, finite and not 1, got {base!r}; "
            "use base=2 for bits, or None for nats."
        )
    return number


def reduction(name: str, given: Any, normalizer: Any) -> None:
    one_of(name, "reduction", given, (None, "sum", "mean"))
    if normalizer is not None and given != "mean":
        raise ValueError(
            f'{name}: normalizer is what reduction="mean" divides by, got reduction={given!r}; '
            'pass reduction="mean".'
        )


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
