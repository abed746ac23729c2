"""The sums of a row of logits: one monoid, from which the softmax and linear rows start.

With m the maximum of a part of a row, u = m − z ≥ 0 the depth of an entry below it and w = e^{−u},
the state of the part is

    s = Σ w without one maximal entry    so that log Σ e^z = m + log1p(s), and T = 1 + s = Σ w;
    E = Σ w u                            for the entropy, log1p(s) + E/T;
    C = Σ y u,  Y = Σ y                  for labels y (soft, smoothed, uniform): Σ y·(−log p) =
                                         C + Y·log1p(s);
    B = Σ y over entries below m         for the gradient at a likely class;
    i, a                                 the index of the first maximal entry, and what stands
                                         beside a maximal entry in another array;
    z_k                                  the entry of class k, 0 in a part without it.

One entry is (z, 0, 0, 0, y, 0). Parts 1 and 2 with d = m₁ − m₂ ≥ 0 make a whole with maximum m₁:
every depth of part 2 grows by d, every weight shrinks by e^{−d}, and of its 1 + s₂ no entry is left
out any more:

    s = s₁ + (1 + s₂)·e^{−d},    E = E₁ + e^{−d}·(E₂ + d·(1 + s₂)),
    C = C₁ + C₂ + d·Y₂,          Y = Y₁ + Y₂,          B = B₁ + Y₂ (B₁ + B₂ for d = 0).

Nothing cancels, ties need no count, and the order of the parts is free. Entries merge within a row
(one read of the logits on a GPU or a TPU), and shards of the classes merge with each other. On the
CPU, where XLA does not vectorise such a reduction, two passes give the same state.
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
from .._math.dtypes import largest, widen
from .._math.elementary import exp


class Logits(NamedTuple):
    """A row's logits, labels that weigh its entries, what stands beside them, and a class id."""

    z: Array
    labels: tuple[Array, ...] = ()
    beside: Array | None = None
    id: Array | None = None
    given: Array | None = None  # the logits before they were made finite


class RowSums(NamedTuple):
    """The state of a row, or of a part of one; None for what was not asked for."""

    maximum: Array
    rest: Array  # s
    spread: Array | None  # E
    costs: tuple[Array, ...]  # C, per labels
    masses: tuple[Array, ...]  # Y
    below: tuple[Array, ...]  # B
    index: Array | None
    beside: Array | None
    at_id: Array | None

    @property
    def total(self) -> Array:
        """T = Σ e^{z − m}."""
        return 1.0 + self.rest


def infinity(x: Array) -> float:
    """What stands in for an infinite logit: differences of two, and of those, stay finite."""
    return largest(x) / 8


def finite_logits(z: Array) -> Array:
    """Wide logits, ±∞ made finite."""
    z = widen(z)
    return jnp.clip(z, -infinity(z), infinity(z))


def merge(a: RowSums, b: RowSums) -> RowSums:
    """The state of two parts of a row, from the states of both."""
    first, tie = a.maximum >= b.maximum, a.maximum == b.maximum
    d = jnp.abs(a.maximum - b.maximum)
    shrink = exp(-d)

    def upper(x: Array, y: Array) -> Array:
        return jnp.where(first, x, y)

    def lower(x: Array, y: Array) -> Array:
        return jnp.where(first, y, x)

    lower_total = 1.0 + lower(a.rest, b.rest)
    spread = index = beside = at_id = None
    if a.spread is not None and b.spread is not None:
        # e^{−d}·d first: where it is 0, d times the total may be too large a number.
        grown = shrink * lower(a.spread, b.spread) + (shrink * d) * lower_total
        spread = upper(a.spread, b.spread) + grown
    if a.index is not None and b.index is not None:
        index = jnp.where(tie, jnp.minimum(a.index, b.index), upper(a.index, b.index))
    if a.beside is not None and b.beside is not None:
        beside = jnp.where(tie, jnp.maximum(a.beside, b.beside), upper(a.beside, b.beside))
    if a.at_id is not None and b.at_id is not None:
        at_id = a.at_id + b.at_id
    masses = list(zip(a.masses, b.masses, strict=True))
    lower_masses = [lower(*both) for both in masses]
    return RowSums(
        maximum=jnp.maximum(a.maximum, b.maximum),
        rest=upper(a.rest, b.rest) + lower_total * shrink,
        spread=spread,
        costs=tuple(
            x + y + cost_of_depth(d, mass)
            for x, y, mass in zip(a.costs, b.costs, lower_masses, strict=True)
        ),
        masses=tuple(x + y for x, y in masses),
        below=tuple(
            jnp.where(tie, x + y, upper(x, y) + mass)
            for x, y, mass in zip(a.below, b.below, lower_masses, strict=True)
        ),
        index=index,
        beside=beside,
        at_id=at_id,
    )


def cost_of_depth(d: Array, mass: Array) -> Array:
    """d·mass, +∞ for mass at the depth of probability 0."""
    impossible = (d >= infinity(d) / 2) & (mass > 0.0)
    return jnp.where(impossible, jnp.inf, d) * mass


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
        tuple(_finite(_of_shard(axes, row)) for row in rows),
        cpu=partial(_two_passes, inner, spread, index),
        default=partial(_one_read, inner, spread, index),
    )
    if across(axes):
        sums = tuple(_over_shards(axes, row, part) for row, part in zip(rows, sums, strict=True))
    return tuple(map(_defined, sums))


