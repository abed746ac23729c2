"""Functions of an order α ≥ 0: what they do alike with it."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from . import _checks as check
from ._call import mask_of_rows
from ._class_axes import Axes
from ._math.dtypes import compute_dtype
from ._rows.row_function import RowFunction, apply_mask


def of_order(
    name: str, row: RowFunction, alpha: Any, axes: Axes, row_mask: Array | None, *data: Array
) -> Array:
    """The row of the data and the order; a bad order gives NaN for every row that counts."""
    order = check.number(name, "alpha", alpha, check.NON_NEGATIVE).astype(compute_dtype(data[0]))
    order = order.reshape((1,) * data[0].ndim)
    bad = jnp.isnan(order)
    of_all = mask_of_rows(data[0], axes, None, valid=~bad)
    assert of_all is not None
    return row(axes, apply_mask(row_mask, of_all), *data, jnp.where(bad, 1.0, order))
