"""log Σ e^z of a softmax, and the z-loss that keeps it near 0."""

from functools import cache

import jax.numpy as jnp
from jax import Array

from ._blocks import Axes
from ._numerics import class_max, depth, exact_weight, largest, partition, peak
from ._rows import RowFunction


def _logsumexp(axes: Axes, z: Array, *_: Array) -> tuple[Array, tuple[Array, Array]]:
    m = peak(z, axes)
    total, s = partition(depth(z, m), axes)
    # A row holding +inf has that maximum, not the largest finite number.
    highest = class_max(z, axes)
    value = jnp.where(jnp.isinf(highest), highest, m + jnp.log1p(s))
    return value, (m, total)


def _logsumexp_slopes(axes: Axes, numbers: tuple[Array, Array], z: Array, *_: Array) -> tuple:
    m, total = numbers
    return (exact_weight(z, m) / total,)


# (axes, verdict, logits, …) → log Σ e^z.
logsumexp = RowFunction(_logsumexp, _logsumexp_slopes)


@cache
def with_z_loss(row: RowFunction, z_loss: float) -> RowFunction:
    """The row function plus z_loss · (log Σ e^z)²."""

    def formula(axes: Axes, z: Array, *data: Array):
        value, numbers = row.formula(axes, z, *data)
        height, more = logsumexp.formula(axes, z)
        return value + z_loss * height**2, (numbers, height, more)

    def slopes(axes: Axes, all_numbers, z: Array, *data: Array):
        numbers, height, more = all_numbers
        by_z, *others = row.slopes(axes, numbers, z, *data)
        (by_height,) = logsumexp.slopes(axes, more, z)
        # Finite, so that a class of probability 0 has slope 0 beside a logit of +inf.
        outer = jnp.clip(2.0 * z_loss * height, -largest(height), largest(height))
        return by_z + outer * by_height, *others

    return RowFunction(formula, slopes)
