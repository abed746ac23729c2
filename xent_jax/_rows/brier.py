"""The Brier score Σ (p − y)² of a forecast, of probabilities and of the softmax of logits.

With p = e^{−u}/T the gap between a softmax and labels is r_j = p_j·(1 − y_j) − y_j·(1 − p_j), and
1 − p_j = (s + 1 − e^{−u_j})/T keeps its digits however likely the class is.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from .._class_axes import Axes, class_sum, is_class
from .._math.dtypes import compute_dtype, widen
from .._math.elementary import expm1
from .probability import defined
from .row_function import RowFunction
from .row_state import LONE, RowSums, exact_weight, finite_logits, is_top
from .row_sums import Logits, row_sums


def shares(axes: Axes, labels: Array, x: Array) -> Array:
    """y per class, of a distribution or of class ids beside x; NaN where it is negative."""
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return is_class(labels, x, axes).astype(compute_dtype(x))
    return defined(widen(labels), widen(labels))


def _brier(axes: Axes, p: Array, labels: Array) -> tuple[Array, tuple[()]]:
    p = widen(p)
    return class_sum(defined(jnp.square(p - shares(axes, labels, p)), p), axes), ()


def _brier_partials(axes: Axes, _: Any, p: Array, labels: Array) -> tuple[Array, Array]:
    p = widen(p)
    by_p = defined(2.0 * (p - shares(axes, labels, p)), p)
    return by_p, -by_p


def _gaps(axes: Axes, sums: RowSums, z: Array, labels: Array) -> tuple[Array, ...]:
    """p, 1 − p and p − y, and whether a class is more likely than all others together."""
    u = sums.maximum - finite_logits(z)
    p, less = exact_weight(z, sums.maximum) / sums.total, (sums.rest - expm1(-u)) / sums.total
    y = shares(axes, labels, z)
    return p, less, p * (1.0 - y) - y * less, is_top(u) & (sums.total < LONE)


def _softmax_brier(axes: Axes, z: Array, labels: Array) -> tuple[Array, RowSums]:
    (sums,) = row_sums(axes, Logits(z))
    p, _, r, likely = _gaps(axes, sums, z, labels)
    value, whole = class_sum(jnp.square(r), axes), class_sum(p * r, axes)
    others = class_sum(jnp.where(likely, 0.0, p * r), axes)
    return value, sums._replace(masses=(whole,), below=(others,))


def _softmax_brier_partials(
    axes: Axes, sums: RowSums, z: Array, labels: Array
) -> tuple[Array, Array]:
    # ∂/∂z_j = 2 p_j·(r_j − Σ p r). At a likely class p_j·r_j is in the sum as well, and
    # r_j·(1 − p_j) is what remains of the two.
    p, less, r, likely = _gaps(axes, sums, z, labels)
    pull = jnp.where(likely, r * less - sums.below[0], r - sums.masses[0])
    return 2.0 * p * pull, -2.0 * r


# (axes, row_mask, p or logits, labels) → Σ_j (p_j − y_j)²; labels are ids in range with class axes
# of size one, or of the shape of the data.
brier_row = RowFunction(_brier, _brier_partials)
softmax_brier_row = RowFunction(_softmax_brier, _softmax_brier_partials)
