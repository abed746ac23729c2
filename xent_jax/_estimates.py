"""What an estimate from samples gives, and how it is made of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from . import _checks as check
from ._call import mask_of_rows, without_classes
from ._elements import element_pair
from ._math.dtypes import compute_dtype
from ._rows.kl_estimate import kl_regression_row


class KLEstimate(NamedTuple):
    """What `kl_estimate_with_error` tells of each set of samples.

    Example:
        >>> found = KLEstimate(0.5, 0.01, 1.0)
        >>> print(f"{found.value} ± {found.standard_error}")
        0.5 ± 0.01
    """

    value: Array
    standard_error: Array
    coefficient: Array


# So that an exported function may return it.
jax.export.register_namedtuple_serialization(KLEstimate, serialized_name="xent_jax.KLEstimate")


def estimate_of_samples(name: str, log_p: Any, log_q: Any, axis: Any, where: Any) -> KLEstimate:
    """The estimate from all samples along the axes that `where` keeps."""
    p, q, kept = element_pair(name, ("log_p", "log_q"), (log_p, log_q), where)
    axes = check.class_axes(name, "log_p", p, axis)
    counted = jnp.ones_like(p, compute_dtype(p))
    counted = counted if kept is None else jnp.where(kept, counted, 0.0)
    found = kl_regression_row(axes, mask_of_rows(p, axes, kept), p, q, counted)
    return KLEstimate(*(without_classes(x, axes) for x in found))
