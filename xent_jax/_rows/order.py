"""Entropies and divergences of order α: formulae and partials of the Rényi and Tsallis rows.

With t = α − 1 the cost c = −log p of an outcome is deformed to d(c, t) = (1 − e^{−tc})/t, which is
c at α = 1: nothing is divided by t that is not of order t. The derivative by α is a sum over the
outcomes like the others; its terms stand where a slope of the shape of p would.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, class_max, class_sum
from .._math.deformed import deformed, deformed_share, undeformed
from .._math.dtypes import largest, smallest
from .._math.elementary import exp, expm1, log
from .._math.log_ratio import log_ratio, relative_entropy_term
from .._math.scalars import not_below_0
from .._math.series import phi_over_square
from .probability import defined, lift
from .row_function import RowFunction

Residuals = tuple[Array, ...]


def finite_order(order: Array) -> tuple[Array, Array]:
    """α and t = α − 1; +∞ becomes an order at which the largest outcome alone counts."""
    order = jnp.minimum(order, jnp.finfo(order.dtype).eps ** -2)
    return order, order - 1.0


@jax.custom_jvp
def ratio_power(r: Array, ratio: Array, order: Array, close: Array) -> Array:
    """ratio^{α − 1}: from the logarithm where `close`, which then has digits that the ratio lacks.

    Elsewhere the exponential of a rounded product would be off by that product times an ulp. Below
    α = ½, where α − 1 is rounded, it is ratio^α/ratio.
    """
    low = order < 0.5
    near = exp((order - 1.0) * jnp.where(close, r, 0.0))
    far = jnp.power(ratio, jnp.where(low, order, order - 1.0))
    return jnp.where(close, near, jnp.where(low, far / ratio, far))


@ratio_power.defjvp
def _ratio_power_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the smallest ratios, whose square is 0.
    r, _, order, _ = primals
    power = ratio_power(*primals)
    limit = largest(power) / 256.0
    by_order = jnp.clip(power, 0.0, limit) * r
    return power, (order - 1.0) * power * tangents[0] + by_order * tangents[2]


def unless(close: Array, t: Array) -> Array:
    """t, and 1 where it is not divided by."""
    return jnp.where(close, 1.0, t)


def _deformed_log(r: Array, power: Array, t: Array, close: Array) -> Array:
    """(e^{tr} − 1)/t: from r where `close`, which must hold at t = 0, else from e^{tr}."""
    near = -deformed(jnp.where(close, -r, 0.0), t)
    return jnp.where(close, near, (power - 1.0) / unless(close, t))


def spread_term(p: Array, escort: Array, x: Array, t: Array) -> Array:
    """e·φ(tx)/t² ≥ 0 for e = p·e^{tx}: an outcome's share of the derivative by the order."""
    close = jnp.abs(t * x) <= 1.0
    near = escort * jnp.square(x) * phi_over_square(jnp.where(close, t * x, 0.0))
    far = relative_entropy_term(escort, p, jnp.where(close, 2.0, t * x))
    return jnp.where(close, near, far / jnp.square(unless(close, t)))


def _tsallis_entropy(axes: Axes, p: Array, order: Array) -> tuple[Array, Any]:
    """Σ p·d(−log p, t)."""
    limit = order == jnp.inf
    order, t = finite_order(order)
    log_p = log(lift(p))
    power = ratio_power(log_p, lift(p), order, jnp.abs(log_p) <= 1.0)
    costs = -_deformed_log(log_p, power, t, jnp.abs(t * log_p) <= 1.0)
    return class_sum(defined(p * jnp.where(limit, 0.0, costs), p), axes), ()


def _tsallis_entropy_partials(axes: Axes, _: Any, p: Array, order: Array) -> tuple[Array, Array]:
    # For the edge p = 0, and by the order for α = 1: α·d − 1 = d − p^t, and p·∂d/∂t.
    limit = order == jnp.inf
    order, t = finite_order(order)
    log_p = log(lift(p))
    power, x = ratio_power(log_p, lift(p), order, jnp.abs(log_p) <= 1.0), t * log_p
    close = jnp.abs(x) <= 1.0
    costs = -_deformed_log(log_p, power, t, close)
    by_p = jnp.where(order < 0.5, order * costs - 1.0, costs - power)
    near = p * power * jnp.square(log_p) * phi_over_square(jnp.where(close, x, 0.0))
    far = (p - (1.0 - x) * (p * power)) / jnp.square(unless(close, t))
    by_order = -jnp.where(close, near, far)
    return defined(jnp.where(limit, 0.0, by_p), p), defined(jnp.where(limit, 0.0, by_order), p)


def _depths(axes: Axes, p: Array, order: Array) -> tuple[Array, Array, Array]:
    """m = max p, u = log(m/p) ≥ 0 and e^{−tu}; those of the lifted p where p = 0.

    Costs are measured from the least one, −log m: a nearly flat row keeps the digits of u.
    """
    m = lift(class_max(p, axes))
    ratio = jnp.maximum(lift(p) / m, smallest(m))
    r = log_ratio(lift(p), m)
    return m, -r, ratio_power(r, ratio, order, r >= -1.0)


