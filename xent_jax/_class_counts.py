"""Numbers of how often each class occurs: counted, checked, and made into priors and weights."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from . import _checks as check
from ._call import PythonNumber
from ._class_axes import in_explicit_mesh
from ._math.dtypes import match_precision, widen
from ._math.exact import SUM_STEP, sum_in_steps


def frequencies(name: str, labels: Any, num_classes: int, weights: Any) -> Array:
    """Σ of the weights of each class, of ids or of distributions."""
    labels, ids = check.label_array(name, labels)
    if not ids:
        check.distributions(name, labels, num_classes)
        check.probabilities(name, "labels", labels)
    if weights is not None:
        examples = labels.shape if ids else labels.shape[:-1]
        weights = widen(check.example_weights(name, weights, examples, "label", "these labels"))
    if ids:
        weights = jnp.ones_like(labels, jnp.int32) if weights is None else weights
        return sums_by_class(labels, num_classes, weights)
    shares = jnp.where(labels < 0.0, jnp.nan, widen(labels))
    if weights is not None:
        shares, weights = match_precision(shares, weights)
        shares = shares * weights[..., None]
    return jnp.sum(shares, axis=tuple(range(shares.ndim - 1)))


def sums_by_class(ids: Array, num_classes: int, weights: Array) -> Array:
    """(K,), the weights of each class added up."""
    zero = jnp.zeros((), weights.dtype)
    if in_explicit_mesh(ids, weights):
        # JAX refuses to scatter by indices that are split over devices.
        classes = lax.broadcasted_iota(ids.dtype, (1,) * ids.ndim + (num_classes,), ids.ndim)
        hits = jnp.where(ids[..., None] == classes, weights[..., None], zero)
        return jnp.sum(hits, axis=tuple(range(ids.ndim)))
    # Negative indices would wrap: K is what the scatter drops.
    ids = jnp.where((ids >= 0) & (ids < num_classes), ids, num_classes).ravel()
    # A single running sum in float32 would lose whatever follows 2²⁴: one per block of examples,
    # in no more memory than the examples take. Counts are exact in any case.
    blocks = 1
    if weights.dtype != jnp.int32 and isinstance(ids.size, int):  # not a symbolic one
        blocks = max(1, ids.size // max(num_classes, SUM_STEP))
    weights = weights.ravel()
    if blocks > 1:
        missing = -ids.size % blocks
        ids = jnp.pad(ids, (0, missing), constant_values=num_classes)
        weights = jnp.pad(weights, (0, missing))
    ids, weights = ids.reshape(blocks, -1), weights.reshape(blocks, -1)
    sums = jnp.full((blocks, num_classes), zero)
    return sum_in_steps(sums.at[jnp.arange(blocks)[:, None], ids].add(weights, mode="drop"))


def valid_counts(name: str, given: Any) -> tuple[Array, Array]:
    """The counts in the dtype of computation, and per row what to multiply the result by.

    That is 1, or NaN for a row with a bad count, whose counts are 0 here: XLA:CPU may compile the
    exponential of a NaN that it knows of into any number.
    """
    counts, valid = check.counts(name, given)
    counts = widen(jnp.where(valid, counts, jnp.zeros((), counts.dtype)))
    return counts, jnp.where(valid, 1.0, jnp.nan).astype(counts.dtype)


def with_ones(counts: Array) -> tuple[Array, Array]:
    """K₊, the number of classes with a count above 0, and the counts with 1 instead of 0."""
    present = jnp.sum(counts > 0.0, axis=-1, keepdims=True).astype(counts.dtype)
    return present, jnp.where(counts == 0.0, 1.0, counts)


def log_prior(n: Array, tau: Array) -> Array:
    """τ log π of counts n."""
    total = jnp.sum(n, axis=-1, keepdims=True)
    # Σ_{j ≠ k} n_j: the difference would cancel for a class with more than half of the total, which
    # no class but the most frequent one has.
    most = lax.argmax(n, n.ndim - 1, jnp.int32)[..., None]
    top = lax.broadcasted_iota(jnp.int32, n.shape, n.ndim - 1) == most
    rest = jnp.sum(jnp.where(top, 0.0, n), axis=-1, keepdims=True)
    others = jnp.where(top, rest, total - n)
    adjustment = -tau * jnp.log1p(others / with_ones(n)[1])
    impossible = lax.stop_gradient(jnp.where(tau == 0.0, 0.0, -jnp.inf * tau))
    edge = jnp.where(total == 0.0, 0.0, impossible)
    return jnp.where(n == 0.0, edge, adjustment)


def log_beta(name: str, beta: Any, n: Array) -> Array:
    """log β. Of a Python number in float64: in float32 1 − β would lose digits as β → 1."""
    if isinstance(beta, PythonNumber):
        known = math.log(beta.value) if beta.value > 0.0 else -math.inf
        return jnp.full((), known, n.dtype)
    beta = check.number(name, "beta", beta, check.UNIT).astype(n.dtype)
    return jnp.log1p(beta - 1.0)


def inverse_effective_number(n: Array, rate: Array) -> Array:
    """1 / (1 − βⁿ) up to a factor, which makes it tend to 1/n as β → 1; 1 for β = 0."""
    never, always = rate == -jnp.inf, rate == 0.0
    rate = jnp.where(never | always, -1.0, rate)
    x = n * rate
    # Where βⁿ is small, JAX would differentiate expm1 as its value + 1, which cancels.
    inverse = rate / jnp.where(x > -math.log(2.0), jnp.expm1(x), jnp.exp(x) - 1.0)
    return jnp.where(never, 1.0, jnp.where(always, 1.0 / n, inverse))
