"""Conditional entropy and mutual information of joint distributions: formulae and partials.

The class axes are those of X and of Y, in this order; the residuals keep what they need.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, class_max, class_sum, local
from .._math.dtypes import smallest
from .._math.elementary import log, log1p
from .._math.exact import exact_difference, exact_product, exact_sum
from .._math.log_ratio import log_ratio, relative_entropy_term
from .._math.scalars import log_of
from .probability import defined, lift
from .row_function import RowFunction

Pair = tuple[Array, Array]


def _conditional_costs(axes: Axes, p: Array) -> Pair:
    """log(m/p) and log(p_x/m), m the greatest of p over y: both ≥ 0, their sum is log(p_x/p).

    p_x/m is 1 + s, s the sum over y without one maximal entry: of those only the ties count.
    """
    over_y = axes[1:]
    m = lift(class_max(p, over_y))
    # The entries left out move all the same: their derivative counts.
    rest = class_sum(jnp.where(p < m, p, p - m) / m, over_y)
    ties = class_sum(jnp.where(p < m, 0.0, jnp.ones_like(p)), over_y)
    return -log_ratio(lift(p), m), log1p(rest + jnp.maximum(ties - 1.0, 0.0))


def _conditional_entropy(axes: Axes, p: Array) -> tuple[Array, Any]:
    depth, log_sum = _conditional_costs(axes, p)
    return class_sum(defined(p * (depth + log_sum), p), axes), ()


def _conditional_entropy_partials(axes: Axes, _: Any, p: Array) -> tuple[Array]:
    # For the edge p = 0, where log(p_x/p) is infinite; 0 where p_x is 0 as well.
    depth, log_sum = _conditional_costs(axes, p)
    return (defined(depth + log_sum, p),)


def _power_of_two(x: Array) -> Array:
    """The power of two at or below x > 0: x without its fraction."""
    bits, fraction = (jnp.uint64, 52) if x.dtype == jnp.float64 else (jnp.uint32, 23)
    kept = lax.bitcast_convert_type(x, bits) >> fraction << fraction
    return lax.bitcast_convert_type(kept, x.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _dependence(axes: Axes, p: Array) -> Array:
    """r = log(p_xy W/(p_x p_y)), relatively exact near independence; of the lifted p where p = 0.

    There r = log1p(δ/(p_x p_y)) with δ = p_xy W − p_x p_y, which vanishes in plain arithmetic:
    the marginals and both products need twice the digits. They are taken of p in a scale in which
    the rounding errors of the products are normal numbers too.
    """
    x, y = local(axes)
    log_sums = [log(lift(class_sum(p, over))) for over in (axes, axes[1:], axes[:1])]
    at_zero = math.log(smallest(p)) + ((log_sums[0] - log_sums[1]) - log_sums[2])

    scaled = p / _power_of_two(lift(class_max(p, axes))) * 2.0**40
    of_x, of_y = (exact_sum(scaled, jnp.zeros_like(p), axis) for axis in (y, x))
    mass = exact_sum(*of_x, x)
    joint, joint_error = exact_product(scaled, mass[0])
    product, product_error = exact_product(of_x[0], of_y[0])
    joint_error = joint_error + scaled * mass[1]
    product_error = product_error + (of_x[0] * of_y[1] + of_x[1] * of_y[0])
    difference, error = exact_difference(joint, product)
    difference = difference + (error + (joint_error - product_error))
    # No product here either, which could be too small a number.
    ratio = scaled / lift(of_x[0]) * (mass[0] / lift(of_y[0]))
    return jnp.where(p == 0.0, at_zero, log_of(ratio, difference / lift(product)))


@_dependence.defjvp
def _dependence_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the arithmetic above, which differentiates into nonsense, and for the edge p = 0.
    (p,), (moved,) = primals, tangents

    def relative(moved: Array, p: Array) -> Array:
        return jnp.where(p == 0.0, 0.0, moved / jnp.where(p == 0.0, 1.0, p))

    whole, of_x, of_y = (
        relative(class_sum(moved, over), class_sum(p, over)) for over in (axes, axes[1:], axes[:1])
    )
    return _dependence(axes, p), relative(moved, p) + whole - of_x - of_y


def _mutual_information(axes: Axes, p: Array) -> tuple[Array, Any]:
    """Σ p_xy r − p_xy + p_x p_y/W: the sum of the last two is 0."""
    x, y = local(axes)
    mass = lift(class_sum(p, axes))
    product = class_sum(p, (y,)) * (class_sum(p, (x,)) / mass)
    return class_sum(defined(relative_entropy_term(p, product, _dependence(axes, p)), p), axes), ()


def _mutual_information_partials(axes: Axes, _: Any, p: Array) -> tuple[Array]:
    # For the edge p = 0, and because the derivative of the terms would cancel.
    return (defined(_dependence(axes, p), p),)


# (axes, row_mask, joint) → one number per joint distribution; the class axes are those of X and Y.
conditional_entropy_row = RowFunction.of_wide(_conditional_entropy, _conditional_entropy_partials)
mutual_information_row = RowFunction.of_wide(_mutual_information, _mutual_information_partials)
