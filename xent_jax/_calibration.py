"""Forecasts of an event in bins: what they have in common, and what is made of the sums of each."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import _checks as check
from ._class_axes import in_explicit_mesh
from ._class_counts import sums_by_class
from ._math.dtypes import compute_dtype


class ReliabilityCurve(NamedTuple):
    """What `reliability_curve` tells of each bin.

    Bin k holds the forecasts with edges[k] < confidence ≤ edges[k + 1].

    Example:
        >>> ReliabilityCurve(0.5, 0.4, 1.0, (0.0, 1.0)).frequency
        0.4
    """

    confidence: Array
    frequency: Array
    weight: Array
    edges: Array


class BrierDecomposition(NamedTuple):
    """The parts of a Brier score: score = reliability − resolution + uncertainty + within.

    Example:
        >>> BrierDecomposition(0.19, 0.065, 0.0625, 0.1875, 0.0).resolution
        0.0625
    """

    score: Array
    reliability: Array
    resolution: Array
    uncertainty: Array
    within: Array


# So that an exported function may return them.
for kind in (ReliabilityCurve, BrierDecomposition):
    jax.export.register_namedtuple_serialization(kind, serialized_name=f"xent_jax.{kind.__name__}")


class Bins(NamedTuple):
    """Forecasts, outcomes and weights of one shape, the bin of each, and what the bins hold."""

    confidence: Array
    outcome: Array
    weights: Array
    valid: Array  # 1, or NaN for a sample with a bad value
    index: Array
    edges: Array  # the inner ones
    mass: Array  # Σ w per bin

    def sums(self, x: Array) -> Array:
        """Σ w x per bin."""
        return sums_by_class(self.index, len(self.mass), self.weights * x)

    def means(self, x: Array) -> Array:
        """The mean of x per bin, 0 in an empty one."""
        return self.sums(x) / _or_one(self.mass)

    def mean(self, sums: Array) -> Array:
        """The mean over the sample, from sums per bin; 0 if there is none."""
        return jnp.sum(sums) / _or_one(jnp.sum(self.mass))

    def around_mean(self, x: Array) -> Array:
        """x less the mean of its bin."""
        means = self.means(x)
        if in_explicit_mesh(self.index):
            # JAX refuses to gather by indices that are split over devices.
            here = self.index[..., None] == _last_axis(jnp.arange(len(means)), x)
            return x - jnp.sum(jnp.where(here, _last_axis(means, x), 0.0), axis=-1)
        return x - means.at[self.index].get(mode="promise_in_bounds")


def _or_one(mass: Array) -> Array:
    """What to divide by: a bin without mass has sums of 0."""
    return jnp.where(mass == 0.0, 1.0, mass)


def in_bins(
    name: str, confidence: Any, outcome: Any, bins: Any, binning: Any, weights: Any
) -> Bins:
    """The forecasts checked and put into bins."""
    bins = check.integer(name, "bins", bins, positive=True)
    check.one_of(name, "binning", binning, ("width", "mass"))
    c = check.real_array(name, "confidence", confidence)
    o = check.real_array(name, "outcome", outcome)
    check.same_shape(name, "confidence", c, "outcome", o)
    w, good = jnp.ones_like(c), jnp.ones_like(c, bool)
    if weights is not None:
        w, good = check.known_weights(name, weights, c.shape, "forecast", "these forecasts")
    c, o, w = _of_one_precision(c, o, w)

    def usual(argument: str, x: Array) -> Array:
        inside = (x >= 0.0) & (x <= 1.0)
        check.unit_interval(name, argument, lambda: inside | (w == 0.0))
        return inside

    inside = usual("confidence", c) & usual("outcome", o)
    valid = jnp.all(good & (inside | (w == 0.0)))
    c, o, w = (jnp.where(inside & good, x, 0.0) for x in (c, o, w))
    edges = _of_width(bins, c.dtype) if binning == "width" else _of_mass(c, w, bins)
    index = _bin_of(c, edges)
    valid = jnp.where(valid, 1.0, jnp.nan).astype(c.dtype)
    return Bins(c, o, w, valid, index, edges, sums_by_class(index, bins, w))


def _of_one_precision(*data: Array) -> tuple[Array, ...]:
    """The arrays in the dtype of computation, float64 if one of them is."""
    double = any(x.dtype == jnp.float64 for x in data)
    return tuple(x.astype(jnp.float64 if double else compute_dtype(x)) for x in data)


def _of_width(bins: int, dtype: Any) -> Array:
    return jnp.asarray(np.arange(1, bins) / bins, dtype)


def _of_mass(confidence: Array, weights: Array, bins: int) -> Array:
    """Per inner edge k/B the last forecast with a rank of that share of the weight, or −1.

    The rank of a forecast is the weight below it and half of that beside it: those that are equal
    have one rank, and the order of the sample does not matter.
    """
    c, w = lax.stop_gradient((jnp.where(weights > 0.0, confidence, -1.0), weights))
    if in_explicit_mesh(c, w):  # which are all needed everywhere
        c, w = (jax.sharding.reshard(x, jax.sharding.PartitionSpec()) for x in (c, w))
    c, w = lax.sort((c.ravel(), w.ravel()), num_keys=1)
    c, w = (jnp.concatenate([jnp.full((1,), at, x.dtype), x]) for at, x in ((-1.0, c), (0.0, w)))
    # Sums of a scan need not grow: they are rounded each in its way.
    upto = lax.cummax(jnp.cumsum(w))
    new = c[1:] != c[:-1]
    last = jnp.concatenate([new, jnp.ones((1,), bool)])[1:]
    below = lax.cummax(jnp.where(new, upto[:-1], 0.0))
    through = lax.cummin(jnp.where(last, upto[1:], jnp.inf), reverse=True)
    limits = 2.0 * jnp.arange(1, bins, dtype=w.dtype) * upto[-1]
    ranks = (below + through) * bins
    if in_explicit_mesh(c) or not isinstance(ranks.size, int):  # which searchsorted refuses
        return jnp.max(
            jnp.where(ranks[:, None] <= limits[None], c[1:, None], -1.0), 0, initial=-1.0
        )
    return c[jnp.searchsorted(ranks, limits, side="right")]


def _last_axis(numbers: Array, x: Array) -> Array:
    """Numbers per bin or edge, behind the axes of x."""
    return numbers.reshape((1,) * x.ndim + numbers.shape)


def _bin_of(confidence: Array, edges: Array) -> Array:
    """How many of the edges lie below each forecast."""
    c = lax.stop_gradient(confidence)
    if in_explicit_mesh(c):
        return jnp.sum((c[..., None] > _last_axis(edges, c)).astype(jnp.int32), axis=-1)
    return jnp.searchsorted(edges, c).astype(jnp.int32)


def calibration_error(at: Bins) -> Array:
    """Σ_k |Σ_{i∈k} w_i (c_i − o_i)| / W."""
    return at.valid * at.mean(jnp.abs(at.sums(at.confidence - at.outcome)))


def curve(at: Bins) -> ReliabilityCurve:
    """The means of each bin, NaN in an empty one, and its share of the weight."""
    found = (at.means(at.confidence), at.means(at.outcome))
    confidence, frequency = (jnp.where(at.mass == 0.0, jnp.nan, x) for x in found)
    share = at.mass / _or_one(jnp.sum(at.mass))
    edges = jnp.pad(jnp.maximum(at.edges, 0.0), 1, constant_values=(0.0, 1.0))
    return ReliabilityCurve(*(at.valid * x for x in (confidence, frequency, share, edges)))


def decomposition(at: Bins) -> BrierDecomposition:
    """The parts as sums of what is centred: nothing of the form E x² − (E x)²."""
    c, o = at.confidence, at.outcome
    off = o - at.mean(at.sums(o))
    around_c, around_o = at.around_mean(c), at.around_mean(o)
    parts = (
        at.sums(jnp.square(c - o)),
        at.mass * jnp.square(at.means(c - o)),
        at.mass * jnp.square(at.means(off)),
        at.sums(jnp.square(off)),
        at.sums(around_c * (around_c - 2.0 * around_o)),
    )
    return BrierDecomposition(*(at.valid * at.mean(x) for x in parts))
