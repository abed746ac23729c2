"""Losses of a softmax at a class id, or under a distribution over the classes.

With u = m − z the depth below the row maximum and s = Σ e^{−u} over all entries but one maximal:
the cost of class j is c_j = −log p_j = u_j + log1p(s), a sum of two non-negative numbers. A loss is
f(c) for some f of `_cost_functions`; cross entropy is the cost itself.
"""

import math
from functools import cache
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ._blocks import Axes, across, is_sharded, local
from ._cost_functions import CostFunction, itself, slope
from ._numerics import class_sum, compute_dtype, depth, exact_weight, largest, partition, peak
from ._rows import RowFunction

Numbers = tuple[Array, ...]


def class_index(logits: Array, axes: Axes) -> Array:
    """0 … K − 1 along the class axes, flat in the order in which `axes` names them.

    Floating while that is exact: XLA on the CPU compares floats faster than integers.
    """
    exact = class_count(logits, axes) <= 1 / jnp.finfo(logits.dtype).eps
    dtype = logits.dtype if exact else jnp.int32
    here = math.prod(logits.shape[a] for a in local(axes))
    index = over_classes(jnp.arange(here, dtype=dtype), logits, axes)
    if across(axes):
        return index + first_class(logits, axes).astype(dtype)
    # Under an explicit mesh a select wants its arguments split alike.
    return index + jnp.zeros_like(logits, dtype) if is_sharded(logits) else index


def over_classes(flat: Array, logits: Any, axes: Axes) -> Array:
    """A vector over the classes (of this shard), laid along the class axes of the logits."""
    inner = local(axes)
    along = flat.reshape([logits.shape[a] for a in inner])
    shape = [n if a in inner else 1 for a, n in enumerate(logits.shape)]
    return jnp.transpose(along, sorted(range(len(inner)), key=inner.__getitem__)).reshape(shape)


def class_count(logits: Any, axes: Axes) -> int:
    """K, over all shards of the class axis."""
    here = math.prod(logits.shape[a] for a in local(axes))
    return here * lax.axis_size(across(axes)) if across(axes) else here


def uniform(logits: Any, kept: Array | None, axes: Axes) -> Array:
    """The uniform distribution over the classes that exist, broadcastable to the logits."""
    dtype = compute_dtype(logits)
    if kept is None:
        return jnp.full((1,) * len(logits.shape), 1.0 / class_count(logits, axes), dtype)
    kept = jnp.broadcast_to(kept, logits.shape).astype(dtype)
    # Where none exists, all zeros.
    return kept / jnp.maximum(class_sum(kept, axes), 1.0)


def first_class(logits: Array, axes: Axes) -> Array:
    """The id of the first class of this shard."""
    return lax.axis_index(across(axes)) * math.prod(logits.shape[a] for a in local(axes))


def is_class(ids: Array, logits: Array, axes: Axes) -> Array:
    """Whether each class is the one with that id."""
    index = class_index(logits, axes)
    return index == ids.astype(index.dtype)


def logit_of(logits: Array, ids: Array, axes: Axes) -> Array:
    """z_y for each row, with the class axes kept as axes of size one."""
    if is_sharded(logits):
        # A gather along a sharded axis is refused; a comparison costs one sum over the shards.
        return class_sum(jnp.where(is_class(ids, logits, axes), logits, 0.0), axes)
    if across(axes):
        here = ids - first_class(logits, axes)
        mine = (here >= 0) & (here < math.prod(logits.shape[a] for a in local(axes)))
        z_y = logits.at[entries(logits, jnp.where(mine, here, 0), axes)].get()
        return lax.psum(jnp.where(mine, z_y, 0.0), across(axes))
    return logits.at[entries(logits, ids, axes)].get(mode="promise_in_bounds")


def entries(logits: Array, ids: Array, axes: Axes) -> tuple[Array, ...]:
    """The indices of the classes with those ids, in every row of the logits."""
    where = [
        lax.broadcasted_iota(ids.dtype, [n if b == a else 1 for b in range(logits.ndim)], a)
        for a, n in enumerate(logits.shape)
    ]
    for a in reversed(local(axes)):
        ids, where[a] = jnp.divmod(ids, logits.shape[a])
    return tuple(where)


def _at_class(axes: Axes, z: Array, ids: Array) -> tuple[Array, Numbers]:
    """−log p_y and more, leaving out the label in place of a maximal entry: s = A + e^{−u_y} − 1.

    If the label is the unique maximum then s = A, with no subtraction; if not, A ≥ 1 and the cost
    is at least log 2, so the subtraction is harmless.
    """
    m = peak(z, axes)
    z_y = logit_of(z, ids, axes)
    others = class_sum(jnp.where(is_class(ids, z, axes), 0.0, jnp.exp(-depth(z, m))), axes)
    # Against +inf any other logit has probability 0.
    below = jnp.where((m == largest(z)) & (z_y < m), jnp.inf, depth(z_y, m))
    cost = below + jnp.log1p(others + jnp.expm1(-below))
    return cost, (m, others + jnp.exp(-below), jnp.expm1(-cost))


def _at_class_slopes(axes: Axes, numbers: Numbers, z: Array, ids: Array) -> tuple[Array]:
    """∂/∂z_j = p_j, and p_y − 1 = expm1(−cost) at the label."""
    m, total, at_label = numbers
    return (jnp.where(is_class(ids, z, axes), at_label, exact_weight(z, m) / total),)


