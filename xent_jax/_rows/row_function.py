"""From a formula and its partials to a function of rows, in both modes of AD and every order."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from .._class_axes import Axes, class_sum
from .._math.dtypes import is_floating, largest, widen
from .apart import apart, data_apart
from .class_sums import of_one_loop
from .cpu_blocks import in_blocks


@dataclass(frozen=True, eq=False)
class RowFunction:
    """A function (axes, row_mask, *data) → one number per row, with the class axes of size one.

    formula(axes, *data) → its value, and its residuals: numbers per row for the partials;
    partials(axes, residuals, *data) → its derivatives by the first arguments, of their shapes;
    value(axes, *data) → its value alone, if that is less than the formula without its residuals;
    is_one_loop: whether XLA:CPU makes one loop of each sum of the formula, which gains nothing
    in blocks;
    is_shared: whether XLA:CPU is to write once what formula and partials both need, where they do
    not run in blocks.

    Several values from one pass: the value is a tuple, and so are the partials, one tuple for each
    value. Values and partials are both written so that nothing cancels; the derivative of the
    formula itself would cancel. Data come in their own dtype: widen them where they are used, so
    that no wide copy is written.

    The mask of a row is 1, 0 to leave it out (value and partials exactly 0, whatever the data), or
    NaN for a row whose labels are not valid; None if every row counts. Without class axes each
    element is a row of its own.
    """

    formula: Callable[..., tuple[Any, Any]]
    partials: Callable[..., Any]
    value: Callable[..., Any] | None = None
    is_one_loop: bool = False
    is_shared: bool = False

    def __post_init__(self) -> None:
        # Traced once for all the places where they stand: two passes, two modes, three platforms.
        for name in ("formula", "partials", "value"):
            f = getattr(self, name)
            if f is not None:
                object.__setattr__(self, name, jax.jit(f, static_argnums=0))

    @classmethod
    def of_wide(
        cls, formula: Callable[..., tuple[Any, Any]], partials: Callable[..., Any]
    ) -> "RowFunction":
        """For a formula and partials of data in the dtype of computation."""
        return cls(
            lambda axes, *data: formula(axes, *map(widen, data)),
            lambda axes, residuals, *data: partials(axes, residuals, *map(widen, data)),
        )

    def masked(self, axes: Axes, row_mask: Array | None, *data: Array) -> tuple[Any, Any]:
        """The formula, its values masked."""
        # In this context JAX traces the rules of differentiation as well: one trace serves both.
        with jax.sharding.use_abstract_mesh(jax.sharding.get_abstract_mesh()):
            values, residuals = self.formula(axes, *data)
        return _masked_values(axes, row_mask, values), residuals

    def masked_value(self, axes: Axes, row_mask: Array | None, *data: Array) -> Any:
        """The values alone, masked."""
        if self.value is None:
            return self.masked(axes, row_mask, *data)[0]
        return _masked_values(axes, row_mask, self.value(axes, *data))

    def masked_partials(
        self, axes: Axes, row_mask: Array | None, residuals: Any, *data: Array
    ) -> tuple[tuple[Array | None, ...], ...]:
        """The partials of each value, masked; None by an argument it does not depend on.

        An infinite slope becomes the largest finite number, so that it is harmless in directions
        that do not move its entry.
        """

        def finite(g: Array) -> Array:
            return apply_mask(row_mask, jnp.clip(g, -largest(g), largest(g)))

        partials = self.partials(axes, residuals, *data)
        several = isinstance(partials[0], tuple)
        return jax.tree.map(finite, partials if several else (partials,))

    def __call__(self, axes: Axes, row_mask: Array | None, *data: Array) -> Any:
        return _value(self, axes, row_mask, *data)


def apply_mask(row_mask: Array | None, x: Array) -> Array:
    """x where the mask is 1, exactly 0 where it is 0 (whatever x is), else NaN."""
    if row_mask is None or not is_floating(x):
        return x
    row_mask = row_mask.astype(x.dtype)
    return jnp.where(row_mask == 0, 0.0, x * row_mask)


def _masked_values(axes: Axes, row_mask: Array | None, values: Any) -> Any:
    """The values, masked; those of elements, which are as many as the data, not made in a sum."""

    def finish(x: Array) -> Array:
        return apply_mask(row_mask, x if axes else of_one_loop(x))

    return jax.tree.map(finish, values)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _value(row: RowFunction, axes: Axes, row_mask: Array | None, *data: Array) -> Any:
    return _scheduled(row, row.masked_value, ("float16",), axes, row_mask, *data)


def _scheduled(
    row: RowFunction, f: Callable[..., Any], widened: tuple[str, ...], axes: Axes, *data: Any
) -> Any:
    """f in blocks, or whole; not whole for dtypes of which XLA:CPU would write a wide copy."""
    if row.is_one_loop and not any(x.dtype.name in widened for x in data if x is not None):
        return f(axes, *data)
    return in_blocks(f, axes, *data)


@partial(_value.defjvp, symbolic_zeros=True)
def _value_jvp(row: RowFunction, axes: Axes, primals: Any, tangents: Any) -> Any:
    # For values whose own derivative would cancel; the residuals are differentiated by the second
    # order alone.
    values, residuals = value_and_residuals(row, axes, *primals)
    return values, _tangents(row, axes, values, residuals, primals, tangents)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def value_and_residuals(
    row: RowFunction, axes: Axes, row_mask: Array | None, *data: Array
) -> tuple[Any, Any]:
    # The partials widen bfloat16 too, and one wide copy would serve both.
    return _scheduled(row, row.masked, ("float16", "bfloat16"), axes, row_mask, *data)


@partial(value_and_residuals.defjvp, symbolic_zeros=True)
def _value_and_residuals_jvp(row: RowFunction, axes: Axes, primals: Any, tangents: Any) -> Any:
    # For second derivatives: the value moves by its partials, the residuals as their formula does.
    values, residuals = value_and_residuals(row, axes, *primals)
    moving = _tangents(row, axes, values, residuals, primals, tangents)
    full = jax.tree.map(instantiate, primals, tangents)
    moving_residuals = jax.jvp(lambda *x: row.masked(axes, *x)[1], primals, full)[1]
    return (values, residuals), (moving, moving_residuals)


def _tangents(
    row: RowFunction, axes: Axes, values: Any, residuals: Any, primals: Any, tangents: Any
) -> Any:
    """Σ_j g_j t_j for each value, over the arguments that have a tangent.

    The partials are recomputed from the residuals when this map is transposed: what a linearised
    function keeps is its inputs and some numbers per row, never an array of partials.
    """
    live = [not isinstance(t, SymbolicZero) for t in tangents[1:]]
    moving = tuple(t for t, alive in zip(tangents[1:], live, strict=True) if alive)
    leaves, structure = jax.tree.flatten(values)

    @partial(jax.checkpoint, prevent_cse=False)
    def pairing(primals: Any, residuals: Any, moving: tuple[Array, ...]) -> list[Array | None]:
        row_mask, *data = primals
        residuals, data = _apart(row, residuals, data)
        partials = row.masked_partials(axes, row_mask, residuals, *data)
        wide = [widen(t) for t in moving]
        return [_dot(axes, g, live, wide) for g in partials]

    numbers = iter(pairing(primals, residuals, moving))
    out = []
    for value in leaves:
        # A value without partials has no tangent: an index, or a constant behind all others.
        number = next(numbers, None) if is_floating(value) else None
        out.append(zero_from_primal(value) if number is None else number)
    return jax.tree.unflatten(structure, out)


def _apart(row: RowFunction, residuals: Any, data: list[Array]) -> tuple[Any, list[Array]]:
    """The same, so that the partials share nothing with the formula; on a CPU unless they are to.

    Where there are no residuals, the data are what is told apart.
    """
    if jax.tree.leaves(residuals):
        return apart(residuals, ("gpu",) if row.is_shared else ("cpu", "gpu")), data
    floats = iter(data_apart(tuple(filter(is_floating, data))))
    return residuals, [next(floats) if is_floating(x) else x for x in data]


def _dot(
    axes: Axes, partials: tuple[Array | None, ...], live: list[bool], moving: list[Array]
) -> Array | None:
    """Σ_j g_j t_j, over the arguments that move and that the value depends on."""
    of_moving = [g for g, alive in zip(partials, live) if alive]
    products = [g * t for g, t in zip(of_moving, moving) if g is not None]
    of_shape: dict[tuple[int, ...], Array] = {}
    for x in products:  # labels of few classes are shorter than the logits
        of_shape[x.shape] = of_shape[x.shape] + x if x.shape in of_shape else x
    sums = [class_sum(x, axes) for x in of_shape.values()]
    return reduce(operator.add, sums) if sums else None


def instantiate(primal: Array, tangent: Any) -> Any:
    """The tangent as an array."""
    return zero_from_primal(primal) if isinstance(tangent, SymbolicZero) else tangent
