"""D(p‖q) and JS of two softmaxes p ∝ e^{zp}, q ∝ e^{zq}.

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

from ._blocks import Axes
from ._numerics import (
    class_max,
    class_sum,
    exact_difference,
    exact_weight,
    js_term,
    largest,
    log_of,
    near_expm1,
    relative_entropy_term,
    softplus,
)
from ._rows import RowFunction


class _Pair(NamedTuple):
    """Per row: maxima, their exact difference, partition functions, λ."""

    peak_p: Array
    peak_q: Array
    high: Array
    low: Array
    total_p: Array
    total_q: Array
    offset: Array


def _far(z: Array) -> float:
    """Stands in for infinity, and leaves room for the difference of two differences."""
    return largest(z) / 8


def _finite(z: Array) -> Array:
    return jnp.clip(z, -_far(z), _far(z))


def _weight(z: Array, m: Array) -> Array:
    return jnp.exp(_finite(z) - m)


def _exact_weight(z: Array, m: Array) -> Array:
    return exact_weight(_finite(z), m)


def _gap(zp: Array, zq: Array, pair: _Pair) -> Array:
    """δ = (zp − zq) − (mp − mq) to rounding, whatever the offsets of the logits.

    Finite even where p or q is 0; and since differences are exact, right in a row with +inf too.
    """
    difference, error = exact_difference(_finite(zp), _finite(zq))
    return (difference - pair.high) + (error - pair.low)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pair(axes: Axes, zp: Array, zq: Array) -> _Pair:
    far = _far(zp)
    mp, mq = (jnp.clip(class_max(z, axes), -far, far) for z in (zp, zq))
    unknown = jnp.zeros_like(mp)
    pair = _Pair(mp, mq, *exact_difference(mp, mq), unknown, unknown, unknown)
    wp, wq = _weight(zp, mp), _weight(zq, mq)
    total_p, total_q = class_sum(wp, axes), class_sum(wq, axes)
    # wp − wq: by plain subtraction only where the two are far apart.
    gap = _gap(zp, zq, pair)
    close = jnp.abs(gap) <= 1.0
    wp, wq = _exact_weight(zp, mp), _exact_weight(zq, mq)
    change = jnp.where(close, wq * near_expm1(jnp.where(close, gap, 0.0)), wp - wq)
    ratio = class_sum(change, axes) / total_q
    offset = jnp.where(jnp.abs(ratio) < 0.25, jnp.log1p(ratio), jnp.log(total_p) - jnp.log(total_q))
    return pair._replace(total_p=total_p, total_q=total_q, offset=offset)


@_pair.defjvp
def _pair_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[_Pair, _Pair]:
    # With m held constant dT = Σ w dz, and dλ = E_p dzp − E_q dzq; what joins near and far outcomes
    # above has no derivative of its own where they meet.
    zp, zq = primals
    pair = _pair(axes, zp, zq)
    moved_p = class_sum(_weight(zp, pair.peak_p) * tangents[0], axes)
    moved_q = class_sum(_weight(zq, pair.peak_q) * tangents[1], axes)
    moved_offset = moved_p / pair.total_p - moved_q / pair.total_q
    still = jax.tree.map(jnp.zeros_like, pair)
    return pair, still._replace(total_p=moved_p, total_q=moved_q, offset=moved_offset)


def _outcome(
    zp: Array, zq: Array, pair: _Pair, weight: Callable[..., Array] = _weight
) -> tuple[Array, Array, Array]:
    """p, q and r = log(p/q) of each class."""
    p = weight(zp, pair.peak_p) / pair.total_p
    q = weight(zq, pair.peak_q) / pair.total_q
    return p, q, _gap(zp, zq, pair) - pair.offset


def _exchanged(pair: _Pair) -> _Pair:
    """The same row with p and q in each other's place."""
    mp, mq, high, low, total_p, total_q, offset = pair
    return _Pair(mq, mp, -high, -low, total_q, total_p, -offset)


def _defined(value: Array, pair: _Pair) -> Array:
    """The value, NaN for the rows in which one side has no possible class."""
    far = _far(value)
    return jnp.where((pair.peak_p > -far) & (pair.peak_q > -far), value, jnp.nan)


