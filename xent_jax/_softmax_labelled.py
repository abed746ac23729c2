"""From logits and labels as they are given to the loss of each example, for any cost function."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from . import _checks as check
from ._blocks import Axes, across, is_sharded, local
from ._conventions import finish, logits_data, match_precision, row_verdict, some_kept
from ._cost_functions import CostFunction, itself
from ._numerics import class_sum, compute_dtype
from ._softmax_labels import (
    at_class,
    at_class_of,
    class_count,
    first_class,
    over_classes,
    under_target,
    uniform,
)
from ._softmax_logsumexp import with_z_loss


def labelled(
    name: str,
    logits: Any,
    labels: Any,
    f: CostFunction,
    *parameter: Array,
    axis: Any,
    where: Any,
    base: Any,
    keepdims: bool,
    axis_name: Any,
    ignore_index: Any,
    label_smoothing: Any,
    class_weights: Any,
    z_loss: Any = 0.0,
) -> Array:
    """Σ_j w_j y_j f(−log p_j) of each example, for labels y smoothed and class weights w."""
    z, axes, kept = logits_data(name, "logits", logits, axis, where, axis_name)
    y, ids = check.label_array(name, labels)
    check.ignore_index_for_ids(name, ignore_index, ids)
    smoothing, z_weight = check.smoothing(name, label_smoothing), check.z_loss(name, z_loss)
    alive = some_kept(kept, z.shape, axes)
    weights = None
    if class_weights is not None:
        weights = class_weight_array(name, class_weights, z, axes)
        z, weights = match_precision(z, weights)
    if ids:
        check.id_shape(name, y, z, local(axes))
        if local(axes) == (z.ndim - 1,):
            check.label_sharding(name, y, z)
        y, verdict = _safe_ids(name, y, z, axes, ignore_index, alive)
    else:
        z, y = match_precision(z, y)
        check.soft_label_shape(name, y, z, local(axes))
        if kept is not None:
            y = jnp.where(kept, y, jnp.zeros((), y.dtype))
        check.probabilities(name, "labels", y)
        verdict = row_verdict(z, axes, alive)
    dtype = compute_dtype(z)
    parameter = tuple(x.astype(dtype).reshape((1,) * z.ndim) for x in parameter)

    weight, share = jnp.ones((1,) * z.ndim, dtype), uniform(z, kept, axes)
    if weights is not None:
        laid = over_classes(weights.astype(dtype), z, axes)
        share = laid * share if kept is None else jnp.where(kept, laid * share, 0.0)
        weight = weight_of(weights.astype(dtype), y, z, axes) if ids else laid
    if not ids or smoothing:
        row = under_target("ids" if ids else "soft", smoothing, f, weights is not None)
        data = (y, weight, share, *parameter)
    elif f is itself and weights is None:
        row, data = at_class, (y,)
    else:
        row, data = at_class_of(f), (y, weight, *parameter)
    row = with_z_loss(row, z_weight) if z_weight else row
    return finish(name, row(axes, verdict, z, *data), axes, base, keepdims)


def class_weight_array(name: str, class_weights: Any, logits: Any, axes: Axes) -> Array:
    """class_weights as (classes,), NaN where it is negative: a bad value never looks like one."""
    shape = (class_count(logits, axes) // _shards(axes),)
    weights = check.class_weights(name, class_weights, shape)
    if len(local(axes)) == 1:
        check.class_weight_sharding(name, weights, logits, local(axes)[0])
    weights = weights.astype(compute_dtype(weights))
    return jnp.where(weights >= 0.0, weights, jnp.nan)


def _shards(axes: Axes) -> int:
    return lax.axis_size(across(axes)) if across(axes) else 1


def weight_of(weights: Array, ids: Array, logits: Array, axes: Axes) -> Array:
    """The weight of each row's class, of the shape of the ids."""
    if is_sharded(logits, weights, ids):  # where a gather may be refused
        index, laid = (over_classes(x, logits, axes) for x in (jnp.arange(weights.size), weights))
        every = laid + jnp.zeros_like(ids, weights.dtype)
        return class_sum(jnp.where(ids == index, every, 0.0), axes)
    if not across(axes):
        return weights.at[ids].get(mode="promise_in_bounds")
    here = ids - first_class(logits, axes)
    mine = (here >= 0) & (here < weights.size)
    found = weights.at[jnp.where(mine, here, 0)].get(mode="promise_in_bounds")
    return lax.psum(jnp.where(mine, found, 0.0), across(axes))


def _safe_ids(
    name: str, labels: Array, z: Array, axes: Axes, ignore_index: int | None, alive: Array | None
) -> tuple[Array, Array]:
    """The ids with their class axes, in range, and the verdict on each row."""
    classes = class_count(z, axes)
    labels = lax.expand_dims(labels, sorted(local(axes)))
    counted = jnp.ones(labels.shape, bool) if alive is None else alive
    if ignore_index is not None:
        counted &= check.differs(labels, ignore_index)
    valid = (labels >= 0) & (labels <= classes - 1)
    check.ids_in_range(name, valid | ~counted, classes)
    return jnp.where(valid, labels, 0).astype(jnp.int32), row_verdict(z, axes, counted, valid)
