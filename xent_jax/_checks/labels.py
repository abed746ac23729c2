"""Labels: class ids and distributions."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .arrays import as_array, real_array, same_shape


def label_array(name: str, labels: Any) -> tuple[Array, bool]:
    """labels as an array, and whether they are class ids (an integer or boolean dtype)."""
    labels = as_array(name, "labels", labels)
    if jnp.issubdtype(labels.dtype, jnp.integer) and labels.dtype.itemsize >= 4:
        return labels, True
    if jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_:
        # Narrow integers could not be compared with ids beyond their range.
        return labels.astype(jnp.int32), True
    return real_array(name, "labels", labels), False


def soft_label_shape(name: str, labels: Array, logits: Array, axes: tuple[int, ...]) -> None:
    if labels.shape == tuple(n for i, n in enumerate(logits.shape) if i not in axes):
        raise ValueError(
            f"{name}: floating labels are distributions of the shape of logits, {logits.shape}, "
            f"got {labels.dtype} of shape {labels.shape}; class ids must be integers: "
            "labels.astype(int)."
        )
    same_shape(name, "logits", logits, "labels", labels)


def id_shape(name: str, labels: Array, logits: Array, axes: tuple[int, ...]) -> None:
    expected = tuple(n for i, n in enumerate(logits.shape) if i not in axes)
    if labels.shape == expected:
        return
    hint = (
        "squeeze the extra axis, e.g. labels[..., 0]"
        if labels.ndim == logits.ndim
        else "give one id per example"
    )
    if labels.shape == logits.shape:
        hint = "a distribution over classes must have a floating dtype: labels.astype(jnp.float32)"
    raise ValueError(
        f"{name}: integer labels must have the shape of logits without its class axes, "
        f"{expected} for logits of shape {logits.shape}, got {labels.shape}; {hint}."
    )


def label_sharding(name: str, labels: Array, logits: Array) -> None:
    """Under an explicit mesh ids are split as the rows of the logits are, or not at all."""
    given, wanted = jax.typeof(labels).sharding, jax.typeof(logits).sharding
    rows = zip(given.spec, wanted.spec)
    if any(ours is not None and ours != theirs for ours, theirs in rows):
        raise ValueError(
            f"{name}: labels are split over {given.spec} and logits over {wanted.spec}; split both "
            "alike, with jax.reshard."
        )


def ignore_index_for_ids(name: str, ignore_index: Any, ids: bool) -> None:
    if ignore_index is None:
        return
    if not ids:
        raise TypeError(
            f"{name}: ignore_index goes with integer labels, got floating labels; "
            "mask examples by multiplying the loss instead."
        )
    if isinstance(ignore_index, bool) or not hasattr(ignore_index, "__index__"):
        raise TypeError(f"{name}: ignore_index must be an int or None, got {ignore_index!r}.")


def differs(labels: Array, ignore_index: int) -> Array:
    """labels != ignore_index, also where that index is beyond the range of their dtype."""
    limits = jnp.iinfo(labels.dtype)
    if not limits.min <= ignore_index <= limits.max:
        return jnp.ones(labels.shape, bool)
    return labels != ignore_index


def token_labels(name: str, labels: Array, tokens: tuple[int, ...], few: tuple[int, ...]) -> None:
    if labels.shape == (*tokens, *few) and few != (0,):
        return
    expected = f"{tokens}" if not few else f"({', '.join(map(str, tokens))}, k)"
    hint = "give k ids per token, one as labels[..., None]" if few else "give one id per token"
    if not few and labels.shape[:-1] == tokens:
        hint = "several ids per token need label_probs, their probabilities"
    shape = "the axes of the tokens and k" if few else "the shape of x without its features"
    raise ValueError(f"{name}: labels must have {shape}, {expected}, got {labels.shape}; {hint}.")


def not_multi_hot(name: str, ids: Array, classes: int, instead: str) -> None:
    if ids.shape[-1] == classes > 2:
        raise ValueError(
            f"{name}: labels of shape {ids.shape} are as many as there are classes, as 0 and 1 of "
            f"each would be, and must be ids; {instead}."
        )


def distributions(name: str, labels: Array, classes: int) -> None:
    if labels.shape[-1:] != (classes,):
        raise ValueError(
            f"{name}: floating labels must be distributions over num_classes={classes} classes, "
            f"(..., {classes}), got shape {labels.shape}; class ids must have an integer dtype."
        )


def class_number(name: str, given: Any) -> int:
    if isinstance(given, bool) or not hasattr(given, "__index__") or operator.index(given) < 1:
        raise ValueError(f"{name}: num_classes must be a positive int, got {given!r}.")
    return operator.index(given)
