"""Losses of a token: functions of the numbers of its row, of its data and of parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._epilogue import Cost, Smoothing, loss_of_row
from .._math.dtypes import is_floating
from .._rows.row_function import apply_mask
from .._statistics import SoftmaxStatistics
from .per_token import at_each, beside
from .traced_function import TracedFunction


@dataclass(frozen=True)
class RowLoss:
    """`loss_of_row` of the named values, with parameters in order: those of f, α and K, z-loss."""

    f: Callable[..., Array]
    names: tuple[str, ...]
    parameters_of_f: int
    smoothing: bool
    z_loss: bool

    def __call__(self, values: Any, row_mask: Array, of_loss: Any, parameters: Any) -> Array:
        of_f, amounts = parameters[: self.parameters_of_f], list(parameters[self.parameters_of_f :])
        smoothing = Smoothing(amounts.pop(0), amounts.pop(0)) if self.smoothing else None
        z_loss = amounts.pop(0) if self.z_loss else None
        numbers, (weight,) = dict(zip(self.names, values)), of_loss
        loss = loss_of_row(numbers, row_mask, Cost(self.f, of_f), weight, smoothing, z_loss)
        return loss[..., 0]


# The fields of SoftmaxStatistics in order, and the numbers of a row that they are made of.
NUMBERS = ("at_label", "logsumexp", "entropy", "argmax", "argmax", "rank")


@dataclass(frozen=True)
class GivenLoss:
    """A user's function of the statistics of one token and its data.

    Data of the token: the label, if there is one, then the leaves of what was given. Parameters:
    what the function closes over.
    """

    program: Any
    names: tuple[str, ...]
    labelled: bool
    structure: Any  # of the data

    def __call__(self, values: Any, row_mask: Array, of_loss: Any, parameters: Any) -> Array:
        left_out = row_mask[..., 0] == 0.0
        numbers = {n: _ordinary(left_out, v[..., 0]) for n, v in zip(self.names, values)}
        label, leaves = (of_loss[0], of_loss[1:]) if self.labelled else (None, of_loss)
        leaves = tuple(_ordinary(left_out, x) for x in leaves)

        def one(numbers: Any, label: Any, leaves: Any, closed_over: Any) -> Array:
            data = jax.tree.unflatten(self.structure, leaves)
            function = TracedFunction(self.program, closed_over)
            return function(_statistics(numbers, label, row_mask.dtype), *data)

        loss = at_each(one, left_out.ndim)(numbers, label, leaves, tuple(parameters))
        return apply_mask(row_mask[..., 0], loss.astype(row_mask.dtype))


def _ordinary(left_out: Array, x: Array) -> Array:
    """x; 1 for what is left out, which is seldom at the edge of a function's domain."""
    if not is_floating(x):
        return x
    return jnp.where(beside(left_out, x), jnp.ones((), x.dtype), x)


def _statistics(numbers: dict[str, Array], label: Array | None, dtype: Any) -> SoftmaxStatistics:
    """The statistics of one token; what the function does not look at is 0."""
    zero, first = jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
    argmax = numbers.get("argmax", first)
    return SoftmaxStatistics(
        None if label is None else 0.0 - numbers.get("at_label", zero),
        numbers.get("logsumexp", zero),
        numbers.get("entropy", zero),
        argmax,
        None if label is None else argmax == label,
        None if label is None else numbers.get("rank", first),
    )


def token_structs(dtype: Any, labelled: bool) -> SoftmaxStatistics:
    """The shapes of the statistics of one token."""
    number: Any = jax.ShapeDtypeStruct((), dtype)
    index: Any = jax.ShapeDtypeStruct((), jnp.int32)
    verdict: Any = jax.ShapeDtypeStruct((), jnp.bool_)
    return SoftmaxStatistics(
        number if labelled else None,
        number,
        number,
        index,
        verdict if labelled else None,
        index if labelled else None,
    )


def numbers_read(function: TracedFunction, labelled: bool) -> tuple[str, ...]:
    """The numbers of a row that the function looks at, in the order in which a row gives them."""
    numbers = NUMBERS if labelled else NUMBERS[1:4]
    read = {name for name, used in zip(numbers, function.reads) if used}
    return tuple(name for name in dict.fromkeys(NUMBERS) if name in read) or ("logsumexp",)