# (axes, verdict, logits, ids in range) → −log p at the class ids; all keep the class axes.
at_class = RowFunction(_at_class, _at_class_slopes)


@cache
def at_class_of(f: CostFunction) -> RowFunction:
    """(axes, verdict, logits, ids in range, weight, *parameter of f) → weight·f(−log p) at the ids.

    A weight of 0 leaves out even an infinite loss.
    """

    def formula(
        axes: Axes, z: Array, ids: Array, weight: Array, *parameter: Array
    ) -> tuple[Array, Any]:
        cost, numbers = at_class.formula(axes, z, ids)
        value = f(cost, *parameter)
        value = weight * jnp.where((weight == 0.0) & jnp.isinf(value), 0.0, value)
        return value, (cost, numbers)

    def slopes(
        axes: Axes, numbers: Any, z: Array, ids: Array, weight: Array, *parameter: Array
    ) -> tuple[Array, ...]:
        cost, more = numbers
        (by_z,) = at_class.slopes(axes, more, z, ids)
        by_cost, *by_parameter = slope(f, cost, *parameter)
        of_class = [f(cost, *parameter), *(weight * g for g in by_parameter)]
        of_class = [jnp.where(is_class(ids, z, axes), g, 0.0) for g in of_class]
        return weight * by_cost * by_z, jnp.zeros_like(cost), *of_class

    return RowFunction(formula, slopes)


@cache
def under_target(
    kind: str, smoothing: float, f: CostFunction = itself, weighted: bool = False
) -> RowFunction:
    """(axes, verdict, logits, labels, weight, share, *parameter of f) → Σ y f(−log p).

    y = (1 − α)·weight·labels + α·share. Kind "ids": labels are class ids of size one along the
    class axes, and so is the weight; kind "soft": a distribution, with one weight per class. Unless
    weighted, the weight is 1 and the share sums to 1.
    """
    of_ids = kind == "ids"

    def target(axes: Axes, z: Array, labels: Array, weight: Array, share: Array) -> Array:
        y = is_class(labels, z, axes).astype(z.dtype) if of_ids else labels
        if weighted:  # a class of label 0 has no use for its weight, whatever it is
            y = jnp.where(y == 0.0, 0.0, weight * y)
        return y if smoothing == 0.0 else (1.0 - smoothing) * y + smoothing * share

    def costs(y: Array, u: Array, log_total: Array) -> Array:
        """−log p of each class. An infinite cost is made finite where y = 0, so that 0·inf is 0."""
        return jnp.where(y == 0.0, jnp.minimum(u, largest(u)), u) + log_total

    def formula(
        axes: Axes, z: Array, labels: Array, weight: Array, share: Array, *parameter: Array
    ) -> tuple[Array, Numbers]:
        m = peak(z, axes)
        u = depth(z, m)
        total, s = partition(u, axes)
        y = target(axes, z, labels, weight, share)
        # Against +inf any other logit has probability 0.
        below = jnp.where((m == largest(z)) & (u > 0.0), jnp.inf, u)
        cost = costs(y, below, jnp.log1p(s))
        term = y * f(cost, *parameter)
        if not of_ids:
            term = jnp.where(labels < 0.0, jnp.nan, term)
        value = class_sum(term, axes)
        sums: Numbers = ()
        if not (of_ids and f is itself and not weighted):
            moved = y * slope(f, cost, *parameter)[0]
            sums = class_sum(moved, axes), class_sum(jnp.where(u > 0.0, moved, 0.0), axes)
        return jnp.where(total > 0.0, value, jnp.nan), (m, total, s, *sums)

    def slopes(
        axes: Axes, numbers: Numbers, z: Array, labels: Array, weight: Array, share: Array,
        *parameter: Array,
    ) -> tuple[Array, ...]:  # fmt: skip
        # With y' = y f'(c): ∂/∂z_j = p_j Σ y' − y'_j = p_j·Σ_{k ≠ j} y'_k − y'_j·(1 − p_j), where
        # 1 − p = (s + 1 − e^{−u})/T.
        m, total, s, *sums = numbers
        y = target(axes, z, labels, weight, share)
        u = depth(z, m)
        cost = costs(y, u, jnp.log1p(s))
        by_cost, *by_parameter = slope(f, cost, *parameter)
        moved = y * by_cost
        if sums:
            # At a likely class Σ y' − y'_j would lose every digit, and p_j·Σ is what counts there.
            whole, off_peak = sums
            others = jnp.where((u == 0.0) & (total < 2.0), off_peak, whole - moved)
        else:  # a class id and the uniform share have mass 1
            mine = is_class(labels, z, axes)
            others = jnp.where(mine, 0.0, 1.0 - smoothing) + smoothing * (1.0 - share)
        p, p_of_others = exact_weight(z, m) / total, (s - jnp.expm1(-u)) / total
        by_z = p * others - moved * p_of_others

        by_y = f(cost, *parameter)
        by_share = jnp.zeros_like(by_y) if smoothing == 0.0 else smoothing * by_y
        by_weight = (1.0 - smoothing) * by_y
        by_labels = weight * by_weight if weighted else by_weight
        if of_ids:
            by_labels = jnp.zeros_like(m)
            by_weight = jnp.where(is_class(labels, z, axes), by_weight, 0.0)
        else:
            by_weight = jnp.where(labels == 0.0, 0.0, labels * by_weight)
        return by_z, by_labels, by_weight, by_share, *(y * g for g in by_parameter)

    return RowFunction(formula, slopes)