@_row_sums.defjvp
def _row_sums_jvp(axes: Axes, spread: bool, index: bool, primals: Any, tangents: Any) -> Any:
    # lax.reduce has no derivative. With m held constant the plain sums have that of the state: what
    # is made of it does not depend on the point from which depths are measured.
    sums = _row_sums(axes, spread, index, *primals)

    def plain(rows: tuple[Logits, ...]) -> tuple[RowSums, ...]:
        return tuple(
            _sums_below(axes, lax.stop_gradient(s.maximum), _finite(row), spread)._replace(
                index=s.index, beside=s.beside, at_id=_at_id_by_sum(axes, row)
            )
            for row, s in zip(rows, sums, strict=True)
        )

    return sums, jax.jvp(plain, primals, tangents)[1]


def _of_shard(axes: Axes, row: Logits) -> Logits:
    """The id among the classes of this shard, −1 for one of another shard."""
    if row.id is None or not across(axes):
        return row
    here = row.id - first_class(row.z, axes)
    return row._replace(id=jnp.where(here < local_count(row.z, axes), jnp.maximum(here, -1), -1))


def _at_id_by_sum(axes: Axes, row: Logits) -> Array | None:
    if row.id is None:
        return None
    return class_sum(jnp.where(is_class(row.id, row.z, axes), widen(row.z), 0.0), axes)


def _finite(row: Logits) -> Logits:
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
        index=None if index is None else jnp.where(index == _NO_INDEX, 0, index),
    )


def _one_read(
    axes: Axes, spread: bool, index: bool, rows: tuple[Logits, ...]
) -> tuple[RowSums, ...]:
    """By a reduction of states, each of which starts as one entry."""
    entries = tuple(_entry(axes, row, spread, index) for row in rows)
    empty = tuple(_empty(entry) for entry in entries)

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


def _empty(entry: RowSums) -> RowSums:
    """A part without entries: its maximum is below that of any other, and it has no mass."""
    lowest = -infinity(entry.maximum)
    zero = jax.tree.map(lambda x: jnp.zeros((), x.dtype), entry)
    return zero._replace(
        maximum=jnp.full((), lowest, entry.maximum.dtype),
        index=None if entry.index is None else jnp.full((), _NO_INDEX, entry.index.dtype),
        beside=None if entry.beside is None else jnp.full((), lowest, entry.beside.dtype),
    )


_NO_INDEX = 2**31 - 1


def _two_passes(
    axes: Axes, spread: bool, index: bool, rows: tuple[Logits, ...]
) -> tuple[RowSums, ...]:
    """By the maximum, then plain sums of what lies below it."""
    found = []
    for row in rows:
        m = class_max(row.z, axes)
        sums = _sums_below(axes, m, row, spread)
        if index:
            first = jnp.where(row.z == m, class_index(row.z, axes), _NO_INDEX)
            sums = sums._replace(index=jnp.min(first, axis=local(axes), keepdims=True))
        if row.beside is not None:
            lowest = -infinity(row.z)
            beside = jnp.where(row.z == m, row.beside, lowest)
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
    # w − ⌊w⌋ leaves out the maxima, by arithmetic that XLA:CPU keeps fused with the sum. Where it
    # leaves out several, T is 2 at least, and nothing cancels in T − 1.
    rest = jnp.where(total < 2.0, class_sum(w - jnp.floor(w), axes), total - 1.0)
    labels = row.labels
    return RowSums(
        maximum=m,
        rest=rest,
        spread=class_sum(w * u, axes) if spread else None,
        costs=tuple(class_sum(cost_of_depth(u, y), axes) for y in labels),
        masses=tuple(class_sum(y, axes) for y in labels),
        below=tuple(class_sum(jnp.where(u > 0.0, y, 0.0), axes) for y in labels),
        index=None,
        beside=None,
        at_id=None,
    )


def _over_shards(axes: Axes, row: Logits, part: RowSums) -> RowSums:
    """The merge of all shards of the classes: a few numbers per row cross the mesh.

    The first shard that holds the maximum leaves out one of its entries, as one part does above.
    """
    names = across(axes)
    m = lax.pmax(part.maximum, names)
    d = m - part.maximum
    shrink, total = exp(-d), 1.0 + part.rest
    top = d == 0.0
    shard = lax.axis_index(names)
    first = shard == -lax.pmax(jnp.where(top, -shard, -lax.axis_size(names)), names)
    spread = index = beside = at_id = None
    if part.spread is not None:
        spread = lax.psum(shrink * part.spread + (shrink * d) * total, names)
    if part.index is not None:
        here = part.index + shard * local_count(row.z, axes)
        index = -lax.pmax(jnp.where(top, -here, -_NO_INDEX), names)
    if part.beside is not None:
        beside = lax.pmax(jnp.where(top, part.beside, -infinity(m)), names)
    if part.at_id is not None:
        at_id = lax.psum(part.at_id, names)
    return RowSums(
        maximum=m,
        rest=lax.psum(jnp.where(first, part.rest, shrink * total), names),
        spread=spread,
        costs=tuple(
            lax.psum(c + cost_of_depth(d, y), names)
            for c, y in zip(part.costs, part.masses, strict=True)
        ),
        masses=tuple(lax.psum(y, names) for y in part.masses),
        below=tuple(
            lax.psum(jnp.where(top, b, y), names)
            for b, y in zip(part.below, part.masses, strict=True)
        ),
        index=index,
        beside=beside,
        at_id=at_id,
    )
