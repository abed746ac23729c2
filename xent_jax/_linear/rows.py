"""The row functions of the linear row that the dense rows do not have."""

import operator
from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes, across, first_class, local, vary_like
from .._math.costs import itself
from .._math.dtypes import widen
from .._rows.row_function import RowFunction
from .._rows.softmax_losses import under_labels
from .._rows.softmax_statistics import statistics
from .per_token import at_each


@cache
def labelled_row(
    f: Callable[..., Array],
    few: bool,
    smoothing: bool,
    z_loss: bool,
    constant: tuple[str, ...] = (),
) -> tuple[RowFunction, tuple[str, ...]]:
    """(axes, row_mask, logits, labels, weights, share, one, *parameter of f) → numbers, named.

    They are those of `loss_of_row`, and behind them constant ones. Labels are class ids, or with
    `few` two arrays: probabilities and the ids they belong to.
    """
    linear = f is itself
    names = () if few and not linear else ("under_labels" if few else "at_label",)
    names += ("under_share",) if smoothing and linear else ()
    names += ("logsumexp",) if z_loss else ()
    pieces = []
    if names or constant:
        pieces.append((statistics(*names, constant=constant), (0, 1, 2, 3)))
    if not linear:
        parameter = (5,)
        if few:
            pieces.append((under_labels(f), (0, 1, 2, *parameter)))
            names += ("under_labels",)
        if smoothing:
            pieces.append((under_labels(f), (0, 3, 4, *parameter)))
            names += ("under_share",)
    row = _joined(tuple(pieces), len(constant))
    return (_of_few(row) if few else row), names


def _joined(pieces: tuple[tuple[RowFunction, tuple[int, ...]], ...], constants: int) -> RowFunction:
    """The values of several row functions, each of the data at its places.

    The constants are the last values of the first one, and of all.
    """

    def formula(axes: Axes, *data: Array) -> Any:
        found = [row.formula(axes, *(data[i] for i in places)) for row, places in pieces]
        first, *others = [v if isinstance(v, tuple) else (v,) for v, _ in found]
        moving = len(first) - constants
        values = reduce(operator.add, others, first[:moving]) + first[moving:]
        return values, tuple(residuals for _, residuals in found)

    def partials(axes: Axes, residuals: Any, *data: Array) -> Any:
        found = []
        for (row, places), kept in zip(pieces, residuals, strict=True):
            own = row.partials(axes, kept, *(data[i] for i in places))
            several = not own or isinstance(own[0], tuple)
            for of_value in own if several else (own,):
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
    probs, ids, empty = alike(z, probs, ids, jnp.zeros((1,) * (z.ndim - 1) + z.shape[-1:]))

    def spread(empty: Array, probs: Array, ids: Array) -> Array:
        return empty.at[ids].add(probs, mode="drop")

    empty = vary_like(empty.astype(probs.dtype), z, probs, ids)
    return at_each(spread, z.ndim - 1)(empty, probs, places(axes, z, ids))


def _collect(axes: Axes, z: Array, by_labels: Array, ids: Array) -> Array:
    """The entries of a slope by the labels at the few ids."""
    by_labels, ids = alike(z, by_labels, ids)

    def collect(by_labels: Array, ids: Array) -> Array:
        return by_labels.at[ids].get(mode="fill", fill_value=0.0)

    return at_each(collect, z.ndim - 1)(by_labels, places(axes, z, ids))


def alike(z: Array, *data: Array) -> tuple[Array, ...]:
    """The data with the rows of all of them and of the logits."""
    rows = jnp.broadcast_shapes(z.shape[:-1], *(x.shape[:-1] for x in data))
    return tuple(jnp.broadcast_to(x, (*rows, x.shape[-1])) for x in data)


def places(axes: Axes, z: Array, ids: Array) -> Array:
    """Where the ids stand in the logits of this shard; beyond their end if on another one."""
    if not across(axes):
        return ids
    classes, ids = z.shape[-1], ids - first_class(z, axes)
    return jnp.where((ids >= 0) & (ids < classes), ids, classes)
