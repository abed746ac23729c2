"""Estimates of D(p‖q) from samples of p: functions of l = log p − log q.

Each sample is a row; for the regression all samples of an estimate are.
"""

from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, class_max, class_sum
from .._math.elementary import exp, expm1
from .._math.log_ratio import relative_entropy_term
from .row_function import RowFunction

KINDS = ("k1", "k2", "k3")


def _excess_of_ratio(log_ratio: Array) -> Array:
    """φ(l) = e^{−l} − 1 + l, the share in D(1‖e^{−l}) of an outcome."""
    ratio = exp(-log_ratio)
    term = relative_entropy_term(jnp.ones_like(ratio), ratio, log_ratio)
    # e^{−l} outgrows an infinite −l.
    return jnp.where(log_ratio == -jnp.inf, jnp.inf, term)


@cache
def kl_estimate_row(kind: str) -> RowFunction:
    """((), mask, log_p, log_q) → l, l²/2 or e^{−l} − 1 + l."""

    def formula(axes: Axes, log_p: Array, log_q: Array) -> tuple[Array, tuple[()]]:
        log_ratio = log_p - log_q
        if kind == "k1":
            return log_ratio, ()
        if kind == "k2":
            return jnp.square(log_ratio) / 2, ()
        return _excess_of_ratio(log_ratio), ()

    def partials(axes: Axes, _: Any, log_p: Array, log_q: Array) -> tuple[Array, Array]:
        # For k3 near l = 0, and the edges: 1 − e^{−l} cancels, and is infinite where p is 0.
        x = log_p - log_q
        one = jnp.where(jnp.isnan(x), x, jnp.ones_like(x))
        slope = {"k1": one, "k2": x, "k3": -expm1(-x)}[kind]
        return slope, -slope

    return RowFunction.of_wide(formula, partials)


class _Regression(NamedTuple):
    """Per estimate: 1/n, the logarithm of what g is divided by, and the weight of that quotient."""

    share: Array
    shift: Array
    weight: Array


# Beyond this −l the mean of φ is that of e^{−l}, of which the regression takes away nearly all.
_HEAVY = 2.0


def _parts(log_ratio: Array, shift: Array) -> tuple[Array, Array]:
    """The estimate to be improved, and g = e^{−l} − 1 of mean 0: φ(l) and g, or l and g·e^{−shift}.

    φ(l) = l + g differs by the control alone, and is exact where l is small.
    """
    heavy = shift > 0.0
    scaled = exp(-log_ratio - shift) - exp(-shift)
    near = jnp.where(heavy, 0.0, log_ratio)
    base = jnp.where(heavy, log_ratio, _excess_of_ratio(near))
    return base, jnp.where(heavy, scaled, expm1(-near))


def _regression(
    axes: Axes, log_p: Array, log_q: Array, kept: Array
) -> tuple[tuple[Array, Array, Array], _Regression]:
    """mean(l) + λ·mean(g), λ = −Cov(l, g)/Var(g); its standard error, and λ."""
    log_ratio, count = log_p - log_q, class_sum(kept, axes)
    highest = class_max(jnp.where(kept > 0.0, -log_ratio, -jnp.inf), axes)
    shift = jnp.where(highest > _HEAVY, highest, 0.0)
    share = 1.0 / jnp.where(count == 0.0, 1.0, count)

    def sum_of(x: Array) -> Array:
        return class_sum(jnp.where(kept > 0.0, x, 0.0), axes)

    base, control = _parts(log_ratio, shift)
    # From a sample first: the deviations of equal numbers are exactly 0.
    origin = class_max(jnp.where(kept > 0.0, control, -jnp.inf), axes)
    below = control - origin
    mean_below = share * sum_of(below)
    deviation = below - mean_below
    mean_base, mean_control = share * sum_of(base), origin + mean_below
    variance = sum_of(jnp.square(deviation))
    weight = -sum_of((base - mean_base) * deviation) / jnp.where(variance == 0.0, 1.0, variance)
    weight = jnp.where(jnp.isfinite(weight), lax.stop_gradient(weight), 0.0)

    residual = (base - mean_base) + weight * deviation
    degrees = jnp.where(count > 2.0, count - 2.0, jnp.nan)
    error = jnp.sqrt(sum_of(jnp.square(residual)) / degrees * share)
    coefficient = weight * exp(-shift) + jnp.where(shift > 0.0, 0.0, 1.0)
    value = mean_base + weight * mean_control
    return (value, error, coefficient), _Regression(share, shift, weight)


def _regression_partials(
    axes: Axes, residuals: _Regression, log_p: Array, log_q: Array, kept: Array
) -> tuple[tuple[Array, Array, None]]:
    # λ is held constant: (1 − λ·e^{−l})/n.
    share, shift, weight = residuals
    log_ratio = log_p - log_q
    heavy = shift > 0.0
    near = jnp.where(heavy, 0.0, log_ratio)
    by_near = -expm1(-near) - weight * exp(-near)
    slope = jnp.where(heavy, 1.0 - weight * exp(-log_ratio - shift), by_near)
    slope = jnp.where(kept > 0.0, share * slope, 0.0)
    return ((slope, -slope, None),)


# (axes, mask, log_p, log_q, kept) → value, standard error and coefficient of each estimate; the
# axes are those of the samples, and kept is 1 or 0.
kl_regression_row = RowFunction.of_wide(_regression, _regression_partials)
