"""The sums of a row of logits, `RowSums`, in one read of them.

On a GPU or a TPU by one reduction of states; on the CPU, where XLA does not vectorise such a
reduction, two passes give the same state.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import (
    Axes,
    across,
    class_index,
    class_max,
    class_sum,
    first_class,
    is_class,
    local,
    local_count,
    take_class,
    vary_like,
)
from .._math.dtypes import widen
from .._math.elementary import exp
from .row_state import (
    LONE,
    MARGIN,
    NO_INDEX,
    RowSums,
    cost_of_depth,
    empty_like,
    finite_logits,
    infinity,
    is_top,
    merge,
    merge_shards,
)


class Logits(NamedTuple):
    """A row's logits, labels that weigh its entries, what stands beside them, and a class id."""

    z: Array
    labels: tuple[Array, ...] = ()
    beside: Array | None = None
    id: Array | None = None
    given: Array | None = None  # the logits before they were made finite


def row_sums(
    axes: Axes, *rows: Logits, spread: bool = False, index: bool = False
) -> tuple[RowSums, ...]:
    """The sums of one or more arrays of logits, in one read of all of them.

    A row without a possible class has s = NaN.
    """
    return _row_sums(axes, spread, index, rows)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _row_sums(
    axes: Axes, spread: bool, index: bool, rows: tuple[Logits, ...]
) -> tuple[RowSums, ...]:
    inner = local(axes)
    sums = lax.platform_dependent(
        tuple(finite_row(_row_of_shard(axes, row)) for row in rows),
        cpu=partial(two_passes, inner, spread, index),
        default=partial(one_read, inner, spread, index),
    )
    if across(axes):
        sums = tuple(merge_shards(axes, row.z, part) for row, part in zip(rows, sums, strict=True))
    return tuple(map(_defined, sums))


@_row_sums.defjvp
def _row_sums_jvp(axes: Axes, spread: bool, index: bool, primals: Any, tangents: Any) -> Any:
    # lax.reduce has no derivative. With m held constant the plain sums have that of the state: what
    # is made of it does not depend on the point from which depths are measured.
    sums = _row_sums(axes, spread, index, *primals)

    def plain(rows: tuple[Logits, ...]) -> tuple[RowSums, ...]:
        return tuple(
            _sums_below(axes, lax.stop_gradient(s.maximum), finite_row(row), spread)._replace(
                index=s.index, beside=s.beside, at_id=_at_id_by_sum(axes, row)
            )
            for row, s in zip(rows, sums, strict=True)
        )

    return sums, jax.jvp(plain, primals, tangents)[1]


def _row_of_shard(axes: Axes, row: Logits) -> Logits:
    """The id among the classes of this shard, −1 for one of another shard."""
    if row.id is None or not across(axes):
        return row
    here = row.id - first_class(row.z, axes)
    return row._replace(id=jnp.where(here < local_count(row.z, axes), jnp.maximum(here, -1), -1))


def _at_id_by_sum(axes: Axes, row: Logits) -> Array | None:
    if row.id is None:
        return None
    return class_sum(jnp.where(is_class(row.id, row.z, axes), widen(row.z), 0.0), axes)


def finite_row(row: Logits) -> Logits:
    """Finite and wide; alike in shape and in type, as the branches of a platform are to be."""
    z = finite_logits(row.z)
    beside = () if row.beside is None else (lax.stop_gradient(finite_logits(row.beside)),)
    others = (*(y.astype(z.dtype) for y in row.labels), *beside)
    shape = jnp.broadcast_shapes(z.shape, *(x.shape for x in others))
    ids = () if row.id is None else (row.id,)
    z, *others = (vary_like(jnp.broadcast_to(x, shape), z, *others, *ids) for x in (z, *others))
    count = len(row.labels)
    found = Logits(z, tuple(others[:count]), others[count] if beside else None)
    if row.id is None:
        return found
    given = jnp.broadcast_to(row.z, shape)
    return found._replace(id=vary_like(row.id, z), given=vary_like(given, z))


