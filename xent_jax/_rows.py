"""From a formula and its slopes to a function of rows: blocks, verdicts, and both modes of AD."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from ._blocks import Axes, in_blocks
from ._numerics import class_sum, largest, widen


@dataclass(frozen=True, eq=False)
class RowFunction:
    """A function (axes, verdict, *data) → one number per row, with the class axes of size one.

    formula(axes, *data) → its value, and numbers per row for the slopes;
    slopes(axes, numbers, *data) → its derivatives by the first arguments, of their shapes.

    Values and slopes are both written so that nothing cancels; the derivative of the formula itself
    would cancel. The verdict on a row is 1, 0 to leave it out (value and slopes exactly 0, whatever
    the data), or NaN.
    """

    formula: Callable[..., tuple[Array, Any]]
    slopes: Callable[..., tuple[Array, ...]]

    def judged(self, axes: Axes, verdict: Array, *data: Array) -> tuple[Array, Any]:
        """The formula on widened data, its value judged."""
        value, numbers = self.formula(axes, *map(widen, data))
        return judge(value, verdict), numbers

    def judged_slopes(
        self, axes: Axes, verdict: Array, value: Array, numbers: Any, *data: Array
    ) -> list[Array]:
        """The slopes; NaN throughout in a row whose value is NaN.

        An infinite slope becomes the largest finite number, so that it is harmless in directions
        that do not move its entry.
        """
        given = self.slopes(axes, numbers, *map(widen, data))
        return _finite(given, jnp.where(jnp.isnan(value), jnp.nan, verdict))

    def __call__(self, axes: Axes, verdict: Array, *data: Array) -> Array:
        return _evaluate(self, axes, verdict, *data)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _evaluate(row: RowFunction, axes: Axes, verdict: Array, *data: Array) -> tuple[Array, Any]:
    return in_blocks(row.judged, axes, verdict, *data)


@partial(_evaluate.defjvp, symbolic_zeros=True)
def _evaluate_jvp(row: RowFunction, axes: Axes, primals: Any, tangents: Any) -> Any:
    value, numbers = _evaluate(row, axes, *primals)
    verdict, *data = primals
    slopes = partial(row.judged_slopes, axes)
    moved = directional(slopes, (verdict, value, numbers, *data), tangents[1:], axes)
    # The numbers are differentiated for second derivatives only.
    full = tuple(map(instantiate, primals, tangents))
    moved_numbers = jax.jvp(partial(row.judged, axes), primals, full)[1][1]
    return (value, numbers), (moved, moved_numbers)


def instantiate(primal: Array, tangent: Any) -> Any:
    """The tangent as an array."""
    return zero_from_primal(primal) if isinstance(tangent, SymbolicZero) else tangent


def judge(value: Array, verdict: Array) -> Array:
    """value where the verdict is 1, exactly 0 where it is 0 (whatever the value), else NaN."""
    return jnp.where(verdict == 0, 0.0, value * verdict)


def _finite(slopes: tuple[Array, ...], verdict: Array) -> list[Array]:
    return [judge(jnp.clip(g, -largest(g), largest(g)), verdict) for g in slopes]


def directional(
    slopes: Callable[..., Any], residuals: tuple[Any, ...], tangents: Any, axes: Axes
) -> Array:
    """Σ_j g_j t_j, the tangent of a row function, over the arguments that have a tangent.

    The slopes are recomputed from the residuals when this map is transposed: what a linearised
    function keeps is its inputs and some numbers per row, never an array of slopes.
    """
    live = [not isinstance(t, SymbolicZero) for t in tangents]
    moving = tuple(t for t, alive in zip(tangents, live, strict=True) if alive)

    @partial(jax.checkpoint, prevent_cse=False)
    def pairing(residuals: tuple[Any, ...], moving: tuple[Array, ...]) -> Array:
        needed = [g for g, alive in zip(slopes(*residuals), live) if alive]
        products = [g * widen(t) for g, t in zip(needed, moving, strict=True)]
        return class_sum(reduce(operator.add, products), axes)

    return pairing(residuals, moving)


def elementwise_slopes(
    slopes: Callable[..., tuple[Array, ...]], verdict: Array, *data: Array
) -> list[Array]:
    """The slopes of a function of each element, judged."""
    return _finite(slopes(*map(widen, data)), widen(verdict))
