"""One outcome's share of a divergence, from p, q and r = log(p/q)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .dtypes import smallest
from .elementary import exp, expm1, log1p
from .scalars import binary_entropy
from .series import phi


@jax.custom_jvp
def log_ratio(p: Array, q: Array) -> Array:
    """log(p/q) = sign(p − q)·log1p(|p − q|/min(p, q)) for p, q > 0.

    The argument is never negative: relatively exact for p near q and far from it alike.
    """
    lower = jnp.maximum(jnp.minimum(p, q), smallest(p))
    return jnp.sign(p - q) * log1p(jnp.abs(p - q) / lower)


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

    It is m·(h·tanh h − log cosh h) with h = r/2, which is m·(log 2 − H_b(r)), H_b the entropy of a
    coin with logit r. The first form is exact for small r, the second for large r.
    """
    distance = jnp.abs(r)
    half = jnp.minimum(distance, 2.0) / 2
    growth = expm1(half)
    square = jnp.square((growth + growth / (1.0 + growth)) / 2)  # sinh² h
    near = half * jnp.sqrt(square / (1.0 + square)) - log1p(square) / 2
    far = math.log(2.0) - binary_entropy(distance)
    return (p + q) / 2 * jnp.where(distance <= 2.0, near, far)


def log_mixture_ratio(r: Array) -> Array:
    """log(p/m) with m = (p + q)/2: −log((1 + e^{−r})/2), exact near r = 0."""
    distance = jnp.abs(r)
    near = -log1p(expm1(-jnp.where(distance <= 0.5, r, 0.0)) / 2)
    far = jnp.minimum(r, 0.0) + math.log(2.0) - log1p(exp(-distance))
    return jnp.where(distance <= 0.5, near, far)