def _renyi_entropy(axes: Axes, p: Array, order: Array) -> tuple[Array, Residuals]:
    """W·h, h = −log(Σ p^α/W)/t = −log m + g: two residuals ≥ 0, g = −log(Σ p·e^{−tu}/W)/t.

    Near, that sum is 1 − t·Σ p·d(u, t)/W; far, it is less than ½ and its logarithm exact.
    """
    order, t = finite_order(order)
    m, u, power = _depths(axes, p, order)
    mass = class_sum(defined(p, p), axes)
    empty = mass == 0.0
    whole = jnp.where(empty, 1.0, mass)
    share = jnp.where(empty, 1.0, class_sum(p * power, axes) / whole)
    near = (share >= 0.5) | (t == 0.0)
    costs = -_deformed_log(-u, power, t, jnp.abs(t * u) <= 1.0)
    small = jnp.where(near, class_sum(p * costs, axes) / whole, 0.0)
    far = -log(jnp.where(near, 1.0, share)) / unless(near, t)
    g = jnp.where(near, undeformed(small, t), far)
    return mass * (g - log(m)), (g, share)


def _renyi_entropy_partials(
    axes: Axes, residuals: Residuals, p: Array, order: Array
) -> tuple[Array, Array]:
    """∂/∂p = h − 1 + α·d(c − h, t), and ∂/∂α = −W·Σ e·φ(tx)/t², x = h − c = g − u.

    e = p^α/Σ p^α = (p/W)·e^{tx} is the escort distribution.
    """
    order, t = finite_order(order)
    g, share = residuals
    m, u, power = _depths(axes, p, order)
    weight = power / share
    close = jnp.abs(t) * jnp.maximum(u, g) <= 1.0
    by_p = g - log(m) - 1.0 - order * _deformed_log(g - u, weight, t, close)
    return by_p, -spread_term(p, p * weight, g - u, t)


def excess_term(p: Array, q: Array, r: Array, order: Array, product: Array | None = None) -> Array:
    """(p^α q^{1−α} − αp + (α − 1)q)/(α − 1) ≥ 0 for p, q > 0: one outcome's share of Σ p·φ(r) at
    α = 1, else of (Σ p^α q^{1−α} − 1)/(α − 1).

    With p and q exchanged below α = ½, where it is of order α. The product p^α q^{1−α} is given
    where its powers may be no numbers.
    """
    low = order < 0.5
    a, b = jnp.where(low, q, p), jnp.where(low, p, q)
    r, t = jnp.where(low, -r, r), jnp.where(low, -order, order - 1.0)
    close = (jnp.abs(r) <= 1.0) & (jnp.abs(t * r) <= 1.0)
    inside = jnp.where(close, r, 0.0)
    near = a * jnp.square(inside) * (t * phi_over_square(-t * inside) + phi_over_square(inside))
    cost = jnp.where(close, 0.0, -r)
    change = a * deformed(cost, t) if product is None else deformed_share(a, product, cost, t)
    far = (b - a) - change
    factor = jnp.where(low, order / jnp.where(low, 1.0 - order, 1.0), 1.0)
    return factor * jnp.where(close, near, far)


def _ratios(axes: Axes, p: Array, q: Array, order: Array) -> Residuals:
    """p/q, r = log(p/q), e^{t(r − ρ)} and ρ per row, and where q = 0 < p, which has that power 0.

    ρ is the greatest r for t > 0, which no power then exceeds, and 0 for t ≤ 0. Where p or q is 0
    the ratio is that of the lifted ones, a constant to differentiation.
    """
    barred = (p > 0.0) & (q == 0.0)
    edge = (p == 0.0) | (q == 0.0)
    at_edge = lax.stop_gradient(jnp.maximum(lift(p) / lift(q), smallest(p)))
    ratio = jnp.where(edge, at_edge, jnp.where(edge, 1.0, p) / jnp.where(edge, 1.0, q))
    r = log_ratio(lift(p), lift(q))
    greatest = class_max(jnp.where(edge, -jnp.inf, r), axes)
    scale = class_max(jnp.where(edge, 0.0, ratio), axes)
    shifted = (order > 1.0) & (scale > 0.0)
    reference = jnp.where(shifted, greatest, 0.0)
    # The greatest stays exactly 1, whatever a division by it gives.
    scaled = jnp.where(shifted & (ratio >= scale), 1.0, ratio / jnp.where(shifted, scale, 1.0))
    beyond = (p == 0.0) & (r > reference)
    log_scaled = jnp.where(beyond, 0.0, r - reference)
    scaled = jnp.where(beyond, 1.0, scaled)
    close = jnp.maximum(jnp.abs(r), jnp.abs(reference)) <= 1.0
    power = jnp.where(barred, 0.0, ratio_power(log_scaled, scaled, order, close))
    return ratio, r, power, reference, barred


def _difference_of_sums(p: Array, q: Array, axes: Axes) -> Array:
    """Σ p − Σ q, for normalised p and q all that is left of them is what they were rounded to.

    The parts above a grid are summed without rounding, since their sum has few enough digits.
    """
    grid = 4.0 * lax.stop_gradient(jnp.maximum(class_sum(p, axes), class_sum(q, axes)))
    high_p, high_q = (p + grid) - grid, (q + grid) - grid
    high = class_sum(high_p - high_q, axes)
    return high + class_sum((p - high_p) - (q - high_q), axes)


