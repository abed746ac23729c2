"""Elementwise functions: what they do alike with arguments, labels and results."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from . import _checks as check
from ._call import Labelling, in_base
from ._math.dtypes import compute_dtype, match_precision, widen


def element_data(name: str, argument: str, x: Any, where: Any) -> tuple[Array, Array | None]:
    """The data, 0 at the elements that do not exist, and the mask."""
    x = check.real_array(name, argument, x)
    kept = None if where is None else check.mask(name, argument, where, x, elementwise=True)
    x = x if kept is None else jnp.where(kept, x, jnp.zeros((), x.dtype))
    check.no_nan(name, argument, x)
    return x, kept


def element_pair(
    name: str, arguments: tuple[str, str], data: tuple[Any, Any], where: Any
) -> tuple[Array, Array, Array | None]:
    """Two arrays of one shape and precision, and the mask."""
    first, kept = element_data(name, arguments[0], data[0], where)
    second, _ = element_data(name, arguments[1], data[1], where)
    check.same_shape(name, arguments[0], first, arguments[1], second)
    return *match_precision(first, second), kept


def labelled_elements(
    name: str, logits: Any, labels: Any, where: Any, labelling: Labelling
) -> tuple[Array, Array, Array, Array | None]:
    """The logits, smoothed labels, the mask of valid elements, and that of those that exist."""
    z, kept = element_data(name, "logits", logits, where)
    y, ids = check.label_array(name, labels)
    check.same_shape(name, "logits", z, "labels", y)
    check.ignore_index_for_ids(name, labelling.ignore_index, ids)
    counted = jnp.ones(z.shape, bool) if kept is None else kept
    if labelling.ignore_index is not None:
        counted &= check.differs(y, labelling.ignore_index)
    valid = (y >= 0) & (y <= 1)
    check.unit_interval(name, "labels", lambda: jnp.where(counted, valid, True))
    if ids:
        y = y.astype(compute_dtype(z))
    y = jnp.where(counted, y, jnp.zeros((), y.dtype))
    z, y = match_precision(z, y)
    if labelling.label_smoothing is not None:
        alpha = check.number(name, "label_smoothing", labelling.label_smoothing, check.UNIT)
        alpha = alpha.astype(compute_dtype(y))
        y = (1.0 - alpha) * widen(y) + alpha / 2
    element_mask = jnp.where(counted, jnp.where(valid, 1.0, jnp.nan), 0.0).astype(z.dtype)
    return z, y, element_mask, kept


def with_weight_of_1(name: str, pos_weight: Any, z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Logits, labels and the weight of label 1, NaN where it is negative, of one precision."""
    positive = jnp.ones((), compute_dtype(z))
    if pos_weight is not None:
        positive = check.label_weights(name, "pos_weight", pos_weight, z.shape)
        z, positive = match_precision(z, positive)
        z, y = match_precision(z, y)
        positive = jnp.where(positive >= 0, positive, jnp.asarray(jnp.nan, positive.dtype))
    # Under an explicit mesh a select wants its arguments split alike.
    return z, y, jnp.broadcast_to(positive, z.shape) + jnp.zeros_like(z, positive.dtype)


def weights_of_labels(name: str, alpha: Any, z: Array) -> tuple[Array, Array]:
    """Those of label 1 and of label 0: α and 1 − α, or 1 for both."""
    if alpha is None:
        return jnp.ones(()), jnp.ones(())
    one = check.number(name, "alpha", alpha, check.UNIT).astype(compute_dtype(z))
    return one, 1.0 - one


def beside_elements(z: Array, *numbers: Array) -> tuple[Array, ...]:
    """Numbers for all elements, in the dtype of computation."""
    return tuple(x.astype(compute_dtype(z)).reshape((1,) * z.ndim) for x in numbers)


def finish_elements(name: str, value: Array, kept: Array | None, base: Any = None) -> Array:
    """The value in the asked unit, 0 at the elements that do not exist."""
    return in_base(name, value if kept is None else jnp.where(kept, value, 0.0), base)
