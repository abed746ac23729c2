"""Labels: class ids and distributions."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .arrays import same_shape
from .general import as_array, integer, of_shape, real_array


def label_array(name: str, labels: Any) -> tuple[Array, bool]:
    """labels as an array, and whether they are class ids (an integer or boolean dtype)."""
    labels = as_array(name, "labels", labels)
    if jnp.issubdtype(labels.dtype, jnp.integer) and labels.dtype.itemsize >= 4:
        return labels, True
    if jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_:
        # Narrow integers could not be compared with ids beyond their range.
        return labels.astype(jnp.int32), True
    return real_array(name, "labels", labels), False


def labels_first(name: str, p: Any, q: Any) -> None:
    """Of two arrays of probabilities whole numbers are labels, and hardly what a model gives."""
    of_p, of_q = (as_array(name, argument, x).dtype for argument, x in (("p", p), ("q", q)))
    if jnp.issubdtype(of_p, jnp.floating) and not jnp.issubdtype(of_q, jnp.floating):
        raise TypeError(
            f"{name}: q holds {of_q} and p {of_p}; labels come first, {name}(labels, "
            "probabilities), or give q a floating dtype."
        )


def soft_label_shape(
    name: str, labels: Array, logits: Array, axes: tuple[int, ...], *, argument: str = "logits"
) -> None:
    if labels.shape == _without(logits, axes):
        raise ValueError(
            f"{name}: floating labels are distributions of the shape of {argument}, "
            f"{logits.shape}, got {labels.dtype} of shape {labels.shape}; class ids must be "
            "integers: labels.astype(int)."
        )
    same_shape(name, argument, logits, "labels", labels)


def integer_ids(name: str, labels: Array, kind: Any, rows: int, instead: str) -> None:
    """Labels that must be ids are not, but of another `kind`; `rows` is how many axes ids have."""
    if kind != jnp.bool_ and labels.ndim == rows:
        instead += ", of ids labels.astype(int)"
    raise TypeError(f"{name}: labels must be integer class ids, got {kind}; {instead}.")


def id_shape(
    name: str, labels: Array, logits: Array, axes: tuple[int, ...], *, argument: str = "logits"
) -> None:
    expected = _without(logits, axes)
    hint = "give one id per example"
    if labels.shape == logits.shape:
        hint = "a distribution over classes must have a floating dtype: labels.astype(jnp.float32)"
    elif labels.ndim == logits.ndim:
        hint = "squeeze the extra axis, e.g. labels[..., 0]"
    else:
        fitting = [a for a in range(logits.ndim) if labels.shape == _without(logits, (a,))]
        hint += f", or axis={fitting[0]} if it holds the classes" if fitting else ""
    must = f"have the shape of {argument} without its class axes"
    of = f"{argument} of shape {logits.shape}"
    of_shape(name, "integer labels", labels, expected, must, of, hint=hint)


def _without(logits: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for i, n in enumerate(logits.shape) if i not in axes)


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
    integer(name, "ignore_index", ignore_index, optional=True)


def differs(labels: Array, ignore_index: int) -> Array:
    """labels != ignore_index, also where that index is beyond the range of their dtype."""
    limits = jnp.iinfo(labels.dtype)
    if not limits.min <= ignore_index <= limits.max:
        return jnp.ones(labels.shape, bool)
    return labels != ignore_index


def token_labels(
    name: str, labels: Array, tokens: tuple[int, ...], few: tuple[int, ...], classes: int
) -> None:
    if labels.shape == (*tokens, *few) and few != (0,):
        return
    expected = f"{tokens}" if not few else f"({', '.join(map(str, tokens))}, k)"
    hint = "give k ids per token, one as labels[..., None]" if few else "give one id per token"
    if not few and labels.shape[:-1] == tokens:
        hint = "several ids per token need label_probs, their probabilities"
        if labels.shape[-1] == classes:
            hint = f"labels of 0 and 1 become ids by jnp.argmax(labels, -1), and {hint}"
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