def _split(p: Array, q: Array, t: Array) -> tuple[Array, Array]:
    """p without the outcomes that make the divergence infinite, and where these are."""
    infinite = (p > 0.0) & (q == 0.0) & (t >= 0.0)
    return jnp.where(infinite, 0.0, p), infinite


def _renyi_divergence(axes: Axes, p: Array, q: Array, order: Array) -> tuple[Array, Residuals]:
    """W·R − W + V, R = log(Σ p·e^{tr}/W)/t, with W = Σ p and V = Σ q.

    Near, the sum is W + t·(G + W − V) with G the sum of `excess_term`s; then R − (W − V)/W is
    G/W less the second-order rest of the logarithm, φ(−tR)/t. Far, the logarithm itself is exact.
    """
    order, t = finite_order(order)
    rest, infinite = _split(p, q, t)
    _, r, power, reference, barred = _ratios(axes, rest, q, order)
    mass = class_sum(defined(rest, p, q), axes)
    empty = mass == 0.0
    whole = jnp.where(empty, 1.0, mass)
    share = jnp.where(empty, 1.0, class_sum(rest * power, axes) / whole)
    log_sum = t * reference + log(share)
    near = (jnp.abs(log_sum) <= math.log(2.0)) | (t == 0.0) | empty

    edge = (rest == 0.0) | (q == 0.0)
    inside = ~edge & near
    term = excess_term(
        jnp.where(inside, rest, 1.0), jnp.where(inside, q, 1.0), jnp.where(inside, r, 0.0), order
    )
    at_edge = jnp.where(barred, rest * order / unless(t >= 0.0, -t), q)
    excess = class_sum(jnp.where(edge, at_edge, jnp.where(inside, term, 0.0)), axes)
    loss = _difference_of_sums(rest, q, axes)
    small = jnp.where(near, (excess + loss) / whole, 0.0)
    # The rate in two parts, in which the greatest r of a far row cancels exactly.
    far = log(jnp.where(near, 1.0, share)) / unless(near, t)
    reference = jnp.where(near, 0.0, reference)
    beyond = jnp.where(near, -undeformed(-small, t), jnp.minimum(far, largest(far)))
    rate = reference + beyond
    bend = t * jnp.square(rate) * phi_over_square(-t * jnp.where(near, rate, 0.0))
    value = jnp.where(near, excess - mass * bend, mass * (reference + far) - loss)
    # For p in proportion to q and an order above 1e6 rounding could go below 0.
    value = not_below_0(value) + class_sum(jnp.where(infinite, jnp.inf, jnp.zeros_like(p)), axes)
    return value, (reference, beyond, jnp.where(share == 0.0, 1.0, share))


def _renyi_divergence_partials(
    axes: Axes, residuals: Residuals, p: Array, q: Array, order: Array
) -> tuple[Array, ...]:
    """∂/∂p = R + α·(e^{tx} − 1)/t, ∂/∂q = 1 − e^{r + tx}, ∂/∂α = W·Σ e·φ(tx)/t², x = r − R.

    e = (p/W)·e^{tx} is the escort distribution.
    """
    order, t = finite_order(order)
    reference, beyond, share = residuals
    rate = reference + beyond
    rest, infinite = _split(p, q, t)
    ratio, r, power, _, barred = _ratios(axes, rest, q, order)
    weight = power / share
    x = (r - reference) - beyond
    close = (jnp.abs(t) * jnp.maximum(jnp.abs(r), jnp.abs(rate)) <= 1.0) & ~barred
    by_p = rate + order * _deformed_log(x, weight, t, close)

    close = jnp.maximum(jnp.abs(order * r), jnp.abs(t * rate)) <= 1.0
    exponent = jnp.where(close, order * r - t * rate, 0.0)
    by_q = jnp.where(close, -expm1(exponent), 1.0 - ratio * weight)
    at_zero = jnp.where(order == 0.0, 1.0 - 1.0 / share, -jnp.inf)
    by_q = jnp.where(barred, at_zero, jnp.where(rest == 0.0, jnp.sign(q), by_q))

    escort = rest * jnp.where(rest == 0.0, 0.0, weight)
    moving = spread_term(rest, escort, jnp.where(barred, 0.0, x), t)
    by_order = jnp.where(barred, rest / jnp.square(unless(~barred, t)), moving)
    return (
        jnp.where(infinite, jnp.inf, by_p),
        jnp.where(infinite, -jnp.inf, by_q),
        by_order,
    )


# (axes, row_mask, p, order) and (axes, row_mask, p, q, order); the order has one entry.
tsallis_entropy_row = RowFunction.of_wide(_tsallis_entropy, _tsallis_entropy_partials)
renyi_entropy_row = RowFunction.of_wide(_renyi_entropy, _renyi_entropy_partials)
renyi_divergence_row = RowFunction.of_wide(_renyi_divergence, _renyi_divergence_partials)
