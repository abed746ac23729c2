"""From the numbers of a row to its loss: weights, focal and other shapes, smoothing, z-loss.

Ordinary functions of numbers per row, of the dense and of the linear row alike. They differentiate
by themselves, and every parameter may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._math.dtypes import largest
from ._rows.row_function import apply_mask


class Cost(NamedTuple):
    """A function f of the cost c = −log p, and the numbers that it takes beside c."""

    f: Callable[..., Array]
    parameters: tuple[Array, ...] = ()

    def __call__(self, c: Array) -> Array:
        return self.f(c, *self.parameters)


class Smoothing(NamedTuple):
    """α, and K, the number of classes that exist."""

    alpha: Array
    count: Array | float


def loss_of_row(
    numbers: dict[str, Array],
    row_mask: Array | None,
    cost: Cost,
    weight: Array,
    smoothing: Smoothing | None = None,
    z_loss: Array | None = None,
) -> Array:
    """(1 − α)·w·f(c) + α·(Σ over the classes)/K + z·(log Σ e^z)².

    `at_label` is the cost c at a class id. `under_labels`, the loss under a distribution, and
    `under_share`, that under what smoothing adds, are sums over the classes that f is inside of.
    """
    if "at_label" in numbers:
        loss = _scaled(weight, cost(numbers["at_label"]))
    else:
        loss = numbers["under_labels"]
    if smoothing is not None:
        alpha, count = smoothing
        loss = _scaled(1.0 - alpha, loss) + _scaled(alpha / count, numbers["under_share"])
    if z_loss is not None:
        loss = loss + _penalty(z_loss, numbers["logsumexp"])
    return apply_mask(row_mask, loss)


@jax.custom_jvp
def _scaled(amount: Array, x: Array) -> Array:
    """amount·x; an amount of 0 leaves out even an infinite x."""
    return amount * jnp.where((amount == 0.0) & jnp.isinf(x), 0.0, x)


@_scaled.defjvp
def _scaled_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For an infinite x, whose slope by the amount is made finite as those of a row are.
    (amount, x), (moving_amount, moving_x) = primals, tangents
    slope = jnp.clip(x, -largest(x), largest(x))
    return _scaled(amount, x), slope * moving_amount + amount * moving_x


@jax.custom_jvp
def _penalty(amount: Array, x: Array) -> Array:
    """amount·x²."""
    return amount * (x * x)


@_penalty.defjvp
def _penalty_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # Finite, so that a class of probability 0 has slope 0 beside a logit of +inf.
    (amount, x), (moving_amount, moving_x) = primals, tangents
    limit = largest(x)
    by_x = jnp.clip(2.0 * amount * x, -limit, limit)
    return _penalty(amount, x), jnp.clip(x * x, 0.0, limit) * moving_amount + by_x * moving_x
