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
    exact_difference,
    exact_weight,
    js_term,
    judge,
    largest,
    log_of,
    nonzero,
    peak,
    relative_entropy_term,
    softplus,
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
    """z with −_far(z) for −inf; in a row with +inf, 0 there and −_far(z) elsewhere."""
    return jnp.maximum(jnp.minimum(z, largest(z)) - side.shift, -_far(z))


def _far(z: Array) -> float:
    """Stands in for infinity, and leaves room for the difference of two differences."""
    return largest(z) / 8


def _weight(z: Array, side: _Side) -> Array:
    return jnp.exp(_finite(z, side) - side.m)


def _exact_weight(z: Array, side: _Side) -> Array:
    return exact_weight(_finite(z, side), side.m)


def _gap(zp: Array, zq: Array, p: _Side, q: _Side) -> Array:
    """δ = (zp − mp) − (zq − mq) to rounding, whatever the offsets of the logits.

    Finite even where p or q is 0.
    """
    high, low = exact_difference(_finite(zp, p), _finite(zq, q))
    top_high, top_low = exact_difference(p.m, q.m)
    return (high - top_high) + (low - top_low)


def _weight_difference(zp: Array, zq: Array, p: _Side, q: _Side) -> Array:
    """wp − wq = wq·expm1(δ), for |δ| > 1 by plain subtraction, joined without a select."""
    gap = _gap(zp, zq, p, q)
    near = clip_to_unit(gap)
    growth = jnp.expm1(near)
    wq = _exact_weight(zq, q)
    rest = _exact_weight(zp, p) - wq * (1.0 + growth)
    return wq * growth + rest * nonzero(gap - near)


def _pair(axes: Axes, zp: Array, zq: Array) -> _Pair:
    p, q = _side(zp, axes), _side(zq, axes)
    total_p = class_sum(_weight, zp, p, axes=axes)
    total_q = class_sum(_weight, zq, q, axes=axes)
    ratio = class_sum(_weight_difference, zp, zq, p, q, axes=axes) / total_q
    offset = jnp.where(jnp.abs(ratio) < 0.25, jnp.log1p(ratio), jnp.log(total_p) - jnp.log(total_q))
    some_class_possible = (p.m > -_far(zp)) & (q.m > -_far(zq))
    return _Pair(p, q, total_p, total_q, offset, jnp.where(some_class_possible, 1.0, jnp.nan))


def _outcome(
    zp: Array, zq: Array, pair: _Pair, weight: Callable[..., Array] = _weight
) -> tuple[Array, Array, Array]:
    """p, q and r = log(p/q) of each class."""
    p = weight(zp, pair.p) / pair.total_p
    q = weight(zq, pair.q) / pair.total_q
    return p, q, _gap(zp, zq, pair.p, pair.q) - pair.offset


def _gap_at_peak(axes: Axes, zp: Array, zq: Array, p: _Side, q: _Side) -> Array:
    """δ at the class where p is largest (the greatest such δ among ties)."""

    def unless_below(zp: Array, zq: Array, p: _Side, q: _Side) -> Array:
        return _gap(zp, zq, p, q) - (p.m - _finite(zp, p)) * largest(zp)

    return class_max(unless_below, zp, zq, p, q, axes=axes)


def _centred(
    axes: Axes, f: Callable[..., Array], zp: Array, zq: Array, p: _Side, q: _Side, *rows: Array
) -> tuple[Array, Array]:
    """δ* = δ at the peak of p, and the mean of f(δ, δ*, *rows) under p, for an f with f(δ, δ) = 0.

    For a confident row the mean of δ is nearly δ* itself: only their difference, summed without the
    peak, is exact.
    """
    top = _gap_at_peak(axes, zp, zq, p, q)

    def share(zp: Array, zq: Array, p: _Side, q: _Side, *rows: Array) -> Array:
        return _weight(zp, p) * f(_gap(zp, zq, p, q), *rows)

    total = class_sum(_weight, zp, p, axes=axes)
    return top, class_sum(share, zp, zq, p, q, top, *rows, axes=axes) / total


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def kl(axes: Axes, zp: Array, zq: Array) -> Array:
    """D(softmax zp ‖ softmax zq), keeping the class axes."""
    pair = _pair(axes, zp, zq)
    far = _far(zp)

    def term(zp: Array, zq: Array, pair: _Pair) -> Array:
        p, q, r = _outcome(zp, zq, pair)
        # r is near `far` where q = 0 < p: the divergence is infinite, however small p is.
        return relative_entropy_term(p, q, r) + jnp.maximum(r - far / 2, 0.0)

    value = class_sum(term, zp, zq, pair, axes=axes)
    return judge(jnp.where(value > far / 4, jnp.inf, value), pair.verdict)


