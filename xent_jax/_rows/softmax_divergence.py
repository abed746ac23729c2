"""D(p‖q) and Jensen–Shannon of two softmaxes p ∝ e^{zp}, q ∝ e^{zq}, in two reads of both.

The first read gives the sums of both rows (`row_sums`). With δ = (zp − mp) − (zq − mq), exact
differences, and λ = log(Tp/Tq) the log ratio of each class is r = log(p/q) = δ − λ. All that the
first read knows is λ₀ = log1p(sp) − log1p(sq), off by a rounding ε: for close distributions r is no
larger than that. The second read takes r₀ = δ − λ₀, q₀ = p·e^{−r₀} = q·e^{−ε}, and sums

    Φ = Σ p·φ(r₀),                      φ(x) = e^{−x} − 1 + x ≥ 0,
    X = Σ (q₀ − p) = e^{−ε} − 1,        so that −ε = log1p(X) =: L and r = r₀ + L,

each with its digits. Then D = Σ p r = Φ − X + L = Φ − φ(−L) exactly, in which ε counts squared: the
value alone has its X as Φ − Σ p r₀. Gradients count r itself.
Jensen–Shannon has a slope of its own size by log q₀, and curvature ¼ near p = q. With Σ m r₀ = −X
up to Σ m r₀³/12 it is J(p, q) = J(p, q₀) − X²/8: what is left out is of the relative size of ε.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes, class_sum
from .._math.dtypes import compute_dtype, smallest
from .._math.elementary import log1p
from .._math.exact import exact_difference
from .._math.log_ratio import excess, js_term, relative_entropy_term
from .._math.scalars import log_of, not_below_0, outcomes
from .._math.series import phi
from .apart import apart
from .class_sums import class_sums
from .row_function import RowFunction
from .row_state import RowSums, exact_weight, finite_logits, infinity
from .row_sums import Asked, Logits, row_sums


class PairSums(NamedTuple):
    """Per row: maxima, 1/T, λ₀, and δ at the maximum of either side."""

    peak_p: Array
    peak_q: Array
    scale_p: Array
    scale_q: Array
    offset: Array
    top_p: Any  # None where the value alone is asked for
    top_q: Any


class PairClass(NamedTuple):
    """Per class: p, q and δ."""

    p: Array
    q: Array
    gap: Array


def _pair_alone(axes: Axes, zp: Array, zq: Array) -> PairSums:
    """What the value needs: the rounding of λ₀ counts squared, T is enough."""
    of_p, of_q = row_sums(axes, Logits(zp), Logits(zq), asked=Asked(exact=False))
    offset = log1p(of_p.rest) - log1p(of_q.rest)
    return PairSums(
        of_p.maximum, of_q.maximum, 1.0 / of_p.total, 1.0 / of_q.total, offset, None, None
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def pair_sums(axes: Axes, zp: Array, zq: Array) -> PairSums:
    of_p, of_q = row_sums(axes, Logits(zp, beside=zq), Logits(zq, beside=zp))
    offset = log1p(of_p.rest) - log1p(of_q.rest)
    mp, mq = of_p.maximum, of_q.maximum
    top_p, top_q = gap(mp, _beside(of_p), mp, mq), gap(_beside(of_q), mq, mp, mq)
    return PairSums(mp, mq, 1.0 / of_p.total, 1.0 / of_q.total, offset, top_p, top_q)


@pair_sums.defjvp
def _pair_sums_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[PairSums, PairSums]:
    # With m held constant dlog T = E_p dz, and dλ = E_p dzp − E_q dzq; the tops are mere origins.
    pair = pair_sums(axes, *primals)
    here = pair_classes(pair, *primals)
    moving_p, moving_q = (
        class_sum(x * t.astype(x.dtype), axes)
        for x, t in zip((here.p, here.q), tangents, strict=True)
    )
    still = jax.tree.map(jnp.zeros_like, pair)
    return pair, still._replace(
        scale_p=-pair.scale_p * moving_p,
        scale_q=-pair.scale_q * moving_q,
        offset=moving_p - moving_q,
    )


def _beside(sums: RowSums) -> Array:
    assert sums.beside is not None
    return sums.beside


def gap(zp: Array, zq: Array, mp: Array, mq: Array) -> Array:
    """δ = (zp − (mp − mq)) − zq, to rounding whatever the offsets of the logits.

    Finite even where p or q is 0, and since differences are exact, right in a row with +inf too.
    A row's numbers come first: of zp − zq alone XLA:GPU would make an array that kernels share.
    """
    of_peaks, error_of_peaks = exact_difference(mp, mq)
    shifted, error = exact_difference(zp, of_peaks)
    return (shifted - zq) + (error - error_of_peaks)


@jax.jit
def pair_classes(pair: PairSums, zp: Array, zq: Array) -> PairClass:
    """p, q and δ of each class; the weights are those of the first read, which a CPU keeps."""
    p = exact_weight(zp, pair.peak_p) * pair.scale_p
    q = exact_weight(zq, pair.peak_q) * pair.scale_q
    return PairClass(p, q, gap(finite_logits(zp), finite_logits(zq), pair.peak_p, pair.peak_q))


@jax.jit
def _phi_term(pair: PairSums, zp: Array, zq: Array) -> Array:
    """p·φ(r₀), +∞ where q = 0 < p, however small p is."""
    p, q, gap = pair_classes(pair, zp, zq)
    barred = (gap > infinity(gap) / 2) & (finite_logits(zp) > -infinity(gap))
    return jnp.where(barred, jnp.inf, relative_entropy_term(p, q, gap - pair.offset))


@jax.jit
def pair_excess_term(pair: PairSums, zp: Array, zq: Array) -> Array:
    """q₀ − p."""
    p, q, gap = pair_classes(pair, zp, zq)
    return excess(p, q, gap - pair.offset)


@jax.jit
def _log_ratio_term(pair: PairSums, zp: Array, zq: Array) -> Array:
    """p·r₀."""
    p, _, gap = pair_classes(pair, zp, zq)
    return p * (gap - pair.offset)


@jax.jit
def _gap_term(pair: PairSums, zp: Array, zq: Array) -> Array:
    """p·(δ − δ*), δ* at the maximum of p: for a confident row the mean of δ is nearly δ* itself."""
    p, _, gap = pair_classes(pair, zp, zq)
    return p * (gap - pair.top_p)


class _KLResiduals(NamedTuple):
    pair: PairSums
    shift: Array  # L
    mean_gap: Array  # E_p δ − δ*


def _softmax_kl(axes: Axes, zp: Array, zq: Array) -> tuple[Array, _KLResiduals]:
    pair = pair_sums(axes, zp, zq)
    terms = (_phi_term, pair_excess_term, _gap_term)
    total, excess_sum, mean_gap = class_sums(axes, terms, pair, zp, zq)
    shift = log1p_of_rounding(excess_sum)
    return _kl_of_sums(total, shift), _KLResiduals(pair, shift, mean_gap)


def _softmax_kl_value(axes: Axes, zp: Array, zq: Array) -> Array:
    pair = _pair_alone(axes, zp, zq)
    total, mean = class_sums(axes, (_phi_term, _log_ratio_term), pair, zp, zq)
    # Beside Φ ≥ 1 it is nothing, and X = Φ − E_p r₀ has no digits there.
    shift = log1p_of_rounding(jnp.where(total < 1.0, total - mean, 0.0))
    return _kl_of_sums(total, shift)


def _kl_of_sums(total: Array, shift: Array) -> Array:
    # Below the square of what λ₀ was rounded by, Φ and φ(−L) agree but for their own rounding.
    return not_below_0(total - phi(-shift))


def log1p_of_rounding(x: Array) -> Array:
    """log1p(X) for an X that is a rounding; its derivative, with that of λ₀, is 0."""
    return jax.lax.stop_gradient(log1p(x))


def _softmax_kl_partials(
    axes: Axes, residuals: _KLResiduals, zp: Array, zq: Array
) -> tuple[Array, Array]:
    """∂D/∂zp = p·(δ − E_p δ),  ∂D/∂zq = q − p."""
    pair, shift, mean_gap = residuals
    p, q, gap = pair_classes(pair, zp, zq)
    by_p = p * ((gap - pair.top_p) - mean_gap)
    if compute_dtype(zp) != zp.dtype:
        # Shared by both, p would be written: where by_q goes, but for that it may be too wide.
        pair = apart(pair, ("cpu",))
        p, q, gap = pair_classes(pair, zp, zq)
    return by_p, excess(p, q, (gap - pair.offset) + shift)


# (axes, row_mask, zp, zq) → D(softmax zp ‖ softmax zq).
softmax_kl_row = RowFunction(_softmax_kl, _softmax_kl_partials, _softmax_kl_value, is_shared=True)


@jax.jit
def _js_term(pair: PairSums, zp: Array, zq: Array) -> Array:
    p, q, gap = pair_classes(pair, zp, zq)
    return js_term(p, q, gap - pair.offset)


@jax.jit
def _mixture_term_p(pair: PairSums, zp: Array, zq: Array) -> Array:
    """p·(ρ − ρ*) with ρ = log(p/m), ρ* at the maximum of p."""
    p, q, gap = pair_classes(pair, zp, zq)
    return p * _mixture_ratio_change(p, q, gap, pair.top_p, pair.offset)


@jax.jit
def _mixture_term_q(pair: PairSums, zp: Array, zq: Array) -> Array:
    """q·(ρ − ρ*) with ρ = log(q/m), ρ* at the maximum of q."""
    p, q, gap = pair_classes(pair, zp, zq)
    return q * _mixture_ratio_change(q, p, -gap, -pair.top_q, -pair.offset)


class _JSResiduals(NamedTuple):
    pair: PairSums
    mean_p: Array  # E_p (ρ − ρ*) of either side
    mean_q: Array


def _softmax_js(axes: Axes, zp: Array, zq: Array) -> tuple[Array, _JSResiduals]:
    pair = pair_sums(axes, zp, zq)
    terms = (_js_term, pair_excess_term, _mixture_term_p, _mixture_term_q)
    total, excess_sum, mean_p, mean_q = class_sums(axes, terms, pair, zp, zq)
    return _js_of_sums(total, excess_sum), _JSResiduals(pair, mean_p, mean_q)


def _softmax_js_value(axes: Axes, zp: Array, zq: Array) -> Array:
    pair = _pair_alone(axes, zp, zq)
    return _js_of_sums(*class_sums(axes, (_js_term, pair_excess_term), pair, zp, zq))


def _js_of_sums(total: Array, excess_sum: Array) -> Array:
    return not_below_0(total - jnp.square(excess_sum) / 8)


def _softmax_js_partials(
    axes: Axes, residuals: _JSResiduals, zp: Array, zq: Array
) -> tuple[Array, Array]:
    """∂JS/∂zp = ½ p·(ρ − E_p ρ) with ρ = log(p/m); the same for q with the sides exchanged."""
    pair, mean_p, mean_q = residuals
    p, q, gap = pair_classes(pair, zp, zq)
    change_p = _mixture_ratio_change(p, q, gap, pair.top_p, pair.offset)
    by_p = p * (change_p - mean_p) / 2
    # Shared by both, p or q would be written.
    pair = apart(pair, ("cpu",))
    p, q, gap = pair_classes(pair, zp, zq)
    change_q = _mixture_ratio_change(q, p, -gap, -pair.top_q, -pair.offset)
    return by_p, q * (change_q - mean_q) / 2


# (axes, row_mask, zp, zq) → the Jensen–Shannon divergence of two softmaxes.
softmax_js_row = RowFunction(_softmax_js, _softmax_js_partials, _softmax_js_value, is_shared=True)


def _mixture_ratio_change(p: Array, q: Array, gap: Array, top: Array, offset: Array) -> Array:
    """ρ(r) − ρ(r*) for ρ(r) = −log1p(e^{−r}), r = δ − λ and r* = δ* − λ: it keeps every digit.

    It is −log(σ(r*) + σ(r*)·q/p), of which 1 is σ(−r*)·expm1(r* − r) less. At a maximum of p σ(r*)
    is not small.
    """
    change = gap - top
    share, rest = outcomes(top - offset)
    grown = share * _odds(p, q, gap - offset)
    close = jnp.abs(change) <= 1.0
    inside = jnp.where(close, change, 0.0)
    less_one = jnp.where(close, rest * (phi(inside) - inside), grown - rest)
    return -log_of(share + grown, less_one)


@jax.custom_jvp
def _odds(p: Array, q: Array, r: Array) -> Array:
    """q/p = e^{−r}; 0 for a p of no weight, so that it stays finite."""
    known = p >= smallest(p)
    return jnp.where(known, q / jnp.where(known, p, 1.0), 0.0)


@_odds.defjvp
def _odds_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # By r: p squared may be no normal number.
    odds = _odds(*primals)
    return odds, -odds * tangents[2]
