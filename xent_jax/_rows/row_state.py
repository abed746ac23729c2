"""The state of a row of logits, or of a part of one: a monoid, the start of every softmax row.

With m the maximum of a part of a row, u = m − z ≥ 0 the depth of an entry below it and w = e^{−u},
the state of the part is

    s = Σ w without one maximal entry    so that log Σ e^z = m + log1p(s), and T = 1 + s = Σ w;
    E = Σ w u                            for the entropy, log1p(s) + E/T;
    C = Σ y u,  Y = Σ y                  for labels y (soft, smoothed, uniform): Σ y·(−log p) =
                                         C + Y·log1p(s);
    B = Σ y over entries below m         for the gradient at a likely class, where T < `LONE`;
    i, a                                 the index of the first maximal entry, and what stands
                                         beside it, or one that weighs nearly as much, elsewhere;
    z_k                                  the entry of class k, 0 in a part without it;
    n                                how many entries are above that.

One entry is (z, 0, 0, 0, y, 0). Parts 1 and 2 with d = m₁ − m₂ ≥ 0 make a whole with maximum m₁:
every depth of part 2 grows by d, every weight shrinks by e^{−d}, and of its 1 + s₂ no entry is left
out any more:

    s = s₁ + (1 + s₂)·e^{−d},    E = E₁ + e^{−d}·(E₂ + d·(1 + s₂)),
    C = C₁ + C₂ + d·Y₂,          Y = Y₁ + Y₂,          B = B₁ + Y₂ (B₁ + B₂ for d = 0).

Nothing cancels, ties need no count, and the order of the parts is free. Entries merge within a row
(one read of the logits on a GPU or a TPU), and shards of the classes merge with each other. On the
CPU, where XLA does not vectorise such a reduction, two passes give the same state.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, across, local_count
from .._math.dtypes import largest, widen
from .._math.elementary import exp
from .._math.exact import exact_difference

NO_INDEX = 2**31 - 1  # of a part without entries
# What makes logits may be computed again for a second pass, and be rounded in another way: the
# maximum is told by its weight, near 1, which no other entry has where T is below `LONE`.
MARGIN = 2.0**-6
LONE = 2.0 - MARGIN


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
    above: Array | None

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


@jax.jit
def exact_weight(z: Array, m: Array) -> Array:
    """e^{−u} with the rounding of u = m − z made good: to an ulp or two even where u is large."""
    below, error = exact_difference(finite_logits(z), m)
    return exp(below) * (1.0 + error)


def is_top(u: Array) -> Array:
    """Whether an entry of this depth weighs nearly 1: for T < `LONE`, whether it is the maximum."""
    return u < -math.log1p(-MARGIN)


@jax.jit
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
    spread = index = beside = at_id = above = None
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
    if a.above is not None and b.above is not None:
        above = a.above + b.above
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
        above=above,
    )


def cost_of_depth(d: Array, mass: Array) -> Array:
    """d·mass, +∞ for mass at the depth of probability 0."""
    impossible = (d >= infinity(d) / 2) & (mass > 0.0)
    return jnp.where(impossible, jnp.inf, d) * mass


def empty_like(entry: RowSums) -> RowSums:
    """A part without entries: its maximum is below that of any other, and it has no mass."""
    lowest = -infinity(entry.maximum)
    zero = jax.tree.map(lambda x: jnp.zeros((), x.dtype), entry)
    return zero._replace(
        maximum=jnp.full((), lowest, entry.maximum.dtype),
        index=None if entry.index is None else jnp.full((), NO_INDEX, entry.index.dtype),
        beside=None if entry.beside is None else jnp.full((), lowest, entry.beside.dtype),
    )


def merge_shards(axes: Axes, z: Array, part: RowSums) -> RowSums:
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
    spread = index = beside = at_id = above = None
    if part.spread is not None:
        spread = lax.psum(shrink * part.spread + (shrink * d) * total, names)
    if part.index is not None:
        here = part.index + shard * local_count(z, axes)
        index = -lax.pmax(jnp.where(top, -here, -NO_INDEX), names)
    if part.beside is not None:
        beside = lax.pmax(jnp.where(top, part.beside, -infinity(m)), names)
    if part.at_id is not None:
        at_id = lax.psum(part.at_id, names)
    if part.above is not None:
        above = lax.psum(part.above, names)
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
        above=above,
    )
