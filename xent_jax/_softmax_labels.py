"""Cross entropy of a softmax at a class id, or under a distribution over the classes.

With u = m − z the depth below the row maximum and s = Σ e^{−u} over all entries but one maximal:
the cost of class j is −log p_j = u_j + log1p(s), a sum of two non-negative numbers.
"""

import math
from functools import cache
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ._blocks import Axes, across, is_sharded, local
from ._numerics import class_sum, compute_dtype, depth, exact_weight, largest, partition, peak
from ._rows import RowFunction

Numbers = tuple[Array, ...]


def class_index(logits: Array, axes: Axes) -> Array:
    """0 … K − 1 along the class axes, flat in the order in which `axes` names them.

    Floating while that is exact: XLA on the CPU compares floats faster than integers.
    """
    inner = local(axes)
    sizes = [logits.shape[a] for a in inner]
    exact = class_count(logits, axes) <= 1 / jnp.finfo(logits.dtype).eps
    dtype = logits.dtype if exact else jnp.int32
    flat = jnp.arange(math.prod(sizes), dtype=dtype).reshape(sizes)
    shape = [n if a in inner else 1 for a, n in enumerate(logits.shape)]
    index = jnp.transpose(flat, sorted(range(len(inner)), key=inner.__getitem__)).reshape(shape)
    if across(axes):
        return index + first_class(logits, axes).astype(dtype)
    # Under an explicit mesh a select wants its arguments split alike.
    return index + jnp.zeros_like(logits, dtype) if is_sharded(logits) else index


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
    return kept / class_sum(kept, axes)


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
def under_target(kind: str, smoothing: float) -> RowFunction:
    """(axes, verdict, logits, labels, share) → −Σ y log p for y = (1 − α)·labels + α·share.

    kind "ids": labels are class ids of size one along the class axes; kind "soft": a distribution.
    """

    def target(axes: Axes, z: Array, labels: Array, share: Array) -> Array:
        y = labels
        if kind == "ids":
            y = is_class(labels, z, axes).astype(z.dtype)
        return y if smoothing == 0.0 else (1.0 - smoothing) * y + smoothing * share

    def cost(y: Array, u: Array, log_total: Array) -> Array:
        """−log p of each class. An infinite cost is made finite where y = 0, so that 0·inf is 0."""
        return jnp.where(y == 0.0, jnp.minimum(u, largest(u)), u) + log_total

    def formula(axes: Axes, z: Array, labels: Array, share: Array) -> tuple[Array, Numbers]:
        m = peak(z, axes)
        u = depth(z, m)
        total, s = partition(u, axes)
        log_total = jnp.log1p(s)
        y = target(axes, z, labels, share)
        # Against +inf any other logit has probability 0.
        below = jnp.where((m == largest(z)) & (u > 0.0), jnp.inf, u)
        term = y * cost(y, below, log_total)
        if kind == "soft":
            term = jnp.where(labels < 0.0, jnp.nan, term)
        value = class_sum(term, axes)
        # Σ y: the uniform share and a class id have mass 1.
        mass = jnp.ones_like(m)
        if kind == "soft":
            mass = (1.0 - smoothing) * class_sum(labels, axes) + smoothing
        return jnp.where(total > 0.0, value, jnp.nan), (m, total, s, mass)

    def slopes(
        axes: Axes, numbers: Numbers, z: Array, labels: Array, share: Array
    ) -> tuple[Array, ...]:
        # ∂/∂z = Y p − y = p·(Y − y) − y·(1 − p), Y = Σ y, with 1 − p = (s + 1 − e^{−u})/T.
        m, total, s, mass = numbers
        y = target(axes, z, labels, share)
        u = depth(z, m)
        p, p_of_others = exact_weight(z, m) / total, (s - jnp.expm1(-u)) / total
        slope = p * (mass - y) - y * p_of_others
        if kind == "ids":
            return (slope,)
        return slope, (1.0 - smoothing) * cost(y, u, jnp.log1p(s))

    return RowFunction(formula, slopes)
