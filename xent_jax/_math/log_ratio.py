"""One outcome's share of a divergence, from p, q and r = log(p/q)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .dtypes import smallest
from .elementary import expm1, log1p
from .scalars import sigmoid
from .series import phi, taylor


@jax.custom_jvp
def log_ratio(p: Array, q: Array) -> Array:
    """log(p/q) = sign(p − q)·log1p(|p − q|/min(p, q)) for p, q > 0.

    The argument is never negative: relatively exact for p near q and far from it alike.
    """
    distance, lower = jnp.abs(p - q), jnp.minimum(p, q)
    ratio = distance / lower
    # A ratio beyond the largest number is scaled by the smallest first.
    beyond = ratio == jnp.inf
    scaled = jnp.where(beyond, distance * smallest(p) / lower - 1.0, ratio)
    shift = jnp.where(beyond, -math.log(smallest(p)), 0.0)
    return jnp.sign(p - q) * (log1p(scaled) + shift)


@log_ratio.defjvp
def _log_ratio_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For p = q, where sign and |·| have no derivative.
    (p, q), (moving_p, moving_q) = primals, tangents
    return log_ratio(p, q), moving_p / p - moving_q / q


def relative_entropy_term(p: Array, q: Array, r: Array) -> Array:
    """p·r − p + q ≥ 0, one outcome's share of D(p‖q) with no cancellation.

    It is p·φ(r), by the series near p = q. The sum over a normalised distribution is stationary in
    r: an error of r enters only squared.
    """
    close = jnp.abs(r) <= 1.0
    return jnp.where(close, p * phi(jnp.where(close, r, 0.0)), q + p * (r - 1.0))


def excess(p: Array, q: Array, r: Array) -> Array:
    """q − p = p·(e^{−r} − 1), exact near p = q."""
    close = jnp.abs(r) <= 1.0
    inside = jnp.where(close, r, 0.0)
    # φ(r) − r adds at most two ulps, and shares the series of `relative_entropy_term`.
    return jnp.where(close, p * (phi(inside) - inside), q - p)


def js_term(p: Array, q: Array, r: Array) -> Array:
    """½ p log(p/m) + ½ q log(q/m) with m = (p + q)/2: one outcome's share of Jensen–Shannon.

    It is m·(h·tanh h − log cosh h) with h = |r|/2, which is m·(log 2 − log1p(t) − 2h·t/(1 + t))
    with t = e^{−2h}. The first form is exact for small r, the second for large r; both are
    functions of e^h − 1, and a TPU compiles one exponential and one logarithm sooner than two.
    """
    distance = jnp.minimum(jnp.abs(r), 80.0)  # e^{−80} is nothing beside log 2
    half = distance / 2
    growth = expm1(half)
    power = 1.0 + growth
    near = half * (growth * (1.0 + power)) / (power * power + 1.0)
    near = near - log1p(growth * growth / (2.0 * power))
    t = 1.0 / (power * power)
    order = 13 if t.dtype == jnp.float64 else 6
    log1p_of_t = t * taylor(-jnp.minimum(t, _FAR), lambda k: 1.0 / k, 1, order)
    far = math.log(2.0) - (log1p_of_t + distance * (t / (1.0 + t)))
    return (p + q) / 2 * jnp.where(t > _FAR, near, far)


_FAR = math.exp(-3.0)


@jax.custom_jvp
def log_mixture_ratios(r: Array) -> tuple[Array, Array]:
    """log(p/m) and log(q/m) with m = (p + q)/2 and r = log(p/q), exact near r = 0.

    The greater of the two is log1p(tanh(|r|/2)), the other |r| less.
    """
    distance = jnp.abs(r)
    shrink = expm1(-distance)
    upper = log1p(-shrink / (2.0 + shrink))
    lower = upper - distance
    return jnp.where(r > 0, upper, lower), jnp.where(r > 0, lower, upper)


@log_mixture_ratios.defjvp
def _log_mixture_ratios_jvp(primals: Any, tangents: Any) -> Any:
    # For r = 0, where |·| has no derivative.
    (r,), (moving,) = primals, tangents
    return log_mixture_ratios(r), (sigmoid(-r) * moving, -sigmoid(r) * moving)