def _defined(sums: RowSums) -> RowSums:
    """NaN for a row without a possible class, and an index in range for any."""
    possible = sums.maximum > -infinity(sums.maximum)
    index = sums.index
    return sums._replace(
        rest=jnp.where(possible, sums.rest, jnp.nan),
        index=None if index is None else jnp.where(index == NO_INDEX, 0, index),
    )


def one_read(
    axes: Axes, spread: bool, index: bool, rows: tuple[Logits, ...]
) -> tuple[RowSums, ...]:
    """By a reduction of states, each of which starts as one entry."""
    entries = tuple(_entry(axes, row, spread, index) for row in rows)
    empty = tuple(empty_like(entry) for entry in entries)

    def merge_all(a: tuple[RowSums, ...], b: tuple[RowSums, ...]) -> tuple[RowSums, ...]:
        return tuple(map(merge, a, b))

    inner = sorted(local(axes))
    sums = lax.reduce(entries, empty, merge_all, inner)
    return jax.tree.map(lambda x: lax.expand_dims(x, inner), sums)


def _entry(axes: Axes, row: Logits, spread: bool, index: bool) -> RowSums:
    zero = jnp.zeros_like(row.z)
    labels = row.labels
    return RowSums(
        maximum=row.z,
        rest=zero,
        spread=zero if spread else None,
        costs=tuple(zero for _ in labels),
        masses=labels,
        below=tuple(zero for _ in labels),
        index=jnp.broadcast_to(class_index(row.z, axes), row.z.shape) if index else None,
        beside=row.beside,
        at_id=None if row.id is None else _masked_to_id(axes, row),
    )


def _masked_to_id(axes: Axes, row: Logits) -> Array:
    """The logits as they were given, 0 at all other classes than that of the id."""
    assert row.id is not None and row.given is not None
    return jnp.where(is_class(row.id, row.z, axes), widen(row.given), 0.0)


def two_passes(
    axes: Axes, spread: bool, index: bool, rows: tuple[Logits, ...]
) -> tuple[RowSums, ...]:
    """By the maximum, then plain sums of what lies below it."""
    found = []
    for row in rows:
        m = class_max(row.z, axes)
        sums = _sums_below(axes, m, row, spread)
        if index:
            first = jnp.where(row.z == m, class_index(row.z, axes), NO_INDEX)
            sums = sums._replace(index=jnp.min(first, axis=local(axes), keepdims=True))
        if row.beside is not None:
            lowest = -infinity(row.z)
            beside = jnp.where(is_top(m - row.z), row.beside, lowest)
            sums = sums._replace(beside=class_max(beside, axes))
        if row.id is not None and row.given is not None:
            # Taken from logits as they are given: no wide copy is gathered.
            here = row.id >= 0
            entry = widen(take_class(row.given, jnp.where(here, row.id, 0), axes))
            sums = sums._replace(at_id=jnp.where(here, entry, 0.0))
        found.append(sums)
    return tuple(found)


def _sums_below(axes: Axes, m: Array, row: Logits, spread: bool) -> RowSums:
    """The sums of entries below a given maximum; index and what stands beside are left out."""
    below = row.z - m
    u, w = -below, exp(below)
    total = class_sum(w, axes)
    # The weight of the maximum is left out by arithmetic that XLA:CPU keeps fused with the sum,
    # where no other is as large; elsewhere T is nearly 2 at least, and little cancels in T − 1.
    top = lax.stop_gradient(w * jnp.minimum(jnp.floor(w + MARGIN), 1.0))
    rest = jnp.where(total < LONE, class_sum(w - top, axes), total - 1.0)
    labels = row.labels
    return RowSums(
        maximum=m,
        rest=rest,
        spread=class_sum(w * u, axes) if spread else None,
        costs=tuple(class_sum(cost_of_depth(u, y), axes) for y in labels),
        masses=tuple(class_sum(y, axes) for y in labels),
        below=tuple(class_sum(jnp.where(is_top(u), 0.0, y), axes) for y in labels),
        index=None,
        beside=None,
        at_id=None,
    )
