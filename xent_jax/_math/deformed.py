"""The logarithm deformed by an order: what Tsallis, Rényi and generalised losses are made of."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .dtypes import largest
from .elementary import exp, expm1
from .scalars import log_of
from .series import exponential_order, inverse_factorial, phi_over_square, taylor


def _finite_product(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """x·y, x and y, infinities made finite before: 0·inf is 0."""
    x, y = (jnp.clip(a, -largest(a), largest(a)) for a in (x, y))
    return x * y, x, y


@jax.custom_jvp
def deformed(cost: Array, order: Array) -> Array:
    """(1 − e^{−tc})/t, the cost c deformed by the order t: c itself at t = 0, to rounding near it.

    An infinite cost gives 1/t for t > 0 and itself otherwise.
    """
    x, _, t = _finite_product(cost, order)
    close = jnp.abs(x) <= 1.0
    near = cost * taylor(-jnp.where(close, x, 0.0), inverse_factorial, 1, exponential_order(x))
    return jnp.where(close, near, -expm1(-x) / jnp.where(close, 1.0, t))


@deformed.defjvp
def _deformed_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For t near 0: ∂/∂c = e^{−x} and ∂/∂t = −(1 − (1 + x)·e^{−x})/t² = −c²·e^{−x}·φ(−x)/x², x = tc.
    x, c, t = _finite_product(*primals)
    limit = largest(x)
    x = jnp.clip(x, -limit, limit)
    close = jnp.abs(x) <= 1.0
    inside = jnp.where(close, x, 0.0)
    square = jnp.square(jnp.clip(c, -math.sqrt(limit), math.sqrt(limit)))
    near = square * exp(-inside) * phi_over_square(-inside)
    far = (1.0 - (1.0 + x) * exp(-x)) / jnp.square(jnp.where(close, 1.0, t))
    by_cost = jnp.minimum(exp(-x), limit)
    by_order = jnp.minimum(jnp.where(close, near, far), limit)
    return deformed(*primals), by_cost * tangents[0] - by_order * tangents[1]


def deformed_share(p: Array, escort: Array, cost: Array, order: Array) -> Array:
    """p·d(c, t) of a probability p, given p·e^{−tc}, which is finite where e^{−tc} is not."""
    close = jnp.abs(order * cost) <= 1.0
    near = p * deformed(jnp.where(close, cost, 0.0), order)
    return jnp.where(close, near, (p - escort) / jnp.where(close, 1.0, order))


@jax.custom_jvp
def undeformed(value: Array, order: Array) -> Array:
    """−log(1 − ts)/t, s at t = 0: the cost whose `deformed` value is s. It needs ts < 1."""
    y = order * value
    still = y == 0.0
    far = -log_of(1.0 - y, -y) / jnp.where(still, 1.0, order)
    return jnp.where(still, value, far)


@undeformed.defjvp
def _undeformed_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For t near 0: ∂/∂s = 1/(1 − ts) and ∂/∂t = c²·φ(−x)/x², c the result and x = tc.
    value, order = primals
    cost = undeformed(value, order)
    by_order = cost * cost * phi_over_square(-order * cost)
    return cost, tangents[0] / (1.0 - order * value) + by_order * tangents[1]
