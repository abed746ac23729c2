"""The row functions of the linear row that the dense rows do not have."""

import operator
from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import (
    Axes,
    across,
    first_class,
    is_class,
    is_sharded,
    local,
    take_class,
    vary_like,
)
from .._math.costs import itself
from .._math.dtypes import widen
from .._rows.row_function import RowFunction
from .._rows.softmax_losses import under_labels
from .._rows.softmax_statistics import statistics


@cache
def labelled_row(
    f: Callable[..., Array], few: bool, smoothing: bool, z_loss: bool
) -> tuple[RowFunction, tuple[str, ...]]:
    """(axes, row_mask, logits, labels, weights, share, one, *parameter of f) → numbers, named.

    They are those of `loss_of_row`. Labels are class ids, or with `few` two arrays: probabilities
    and the ids they belong to.
    """
    linear = f is itself
    names = () if few and not linear else ("under_labels" if few else "at_label",)
    names += ("under_share",) if smoothing and linear else ()
    names += ("logsumexp",) if z_loss else ()
    pieces = [(statistics(*names), (0, 1, 2, 3))] if names else []
    if not linear:
        parameter = (5,)
        if few:
            pieces.append((under_labels(f), (0, 1, 2, *parameter)))
            names += ("under_labels",)
        if smoothing:
            pieces.append((under_labels(f), (0, 3, 4, *parameter)))
            names += ("under_share",)
    row = _joined(tuple(pieces))
    return (_of_few(row) if few else row), names


def _joined(pieces: tuple[tuple[RowFunction, tuple[int, ...]], ...]) -> RowFunction:
    """The values of several row functions, each of the data at its places."""

    def formula(axes: Axes, *data: Array) -> Any:
        found = [row.formula(axes, *(data[i] for i in places)) for row, places in pieces]
        values = [v if isinstance(v, tuple) else (v,) for v, _ in found]
        return reduce(operator.add, values), tuple(residuals for _, residuals in found)

    def partials(axes: Axes, residuals: Any, *data: Array) -> Any:
        found = []
        for (row, places), kept in zip(pieces, residuals, strict=True):
            own = row.partials(axes, kept, *(data[i] for i in places))
            for of_value in own if isinstance(own[0], tuple) else (own,):
                placed: list[Array | None] = [None] * len(data)
                for i, g in zip(places, of_value):
                    placed[i] = g
                found.append(tuple(placed))
        return tuple(found)

    return RowFunction(formula, partials)


def _of_few(row: RowFunction) -> RowFunction:
    """A row function of labels (tokens, classes), for probabilities and ids (tokens, k)."""

    def formula(axes: Axes, z: Array, probs: Array, ids: Array, *of_classes: Array) -> Any:
        # Two entries of one class could hide a negative probability.
        lowest = jnp.min(probs, axis=local(axes), keepdims=True)
        probs = jnp.where(lowest < 0.0, jnp.nan, widen(probs))
        return row.formula(axes, z, _spread(axes, z, probs, ids), *of_classes)

    def partials(
        axes: Axes, residuals: Any, z: Array, probs: Array, ids: Array, *of_classes: Array
    ) -> Any:
        found = row.partials(axes, residuals, z, _spread(axes, z, widen(probs), ids), *of_classes)
        several = found if isinstance(found[0], tuple) else (found,)

        def placed(by_z: Array, by_labels: Array | None = None, *of_classes: Array | None) -> Any:
            by_probs = None if by_labels is None else _collect(axes, z, by_labels, ids)
            return by_z, by_probs, None, *of_classes

        return tuple(placed(*of_value) for of_value in several)

    return RowFunction(formula, partials)


def _spread(axes: Axes, z: Array, probs: Array, ids: Array) -> Array:
    """Few probabilities as labels of the shape of the logits."""
    if is_sharded(z):  # where a scatter is refused
        each = zip(jnp.split(probs, ids.shape[-1], -1), jnp.split(ids, ids.shape[-1], -1))
        parts = [jnp.where(is_class(y, z, axes), p, 0.0) for p, y in each]
        return reduce(operator.add, parts, jnp.zeros_like(z))
    rows = jnp.broadcast_shapes(z.shape[:-1], probs.shape[:-1], ids.shape[:-1])
    empty = vary_like(jnp.zeros((*rows, z.shape[-1]), probs.dtype), z, probs, ids)
    probs, ids = (jnp.broadcast_to(x, (*rows, x.shape[-1])) for x in (probs, ids))
    return empty.at[_places(axes, empty, ids)].add(probs, mode="drop")


def _collect(axes: Axes, z: Array, by_labels: Array, ids: Array) -> Array:
    """The entries of a slope by the labels at the few ids."""
    if is_sharded(z):
        each = jnp.split(ids, ids.shape[-1], -1)
        return jnp.concatenate([take_class(by_labels, y, axes) for y in each], -1)
    ids = jnp.broadcast_to(ids, (*by_labels.shape[:-1], ids.shape[-1]))
    return by_labels.at[_places(axes, by_labels, ids)].get(mode="fill", fill_value=0.0)


def _places(axes: Axes, z: Array, ids: Array) -> tuple[Array, ...]:
    """Where the ids stand in logits (..., classes); beyond their end if on another shard."""
    if across(axes):
        classes, ids = z.shape[-1], ids - first_class(z, axes)
        ids = jnp.where((ids >= 0) & (ids < classes), ids, classes)
    rows = ids.ndim - 1
    index = [lax.broadcasted_iota(ids.dtype, (*ids.shape[:-1], 1), a) for a in range(rows)]
    return *index, ids
