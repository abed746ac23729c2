"""How deep labels and predictions lie below the maximum of a row of logits: u = max z − z ≥ 0.

The cross entropy of softmax(βz) is β·(Σ y u) + Y·log Σ e^{−βu}, Y = Σ y, with slope Σ y u − Y·E[u]
by β: the depth of the labels less that which softmax(βz) expects. Both are sums of non-negative
terms. The maximum is held constant: the difference of the two does not depend on it.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes, class_max, class_sum
from .._math.dtypes import largest
from .._math.elementary import exp
from .brier import shares
from .row_function import RowFunction
from .row_state import finite_logits, infinity


def _below_top(axes: Axes, z: Array) -> tuple[Array, Array]:
    """u, 0 for a class of probability 0, and which classes are; NaN for a row of such alone."""
    m = finite_logits(class_max(z, axes))
    u = jnp.where(m > -infinity(m), m, jnp.nan) - finite_logits(z)
    never = u >= infinity(u) / 2
    return jnp.where(never, 0.0, u), never


def _label_depth(axes: Axes, z: Array, labels: Array) -> tuple[Array, tuple[()]]:
    (u, never), y = _below_top(axes, z), shares(axes, labels, z)
    return class_sum(y * jnp.where(never & (y > 0.0), jnp.inf, u), axes), ()


def _label_depth_partials(axes: Axes, _: Any, z: Array, labels: Array) -> tuple[Array, Array]:
    u, never = _below_top(axes, z)
    return -shares(axes, labels, z), jnp.where(never, largest(u), u)


def _expected_depth(axes: Axes, z: Array, beta: Array) -> tuple[Array, tuple[Array, Array]]:
    u, never = _below_top(axes, z)
    w = jnp.where(never, 0.0, exp(-beta * u))
    total = class_sum(w, axes)
    mean = class_sum(w * u, axes) / total
    return mean, (total, mean)


def _expected_depth_partials(
    axes: Axes, residuals: tuple[Array, Array], z: Array, beta: Array
) -> tuple[Array, Array]:
    # By β −Var[u], whose terms stand where a slope of the shape of the logits would.
    total, mean = residuals
    u, never = _below_top(axes, z)
    p = jnp.where(never, 0.0, exp(-beta * u)) / total
    away = u - mean
    return p * (beta * away - 1.0), -(p * away) * away


# (axes, row_mask, logits, labels) → Σ y u, +∞ for a label of probability 0.
label_depth_row = RowFunction(_label_depth, _label_depth_partials)
# (axes, row_mask, logits, β) → E[u] under softmax(βz).
expected_depth_row = RowFunction(_expected_depth, _expected_depth_partials)
