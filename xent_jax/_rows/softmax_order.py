"""Rényi and Tsallis entropies of the softmax of logits: formulae and partials.

With the sums of `row_sums`, u = m − z, w = e^{−u}, T = 1 + s and p = w/T, the cost of an outcome is
that of the highest class, c₀ = log1p(s), and u more. With t = α − 1 and d the deformed logarithm,

    V = Σ p·d(u, t) ≥ 0,    A = Σ w^α,    Σ p·e^{−tu} = A/T = 1 − tV,

and the entropies are sums of terms that are not negative:

    Rényi     c₀ + g,  g = −log(A/T)/t;           Tsallis   d(c₀, t) + e^{−t·c₀}·V.

The highest class adds nothing to V: a confident row keeps its digits. A second read gives V and A,
where w^α comes from α·u: below α = 1 it may count where p is no longer a number. Above α = 2 depths
and V are counted in units of 1/t.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, vary_like
from .._math.deformed import deformed, deformed_share, undeformed
from .._math.elementary import exp, log, log1p
from .._math.exact import exact_difference, exact_product
from .class_sums import class_sums
from .order import finite_order, ratio_power, spread_term, unless
from .row_function import RowFunction
from .row_state import exact_weight, finite_logits, infinity
from .row_sums import Logits, row_sums

# Beyond it a depth counts as this one, of which orders have products and squares.
DEEPEST = 2.0**60


class _OneOfOrder(NamedTuple):
    """Per row: m, 1/T, the order, and the unit of cost."""

    peak: Array
    scale: Array
    order: Array
    unit: Array

    @property
    def t(self) -> Array:
        """α − 1 per unit of cost."""
        return (self.order - 1.0) * self.unit


class _ClassOfOne(NamedTuple):
    """Per class: u in units, p and w^α/T, 0 for an impossible one."""

    depth: Array
    p: Array
    escort: Array


def unit_of_cost(order: Array) -> Array:
    """1, and 1/t for t > 1: costs deformed by t are at most 1/t, and at α = ∞ no numbers."""
    return lax.stop_gradient(1.0 / jnp.maximum(order - 1.0, 1.0))


@jax.jit
def is_possible(z: Array, m: Array) -> Array:
    """Whether a class has a probability above 0, however small; true of a NaN."""
    return ~(m - finite_logits(z) >= infinity(m) / 2)


@jax.jit
def _classes_of_one(row: _OneOfOrder, z: Array) -> _ClassOfOne:
    u, error = exact_difference(row.peak, finite_logits(z))
    deep = u > DEEPEST
    u, error = jnp.where(deep, DEEPEST, u), jnp.where(deep, 0.0, error)
    product, rounding = exact_product(u, row.order)
    power = exp(-product) * (1.0 - (rounding + row.order * error))
    escort = jnp.where(is_possible(z, row.peak), power * row.scale, 0.0)
    depth = jnp.minimum(u / row.unit, DEEPEST)
    return _ClassOfOne(depth, exact_weight(z, row.peak) * row.scale, escort)


@jax.jit
def _cost_term(row: _OneOfOrder, z: Array) -> Array:
    """p·d(u, t)."""
    u, p, escort = _classes_of_one(row, z)
    return deformed_share(p, escort, u, row.t)


@jax.jit
def _escort_term(row: _OneOfOrder, z: Array) -> Array:
    """w^α/T."""
    return _classes_of_one(row, z).escort


def _sums_of_order(axes: Axes, z: Array, order: Array) -> tuple[_OneOfOrder, Array, Array, Array]:
    """The numbers of the row, c₀, V and A/T."""
    (sums,) = row_sums(axes, Logits(z))
    order = vary_like(finite_order(order)[0], sums.maximum)
    row = _OneOfOrder(sums.maximum, 1.0 / sums.total, order, unit_of_cost(order))
    mean, share = class_sums(axes, (_cost_term, _escort_term), row, z)
    return row, log1p(sums.rest), mean, share


class _RenyiResiduals(NamedTuple):
    row: _OneOfOrder
    share: Array  # A/T
    above: Array  # g in units of cost


def _softmax_renyi(axes: Axes, z: Array, order: Array) -> tuple[Array, _RenyiResiduals]:
    row, cost, mean, share = _sums_of_order(axes, z, order)
    t = row.t
    near = (share >= 0.5) | (t == 0.0)
    far = -log(jnp.where(near, 1.0, share)) / unless(near, t)
    g = jnp.where(near, undeformed(jnp.where(near, mean, 0.0), t), far)
    return cost + g * row.unit, _RenyiResiduals(row, share, g)


def _softmax_renyi_partials(
    axes: Axes, residuals: _RenyiResiduals, z: Array, order: Array
) -> tuple[Array, Array]:
    """∂/∂z = α·p·d(u − g, t), and ∂/∂α = −Σ e·φ(tx)/t², x = g − u.

    e = p^α/Σ p^α = p·e^{tx} is the escort distribution.
    """
    row, share, g = residuals
    u, p, escort = _classes_of_one(row, z)
    escort = escort / share
    by_z = row.order * row.unit * deformed_share(p, escort, u - g, row.t)
    return by_z, -jnp.square(row.unit) * spread_term(p, escort, g - u, row.t)


class _TsallisResiduals(NamedTuple):
    row: _OneOfOrder
    cost: Array  # c₀
    mean: Array  # V in units of cost
    power: Array  # e^{−t·c₀}


def _softmax_tsallis(axes: Axes, z: Array, order: Array) -> tuple[Array, _TsallisResiduals]:
    row, cost, mean, _ = _sums_of_order(axes, z, order)
    power = ratio_power(-cost, row.scale, row.order, cost <= 1.0)
    value = deformed(cost, row.order - 1.0) + power * (mean * row.unit)
    value = jnp.where(order == jnp.inf, 0.0 * value, value)
    return value, _TsallisResiduals(row, cost, mean, power)


def _softmax_tsallis_partials(
    axes: Axes, residuals: _TsallisResiduals, z: Array, order: Array
) -> tuple[Array, Array]:
    """∂/∂z = α·e^{−t·c₀}·p·(d(u, t) − V), and ∂/∂α = −Σ p^α·φ(−tc)/t², c = c₀ + u."""
    row, cost, mean, power = residuals
    u, p, escort = _classes_of_one(row, z)
    by_z = (row.order * row.unit) * power * (deformed_share(p, escort, u, row.t) - p * mean)
    spread = spread_term(p, escort * power, -(cost / row.unit + u), row.t)
    by_order = -jnp.square(row.unit) * spread
    limit = order == jnp.inf
    return jnp.where(limit, 0.0 * by_z, by_z), jnp.where(limit, 0.0 * by_order, by_order)


# (axes, row_mask, z, order), the order with one entry.
softmax_renyi_entropy_row = RowFunction(_softmax_renyi, _softmax_renyi_partials)
softmax_tsallis_entropy_row = RowFunction(_softmax_tsallis, _softmax_tsallis_partials)
