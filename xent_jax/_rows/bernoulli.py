"""Entropy, cross entropy, KL and Jensen–Shannon of binary logits: each element is a row by itself.

A logit z stands for the two outcomes with logits (z, 0): probability σ(z) of class 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes
from .._math.costs import focal, slope
from .._math.dtypes import largest, smallest, widen
from .._math.elementary import exp, expm1
from .._math.log_ratio import js_term, relative_entropy_term
from .._math.scalars import entropy_of_logit, log1p_of, log_of, outcomes, softplus
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
    p, p_zero = outcomes(z)
    return (-z * p * p_zero,)


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
    p, p_zero = outcomes(z)
    by_z = (1.0 - y) * p - _weighted(positive, y) * p_zero
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
    """log(p/q) and log((1 − p)/(1 − q)) of p = σ(a), q = σ(b), relatively exact near and far.

    Both are differences of softplus(∓z) = max(∓z, 0) + log1p(e^{−|z|}): of the maxima, from which
    the logarithms, the same in both, take half at most.
    """
    of_p, of_q = jnp.abs(a), jnp.abs(b)
    tail_p, tail_q = exp(-of_p), exp(-of_q)
    growth = -expm1(-jnp.abs(of_p - of_q)) * jnp.maximum(tail_p, tail_q)
    difference = jnp.where(of_p > of_q, growth, -growth)  # tail_q − tail_p
    whole = 1.0 + tail_p
    shared = log_of((1.0 + tail_q) / whole, difference / whole)
    of_one = jnp.maximum(-b, 0.0) - jnp.maximum(-a, 0.0)
    of_zero = jnp.maximum(b, 0.0) - jnp.maximum(a, 0.0)
    return of_one + shared, of_zero + shared


@_log_ratios.defjvp
def _log_ratios_jvp(primals: Any, tangents: Any) -> Any:
    # For p = q, where sign and |·| have no derivative.
    (a, b), (moving_a, moving_b) = primals, tangents
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    of_one = p_zero * moving_a - q_zero * moving_b
    of_zero = q * moving_b - p * moving_a
    return _log_ratios(a, b), (of_one, of_zero)


def _sigmoid_kl(axes: Axes, zp: Array, zq: Array) -> tuple[Array, tuple[()]]:
    a, b = _bounded(zp), _bounded(zq)
    of_one, of_zero = _log_ratios(a, b)
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    value = relative_entropy_term(p, q, of_one) + relative_entropy_term(p_zero, q_zero, of_zero)
    zp, zq = widen(zp), widen(zq)
    certain = jnp.isinf(zq) & (zq != zp)  # and p is not
    return jnp.where(certain, jnp.where(jnp.isnan(a), a, jnp.inf), value), ()


def _sigmoid_kl_partials(axes: Axes, _: Any, zp: Array, zq: Array) -> tuple[Array, Array]:
    """∂D/∂zp = p(1 − p)·(zp − zq), since zp − zq is the log ratio of the odds; ∂D/∂zq = q − p."""
    a, b = _bounded(zp), _bounded(zq)
    p, p_zero = outcomes(a)
    return p * p_zero * (a - b), _sigmoid_excess(a, b)


def _sigmoid_excess(a: Array, b: Array) -> Array:
    """q − p = q·(1 − p)·(1 − e^{zp − zq}), or with the sides exchanged."""
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    # No |a − b|, which has no derivative where p = q.
    shrink = expm1(jnp.where(a <= b, a - b, b - a))
    return jnp.where(a <= b, -q * p_zero * shrink, p * q_zero * shrink)


def _sigmoid_js(axes: Axes, zp: Array, zq: Array) -> tuple[Array, tuple[()]]:
    a, b = _bounded(zp), _bounded(zq)
    of_one, of_zero = _log_ratios(a, b)
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    return js_term(p, q, of_one) + js_term(p_zero, q_zero, of_zero), ()


def _sigmoid_js_partials(axes: Axes, _: Any, zp: Array, zq: Array) -> tuple[Array, Array]:
    """∂JS/∂zp = ½ p(1 − p)·(zp − zm), with zm the logit of the mixture."""
    a, b = _bounded(zp), _bounded(zq)
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    return p * p_zero * _above_mixture(a, b) / 2, q * q_zero * _above_mixture(b, a) / 2


@jax.custom_jvp
def _above_mixture(a: Array, b: Array) -> Array:
    """a − log(m/(1 − m)) with m = (p + q)/2, p = σ(a), q = σ(b): relatively exact near and far.

    With p' = 1 − p the odds have the ratio p(p' + q')/(p'(p + q)) = 1 + (p − q)/(p'(p + q)). Where
    p or p' is below the smallest normal number what is returned is finite.
    """
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    of_mixture = p_zero * (p + q)
    of_mixture = jnp.where(of_mixture < smallest(p), smallest(p), of_mixture)
    return log_of(p * (p_zero + q_zero) / of_mixture, -_sigmoid_excess(a, b) / of_mixture)


@_above_mixture.defjvp
def _above_mixture_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂/∂a = 1 − pp'/(2mm'), written as a sum of what is not negative, and ∂/∂b = −qq'/(2mm').
    (a, b), (moving_a, moving_b) = primals, tangents
    (p, p_zero), (q, q_zero) = outcomes(a), outcomes(b)
    excess = jnp.abs(_sigmoid_excess(a, b))
    by_a = jnp.where(
        a > b,
        p * excess + q * (p_zero + q_zero),
        p_zero * excess + q_zero * (p + q),
    )
    whole = (p + q) * (p_zero + q_zero)
    whole = jnp.where(whole == 0.0, 1.0, whole)
    return _above_mixture(a, b), (by_a * moving_a - 2.0 * q * q_zero * moving_b) / whole


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
    p, p_zero = outcomes(z)
    by_z = w0 * y0 * by_c0 * p - w1 * y1 * by_c1 * p_zero
    by_gamma = w1 * y1 * by_gamma_1 + w0 * y0 * by_gamma_0
    return by_z, w1 * of_one - w0 * of_zero, by_gamma, y1 * of_one, y0 * of_zero


# ((), element_mask, logits, …) → one number per element.
sigmoid_entropy_row = RowFunction(_sigmoid_entropy, _sigmoid_entropy_partials)
sigmoid_cross_entropy_row = RowFunction(_sigmoid_cross_entropy, _sigmoid_cross_entropy_partials)
sigmoid_kl_row = RowFunction(_sigmoid_kl, _sigmoid_kl_partials)
sigmoid_js_row = RowFunction(_sigmoid_js, _sigmoid_js_partials)
sigmoid_focal_row = RowFunction(_focal, _focal_partials)
