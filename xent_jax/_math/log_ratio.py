"""One outcome's share of a divergence, from p, q and r = log(p/q)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .dtypes import smallest
from .elementary import log
from .scalars import log1p_of, log_of
from .series import economized_taylor, phi


@jax.custom_jvp
def log_ratio(p: Array, q: Array) -> Array:
    """log(p/q) = sign(p − q)·log1p(|p − q|/min(p, q)) for p > 0 and q ≥ 0, +∞ for q = 0.

    The argument is never negative: relatively exact for p near q and far from it alike.
    """
    size = log_ratio_of_difference(jnp.abs(p - q), jnp.minimum(p, q))
    return jnp.where(p < q, -size, size)


@log_ratio.defjvp
def _log_ratio_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For p = q, where sign and |·| have no derivative, and for q = 0, a constant.
    (p, q), (moving_p, moving_q) = primals, tangents
    barred = q == 0.0
    moving = moving_p / p - moving_q / jnp.where(barred, 1.0, q)
    return log_ratio(p, q), jnp.where(barred, 0.0, moving)


def log_ratio_of_difference(distance: Array, lower: Array) -> Array:
    """log((lower + distance)/lower) for distance ≥ 0; +∞ for lower = 0."""
    inverse = 1.0 / lower
    ratio = distance * inverse
    # A ratio beyond the largest number is scaled by the smallest first.
    beyond = ratio == jnp.inf
    scaled = jnp.where(beyond, distance * (inverse * smallest(lower)) - 1.0, ratio)
    return log1p_of(scaled) + jnp.where(beyond, -math.log(smallest(lower)), 0.0)


@jax.jit
def relative_entropy_term(p: Array, q: Array, r: Array) -> Array:
    """p·r − p + q ≥ 0, one outcome's share of D(p‖q) with no cancellation.

    It is p·φ(r), by the series near p = q. The sum over a normalised distribution is stationary in
    r: an error of r enters only squared.
    """
    close = jnp.abs(r) <= 1.0
    return jnp.where(close, p * phi(jnp.where(close, r, 0.0)), q + p * (r - 1.0))


@jax.jit
def excess(p: Array, q: Array, r: Array) -> Array:
    """q − p = p·(e^{−r} − 1), exact near p = q."""
    close = jnp.abs(r) <= 1.0
    inside = jnp.where(close, r, 0.0)
    # φ(r) − r adds at most two ulps, and shares the series of `relative_entropy_term`.
    return jnp.where(close, p * (phi(inside) - inside), q - p)


@jax.jit
def js_term(p: Array, q: Array, r: Array) -> Array:
    """½ p log(p/m) + ½ q log(q/m) with m = (p + q)/2: one outcome's share of Jensen–Shannon."""
    size = jnp.minimum(jnp.abs(r), 80.0)  # e^{−80} is nothing beside log 2
    return js_term_of_difference(jnp.abs(excess(p, q, r)), jnp.minimum(p, q), p + q, size)


@partial(jax.jit, static_argnames="log1p")
def js_term_of_difference(
    distance: Array,
    lower: Array,
    total: Array,
    size: Array | None = None,
    log1p: Callable[[Array], Array] = log1p_of,
) -> Array:
    """The same from |p − q|, exact to rounding, the lesser of the two, their sum, |r| if known."""
    inverse = 1.0 / jnp.where(total == 0.0, 1.0, total)
    w = lower * inverse
    upper = log1p(-w)
    if size is None:
        size = upper - log(jnp.maximum(w, smallest(w)))
    return total / 2 * _js_share(distance * inverse, upper - w * size)


def _js_share(t: Array, far: Array) -> Array:
    """f(t) = t·atanh t + ½ log1p(−t²), with m·f(t) the term for t = |p − q|/(p + q) = tanh(|r|/2).

    Near p = q it is Σ_k t^{2k}/(2k(2k − 1)). Beyond t = ½ it is log 2 + log1p(−w) − |r|·w with the
    share w = (1 − t)/2 of the smaller; given is what that has beside log 2. It grows with t, and
    f(min(t, ½)) + max(f(t) − f(½), 0) is both.
    """
    square = jnp.minimum(t * t, 0.25)
    near = square * economized_taylor(square, _of_js, 1, (6, 24), 0.0, 0.25)
    return near + jnp.maximum(far - (_HALF - math.log(2.0)), 0.0)


def _of_js(k: int) -> float:
    return 1.0 / (2 * k * (2 * k - 1))


_HALF = (3 * math.log(3.0) - 4 * math.log(2.0)) / 4  # f(½)


@jax.custom_jvp
def log_mixture_ratio(p: Array, q: Array, difference: Array) -> Array:
    """log(p/m) with m = (p + q)/2, given p − q as well: exact for p near q."""
    inverse = 1.0 / (p + q)
    return log_of(2.0 * p * inverse, difference * inverse)


@log_mixture_ratio.defjvp
def _log_mixture_ratio_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # Of p and q alone: the terms of opposite sign are as small as their difference.
    (p, q, difference), (moving_p, moving_q, _) = primals, tangents
    share = q / (p + q)
    return log_mixture_ratio(p, q, difference), share * (moving_p / p) - moving_q / (p + q)
