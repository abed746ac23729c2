"""Entropy, cross entropy, KL and Jensen–Shannon of the probabilities of binary outcomes.

Each element is a row by itself: p stands for the two outcomes (p, 1 − p). log(1 − p) is log1p(−p),
and both outcomes differ by |p − q|: nothing small is subtracted from 1 first. Where a probability
is 0 the smallest normal number stands in for it under a logarithm, so that slopes are finite.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes
from .._math.dtypes import smallest
from .._math.elementary import log
from .._math.log_ratio import (
    js_term_of_difference,
    log_mixture_ratio,
    log_ratio_of_difference,
    relative_entropy_term,
)
from .._math.scalars import log1p_of
from .probability import defined, lift
from .row_function import RowFunction


def _in_unit(x: Array, *data: Array) -> Array:
    """x, NaN where a probability is outside [0, 1] (a NaN makes its own way)."""
    return defined(x, *data, *(1.0 - p for p in data))


def _costs(p: Array) -> tuple[Array, Array]:
    """−log p and −log(1 − p), of the lifted ones where they are 0."""
    certain = p >= 1.0
    of_zero = log1p_of(-jnp.where(certain, 0.0, p))
    return -log(lift(p)), -jnp.where(certain, math.log(smallest(p)), of_zero)


def _binary_entropy(axes: Axes, p: Array) -> tuple[Array, tuple[()]]:
    of_one, of_zero = _costs(p)
    return _in_unit(p * of_one + (1.0 - p) * of_zero, p), ()


@jax.custom_jvp
def _log_odds_of_zero(p: Array) -> Array:
    """log((1 − p)/p), which keeps its digits near p = ½; of the lifted one where it is 0."""
    lower = lift(jnp.minimum(p, 1.0 - p))
    size = log_ratio_of_difference(jnp.abs(1.0 - 2.0 * p), lower)
    return jnp.where(p > 0.5, -size, size)


@_log_odds_of_zero.defjvp
def _log_odds_of_zero_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For p = ½, where |·| has no derivative.
    (p,), (moving,) = primals, tangents
    return _log_odds_of_zero(p), -moving / (lift(p) * lift(1.0 - p))


def _binary_entropy_partials(axes: Axes, _: Any, p: Array) -> tuple[Array]:
    # For the edges, where the slope is infinite.
    return (_in_unit(_log_odds_of_zero(p), p),)


def _binary_cross_entropy(axes: Axes, p: Array, q: Array) -> tuple[Array, tuple[()]]:
    of_one, of_zero = _costs(q)
    barred = ((p > 0.0) & (q == 0.0)) | ((p < 1.0) & (q == 1.0))
    value = jnp.where(barred, jnp.inf, p * of_one + (1.0 - p) * of_zero)
    return _in_unit(value, p, q), ()


def _binary_cross_entropy_partials(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, Array]:
    # For the edges; ∂/∂q = −p/q + (1 − p)/(1 − q) is one quotient, which keeps its digits.
    return _in_unit(_log_odds_of_zero(q), p, q), _in_unit(_slope_of_model(p, q), p, q)


def _slope_of_model(p: Array, q: Array) -> Array:
    """(q − p)/(q(1 − q)); 1 for p = q = 0, and −1 for p = q = 1, as beside them."""
    certain = (q == 0.0) | (q == 1.0)
    inside = jnp.where(certain, 0.5, q)
    at_edge = jnp.where(p == q, 1.0, -jnp.inf)
    at_edge = jnp.where(q == 0.0, at_edge, -at_edge)
    return jnp.where(certain, at_edge, (q - p) / (inside * (1.0 - inside)))


@jax.custom_jvp
def _log_ratios_of_outcomes(p: Array, q: Array) -> tuple[Array, Array]:
    """log(p/q) and log((1 − p)/(1 − q)) of lifted probabilities, +∞ where that of q alone is 0."""
    distance = jnp.abs(p - q)

    def size(p: Array, q: Array) -> Array:
        lower = jnp.minimum(p, q)
        barred = (p != 0.0) & (p != q)
        return log_ratio_of_difference(distance, jnp.where(barred, lower, lift(lower)))

    of_one, of_zero = size(p, q), size(1.0 - p, 1.0 - q)
    below = p < q
    return jnp.where(below, -of_one, of_one), jnp.where(below, of_zero, -of_zero)


@_log_ratios_of_outcomes.defjvp
def _log_ratios_of_outcomes_jvp(primals: Any, tangents: Any) -> Any:
    # For p = q, where |·| has no derivative.
    (p, q), (moving_p, moving_q) = primals, tangents
    of_one = moving_p / lift(p) - moving_q / lift(q)
    of_zero = moving_q / lift(1.0 - q) - moving_p / lift(1.0 - p)
    return _log_ratios_of_outcomes(p, q), (of_one, of_zero)


def _binary_kl(axes: Axes, p: Array, q: Array) -> tuple[Array, tuple[()]]:
    of_one, of_zero = _log_ratios_of_outcomes(p, q)
    value = relative_entropy_term(p, q, of_one)
    value = value + relative_entropy_term(1.0 - p, 1.0 - q, of_zero)
    return _in_unit(value, p, q), ()


def _binary_kl_partials(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, Array]:
    """∂D/∂p = log(p/q) − log((1 − p)/(1 − q)), of which no sign differs; ∂D/∂q as above."""
    of_one, of_zero = _log_ratios_of_outcomes(p, q)
    return _in_unit(of_one - of_zero, p, q), _in_unit(_slope_of_model(p, q), p, q)


def _binary_js(axes: Axes, p: Array, q: Array) -> tuple[Array, tuple[()]]:
    distance, lower, higher = jnp.abs(p - q), jnp.minimum(p, q), jnp.maximum(p, q)
    value = js_term_of_difference(distance, lower, p + q)
    value = value + js_term_of_difference(distance, 1.0 - higher, (1.0 - p) + (1.0 - q))
    return _in_unit(value, p, q), ()


def _binary_js_partials(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, Array]:
    """∂JS/∂p = ½ (log(p/m) − log((1 − p)/(1 − m))): two terms of opposite sign."""

    def slope(p: Array, q: Array) -> Array:
        of_one = log_mixture_ratio(lift(p), lift(q), p - q)
        of_zero = log_mixture_ratio(lift(1.0 - p), lift(1.0 - q), q - p)
        return _in_unit((of_one - of_zero) / 2, p, q)

    return slope(p, q), slope(q, p)


# ((), element_mask, p) or ((), element_mask, p, q) → one number per element.
binary_entropy_row = RowFunction.of_wide(_binary_entropy, _binary_entropy_partials)
binary_cross_entropy_row = RowFunction.of_wide(
    _binary_cross_entropy, _binary_cross_entropy_partials
)
binary_kl_row = RowFunction.of_wide(_binary_kl, _binary_kl_partials)
binary_js_row = RowFunction.of_wide(_binary_js, _binary_js_partials)
