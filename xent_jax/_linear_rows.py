"""The row functions of the linear row that the dense rows do not have."""

import operator
from functools import cache, reduce

import jax.numpy as jnp
from jax import Array

from ._blocks import Axes, across, is_sharded, local
from ._cost_functions import CostFunction, itself
from ._numerics import class_max
from ._rows import RowFunction
from ._softmax_entropy import entropy as entropy_row
from ._softmax_labels import (
    at_class,
    class_index,
    entries,
    first_class,
    is_class,
    logit_of,
    under_target,
)

# (axes, verdict, logits, …) → the entropy of softmax(logits), whatever else comes.
entropy_alone = RowFunction(
    lambda axes, z, *_: entropy_row.formula(axes, z),
    lambda axes, numbers, z, *_: entropy_row.slopes(axes, numbers, z),
)

# (axes, verdict, logits, ids) → log p at the class ids.
log_prob = RowFunction(
    lambda axes, z, ids: _negative(*at_class.formula(axes, z, ids)),
    lambda axes, numbers, z, ids: (-at_class.slopes(axes, numbers, z, ids)[0],),
)


# (axes, verdict, logits, …) → the first class of the highest logit, as a number; NaN if undefined.
first_largest = RowFunction(
    lambda axes, z, *_: (_first_largest(axes, z), ()),
    lambda axes, numbers, z, *_: (jnp.zeros_like(z),),
)


def _first_largest(axes: Axes, z: Array) -> Array:
    index = class_index(z, axes).astype(z.dtype)
    highest = class_max(z, axes)
    # −max(−index) over the classes that attain the maximum: it reduces over shards as well.
    first = -class_max(jnp.where(z == highest, -index, -jnp.inf), axes)
    return jnp.where(jnp.isnan(highest), jnp.nan, first)


def _negative(value: Array, numbers: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
    return -value, numbers


@cache
def under_few(smoothing: float, f: CostFunction = itself, weighted: bool = False) -> RowFunction:
    """(axes, verdict, logits, probs, ids, weight, share, *parameter) → Σ y f(−log p), k classes."""
    dense = under_target("soft", smoothing, f, weighted)

    def place(axes: Axes, z: Array, ids: Array) -> tuple[Array, ...]:
        """Where the ids stand in the logits; beyond their end if on another shard."""
        if across(axes):
            classes, ids = z.shape[local(axes)[0]], ids - first_class(z, axes)
            ids = jnp.where((ids >= 0) & (ids < classes), ids, classes)
        where = list(entries(z, jnp.zeros_like(ids), axes))
        where[local(axes)[0]] = ids
        return tuple(where)

    def spread(axes: Axes, z: Array, probs: Array, ids: Array) -> Array:
        if is_sharded(z):  # where a scatter is refused
            each = zip(jnp.split(probs, ids.shape[-1], -1), jnp.split(ids, ids.shape[-1], -1))
            parts = [jnp.where(is_class(y, z, axes), p, 0.0) for p, y in each]
            return reduce(operator.add, parts, jnp.zeros_like(z))
        return jnp.zeros_like(z).at[place(axes, z, ids)].add(probs, mode="drop")

    def formula(axes: Axes, z: Array, probs: Array, ids: Array, *of_classes: Array):
        value, numbers = dense.formula(axes, z, spread(axes, z, probs, ids), *of_classes)
        # Two entries of one class could hide a negative probability.
        lowest = jnp.min(probs, axis=local(axes), keepdims=True)
        return jnp.where(lowest < 0.0, jnp.nan, value), numbers

    def slopes(axes: Axes, numbers, z: Array, probs: Array, ids: Array, *of_classes: Array):
        labels = spread(axes, z, probs, ids)
        by_z, by_labels, *_ = dense.slopes(axes, numbers, z, labels, *of_classes)
        if is_sharded(z):
            each = jnp.split(ids, ids.shape[-1], -1)
            return by_z, jnp.concatenate([logit_of(by_labels, y, axes) for y in each], -1)
        return by_z, by_labels.at[place(axes, z, ids)].get(mode="fill", fill_value=0.0)

    return RowFunction(formula, slopes)