@partial(kl.defjvp, symbolic_zeros=True)
def _kl_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂D/∂zp = p·(r − D) = p·(δ − E_p δ),  ∂D/∂zq = q − p = −max(p, q)·sign(r)·(1 − e^{−|r|}).
    # For the cancellation in both, and to keep no array of gradients.
    zp, zq = primals
    pair = _pair(axes, zp, zq)
    top, mean = _centred(axes, jnp.subtract, zp, zq, pair.p, pair.q)

    def gradients(
        zp: Array, zq: Array, pair: _Pair, top: Array, mean: Array
    ) -> tuple[Array, Array]:
        p, q, r = _outcome(zp, zq, pair, _exact_weight)
        slope_p = p * ((_gap(zp, zq, pair.p, pair.q) - top) - mean)
        # Selects rather than |r|, whose derivative at p = q would lose the Hessian there.
        above, below = jnp.where(r > 0, r, 0.0), jnp.where(r > 0, 0.0, r)
        return slope_p, jnp.where(r > 0, p * jnp.expm1(-above), -q * jnp.expm1(below))

    value = kl(axes, zp, zq)
    return value, directional(gradients, (zp, zq, pair, top, mean), tangents, value, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def js(axes: Axes, zp: Array, zq: Array) -> Array:
    """The Jensen–Shannon divergence of two softmaxes, keeping the class axes."""
    pair = _pair(axes, zp, zq)
    value = class_sum(lambda *data: js_term(*_outcome(*data)), zp, zq, pair, axes=axes)
    return judge(value, pair.verdict)


@partial(js.defjvp, symbolic_zeros=True)
def _js_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂JS/∂zp = ½ p·(ρ − E_p ρ) with ρ = log(p/m); the same for q with the sides exchanged.
    # For the cancellation in it, and to keep no array of gradients.
    zp, zq = primals
    pair = _pair(axes, zp, zq)
    centre_p = _centred(axes, _mixture_ratio_change, zp, zq, pair.p, pair.q, pair.offset)
    centre_q = _centred(axes, _mixture_ratio_change, zq, zp, pair.q, pair.p, -pair.offset)

    def gradients(zp: Array, zq: Array, pair: _Pair, *centres: Any) -> tuple[Array, Array]:
        (top_p, mean_p), (top_q, mean_q) = centres
        gap = _gap(zp, zq, pair.p, pair.q)
        p, q, _ = _outcome(zp, zq, pair, _exact_weight)
        slope_p = p * (_mixture_ratio_change(gap, top_p, pair.offset) - mean_p)
        slope_q = q * (_mixture_ratio_change(-gap, top_q, -pair.offset) - mean_q)
        return slope_p / 2, slope_q / 2

    value = js(axes, zp, zq)
    residuals = (zp, zq, pair, centre_p, centre_q)
    return value, directional(gradients, residuals, tangents, value, axes)


def _mixture_ratio_change(gap: Array, top: Array, offset: Array) -> Array:
    """ρ(r) − ρ(r*) for ρ(r) = −log1p(e^{−r}), r = δ − λ and r* = δ* − λ: it keeps every digit.

    Near r* it is −log1p(σ(−r*)·expm1(r* − r)); further off the two terms differ by a factor.
    """
    change = jnp.clip(gap - top, -1.0, 1.0)
    near = jnp.exp(-softplus(top - offset)) * jnp.expm1(-change)
    far = softplus(offset - top) - softplus(offset - gap)
    return jnp.where(jnp.abs(change) < 1.0, -log_of(1.0 + near, near), far)
