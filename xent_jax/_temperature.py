"""The temperature that makes logits fit labels best: a root in β = 1/T, and its derivative."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import _checks as check
from ._call import Labelling, Rows, logits_data
from ._class_axes import class_sum, in_explicit_mesh, local, vary_like
from ._labelled import labelled_rows
from ._math.dtypes import match_precision, smallest, widen
from ._math.exact import sum_in_steps
from ._math.log_ratio import log_ratio
from ._rows.brier import shares
from ._rows.depth import expected_depth_row, label_depth_row

_MOST_STEPS = 64


class Sample(NamedTuple):
    """Logits, which rows count, how much the expected depth of each weighs, and that of labels."""

    logits: Array
    row_mask: Array | None
    weights: Array
    label_depth: Array


def best_temperature(
    name: str, logits: Any, labels: Any, rows: Rows, weights: Any, ignore_index: int | None
) -> Array:
    """T > 0 at which Σ w CE(logits/T, labels) is least, or its limit."""
    z, axes, kept = logits_data(name, "logits", logits, rows)
    here = labelled_rows(name, z, labels, axes, kept, Labelling(ignore_index))
    z, y, mask = here.logits, here.labels, here.row_mask
    w = jnp.ones_like(class_sum(widen(z), axes))
    if weights is not None:
        shape = tuple(n for a, n in enumerate(z.shape) if a not in local(axes))
        w, good = check.known_weights(name, weights, shape, "example", "these logits")
        z, w = match_precision(z, jnp.where(good, widen(w), jnp.nan))
        w = lax.expand_dims(w, sorted(local(axes)))
        w = w.astype(widen(z).dtype)
        # Of an example of weight 0 nothing is looked at.
        bad = jnp.isnan(label_depth_row(axes, mask, lax.stop_gradient(z), y))
        mask = jnp.where(bad & (w == 0.0), 0.0, jnp.ones_like(w) if mask is None else mask)
    depths = label_depth_row(axes, mask, z, y)
    depth = _total(w * jnp.where((w == 0.0) & jnp.isinf(depths), 0.0, depths))
    w = w if here.are_ids else w * class_sum(shares(axes, y, z), axes)
    w = w if mask is None else jnp.where(mask == 0.0, 0.0, w)

    sample = Sample(z, mask, w, depth)
    flat = _total_expected(axes, sample, jnp.zeros_like(depth))
    regular = (depth > 0.0) & (depth < flat)
    temperature = 1.0 / inverse_temperature(axes, sample, regular)
    limit = jnp.where(depth > 0.0, jnp.inf, jnp.where(flat > 0.0, 0.0, 1.0))
    known = ~jnp.isnan(depth + flat)
    return jnp.where(regular, temperature, jnp.where(known, limit, jnp.nan))


def _total(x: Array) -> Array:
    """The sum over the examples."""
    return jnp.sum(x) if in_explicit_mesh(x) else sum_in_steps(x.ravel())


def _total_expected(axes: Any, sample: Sample, beta: Array) -> Array:
    """Σ w Y E[u] under softmax(βz), which falls as β grows."""
    z, mask, w, _ = sample
    beta = beta.reshape((1,) * z.ndim)
    return _total(w * expected_depth_row(axes, mask, z, beta))


class _Search(NamedTuple):
    beta: Array
    low: Array
    high: Array
    done: Array
    steps: Array


def search(axes: Any, sample: Sample, regular: Array) -> tuple[Array, Array]:
    """β at which the expected depth is that of the labels, and in how many steps; 1 if not regular.

    Newton's steps for the logarithm of their ratio, which is near to a line of β where the expected
    depth decays as e^{−βu}, from β = 0 on. A step that leaves the bracket doubles or bisects.
    """
    depth = sample.label_depth
    close = float(jnp.finfo(depth.dtype).eps) ** (2 / 3)  # the error of a step is of second order

    def step(at: _Search) -> _Search:
        beta = at.beta
        moving = partial(_total_expected, axes, sample)
        found, slope = jax.jvp(moving, (beta,), (jnp.ones_like(beta),))
        low, high = jnp.where(found > depth, beta, at.low), jnp.where(found > depth, at.high, beta)
        ahead = log_ratio(jnp.maximum(found, smallest(found)), depth) * (found / slope)
        newton = beta - ahead
        further = jnp.where(beta == 0.0, 1.0 / found, 2.0 * beta)
        inside = (newton >= low) & (newton <= high) & (newton > 0.0) & (newton < jnp.inf)
        safe = jnp.where(high < jnp.inf, (low + high) / 2, further)
        new = jnp.where(inside, newton, safe)
        done = jnp.abs(new - beta) <= close * new
        return _Search(new, low, high, done, at.steps + 1)

    def unfinished(at: _Search) -> Array:
        return ~at.done & (at.steps < _MOST_STEPS)

    zero = jnp.zeros_like(depth)
    start = _Search(zero, zero, zero + jnp.inf, ~regular, jnp.zeros_like(depth, jnp.int32))
    start = _Search(*(vary_like(x, depth, sample.logits) for x in start))
    found = lax.while_loop(unfinished, step, start)
    return jnp.where(regular, found.beta, 1.0), found.steps


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def inverse_temperature(axes: Any, sample: Sample, regular: Array) -> Array:
    """β of `search`."""
    return search(axes, sample, regular)[0]


@inverse_temperature.defjvp
def _inverse_temperature_jvp(axes: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # By the implicit function theorem: a loop of unknown length has no reverse mode.
    (sample, regular), (moving, _) = primals, tangents
    beta = inverse_temperature(axes, sample, regular)
    slope = jax.jvp(partial(_total_expected, axes, sample), (beta,), (jnp.ones_like(beta),))[1]

    def expected(z: Array, w: Array) -> Array:
        return _total_expected(axes, sample._replace(logits=z, weights=w), beta)

    change = jax.jvp(expected, (sample.logits, sample.weights), (moving.logits, moving.weights))[1]
    usable = regular & (slope < 0.0)
    change = (moving.label_depth - change) / jnp.where(usable, slope, 1.0)
    return beta, jnp.where(usable, change, 0.0)
