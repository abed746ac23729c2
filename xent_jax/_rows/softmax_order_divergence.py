"""The Rényi divergence of two softmaxes p ∝ e^{zp}, q ∝ e^{zq}: formula and partials.

δ, λ₀, r₀ = log(p/q) − L, X = Σ (q₀ − p) and L = log1p(X), the rounding of λ₀, are those of
`softmax_divergence`. With t = α − 1 and G the sum of the `excess_term`s of p and q₀, all ≥ 0,

    Σ p·e^{t·r₀} = 1 + t·y,  y = G − X,    D = log1p(t·y)/t + L = G − φ(−L) − φ(−t·R)/t

exactly, R = log1p(t·y)/t: near p = q the rounding L counts squared. Far from it the logarithm of
the sum is exact itself. Its terms are powers e^{S}, S = t·(δ − δ*) − u with u the depth of zp and
δ* at its maximum, since neither p nor e^{t·r₀} need be numbers.

Gradients need the escort distribution e ∝ e^{S} beside p, and beside q: a class that is likely
under both keeps the digits of log(e/p) = t·(δ − δ*) − log Σ p·e^{t·(δ − δ*)}, where it is no term
of the sum less 1. The same holds for q with t, p exchanged for α, q.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, class_max, vary_like
from .._math.deformed import deformed_share, undeformed
from .._math.elementary import exp, log
from .._math.exact import exact_difference, exact_product
from .._math.log_ratio import excess
from .._math.scalars import log1p_of, not_below_0
from .._math.series import phi, phi_over_square
from .class_sums import class_sums
from .order import excess_term, finite_order, spread_term, unless
from .row_function import RowFunction
from .row_state import finite_logits, infinity
from .softmax_divergence import (
    PairSums,
    log1p_of_rounding,
    pair_classes,
    pair_excess_term,
    pair_sums,
)
from .softmax_order import DEEPEST, is_possible, unit_of_cost


class _PairOfOrder(NamedTuple):
    """Per row: the sums of the pair, δ at either maximum, the order, and the greatest S.

    λ₀ stands in for a δ that is no number.
    """

    pair: PairSums
    gap_p: Array
    gap_q: Array
    order: Array
    highest: Array

    @property
    def t(self) -> Array:
        return self.order - 1.0

    @property
    def unit(self) -> Array:
        return unit_of_cost(self.order)


class _ClassOfPair(NamedTuple):
    """Per class."""

    p: Array
    q: Array
    depth_p: Array  # u of either side
    depth_q: Array
    r: Array  # r₀
    change_p: Array  # δ − δ* of either maximum
    change_q: Array
    below: Array  # S less the greatest one
    power: Array  # e to it, 0 where p is


def _pair_of_order(axes: Axes, zp: Array, zq: Array, order: Array) -> _PairOfOrder:
    pair = pair_sums(axes, zp, zq)
    gap_p, gap_q = (
        jnp.where(jnp.abs(gap) < DEEPEST, gap, pair.offset) for gap in (pair.top_p, pair.top_q)
    )
    order = vary_like(order, pair.offset)
    row = _PairOfOrder(pair, gap_p, gap_q, order, jnp.zeros_like(pair.offset))
    return row._replace(highest=lax.stop_gradient(class_max(_exponent(row, zp, zq)[0], axes)))


@jax.jit
def _exponent(row: _PairOfOrder, zp: Array, zq: Array) -> tuple[Array, Array]:
    """S as a rounded number and its rounding error; the lowest number where p = 0."""
    gap = pair_classes(row.pair, zp, zq).gap
    u, of_depth = exact_difference(row.pair.peak_p, finite_logits(zp))
    # With its rounding S is the same wherever it is computed, also where a product is fused.
    product, rounding = exact_product(row.t, _clipped(gap - row.gap_p))
    s, error = exact_difference(product, u)
    possible = is_possible(zp, row.pair.peak_p)
    error = (error + rounding) - of_depth
    return jnp.where(possible, s, -infinity(s)), jnp.where(possible, error, 0.0)


def _clipped(x: Array) -> Array:
    return jnp.clip(x, -DEEPEST, DEEPEST)


@jax.jit
def _classes_of_pair(row: _PairOfOrder, zp: Array, zq: Array) -> _ClassOfPair:
    pair = row.pair
    p, q, gap = pair_classes(pair, zp, zq)
    s, rounding = _exponent(row, zp, zq)
    below, error = exact_difference(s, row.highest)
    possible = is_possible(zp, pair.peak_p)
    # At the highest orders S has no digits left of u.
    error = jnp.clip(error + rounding, -0.5, 0.5)
    power = jnp.where(possible, exp(below) * (1.0 + error), 0.0)
    return _ClassOfPair(
        p,
        q,
        depth_p=pair.peak_p - finite_logits(zp),
        depth_q=pair.peak_q - finite_logits(zq),
        r=_clipped(gap - pair.offset),
        change_p=_clipped(gap - row.gap_p),
        change_q=_clipped(gap - row.gap_q),
        below=below,
        power=power,
    )


# e to it is a number, and exponents of rows where such a factor counts lie below.
_HIGHEST = 40.0


def _factor(exponent: Array, scale: Array) -> Array:
    return exp(jnp.clip(exponent, -_HIGHEST, _HIGHEST)) * scale


def _exponent_of_q(row: _PairOfOrder) -> Array:
    """Of q·e^{α(δ − δ*)} for δ* at the maximum of q, beside the power."""
    return row.highest + (row.t * row.gap_p - row.order * row.gap_q)


@jax.jit
def _power_of_pair_term(row: _PairOfOrder, zp: Array, zq: Array) -> Array:
    """e^{S − max S}."""
    return _classes_of_pair(row, zp, zq).power


@jax.jit
def _excess_term_of_order(row: _PairOfOrder, zp: Array, zq: Array) -> Array:
    """The `excess_term` of p and q₀, in a row near p = q; q where p = 0."""
    pair, x = row.pair, _classes_of_pair(row, zp, zq)
    exponent = row.highest + row.t * (row.gap_p - pair.offset)
    product = x.power * _factor(exponent, pair.scale_p)
    term = excess_term(x.p, x.q, x.r, row.order, product)
    return jnp.where(is_possible(zp, pair.peak_p), term, x.q)


@jax.jit
def _shift_term(row: _PairOfOrder, zp: Array, zq: Array) -> Array:
    """q₀ − p."""
    return pair_excess_term(row.pair, zp, zq)


@jax.jit
def _barred_term(row: _PairOfOrder, zp: Array, zq: Array) -> Array:
    """1 where q = 0 < p."""
    barred = is_possible(zp, row.pair.peak_p) & ~is_possible(zq, row.pair.peak_q)
    return jnp.where(barred, jnp.ones_like(row.highest), 0.0)


@jax.jit
def _tilt_term_p(row: _PairOfOrder, zp: Array, zq: Array) -> Array:
    """p·(e^{t(δ − δ*)} − 1)/t per unit of cost, in a row where the sum is near 1."""
    x = _classes_of_pair(row, zp, zq)
    tilted = x.power * _factor(row.highest, row.pair.scale_p)
    return -deformed_share(x.p, tilted, -x.change_p / row.unit, row.t * row.unit)


@jax.jit
def _tilt_term_q(row: _PairOfOrder, zp: Array, zq: Array) -> Array:
    """q·(e^{α(δ − δ*)} − 1), −q where p = 0."""
    x = _classes_of_pair(row, zp, zq)
    tilted = x.power * _factor(_exponent_of_q(row), row.pair.scale_q)
    tilt = -row.order * deformed_share(x.q, tilted, -x.change_q, row.order)
    return jnp.where(is_possible(zp, row.pair.peak_p), tilt, -x.q)


class _DivergenceResiduals(NamedTuple):
    row: _PairOfOrder
    total: Array  # Σ e^{S − max S}
    tilt_p: Array  # log(Σ p·e^{t(δ − δ*)})/t in units of cost, NaN where it is far from 0
    tilt_q: Array  # log Σ q·e^{α(δ − δ*)}, likewise


def _value_and_sums(
    axes: Axes, terms: tuple[Any, ...], zp: Array, zq: Array, order: Array
) -> tuple[Array, _PairOfOrder, Array, tuple[Array, ...]]:
    """D, the numbers of the row, Σ e^{S − max S}, and the sums of more terms."""
    order, t = finite_order(order)
    row = _pair_of_order(axes, zp, zq, order)
    terms = (_power_of_pair_term, _excess_term_of_order, _shift_term, _barred_term, *terms)
    total, g, x, barred, *sums = class_sums(axes, terms, row, zp, zq)
    shift, rate = log1p_of_rounding(x), row.gap_p - row.pair.offset

    tilt = row.highest + log(total * row.pair.scale_p)
    near = (jnp.abs(t * rate + tilt) <= math.log(2.0)) | (t == 0.0)
    inner = -undeformed(jnp.where(near, x - g, 0.0), t)
    bend = t * jnp.square(inner) * phi_over_square(-t * inner)
    far = rate + jnp.where(near, 0.0, tilt) / unless(near, t) + shift
    value = jnp.where(near, not_below_0(g - phi(-shift) - bend), far)
    infinite = ((barred > 0.0) & (t >= 0.0)) | (value >= DEEPEST / 4)
    return jnp.where(infinite, jnp.inf, value), row, total, tuple(sums)


def _softmax_renyi_divergence(
    axes: Axes, zp: Array, zq: Array, order: Array
) -> tuple[Array, _DivergenceResiduals]:
    value, row, total, (y, z) = _value_and_sums(axes, (_tilt_term_p, _tilt_term_q), zp, zq, order)
    near_p, near_q = (
        jnp.abs(exponent + log(total * scale)) <= math.log(2.0)
        for exponent, scale in (
            (row.highest, row.pair.scale_p),
            (_exponent_of_q(row), row.pair.scale_q),
        )
    )
    tilt_p = -undeformed(jnp.where(near_p, -y, 0.0), row.t * row.unit)
    tilt_q = log1p_of(jnp.where(near_q, z, 0.0))
    tilt_p, tilt_q = jnp.where(near_p, tilt_p, jnp.nan), jnp.where(near_q, tilt_q, jnp.nan)
    # The escort distribution of a row without a possible class on either side is not defined.
    total = jnp.where(jnp.isnan(row.pair.offset), jnp.nan, total)
    return value, _DivergenceResiduals(row, total, tilt_p, tilt_q)


def _softmax_renyi_divergence_value(axes: Axes, zp: Array, zq: Array, order: Array) -> Array:
    return _value_and_sums(axes, (), zp, zq, order)[0]


def _softmax_renyi_divergence_partials(
    axes: Axes, residuals: _DivergenceResiduals, zp: Array, zq: Array, order: Array
) -> tuple[Array, ...]:
    """∂/∂zp = (α/t)(e − p), ∂/∂zq = q − e, and ∂/∂α = Σ e·φ(tx)/t², tx = log(e/p)."""
    row, total, tilt_p, tilt_q = residuals
    x, t = _classes_of_pair(row, zp, zq), row.t * row.unit
    escort, change = x.power / total, x.change_p / row.unit

    near = (jnp.abs(t * change) <= 1.0) & ~jnp.isnan(tilt_p)
    far = (x.below + x.depth_p) - log(total * row.pair.scale_p)
    log_tilt = jnp.where(near, change - jnp.where(near, tilt_p, 0.0), far / unless(near, t))
    by_p = -(row.order * row.unit) * deformed_share(x.p, escort, -log_tilt, t)
    by_order = jnp.square(row.unit) * spread_term(x.p, escort, log_tilt, t)

    near = (jnp.abs(row.order * x.change_q) <= 1.0) & ~jnp.isnan(tilt_q)
    far = (x.below + x.depth_q) - log(total * row.pair.scale_q)
    log_tilt = jnp.where(near, row.order * x.change_q - jnp.where(near, tilt_q, 0.0), far)
    by_q = excess(escort, x.q, log_tilt)
    return by_p, jnp.where(is_possible(zp, row.pair.peak_p), by_q, x.q), by_order


# (axes, row_mask, zp, zq, order), the order with one entry.
softmax_renyi_divergence_row = RowFunction(
    _softmax_renyi_divergence, _softmax_renyi_divergence_partials, _softmax_renyi_divergence_value
)
