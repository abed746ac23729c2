"""Entropy, cross entropy, KL and Jensen–Shannon of probability vectors.

No residual is needed: value and gradient are one pass. Where a probability is 0 the smallest normal
number stands in for it under a logarithm, so that slopes are finite in both modes of AD.
"""

import math
from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, class_sum
from .._math.dtypes import smallest, widen
from .._math.elementary import log, log1p
from .._math.log_ratio import (
    js_term_of_difference,
    log_mixture_ratio,
    log_ratio,
    relative_entropy_term,
)
from .row_function import RowFunction


def lift(p: Array) -> Array:
    """p, and the smallest normal number where p = 0: what keeps a log finite there."""
    return jnp.where(p == 0.0, smallest(p), p)


def _lift_common(p: Array, q: Array) -> Array:
    """q, and the smallest normal number where p = q = 0."""
    return jnp.where(_are_0(p, q), smallest(q), q)


def _are_0(p: Array, q: Array) -> Array:
    """p = q = 0, of what is not negative: no mask of p, which XLA:GPU would write."""
    return jnp.maximum(p, q) == 0.0


def defined(x: Array, *data: Array) -> Array:
    """x, NaN where a probability is negative (a NaN makes its own way)."""
    return jnp.where(reduce(jnp.minimum, data) < 0.0, jnp.nan, x)


def _entropy(axes: Axes, p: Array) -> tuple[Array, tuple[()]]:
    p = widen(p)
    return class_sum(p * -log(lift(p)), axes), ()


def _entropy_partials(axes: Axes, _: Any, p: Array) -> tuple[Array]:
    # For the edge: −log p − 1 is infinite at p = 0, and would be 0·inf in forward mode.
    return (-(log(lift(widen(p))) + 1.0),)


def _cross_entropy(axes: Axes, p: Array, q: Array) -> tuple[Array, tuple[()]]:
    p, q = widen(p), widen(q)
    return class_sum(defined(p * -log(_lift_common(p, q)), p, q), axes), ()


def _cross_entropy_partials(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, ...]:
    # For the edge p = q = 0, where −log q and p/q are not finite.
    p, q = widen(p), widen(q)
    edge = _are_0(p, q)
    inside = jnp.where(edge, 1.0, q)
    by_p = jnp.where(edge, -math.log(smallest(q)), -log(inside))
    return defined(by_p, p, q), defined(-p / inside, p, q)


def _kl(axes: Axes, p: Array, q: Array) -> tuple[Array, tuple[()]]:
    p, q = widen(p), widen(q)
    term = relative_entropy_term(p, q, log_ratio(lift(p), _lift_common(p, q)))
    return class_sum(defined(term, p, q), axes), ()


def _kl_partials(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, ...]:
    # For the edge p = 0, and because the derivative of the sum of terms cancels for p near q.
    p, q = widen(p), widen(q)
    edge = jnp.minimum(p, q) == 0.0
    at_edge = lax.stop_gradient((q - p) / _lift_common(p, q))
    by_q = jnp.where(edge, at_edge, (q - p) / jnp.where(edge, 1.0, q))
    by_p = log_ratio(lift(p), _lift_common(p, q))
    return defined(by_p, p, q), defined(by_q, p, q)


def _js(axes: Axes, p: Array, q: Array) -> tuple[Array, tuple[()]]:
    p, q = widen(p), widen(q)
    # By the log1p with which XLA:CPU adds up a row of every dtype in the same order.
    term = js_term_of_difference(jnp.abs(p - q), jnp.minimum(p, q), p + q, log1p=log1p)
    return class_sum(defined(term, p, q), axes), ()


def _js_partials(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, ...]:
    # For the edges p = 0 and q = 0, and the cancellation for p near q.
    p, q = widen(p), widen(q)
    by_p = log_mixture_ratio(lift(p), lift(q), p - q) / 2
    by_q = log_mixture_ratio(lift(q), lift(p), q - p) / 2
    return defined(by_p, p, q), defined(by_q, p, q)


# (axes, row_mask, p) or (axes, row_mask, p, q) → one number per row.
entropy_row = RowFunction(_entropy, _entropy_partials)
cross_entropy_row = RowFunction(_cross_entropy, _cross_entropy_partials)
kl_row = RowFunction(_kl, _kl_partials)
js_row = RowFunction(_js, _js_partials)
