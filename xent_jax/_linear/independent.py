"""Independent labels: Σ over the classes of binary cross entropies, of labels given per token.

Labels are few ids of the classes that are 1, or what a function makes of a token's data.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, across, class_sum, first_class, vary_like
from .._rows.bernoulli import sigmoid_cross_entropy_row
from .._rows.row_function import RowFunction
from .per_token import at_each
from .rows import alike, places
from .traced_function import TracedFunction


class LabelsFunction(NamedTuple):
    """A traced function of one token's data, and the shapes of those and of what it closes over."""

    program: Any
    of_token: tuple[tuple[int, ...], ...]
    closed_over: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, function: TracedFunction, data: list[Array], tokens: int
    ) -> tuple["LabelsFunction", list[Array], list[Array]]:
        """The static part; data of the tokens (tokens…, n), and of the classes (1, n)."""
        closed_over = [jnp.asarray(x) for x in function.closed_over]
        static = cls(
            function.program,
            tuple(x.shape[tokens:] for x in data),
            tuple(x.shape for x in closed_over),
        )
        data = [x.reshape(*x.shape[:tokens], math.prod(x.shape[tokens:])) for x in data]
        return static, data, [x.reshape(1, -1) for x in closed_over]

    def __call__(self, z: Array, data: tuple[Array, ...], closed_over: Any) -> Array:
        """(rows…, K); each of the data has as many axes as the logits, of size one if shared."""

        def one(*flat: Array) -> Array:
            shapes = (*self.of_token, *self.closed_over)
            given = [x[: math.prod(s)].reshape(s) for x, s in zip(flat, shapes, strict=True)]
            of_token, inside = given[: len(self.of_token)], given[len(self.of_token) :]
            return TracedFunction(self.program, tuple(inside))(*of_token)

        return _over_rows(one, z.ndim - 1, *data, *closed_over)


def _over_rows(f: Callable[..., Array], rows: int, *data: Array) -> Array:
    """f at each row; an axis that is of size one in all data stays so."""
    if rows == 0:
        return f(*data)
    shared = [x.shape[0] == 1 for x in data]
    inner = partial(_over_rows, f, rows - 1)
    given = [x[0] if one else x for x, one in zip(data, shared, strict=True)]
    if all(shared):
        return inner(*given)[None]
    return jax.vmap(inner, [None if one else 0 for one in shared])(*given)


@cache
def independent_row(function: LabelsFunction | None) -> RowFunction:
    """(axes, row_mask, logits, *data of the token, kept, weight of class 1, *closed over) → cost.

    The data of a token are the ids (tokens…, k), or what the function takes. Nothing is subtracted
    for labels 0 and 1.
    """
    count = 1 if function is None else len(function.of_token)

    def labels(axes: Axes, z: Array, data: tuple[Array, ...]) -> tuple[Array, Array]:
        of_token, (kept, positive), closed_over = (
            data[:count],
            data[count : count + 2],
            data[count + 2 :],
        )
        if function is None:
            y = _marked(axes, z, *of_token)
        else:
            y = _ids_of_shard(axes, z, function(z, of_token, closed_over)).astype(z.dtype)
            y = jnp.where((y >= 0.0) & (y <= 1.0), y, jnp.nan)
        return jnp.where(kept > 0.0, y, 0.0), positive

    def formula(axes: Axes, z: Array, *data: Array) -> Any:
        y, positive = labels(axes, z, data)
        return class_sum(sigmoid_cross_entropy_row.formula((), z, y, positive)[0], axes), ()

    def partials(axes: Axes, _: Any, z: Array, *data: Array) -> tuple[Array | None, ...]:
        y, positive = labels(axes, z, data)
        by_z, _by_labels, by_positive = sigmoid_cross_entropy_row.partials((), (), z, y, positive)
        return by_z, *((None,) * count), None, by_positive

    return RowFunction(formula, partials)


def _marked(axes: Axes, z: Array, ids: Array) -> Array:
    """1 at the ids, 0 elsewhere."""
    ids, empty = alike(z, ids, jnp.zeros((1,) * (z.ndim - 1) + z.shape[-1:], bool))

    def mark(empty: Array, ids: Array) -> Array:
        return empty.at[ids].set(True, mode="drop")

    empty = vary_like(empty, z, ids)
    return at_each(mark, z.ndim - 1)(empty, places(axes, z, ids)).astype(z.dtype)


def _ids_of_shard(axes: Axes, z: Array, y: Array) -> Array:
    """Labels of all classes as those of this shard; classes that only fill up have label 0."""
    if across(axes):
        return lax.dynamic_slice_in_dim(y, first_class(z, axes), z.shape[-1], -1)
    missing = z.shape[-1] - y.shape[-1]
    return jnp.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, missing)]) if missing else y
