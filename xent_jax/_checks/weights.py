"""Class weights and counts."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .arrays import real_array
from .axes import class_axes
from .values import condition


def class_weights(
    name: str, given: Any, shape: tuple[int, ...], argument: str = "class_weights"
) -> Array:
    weights = real_array(name, argument, given)
    if weights.shape != shape:
        raise ValueError(
            f"{name}: {argument} must hold one number per class, {shape} for these logits, "
            f"got {weights.shape}; for several class axes they are flat, as the ids are."
        )
    condition(lambda: weights >= 0, f"{name}: {argument} holds a negative or NaN weight.")
    return weights


def class_weight_sharding(name: str, weights: Array, logits: Array, axis: int) -> None:
    """Under an explicit mesh the weights are split as the classes are, or not at all."""
    (given,), wanted = jax.typeof(weights).sharding.spec, jax.typeof(logits).sharding.spec[axis]
    if given is not None and given != wanted:
        raise ValueError(
            f"{name}: class_weights are split over {given!r} and the classes over {wanted!r}; "
            "split both alike, with jax.reshard."
        )


def counts(name: str, given: Any) -> tuple[Array, Array]:
    """The counts (..., K), real, and per row whether they are all finite and not negative."""
    given = real_array(name, "counts", given)
    class_axes(name, "counts", given, -1)
    valid = jnp.all((given >= 0) & (given < float("inf")), axis=-1, keepdims=True)
    condition(lambda: valid, f"{name}: counts holds a negative, infinite or NaN number.")
    return given, valid
