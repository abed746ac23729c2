"""D(p‖q) and JS of two softmaxes p ∝ e^{zp}, q ∝ e^{zq}, and their derivatives.

Both are sums over the classes of terms in p, q and r = log(p/q), and r must be relatively exact
when p and q are close. With m the row maxima and δ = (zp − mp) − (zq − mq),

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
    clip_to_unit,
    directional,
    exact_difference,
    exact_weight,
    js_term,
    judge,
    largest,
    log_of,
    nonzero,
    relative_entropy_term,
    softplus,
)
from ._passes import (
    Axes,
    class_max,
    class_sum,
    widen,
)


class _Pair(NamedTuple):
    """Per row: maxima, their exact difference, partition functions, λ; NaN verdict if undefined."""

    peak_p: Array
    peak_q: Array
    high: Array
    low: Array
    total_p: Array
    total_q: Array
    offset: Array
    verdict: Array


def _far(z: Array) -> float:
    """Stands in for infinity, and leaves room for the difference of two differences."""
    return largest(z) / 8


def _finite(z: Array) -> Array:
    return jnp.maximum(jnp.minimum(z, _far(z)), -_far(z))


def _weight(z: Array, m: Array) -> Array:
    return jnp.exp(_finite(z) - m)


def _exact_weight(z: Array, m: Array) -> Array:
    return exact_weight(_finite(z), m)


def _gap(zp: Array, zq: Array, high: Array, low: Array) -> Array:
    """δ = (zp − zq) − (mp − mq) to rounding, whatever the offsets of the logits.

    Finite even where p or q is 0; and since differences are exact, right in a row with +inf too.
    """
    difference, error = exact_difference(_finite(zp), _finite(zq))
    return (difference - high) + (error - low)


def _weight_difference(
    zp: Array, zq: Array, mp: Array, mq: Array, high: Array, low: Array
) -> Array:
    """wp − wq = wq·expm1(δ), for |δ| > 1 by plain subtraction, joined without a select."""
    gap = _gap(zp, zq, high, low)
    near = clip_to_unit(gap)
    growth = jnp.expm1(near)
    wq = _exact_weight(zq, mq)
    rest = _exact_weight(zp, mp) - wq * (1.0 + growth)
    return wq * growth + rest * nonzero(gap - near)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pair(axes: Axes, zp: Array, zq: Array) -> _Pair:
    far = _far(zp)
    mp = jnp.clip(class_max(widen, zp, axes=axes), -far, far)
    mq = jnp.clip(class_max(widen, zq, axes=axes), -far, far)
    high, low = exact_difference(mp, mq)
    total_p = class_sum(_weight, zp, mp, axes=axes)
    total_q = class_sum(_weight, zq, mq, axes=axes)
    ratio = class_sum(_weight_difference, zp, zq, mp, mq, high, low, axes=axes) / total_q
    offset = jnp.where(jnp.abs(ratio) < 0.25, jnp.log1p(ratio), jnp.log(total_p) - jnp.log(total_q))
    verdict = jnp.where((mp > -far) & (mq > -far), 1.0, jnp.nan).astype(mp.dtype)
    return _Pair(mp, mq, high, low, total_p, total_q, offset, verdict)


@_pair.defjvp
def _pair_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[_Pair, _Pair]:
    # With m held constant dT = Σ w dz, and dλ = E_p dzp − E_q dzq; the arithmetic that joins near
    # and far outcomes above has no derivative of its own where they meet.
    zp, zq = primals
    pair = _pair(axes, zp, zq)

    def weighted(z: Array, m: Array, t: Array) -> Array:
        return _weight(z, m) * t

    moved_p = class_sum(weighted, zp, pair.peak_p, tangents[0], axes=axes)
    moved_q = class_sum(weighted, zq, pair.peak_q, tangents[1], axes=axes)
    moved_offset = moved_p / pair.total_p - moved_q / pair.total_q
    still = jax.tree.map(jnp.zeros_like, pair)
    return pair, still._replace(total_p=moved_p, total_q=moved_q, offset=moved_offset)


def _outcome(
    zp: Array, zq: Array, pair: _Pair, weight: Callable[..., Array] = _weight
) -> tuple[Array, Array, Array]:
    """p, q and r = log(p/q) of each class."""
    p = weight(zp, pair.peak_p) / pair.total_p
    q = weight(zq, pair.peak_q) / pair.total_q
    return p, q, _gap(zp, zq, pair.high, pair.low) - pair.offset


def _exchanged(pair: _Pair) -> _Pair:
    """The same row with p and q in each other's place."""
    mp, mq, high, low, total_p, total_q, offset, verdict = pair
    return _Pair(mq, mp, -high, -low, total_q, total_p, -offset, verdict)


def _gap_unless_below(zp: Array, zq: Array, pair: _Pair) -> Array:
    """δ at the class where p is largest, and far below zero elsewhere."""
    below = pair.peak_p - _finite(zp)
    return _gap(zp, zq, pair.high, pair.low) - below * largest(zp)


