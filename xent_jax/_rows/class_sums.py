"""Several sums over the classes in one read of the data."""

from collections.abc import Callable
from typing import Any

from jax import Array, lax

from .._class_axes import Axes, class_sum


def class_sums(
    axes: Axes, terms: tuple[Callable[..., Array], ...], numbers: Any, *data: Array
) -> tuple[Array, ...]:
    """Σ term(numbers, *data) over the classes, for each term; numbers per row.

    XLA:GPU writes out what two sums share and finds dear to compute twice, as large as the data.
    Behind barriers of their own the terms share nothing: it computes all of each in one kernel that
    reads the data once. XLA:CPU removes the barriers, and then shares what they share.
    """
    sums = []
    for term in terms:
        numbers = lax.optimization_barrier(numbers)
        sums.append(class_sum(term(numbers, *data), axes))
    return tuple(sums)
