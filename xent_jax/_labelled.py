"""From logits and labels as they are given to the loss of each example."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from . import _checks as check
from ._call import Labelling, Rows, finish, logits_data, mask_of_rows
from ._class_axes import (
    Axes,
    across,
    class_count,
    class_sum,
    first_class,
    in_explicit_mesh,
    local,
    over_classes,
)
from ._epilogue import Cost, Smoothing, loss_of_row
from ._math.costs import itself
from ._math.dtypes import compute_dtype, match_precision
from ._rows.softmax_losses import under_labels
from ._rows.softmax_statistics import statistics

_ITSELF = Cost(itself)


class LabelledRows(NamedTuple):
    """Logits and labels of one precision, which rows count, and what the classes weigh."""

    logits: Array
    labels: Array
    are_ids: bool
    row_mask: Array | None
    weights: Array  # of the classes, beside the logits
    weight_of_id: Array


def labelled(
    name: str,
    logits: Any,
    labels: Any,
    rows: Rows,
    labelling: Labelling,
    cost: Cost = _ITSELF,
) -> Array:
    """Σ_j w_j y_j f(−log p_j) of each row, for labels y smoothed and class weights w."""
    z, axes, kept = logits_data(name, "logits", logits, rows)
    here = labelled_rows(name, z, labels, axes, kept, labelling)
    z, dtype = here.logits, compute_dtype(here.logits)
    alpha, z_weight = traced_amounts(name, labelling.label_smoothing, labelling.z_loss, dtype)
    share, count = smoothing_share(kept, here.weights, z, axes)
    parameters = tuple(x.astype(dtype).reshape((1,) * z.ndim) for x in cost.parameters)
    cost = cost._replace(parameters=parameters)

    smooth, linear = alpha is not None, cost.f is itself
    names = ["at_label" if here.are_ids else "under_labels"] if here.are_ids or linear else []
    names += ["under_share"] if smooth and linear else []
    names += ["logsumexp"] if z_weight is not None else []
    numbers: dict[str, Array] = {}
    if names:
        data = (z, here.labels, here.weights, share)
        numbers.update(zip(names, statistics(*names)(axes, here.row_mask, *data), strict=True))
    if not linear:
        row = partial(under_labels(cost.f), axes, here.row_mask, z)
        if not here.are_ids:
            numbers["under_labels"] = row(here.labels, here.weights, *parameters)
        if smooth:
            one = jnp.ones((1,) * z.ndim, dtype)
            numbers["under_share"] = row(share, one, *parameters)
    smoothing = None if alpha is None else Smoothing(alpha, count)
    loss = loss_of_row(numbers, here.row_mask, cost, here.weight_of_id, smoothing, z_weight)
    return finish(name, loss, axes, rows)


def labelled_rows(
    name: str,
    z: Array,
    labels: Any,
    axes: Axes,
    kept: Array | None,
    labelling: Labelling,
    *,
    argument: str = "logits",
) -> LabelledRows:
    """Labels as they are given beside the data of that argument, of which some classes exist."""
    flat_weights = None
    if labelling.class_weights is not None:
        flat_weights = class_weight_array(name, labelling.class_weights, z, axes)
        z, flat_weights = match_precision(z, flat_weights)
    y, are_ids = check.label_array(name, labels)
    check.ignore_index_for_ids(name, labelling.ignore_index, are_ids)
    if are_ids:
        y, row_mask = _ids(name, y, z, axes, kept, labelling.ignore_index, argument=argument)
    else:
        z, y = match_precision(z, y)
        check.soft_label_shape(name, y, z, local(axes), argument=argument)
        y = y if kept is None else jnp.where(kept, y, jnp.zeros((), y.dtype))
        check.probabilities(name, "labels", y)
        row_mask = mask_of_rows(z, axes, kept)
    laid = weight_of_id = jnp.ones((1,) * z.ndim, compute_dtype(z))
    if flat_weights is not None:
        flat_weights = flat_weights.astype(laid.dtype)
        laid = over_classes(flat_weights, z, axes)
        if are_ids:  # what is left out has no use for its weight
            weight_of_id = weight_of(flat_weights, y, z, axes)
            weight_of_id = jnp.where(row_mask == 0.0, 0.0, weight_of_id)
    return LabelledRows(z, y, are_ids, row_mask, laid, weight_of_id)


def _ids(
    name: str,
    labels: Array,
    z: Array,
    axes: Axes,
    kept: Array | None,
    ignore_index: int | None,
    *,
    argument: str,
) -> tuple[Array, Array | None]:
    """Ids in range, and the mask of rows: those that are ignored and those that are not valid."""
    counted = None if ignore_index is None else check.differs(labels, ignore_index)
    ids, valid = class_ids(name, labels, z, axes, argument=argument)
    counted = None if counted is None else lax.expand_dims(counted, sorted(local(axes)))
    row_mask = mask_of_rows(z, axes, kept, counted, valid)
    check.ids_in_range(name, lambda: valid | (row_mask == 0.0), class_count(z, axes))
    return ids, row_mask


def traced_amounts(
    name: str, label_smoothing: Any, z_loss: Any, dtype: Any
) -> tuple[Array | None, Array | None]:
    """α and the weight of the z-loss, None where they were not given, NaN out of range."""
    alpha = z_weight = None
    if label_smoothing is not None:
        alpha = check.number(name, "label_smoothing", label_smoothing, check.UNIT).astype(dtype)
    if z_loss is not None:
        z_weight = check.number(name, "z_loss", z_loss, check.FINITE).astype(dtype)
    return alpha, z_weight


def smoothing_share(
    kept: Array | None, weights: Array, z: Any, axes: Axes
) -> tuple[Array, Array | float]:
    """Per class what smoothing weighs, w_j or 0 for one that does not exist; and how many exist."""
    if kept is None:
        return weights, float(class_count(z, axes))
    exists = jnp.broadcast_to(kept, z.shape)
    count = jnp.maximum(class_sum(exists.astype(compute_dtype(z)), axes), 1.0)
    return jnp.where(exists, weights, 0.0), count


def class_weight_array(name: str, class_weights: Any, logits: Any, axes: Axes) -> Array:
    """class_weights as (classes,), NaN where it is negative: a bad value never looks like one."""
    shards = lax.axis_size(across(axes)) if across(axes) else 1
    shape = (class_count(logits, axes) // shards,)
    weights = check.class_weights(name, class_weights, shape)
    if len(local(axes)) == 1:
        check.class_weight_sharding(name, weights, logits, local(axes)[0])
    weights = weights.astype(compute_dtype(weights))
    return jnp.where(weights >= 0.0, weights, jnp.nan)


def weight_of(weights: Array, ids: Array, logits: Any, axes: Axes) -> Array:
    """The weight of each row's class, of the shape of the ids."""
    if in_explicit_mesh(weights, ids):  # where a gather may be refused
        index, laid = (over_classes(x, logits, axes) for x in (jnp.arange(weights.size), weights))
        every = laid + jnp.zeros_like(ids, weights.dtype)
        return class_sum(jnp.where(ids == index, every, 0.0), axes)
    if not across(axes):
        return weights.at[ids].get(mode="promise_in_bounds")
    here = ids - first_class(logits, axes)
    mine = (here >= 0) & (here < weights.size)
    found = weights.at[jnp.where(mine, here, 0)].get(mode="promise_in_bounds")
    return lax.psum(jnp.where(mine, found, 0.0), across(axes))


def class_ids(
    name: str, labels: Any, z: Array, axes: Axes, *, argument: str = "logits"
) -> tuple[Array, Array]:
    """Class ids (int32) in range, with their class axes, and which were in range as given."""
    labels, ids = check.label_array(name, labels)
    if not ids:
        rows, instead = z.ndim - len(local(axes)), "of a distribution take jnp.argmax"
        check.integer_ids(name, labels, labels.dtype, rows, instead)
    check.one_for_all_shards(name, across(axes), "labels", labels)
    check.id_shape(name, labels, z, local(axes), argument=argument)
    if local(axes) == (z.ndim - 1,):
        check.label_sharding(name, labels, z)
    classes = class_count(z, axes)
    valid = (labels >= 0) & (labels <= classes - 1)
    safe = jnp.where(valid, labels, 0).astype(jnp.int32)
    expand = sorted(local(axes))
    return lax.expand_dims(safe, expand), lax.expand_dims(valid, expand)
