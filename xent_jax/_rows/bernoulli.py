"""Entropy, cross entropy, KL and Jensen–Shannon of binary logits: each element is a row by itself.

A logit z stands for the two outcomes with logits (z, 0): probability σ(z) of class 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes
from .._math.costs import focal, slope
from .._math.dtypes import largest, widen
from .._math.elementary import exp, expm1
from .._math.log_ratio import js_term, log_mixture_ratios, relative_entropy_term
from .._math.scalars import entropy_of_logit, log1p_of, sigmoid, softplus
from .row_function import RowFunction


def _bounded(z: Array) -> Array:
    z = widen(z)
    # Halved, so that differences are finite.
    return jnp.clip(z, -largest(z) / 2, largest(z) / 2)


def _sigmoid_entropy(axes: Axes, z: Array) -> tuple[Array, tuple[()]]:
    return entropy_of_logit(widen(z)), ()


def _sigmoid_entropy_partials(axes: Axes, _: Any, z: Array) -> tuple[Array]:
    # For the edge z = ±inf: −z σ(z) σ(−z) is 0 there.
    z = _bounded(z)
    return (-z * sigmoid(z) * sigmoid(-z),)


def _sigmoid_cross_entropy(
    axes: Axes, z: Array, y: Array, positive: Array
) -> tuple[Array, tuple[()]]:
    """π·y·softplus(−z) + (1 − y)·softplus(z), π the weight of class 1: nothing is subtracted."""
    z, y = widen(z), widen(y)
    one, zero = _weighted(widen(positive), y), 1.0 - y
    above = jnp.where((zero == 0.0) | (z <= 0.0), 0.0, zero * z)
    below = jnp.where((one == 0.0) | (z >= 0.0), 0.0, one * -z)
    return above + below + (one + zero) * log1p_of(exp(-jnp.abs(z))), ()


def _sigmoid_cross_entropy_partials(
    axes: Axes, _: Any, z: Array, y: Array, positive: Array
) -> tuple[Array, ...]:
    # For saturated logits: (1 − y) σ(z) − π y σ(−z) keeps the tail that σ(z) − y rounds away.
    z, y, positive = _bounded(z), widen(y), widen(positive)
    by_z = (1.0 - y) * sigmoid(z) - _weighted(positive, y) * sigmoid(-z)
    # π·softplus(−z) − softplus(z), which for π = 1 is −z.
    alike = jnp.abs(positive - 1.0) <= 0.5
    near = (jnp.where(alike, positive, 1.0) - 1.0) * softplus(-z) - z
    by_y = jnp.where(alike, near, positive * softplus(-z) - softplus(z))
    return by_z, by_y, y * softplus(-z)


def _weighted(positive: Array, y: Array) -> Array:
    """π·y; a label 0 has no use for the weight of class 1, whatever it is."""
    return jnp.where(y == 0.0, 0.0, positive * y)


@jax.custom_jvp
def _log_ratios(a: Array, b: Array) -> tuple[Array, Array]:
    """log(p/q) and log((1 − p)/(1 − q)) of p = σ(a), q = σ(b), relatively exact near and far."""
    sign, low, high = jnp.sign(a - b), jnp.minimum(a, b), jnp.maximum(a, b)
    return sign * _log_of_growth(low, high), -sign * _log_of_growth(-high, -low)


@_log_ratios.defjvp
def _log_ratios_jvp(primals: Any, tangents: Any) -> Any:
    # For p = q, where sign and |·| have no derivative.
    (a, b), (moving_a, moving_b) = primals, tangents
    of_one = sigmoid(-a) * moving_a - sigmoid(-b) * moving_b
    of_zero = sigmoid(b) * moving_b - sigmoid(a) * moving_a
    return _log_ratios(a, b), (of_one, of_zero)


def _log_of_growth(low: Array, high: Array) -> Array:
    """log(σ(high)/σ(low)) ≥ 0 for high = low + δ.

    For δ ≤ 1 it is log1p(σ(−high)·(e^δ − 1)). Beyond, the difference of two softplus, which differ
    by a factor, unless both are near −z: there δ + log1p(σ(high)·(e^{−δ} − 1)).
    """
    distance = high - low
    near = log1p_of(sigmoid(-high) * expm1(jnp.minimum(distance, 1.0)))
    unlikely = distance + log1p_of(sigmoid(high) * expm1(-distance))
    far = jnp.where(high <= 0.0, unlikely, softplus(-low) - softplus(-high))
    return jnp.where(distance <= 1.0, near, far)


def _sigmoid_kl(axes: Axes, zp: Array, zq: Array) -> tuple[Array, tuple[()]]:
    a, b = _bounded(zp), _bounded(zq)
    of_one, of_zero = _log_ratios(a, b)
    value = relative_entropy_term(sigmoid(a), sigmoid(b), of_one)
    value = value + relative_entropy_term(sigmoid(-a), sigmoid(-b), of_zero)
    zp, zq = widen(zp), widen(zq)
    certain = jnp.isinf(zq) & (zq != zp)  # and p is not
    return jnp.where(certain, jnp.where(jnp.isnan(a), a, jnp.inf), value), ()


def _sigmoid_kl_partials(axes: Axes, _: Any, zp: Array, zq: Array) -> tuple[Array, Array]:
    """∂D/∂zp = p(1 − p)·(zp − zq), since zp − zq is the log ratio of the odds; ∂D/∂zq = q − p."""
    a, b = _bounded(zp), _bounded(zq)
    return sigmoid(a) * sigmoid(-a) * (a - b), _sigmoid_excess(a, b)


def _sigmoid_excess(a: Array, b: Array) -> Array:
    """q − p = q·(1 − p)·(1 − e^{zp − zq}), or with the sides exchanged."""
    below = jnp.where(a <= b, a - b, 0.0)
    above = jnp.where(a <= b, 0.0, b - a)
    return jnp.where(
        a <= b,
        -sigmoid(b) * sigmoid(-a) * expm1(below),
        sigmoid(a) * sigmoid(-b) * expm1(above),
    )


def _sigmoid_js(axes: Axes, zp: Array, zq: Array) -> tuple[Array, tuple[()]]:
    a, b = _bounded(zp), _bounded(zq)
    of_one, of_zero = _log_ratios(a, b)
    value = js_term(sigmoid(a), sigmoid(b), of_one) + js_term(sigmoid(-a), sigmoid(-b), of_zero)
    return value, ()


def _sigmoid_js_partials(axes: Axes, _: Any, zp: Array, zq: Array) -> tuple[Array, Array]:
    """∂JS/∂zp = ½ p(1 − p)·(log(p/m) − log((1 − p)/(1 − m))): two terms of opposite sign."""
    a, b = _bounded(zp), _bounded(zq)
    of_one, of_zero = _log_ratios(a, b)
    (p_of_one, q_of_one), (p_of_zero, q_of_zero) = map(log_mixture_ratios, (of_one, of_zero))
    by_p, by_q = p_of_one - p_of_zero, q_of_one - q_of_zero
    return sigmoid(a) * sigmoid(-a) * by_p / 2, sigmoid(b) * sigmoid(-b) * by_q / 2


def _focal_terms(
    z: Array, y: Array, one: Array, zero: Array
) -> tuple[tuple[Array, Array, Array], ...]:
    """Share, weight and cost of the outcomes 1 and 0; where a share is 0 the cost is finite."""

    def term(share: Array, weight: Array, cost: Array) -> tuple[Array, Array, Array]:
        cost = jnp.where(weight * share == 0.0, jnp.minimum(cost, largest(cost)), cost)
        return share, weight, cost

    return term(y, one, softplus(-z)), term(1.0 - y, zero, softplus(z))


def _focal(
    axes: Axes, z: Array, y: Array, gamma: Array, one: Array, zero: Array
) -> tuple[Array, tuple[()]]:
    """Σ over the two outcomes of weight·share·(1 − p)^γ·(−log p)."""
    terms = _focal_terms(widen(z), widen(y), one, zero)
    first, second = (weight * share * focal(cost, gamma) for share, weight, cost in terms)
    return first + second, ()


def _focal_partials(
    axes: Axes, _: Any, z: Array, y: Array, gamma: Array, *weights: Array
) -> tuple[Array, ...]:
    # For one pass: value and partials share no array that would be written.
    z, y = widen(z), widen(y)
    (y1, w1, c1), (y0, w0, c0) = _focal_terms(z, y, *weights)
    by_c1, by_gamma_1 = slope(focal, c1, gamma)
    by_c0, by_gamma_0 = slope(focal, c0, gamma)
    of_one, of_zero = focal(c1, gamma), focal(c0, gamma)
    by_z = w0 * y0 * by_c0 * sigmoid(z) - w1 * y1 * by_c1 * sigmoid(-z)
    by_gamma = w1 * y1 * by_gamma_1 + w0 * y0 * by_gamma_0
    return by_z, w1 * of_one - w0 * of_zero, by_gamma, y1 * of_one, y0 * of_zero


# ((), element_mask, logits, …) → one number per element.
sigmoid_entropy_row = RowFunction(_sigmoid_entropy, _sigmoid_entropy_partials)
sigmoid_cross_entropy_row = RowFunction(_sigmoid_cross_entropy, _sigmoid_cross_entropy_partials)
sigmoid_kl_row = RowFunction(_sigmoid_kl, _sigmoid_kl_partials)
sigmoid_js_row = RowFunction(_sigmoid_js, _sigmoid_js_partials)
sigmoid_focal_row = RowFunction(_focal, _focal_partials)
