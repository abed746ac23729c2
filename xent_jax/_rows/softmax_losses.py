"""A loss f(c) of the costs c = −log p under a distribution, Σ y f(c): for f that are not linear.

It needs the final costs of all classes, and so a second read of the logits.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes, class_sum
from .._math.costs import slope
from .._math.dtypes import largest, widen
from .._math.elementary import log1p
from .row_function import RowFunction
from .row_state import exact_weight, finite_logits, infinity, is_top
from .row_sums import Logits, row_sums
from .softmax_statistics import pull_to_labels, weighed


@cache
def under_labels(f: Callable[..., Array]) -> RowFunction:
    """(axes, row_mask, logits, labels, weights, *parameter of f) → Σ_j w_j y_j f(−log p_j)."""

    def formula(
        axes: Axes, z: Array, labels: Array, weights: Array, *parameter: Array
    ) -> tuple[Array, Any]:
        y = weighed(labels, weights)
        (sums,) = row_sums(axes, Logits(z))
        u = sums.maximum - finite_logits(z)
        depth = jnp.where(u >= infinity(u) / 2, jnp.inf, u)
        cost = _finite_without_mass(depth, y) + log1p(sums.rest)
        value = class_sum(y * f(cost, *parameter), axes)
        moved = y * slope(f, cost, *parameter)[0]
        whole = class_sum(moved, axes)
        off_peak = class_sum(jnp.where(is_top(u), 0.0, moved), axes)
        return value, sums._replace(masses=(whole,), below=(off_peak,))

    def partials(
        axes: Axes, sums: Any, z: Array, labels: Array, weights: Array, *parameter: Array
    ) -> tuple[Array, ...]:
        # With y' = y f'(c), that of Σ y' c.
        labels, y = widen(labels), weighed(labels, weights)
        u = sums.maximum - finite_logits(z)
        cost = _finite_without_mass(u, y) + log1p(sums.rest)
        by_cost, *by_parameter = slope(f, cost, *parameter)
        w = exact_weight(z, sums.maximum)
        by_logits = pull_to_labels(sums, 0, u, w, y * by_cost)
        by_target = f(cost, *parameter)
        by_labels, by_weights = widen(weights) * by_target, labels * by_target
        return by_logits, by_labels, by_weights, *(y * g for g in by_parameter)

    return RowFunction(formula, partials)


def _finite_without_mass(u: Array, y: Array) -> Array:
    """Where y = 0 an infinite cost is made finite, so that 0·inf is 0."""
    return jnp.where(y == 0.0, jnp.minimum(u, largest(u)), u)
