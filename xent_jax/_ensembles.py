"""What the information of ensembles is made of, of logits and of probabilities alike."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from . import _checks as check
from ._call import Rows, in_base, logits_data, mask_of_rows, probability_data, without_classes
from ._class_axes import Axes
from ._math.dtypes import compute_dtype, match_precision
from ._rows.ensemble import ensemble_row, softmax_ensemble_row


class EnsembleInformation(NamedTuple):
    """What `ensemble_information` and `softmax_ensemble_information` tell of each example.

    Example:
        >>> EnsembleInformation(predictive=0.75, expected=0.5, mutual=0.25).mutual
        0.25
    """

    predictive: Array
    expected: Array
    mutual: Array


# So that an exported function may return them.
jax.export.register_namedtuple_serialization(
    EnsembleInformation, serialized_name="xent_jax.EnsembleInformation"
)


def information_of_probabilities(
    name: str, p: Any, weights: Any, rows: Rows, ensemble_axis: int
) -> EnsembleInformation:
    p, classes = probability_data(name, "p", p, rows)
    members = check.ensemble_axis(name, "p", p, ensemble_axis, classes)
    p, shares, left_out = _shares(name, weights, p, members)
    p = jnp.where(left_out, jnp.zeros((), p.dtype), p)
    axes = (members, *classes)
    return _finished(name, ensemble_row(axes, None, p, shares), axes, rows)


def information_of_logits(
    name: str, logits: Any, weights: Any, rows: Rows, ensemble_axis: int
) -> EnsembleInformation:
    z, classes, kept = logits_data(name, "logits", logits, rows)
    members = check.ensemble_axis(name, "logits", z, ensemble_axis, classes)
    axes = (members, *classes)
    row_mask = mask_of_rows(z, axes, kept)
    z, shares, left_out = _shares(name, weights, z, members)
    z = jnp.where(left_out, jnp.zeros((), z.dtype), z)
    return _finished(name, softmax_ensemble_row(axes, row_mask, z, shares), axes, rows)


def _shares(name: str, weights: Any, x: Array, axis: int) -> tuple[Array, Array, Array]:
    """The data and the weights of the members, which add to 1, of one precision; and which of the
    members are left out."""
    members = x.shape[axis]
    if weights is None:
        weights = jnp.ones((members,), compute_dtype(x))
    weights, valid = check.known_weights(name, weights, (members,), "member", "this ensemble")
    x, weights = match_precision(x, weights)
    weights = jnp.where(valid, weights.astype(compute_dtype(x)), jnp.nan)
    weights = weights.reshape([members if a == axis else 1 for a in range(x.ndim)])
    return x, weights / jnp.sum(weights), weights == 0.0


def _finished(name: str, values: Any, axes: Axes, rows: Rows) -> EnsembleInformation:
    return EnsembleInformation(
        *(without_classes(in_base(name, value, rows.base), axes) for value in values)
    )
