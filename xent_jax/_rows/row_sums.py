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
from .._math.elementary import exp, expm1
from .class_sums import sum_of_loop
from .row_state import (
    LONE,
    MARGIN,
    NO_INDEX,
    RowSums,
    cost_of_depth,
    empty_like,
    exact_weight,
    finite_logits,
    infinity,
    is_top,
    merge,
    merge_shards,
)


class Logits(NamedTuple):
    """A row's logits, labels that weigh its entries, what stands beside them, a class id, and z_k
    where the entries above it are counted."""

    z: Array
    labels: tuple[Array, ...] = ()
    beside: Array | None = None
    id: Array | None = None
    at_id: Array | None = None


class Asked(NamedTuple):
    """What is wanted besides m, s and what the rows name.

    Unless `exact`, s may be off by a rounding of T, but where the class of the id is the maximum.
    If `shared` as well, the gradient takes the same `weight_of_others`.
    """

    spread: bool = False
    index: bool = False
    above: bool = False
    exact: bool = True
    shared: bool = False


NOTHING_MORE = Asked()


def row_sums(axes: Axes, *rows: Logits, asked: Asked = NOTHING_MORE) -> tuple[RowSums, ...]:
    """The sums of one or more arrays of logits, in one read of all of them.

    A row without a possible class has s = NaN.
    """
    if asked.above:
        rows = tuple(row._replace(at_id=_entry_at_id(axes, row)) for row in rows)
    return _row_sums(axes, asked, rows)


def _entry_at_id(axes: Axes, row: Logits) -> Array:
    assert row.id is not None
    return lax.stop_gradient(widen(take_class(row.z, row.id, axes)))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _row_sums(axes: Axes, asked: Asked, rows: tuple[Logits, ...]) -> tuple[RowSums, ...]:
    inner = local(axes)
    sums = lax.platform_dependent(
        tuple(typed_row(axes, _row_of_shard(axes, row)) for row in rows),
        cpu=partial(two_passes, inner, asked),
        default=partial(one_read, inner, asked),
    )
    if across(axes):
        sums = tuple(merge_shards(axes, row.z, part) for row, part in zip(rows, sums, strict=True))
    return tuple(map(_defined, sums))


