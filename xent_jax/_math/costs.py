"""Losses f(c) of the cost c = −log p ≥ 0 of a class: the cost itself, and what is made of it.

1 − p = −expm1(−c) keeps every digit of a confident prediction. Each is finite in value and slope
for every finite cost, and 0 at cost 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .deformed import deformed
from .dtypes import largest, smallest
from .elementary import exp, expm1
from .log_ratio import relative_entropy_term
from .scalars import log_of
from .series import phi_over_square

# (cost, *parameter) → loss, elementwise; a parameter has one entry, shared by all.
CostFunction = Callable[..., Array]


def itself(cost: Array) -> Array:
    """Cross entropy."""
    return cost


@jax.custom_jvp
def focal(cost: Array, gamma: Array) -> Array:
    """(1 − p)^γ · c."""
    return jnp.where(jnp.isinf(cost), cost, _power_of_wrong(cost, gamma) * _finite_cost(cost))


@focal.defjvp
def _focal_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For c = 0, where (1 − p)^{γ−1} is infinite: ∂/∂c = (1 − p)^γ·(1 + γ·h(c)), h(c) = c·p/(1 − p).
    cost, gamma = primals
    power = _power_of_wrong(cost, gamma)
    by_cost = power * (1.0 + gamma * _bose(_finite_cost(cost)))
    by_gamma = power * _finite_cost(cost) * _log_of_wrong(cost)
    return focal(cost, gamma), by_cost * tangents[0] + by_gamma * tangents[1]


def _finite_cost(cost: Array) -> Array:
    # At an infinite cost p·c is 0.
    return jnp.where(jnp.isinf(cost), largest(cost), cost)


def _wrong(cost: Array) -> Array:
    """1 − p, the smallest normal number at least: its powers and its log stay finite."""
    wrong = -expm1(-_finite_cost(cost))
    return jnp.where(wrong < smallest(wrong), smallest(wrong), wrong)


def _log_of_wrong(cost: Array) -> Array:
    """log(1 − p), relatively exact where p is small too."""
    return log_of(_wrong(cost), -exp(-_finite_cost(cost)))


@jax.custom_jvp
def _power_of_wrong(cost: Array, gamma: Array) -> Array:
    return jnp.power(_wrong(cost), gamma)


@_power_of_wrong.defjvp
def _power_of_wrong_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the second derivative at c = 0, where that of the power would be 0·inf.
    cost, gamma = primals
    power = _power_of_wrong(cost, gamma)
    by_cost = gamma * (power / _wrong(cost)) * exp(-_finite_cost(cost))
    return power, by_cost * tangents[0] + power * _log_of_wrong(cost) * tangents[1]


@jax.custom_jvp
def _bose(c: Array) -> Array:
    """h(c) = c/(e^c − 1), 1 at c = 0."""
    return jnp.where(c == 0.0, 1.0, c / expm1(jnp.where(c == 0.0, 1.0, c)))


@_bose.defjvp
def _bose_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # h'/h = 1/c − 1/(1 − p) = −φ(c)/(c·(1 − p)), and c/(1 − p) = h + c: nothing cancels.
    (c,), (moving,) = primals, tangents
    h = _bose(c)
    return h, -h * (h + c) * phi_over_square(c) * moving


def poly(cost: Array, epsilon: Array) -> Array:
    """c + ε·(1 − p) = (1 + ε)·(1 − p) + φ(c), which adds up non-negative terms down to ε = −1."""
    return (1.0 + epsilon) * -expm1(-cost) + _poly_excess(cost)


@jax.custom_jvp
def _poly_excess(cost: Array) -> Array:
    """φ(c) = c − (1 − p), which is D(1‖p) of one outcome."""
    return relative_entropy_term(jnp.ones_like(cost), exp(-cost), cost)


@_poly_excess.defjvp
def _poly_excess_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # For small c, where the derivative of a polynomial is one term short.
    (cost,), (moving,) = primals, tangents
    return _poly_excess(cost), -expm1(-cost) * moving


def generalized(cost: Array, q: Array) -> Array:
    """(1 − p^q)/q, the cost itself at q = 0."""
    return deformed(cost, q)


def slope(f: CostFunction, cost: Array, *parameter: Array) -> tuple[Array, ...]:
    """The derivatives of f by the cost and by its parameter, elementwise."""
    places = range(1 + len(parameter))
    shape = jnp.broadcast_shapes(cost.shape, *(x.shape for x in parameter))
    data = tuple(jnp.broadcast_to(x, shape) for x in (cost, *parameter))

    def along(i: int) -> Array:
        directions = tuple(jnp.full_like(x, float(i == j)) for j, x in enumerate(data))
        return jax.jvp(f, data, directions)[1]

    return tuple(map(along, places))
