"""Class ids of tokens, as they are given and as the rows take them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from .. import _checks as check
from .._class_axes import in_explicit_mesh
from .._labelled import weight_of
from .reduce import Batch


class Ids(NamedTuple):
    """Ids in range (tokens…, 1 or k); which tokens are not ignored, None for all; which of them
    have valid ids; and which ids count."""

    ids: Array
    counted: Array | None
    valid: Array
    named: Array


def token_ids(
    name: str,
    here: Batch,
    labels: Any,
    several: bool,
    ignore_index: int | None,
    instead: str = "of a distribution take jnp.argmax",
) -> Ids:
    """With `several`, k ids per token, of which `ignore_index` leaves out each by itself.

    `instead` says what to do with labels that are no ids.
    """
    kind = getattr(labels, "dtype", None)
    labels, integers = check.label_array(name, labels)
    if not integers or kind == jnp.bool_:
        kind = labels.dtype if kind is None else kind
        check.integer_ids(name, labels, kind, len(here.shape), instead)
    check.ignore_index_for_ids(name, ignore_index, True)
    few = labels.shape[-1:] if several else ()
    check.token_labels(name, labels, here.shape, few, here.classes)
    ids = here.per_token(labels, *(few or (1,)))
    in_range = (ids >= 0) & (ids <= here.classes - 1)
    named, counted = jnp.ones(ids.shape, bool), None
    if ignore_index is not None:
        named = check.differs(ids, ignore_index)
        counted = jnp.any(named, -1)
    valid = jnp.all(in_range | ~named, -1)
    check.ids_in_range(name, lambda: valid, here.classes)
    return Ids(jnp.where(in_range, ids, 0).astype(jnp.int32), counted, valid, named)


def existing(here: Batch, ids: Array) -> Array | bool:
    """Which ids are those of classes that exist."""
    if here.kept is None:
        return True
    kept = here.kept.astype(here.dtype)
    return of_classes(here, kept, ids) > 0.0


def of_classes(here: Batch, flat: Array, ids: Array) -> Array:
    """The entry of a vector over the classes at each id, of the shape of the ids."""
    if in_explicit_mesh(flat, ids):  # where a gather may be refused
        is_class = ids[..., None] == jnp.arange(flat.size).reshape((1,) * ids.ndim + (-1,))
        every = flat.reshape((1,) * ids.ndim + (-1,)) + jnp.zeros_like(is_class, flat.dtype)
        return jnp.sum(jnp.where(is_class, every, 0.0), -1)
    return weight_of(flat, ids, here.heads[0].w, here.axes)


def label_probabilities(name: str, here: Batch, labels: Any, given: Any, found: Ids) -> Array:
    """(tokens…, k): the probabilities that were given, 0 for ids that do not count."""
    probs = check.real_array(name, "label_probs", given)
    check.same_shape(name, "labels", jnp.asarray(labels), "label_probs", probs)
    probs = here.per_token(probs, probs.shape[-1])
    check.probabilities(name, "label_probs", probs)
    counts = found.named & existing(here, found.ids)
    probs = jnp.where(counts, probs, jnp.zeros((), probs.dtype))
    return probs.astype(here.dtype) if jnp.float64 in (here.dtype, probs.dtype) else probs