def _centred(
    axes: Axes, f: Callable[..., Array], zp: Array, zq: Array, pair: _Pair
) -> tuple[Array, Array]:
    """δ* = δ at the peak of p, and the mean of f(δ, δ*, λ) under p, for an f with f(δ, δ, λ) = 0.

    For a confident row the mean of δ is nearly δ* itself: only their difference, summed without the
    peak, is exact. Among tied peaks the greatest δ is taken.
    """
    gap = _gap(zp, zq, pair)
    at_peak = _finite(zp) >= pair.peak_p
    top = class_max(jnp.where(at_peak, gap, -largest(gap)), axes)
    change = f(gap, top, pair.offset)
    return top, class_sum(_weight(zp, pair.peak_p) * change, axes) / pair.total_p


def _kl(axes: Axes, zp: Array, zq: Array) -> tuple[Array, Any]:
    pair = _pair(axes, zp, zq)
    p, q, r = _outcome(zp, zq, pair)
    # δ is near `far` where q = 0 < p: the divergence is infinite, however small p is.
    impossible = _gap(zp, zq, pair) > _far(zp) / 2
    value = class_sum(jnp.where(impossible, jnp.inf, relative_entropy_term(p, q, r)), axes)
    centre = _centred(axes, lambda gap, top, _: gap - top, zp, zq, pair)
    return _defined(value, pair), (pair, centre)


def _kl_slopes(axes: Axes, numbers: Any, zp: Array, zq: Array) -> tuple[Array, Array]:
    """∂D/∂zp = p·(r − D) = p·(δ − E_p δ),  ∂D/∂zq = q − p = −max(p, q)·sign(r)·(1 − e^{−|r|})."""
    pair, (top, mean) = numbers
    p, q, r = _outcome(zp, zq, pair, _exact_weight)
    slope_p = p * ((_gap(zp, zq, pair) - top) - mean)
    # Selects rather than |r|, whose derivative at p = q would lose the Hessian there.
    above, below = jnp.where(r > 0, r, 0.0), jnp.where(r > 0, 0.0, r)
    return slope_p, jnp.where(r > 0, p * jnp.expm1(-above), -q * jnp.expm1(below))


# (axes, verdict, zp, zq) → D(softmax zp ‖ softmax zq), keeping the class axes.
kl = RowFunction(_kl, _kl_slopes)


def _js(axes: Axes, zp: Array, zq: Array) -> tuple[Array, Any]:
    pair = _pair(axes, zp, zq)
    value = class_sum(js_term(*_outcome(zp, zq, pair)), axes)
    centre_p = _centred(axes, _mixture_ratio_change, zp, zq, pair)
    centre_q = _centred(axes, _mixture_ratio_change, zq, zp, _exchanged(pair))
    return _defined(value, pair), (pair, centre_p, centre_q)


def _js_slopes(axes: Axes, numbers: Any, zp: Array, zq: Array) -> tuple[Array, Array]:
    """∂JS/∂zp = ½ p·(ρ − E_p ρ) with ρ = log(p/m); the same for q with the sides exchanged."""
    pair, (top_p, mean_p), (top_q, mean_q) = numbers
    gap = _gap(zp, zq, pair)
    p, q, _ = _outcome(zp, zq, pair, _exact_weight)
    slope_p = p * (_mixture_ratio_change(gap, top_p, pair.offset) - mean_p)
    slope_q = q * (_mixture_ratio_change(-gap, top_q, -pair.offset) - mean_q)
    return slope_p / 2, slope_q / 2


# (axes, verdict, zp, zq) → the Jensen–Shannon divergence of two softmaxes, keeping the class axes.
js = RowFunction(_js, _js_slopes)


def _mixture_ratio_change(gap: Array, top: Array, offset: Array) -> Array:
    """ρ(r) − ρ(r*) for ρ(r) = −log1p(e^{−r}), r = δ − λ and r* = δ* − λ: it keeps every digit.

    Near r* it is −log1p(σ(−r*)·expm1(r* − r)); further off the two terms differ by a factor.
    """
    change = jnp.clip(gap - top, -1.0, 1.0)
    near = jnp.exp(-softplus(top - offset)) * jnp.expm1(-change)
    far = softplus(offset - top) - softplus(offset - gap)
    return jnp.where(jnp.abs(change) < 1.0, -log_of(1.0 + near, near), far)