@_row_sums.defjvp
def _row_sums_jvp(axes: Axes, asked: Asked, primals: Any, tangents: Any) -> Any:
    # lax.reduce has no derivative. With m held constant the plain sums have that of the state: what
    # is made of it does not depend on the point from which depths are measured.
    sums = _row_sums(axes, asked, *primals)

    def plain(rows: tuple[Logits, ...]) -> tuple[RowSums, ...]:
        return tuple(
            _sums_below(axes, lax.stop_gradient(s.maximum), typed_row(axes, row), asked)._replace(
                index=s.index, beside=s.beside, at_id=_at_id_by_sum(axes, row), above=s.above
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


def typed_row(axes: Axes, row: Logits) -> Logits:
    """The row, its arrays alike in shape and in type, as the branches of a platform are to be."""
    dtype = widen(row.z).dtype
    others = (*(y.astype(dtype) for y in row.labels),)
    others = others if row.beside is None else (*others, lax.stop_gradient(row.beside))
    ids = tuple(x for x in (row.id, row.at_id) if x is not None)
    shape = jnp.broadcast_shapes(row.z.shape, *(x.shape for x in (*others, *ids)))
    every = (row.z, *others, *ids)
    z, *others = (vary_like(jnp.broadcast_to(x, shape), *every) for x in (row.z, *others))
    of_rows = tuple(1 if a in axes else n for a, n in enumerate(shape))
    count = len(row.labels)
    return Logits(
        z,
        tuple(others[:count]),
        None if row.beside is None else others[count],
        *(
            None if x is None else vary_like(jnp.broadcast_to(x, of_rows), z)
            for x in (row.id, row.at_id)
        ),
    )


def _defined(sums: RowSums) -> RowSums:
    """NaN for a row without a possible class, and an index in range for any."""
    possible = sums.maximum > -infinity(sums.maximum)
    index = sums.index
    return sums._replace(
        rest=jnp.where(possible, sums.rest, jnp.nan),
        index=None if index is None else jnp.where(index == NO_INDEX, 0, index),
    )


def one_read(axes: Axes, asked: Asked, rows: tuple[Logits, ...]) -> tuple[RowSums, ...]:
    """By a reduction of states, each of which starts as one entry."""
    entries = tuple(_entry(axes, row, asked) for row in rows)
    empty = tuple(empty_like(entry) for entry in entries)

    def merge_all(a: tuple[RowSums, ...], b: tuple[RowSums, ...]) -> tuple[RowSums, ...]:
        return tuple(map(merge, a, b))

    inner = sorted(local(axes))
    sums = lax.reduce(entries, empty, merge_all, inner)
    return jax.tree.map(lambda x: lax.expand_dims(x, inner), sums)


def _entry(axes: Axes, row: Logits, asked: Asked) -> RowSums:
    z, labels = finite_logits(row.z), row.labels
    zero = jnp.zeros_like(z)
    return RowSums(
        maximum=z,
        rest=zero,
        spread=zero if asked.spread else None,
        costs=tuple(zero for _ in labels),
        masses=labels,
        below=tuple(zero for _ in labels),
        index=jnp.broadcast_to(class_index(z, axes), z.shape) if asked.index else None,
        beside=None if row.beside is None else finite_logits(row.beside),
        at_id=None if row.id is None else _masked_to_id(axes, row),
        above=_above_id(row),
    )


def _masked_to_id(axes: Axes, row: Logits) -> Array:
    """The logits as they were given, 0 at all other classes than that of the id."""
    assert row.id is not None
    return jnp.where(is_class(row.id, row.z, axes), widen(row.z), 0.0)


def _above_id(row: Logits) -> Array | None:
    """1 at the entries above that of the id."""
    return None if row.at_id is None else (widen(row.z) > row.at_id).astype(jnp.int32)


def two_passes(axes: Axes, asked: Asked, rows: tuple[Logits, ...]) -> tuple[RowSums, ...]:
    """By the maximum, then plain sums of what lies below it."""
    return tuple(_passes_over(axes, asked, row) for row in rows)


def _passes_over(axes: Axes, asked: Asked, row: Logits) -> RowSums:
    z = finite_logits(row.z)
    # XLA:CPU would write out finite logits, which other sums share.
    m = finite_logits(class_max(row.z, axes))
    rest = at_id = above = None
    if row.id is not None:
        here = row.id >= 0
        known = jnp.where(here, row.id, 0)
        entry = widen(take_class(row.z, known, axes))
        at_id, above = jnp.where(here, entry, 0.0), _above_id(row)
        if above is not None:
            above = class_sum(above, axes).astype(above.dtype)
        if not asked.exact:
            label = jnp.where(here, expm1(finite_logits(entry) - m), -1.0)
            rest = _sum_of_others(axes, asked, m, row.z, row.id) + label
    sums = _sums_below(axes, m, row, asked, rest)._replace(at_id=at_id, above=above)
    if asked.index:
        first = jnp.where(z == m, class_index(z, axes), NO_INDEX)
        sums = sums._replace(index=jnp.min(first, axis=local(axes), keepdims=True))
    if row.beside is not None:
        beside = jnp.where(is_top(m - z), finite_logits(row.beside), -infinity(m))
        sums = sums._replace(beside=class_max(beside, axes))
    return sums


# Below it float32 tells twice an index from the next.
_COUNTABLE = 2**23


def _sum_of_others(axes: Axes, asked: Asked, m: Array, z: Array, ids: Array) -> Array:
    """T without the class of the id.

    For a value alone by arithmetic, which XLA:CPU fuses with the sum: twice, since a constant that
    the row uses as well, as 1, would be written out for every entry.
    """
    if asked.shared or local_count(z, axes) >= _COUNTABLE:
        return class_sum(weight_of_others(axes, m, z, ids), axes)
    index, ids = 2.0 * class_index(z, axes).astype(m.dtype), 2.0 * ids.astype(m.dtype)
    twice_other = jnp.minimum(jnp.abs(index - ids), 2.0)
    # Of +inf the minimum is m. Of a NaN it is NaN in this order alone, where XLA:CPU fuses it.
    weight = exp(jnp.minimum(m, widen(z)) - m)
    others = class_sum(weight * twice_other, axes)
    # A select first: XLA:CPU sums slowly where arithmetic follows in the same loop.
    return jnp.where(others >= 0.0, others, jnp.nan) / 2


def weight_of_others(axes: Axes, m: Array, z: Array, ids: Array) -> Array:
    """e^{−u}, 0 for the class of the id.

    XLA:CPU writes it where the gradient goes, sums it there, and makes the gradient of it in place.
    """
    return jnp.where(is_class(ids, z, axes), 0.0, exp(finite_logits(z) - m))


def _sums_below(
    axes: Axes, m: Array, row: Logits, asked: Asked, rest: Array | None = None
) -> RowSums:
    """The sums of entries below a given maximum, with s where it is known; index, what stands
    beside and what is told of a class id are left out."""
    u, w = m - finite_logits(row.z), exact_weight(row.z, m)
    if rest is None:
        rest = _weight_below(axes, w, asked)
    labels = row.labels
    return RowSums(
        maximum=m,
        rest=rest,
        spread=sum_of_loop(w * u, axes) if asked.spread else None,
        costs=tuple(sum_of_loop(cost_of_depth(u, y), axes) for y in labels),
        masses=tuple(class_sum(y, axes) for y in labels),
        below=tuple(class_sum(jnp.where(is_top(u), 0.0, y), axes) for y in labels),
        index=None,
        beside=None,
        at_id=None,
        above=None,
    )


def _weight_below(axes: Axes, w: Array, asked: Asked) -> Array:
    """s, of the weights."""
    total = class_sum(w, axes)
    rest = total - 1.0
    if not asked.exact:
        return rest
    # The weight of the maximum is left out by arithmetic that XLA:CPU keeps fused with the sum,
    # where no other is as large; elsewhere T is nearly 2 at least, and little cancels in T − 1.
    top = lax.stop_gradient(w * jnp.floor(w + MARGIN))
    return jnp.where(total < LONE, class_sum(w - top, axes), rest)
