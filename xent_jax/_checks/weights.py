"""Class weights and counts."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .axes import class_axes
from .general import broadcastable, of_shape, real_array
from .values import condition


def class_weights(
    name: str, given: Any, shape: tuple[int, ...], argument: str = "class_weights"
) -> Array:
    """One number per class, not negative."""
    must, of = "hold one number per class", "these logits"
    hint = "for several class axes they are flat, as the ids are"
    weights = real_array(name, argument, given)
    of_shape(name, argument, weights, shape, must, of, hint=hint)
    return _not_negative(name, argument, weights)


def label_weights(name: str, argument: str, given: Any, shape: tuple[int, ...]) -> Array:
    """Numbers that broadcast to the shape of the logits, not negative."""
    weights = real_array(name, argument, given)
    hint = "give one number, or one per label"
    broadcastable(name, argument, weights, "logits", shape, hint=hint)
    return _not_negative(name, argument, weights)


def _not_negative(name: str, argument: str, weights: Array) -> Array:
    condition(lambda: weights >= 0, f"{name}: {argument} holds a negative or NaN weight.")
    return weights


def example_weights(name: str, given: Any, shape: tuple[int, ...], per: str, of: str) -> Array:
    """One real number per example."""
    weights = real_array(name, "weights", given)
    return of_shape(name, "weights", weights, shape, f"hold one number per {per}", of)


def known_weights(
    name: str, given: Any, shape: tuple[int, ...], per: str, of: str
) -> tuple[Array, Array]:
    """One number per example, and which of them are finite and not negative."""
    weights = example_weights(name, given, shape, per, of)
    valid = (weights >= 0) & (weights < float("inf"))
    condition(lambda: valid, f"{name}: weights holds a negative, infinite or NaN number.")
    return weights, valid


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