def _centred(
    axes: Axes, f: Callable[..., Array], zp: Array, zq: Array, pair: _Pair
) -> tuple[Array, Array]:
    """δ* = δ at the peak of p, and the mean of f(δ, δ*, λ) under p, for an f with f(δ, δ, λ) = 0.

    For a confident row the mean of δ is nearly δ* itself: only their difference, summed without the
    peak, is exact. Among tied peaks the greatest δ is taken.
    """
    top = class_max(_gap_unless_below, zp, zq, pair, axes=axes)

    def share(zp: Array, zq: Array, pair: _Pair, top: Array) -> Array:
        change = f(_gap(zp, zq, pair.high, pair.low), top, pair.offset)
        return _weight(zp, pair.peak_p) * change

    return top, class_sum(share, zp, zq, pair, top, axes=axes) / pair.total_p


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def kl(axes: Axes, zp: Array, zq: Array) -> Array:
    """D(softmax zp ‖ softmax zq), keeping the class axes."""
    pair = _pair(axes, zp, zq)
    ratio = pair.total_p / pair.total_q
    rows = (pair.peak_p, pair.peak_q, ratio, pair.high, pair.low + pair.offset)
    value = class_sum(_kl_term, zp, zq, *rows, axes=axes) / pair.total_p
    # δ is near `far` where q = 0 < p: the divergence is infinite, however small p is.
    widest = class_max(_gap, zp, zq, pair.high, pair.low, axes=axes)
    return judge(jnp.where(widest > _far(zp) / 2, jnp.inf, value), pair.verdict)


def _kl_term(
    zp: Array, zq: Array, mp: Array, mq: Array, ratio: Array, high: Array, low: Array
) -> Array:
    """A class's share of D(p‖q), times Tp. Here λ comes with `low`, one operation less for XLA:CPU
    to fuse: what rounds away of it enters D only squared."""
    p, q = _weight(zp, mp), _weight(zq, mq) * ratio
    return relative_entropy_term(p, q, _gap(zp, zq, high, low))


@partial(kl.defjvp, symbolic_zeros=True)
def _kl_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂D/∂zp = p·(r − D) = p·(δ − E_p δ),  ∂D/∂zq = q − p = −max(p, q)·sign(r)·(1 − e^{−|r|}).
    # For the cancellation in both, and to keep no array of gradients.
    zp, zq = primals
    pair = _pair(axes, zp, zq)
    centre = _centred(axes, lambda gap, top, _: gap - top, zp, zq, pair)

    def kl_gradients(zp: Array, zq: Array, pair: _Pair, centre: Any) -> tuple[Array, Array]:
        p, q, r = _outcome(zp, zq, pair, _exact_weight)
        top, mean = centre
        slope_p = p * ((_gap(zp, zq, pair.high, pair.low) - top) - mean)
        # Selects rather than |r|, whose derivative at p = q would lose the Hessian there.
        above, below = jnp.where(r > 0, r, 0.0), jnp.where(r > 0, 0.0, r)
        return slope_p, jnp.where(r > 0, p * jnp.expm1(-above), -q * jnp.expm1(below))

    value = kl(axes, zp, zq)
    return value, directional(kl_gradients, (zp, zq, pair, centre), tangents, value, axes)


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
    centre_p = _centred(axes, _mixture_ratio_change, zp, zq, pair)
    centre_q = _centred(axes, _mixture_ratio_change, zq, zp, _exchanged(pair))

    def js_gradients(zp: Array, zq: Array, pair: _Pair, *centres: Any) -> tuple[Array, Array]:
        (top_p, mean_p), (top_q, mean_q) = centres
        gap = _gap(zp, zq, pair.high, pair.low)
        p, q, _ = _outcome(zp, zq, pair, _exact_weight)
        slope_p = p * (_mixture_ratio_change(gap, top_p, pair.offset) - mean_p)
        slope_q = q * (_mixture_ratio_change(-gap, top_q, -pair.offset) - mean_q)
        return slope_p / 2, slope_q / 2

    value = js(axes, zp, zq)
    residuals = (zp, zq, pair, centre_p, centre_q)
    return value, directional(js_gradients, residuals, tangents, value, axes)


def _mixture_ratio_change(gap: Array, top: Array, offset: Array) -> Array:
    """ρ(r) − ρ(r*) for ρ(r) = −log1p(e^{−r}), r = δ − λ and r* = δ* − λ: it keeps every digit.

    Near r* it is −log1p(σ(−r*)·expm1(r* − r)); further off the two terms differ by a factor.
    """
    change = jnp.clip(gap - top, -1.0, 1.0)
    near = jnp.exp(-softplus(top - offset)) * jnp.expm1(-change)
    far = softplus(offset - top) - softplus(offset - gap)
    return jnp.where(jnp.abs(change) < 1.0, -log_of(1.0 + near, near), far)
