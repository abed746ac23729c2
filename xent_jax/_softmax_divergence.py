"""D(p‖q) and JS of two softmaxes p ∝ e^{zp}, q ∝ e^{zq}, and their derivatives.

Both are sums over the classes of terms in p, q and r = log(p/q), and r must be relatively exact when
p and q are close. With m the row maxima and δ = (zp − mp) − (zq − mq),

    r = δ − λ,    λ = log(Tp/Tq) = log1p(Σ (wp − wq) / Tq),    w = e^{z − m},    T = Σ w,

where wp − wq = wq·expm1(δ) never cancels. No term overflows, whatever the distance.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._numerics import (
    Axes,
    class_max,
    class_sum,
    clip_to_unit,
    directional,
    js_term,
    judge,
    largest,
    log_mixture_ratio,
    nonzero,
    peak,
    relative_entropy_term,
)


class _Side(NamedTuple):
    """One row of logits made finite: the maximum m, and a shift that moves +inf to 0."""

    m: Array
    shift: Array


class _Pair(NamedTuple):
    """Per row: both sides, both partition functions and λ; verdict is NaN where undefined."""

    p: _Side
    q: _Side
    total_p: Array
    total_q: Array
    offset: Array
    verdict: Array


def _side(z: Array, axes: Axes) -> _Side:
    m = peak(z, axes)
    shift = jnp.where(m == largest(z), m, 0.0)
    return _Side(m - shift, shift)


def _finite(z: Array, side: _Side) -> Array:
    """z with −inf as the lowest finite number; in a row with +inf, 0 there and −inf elsewhere."""
    huge = largest(z)
    return jnp.maximum(jnp.minimum(z, huge) - side.shift, -huge)


def _weight(z: Array, side: _Side) -> Array:
    return jnp.exp(_finite(z, side) - side.m)


def _gap(zp: Array, zq: Array, p: _Side, q: _Side) -> Array:
    """δ = (zp − mp) − (zq − mq) to rounding, whatever the offsets of the logits.

    Finite even where p or q is 0.
    """
    high, low = _exact_difference(_finite(zp, p), _finite(zq, q))
    top_high, top_low = _exact_difference(p.m, q.m)
    return (high - top_high) + (low - top_low)


def _exact_difference(a: Array, b: Array) -> tuple[Array, Array]:
    """a − b as a rounded number and its rounding error (Knuth 1969, The Art, 4.2.2, theorem B)."""
    d = a - b
    minus_b = d - a
    return d, (a - (d - minus_b)) - (b + minus_b)


def _weight_difference(zp: Array, zq: Array, p: _Side, q: _Side) -> Array:
    """wp − wq = wq·expm1(δ), for |δ| > 1 by plain subtraction, joined without a select."""
    gap = _gap(zp, zq, p, q)
    near = clip_to_unit(gap)
    growth = jnp.expm1(near)
    wq = _weight(zq, q)
    rest = _weight(zp, p) - wq * (1.0 + growth)
    return wq * growth + rest * nonzero(gap - near)


def _pair(axes: Axes, zp: Array, zq: Array) -> _Pair:
    p, q = _side(zp, axes), _side(zq, axes)
    total_p = class_sum(_weight, zp, p, axes=axes)
    total_q = class_sum(_weight, zq, q, axes=axes)
    ratio = class_sum(_weight_difference, zp, zq, p, q, axes=axes) / total_q
    near = jnp.abs(ratio) < 0.5
    offset = jnp.where(
        near, jnp.log1p(jnp.where(near, ratio, 0.0)), jnp.log(total_p) - jnp.log(total_q)
    )
    defined = _is_distribution(zp, p, total_p) & _is_distribution(zq, q, total_q)
    return _Pair(p, q, total_p, total_q, offset, jnp.where(defined, 1.0, jnp.nan))


def _is_distribution(z: Array, side: _Side, total: Array) -> Array:
    """Some class is possible, and at most one logit is +inf."""
    return (side.m > -largest(z)) & ((side.shift == 0) | (total <= 1.0))


def _outcome(zp: Array, zq: Array, pair: _Pair) -> tuple[Array, Array, Array]:
    """p, q and log(p/q) of each class."""
    p = _weight(zp, pair.p) / pair.total_p
    q = _weight(zq, pair.q) / pair.total_q
    return p, q, _gap(zp, zq, pair.p, pair.q) - pair.offset


def _centred(
    axes: Axes, f: Callable[..., Array], z: Array, side: _Side, total: Array, data: Any
) -> tuple[Array, Array]:
    """f at the peak of softmax(z), and the mean of f(*data) less that value, under softmax(z).

    For a confident row the mean is nearly the value at the peak: only their difference, summed
    without the peak, is exact.
    """
    huge = largest(z)

    def unless_below(z: Array, side: _Side, data: Any) -> Array:
        return f(*data) - (side.m - _finite(z, side)) * huge

    top = class_max(unless_below, z, side, data, axes=axes)

    def share(z: Array, side: _Side, top: Array, data: Any) -> Array:
        return _weight(z, side) * (f(*data) - top)

    return top, class_sum(share, z, side, top, data, axes=axes) / total


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def kl(axes: Axes, zp: Array, zq: Array) -> Array:
    """D(softmax zp ‖ softmax zq), keeping the class axes."""
    pair = _pair(axes, zp, zq)
    huge = largest(zp)

    def term(zp: Array, zq: Array, pair: _Pair) -> Array:
        p, q, r = _outcome(zp, zq, pair)
        # r is near `huge` where q = 0 < p: the divergence is infinite, however small p is.
        return relative_entropy_term(p, q, r) + jnp.maximum(r - huge / 2, 0.0)

    value = class_sum(term, zp, zq, pair, axes=axes)
    return judge(jnp.where(value > huge / 4, jnp.inf, value), pair.verdict)


@partial(kl.defjvp, symbolic_zeros=True)
def _kl_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂D/∂zp = p·(r − D) = p·(δ − E_p δ),  ∂D/∂zq = q − p = −p·expm1(−r) near p = q.
    # For the cancellation in both, and to keep no array of gradients.
    zp, zq = primals
    pair = _pair(axes, zp, zq)
    data = (zp, zq, pair.p, pair.q)
    top, mean = _centred(axes, _gap, zp, pair.p, pair.total_p, data)

    def gradients(
        zp: Array, zq: Array, pair: _Pair, top: Array, mean: Array
    ) -> tuple[Array, Array]:
        p, q, r = _outcome(zp, zq, pair)
        near = jnp.abs(r) < 1.0
        slope_q = jnp.where(near, p * jnp.expm1(jnp.where(near, -r, 0.0)), q - p)
        return p * ((_gap(zp, zq, pair.p, pair.q) - top) - mean), slope_q

    residuals = (zp, zq, pair, top, mean)
    return kl(axes, zp, zq), directional(gradients, residuals, tangents, pair.verdict, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def js(axes: Axes, zp: Array, zq: Array) -> Array:
    """The Jensen–Shannon divergence of two softmaxes, keeping the class axes."""
    pair = _pair(axes, zp, zq)
    value = class_sum(lambda *data: js_term(*_outcome(*data)), zp, zq, pair, axes=axes)
    return judge(value, pair.verdict)


def _log_ratio_to_mixture_p(zp: Array, zq: Array, pair: _Pair) -> Array:
    return log_mixture_ratio(_outcome(zp, zq, pair)[2])


def _log_ratio_to_mixture_q(zp: Array, zq: Array, pair: _Pair) -> Array:
    return log_mixture_ratio(-_outcome(zp, zq, pair)[2])


@partial(js.defjvp, symbolic_zeros=True)
def _js_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂JS/∂zp = ½ p·(ρ − E_p ρ) with ρ = log(p/m), likewise for q.
    # For the cancellation in it, and to keep no array of gradients.
    zp, zq = primals
    pair = _pair(axes, zp, zq)
    data = (zp, zq, pair)
    centre_p = _centred(axes, _log_ratio_to_mixture_p, zp, pair.p, pair.total_p, data)
    centre_q = _centred(axes, _log_ratio_to_mixture_q, zq, pair.q, pair.total_q, data)

    def gradients(
        zp: Array, zq: Array, pair: _Pair, centre_p: Any, centre_q: Any
    ) -> tuple[Array, Array]:
        p, q, _ = _outcome(zp, zq, pair)
        rho_p = _log_ratio_to_mixture_p(zp, zq, pair)
        rho_q = _log_ratio_to_mixture_q(zp, zq, pair)
        (top_p, mean_p), (top_q, mean_q) = centre_p, centre_q
        return p * ((rho_p - top_p) - mean_p) / 2, q * ((rho_q - top_q) - mean_q) / 2

    residuals = (zp, zq, pair, centre_p, centre_q)
    return js(axes, zp, zq), directional(gradients, residuals, tangents, pair.verdict, axes)
