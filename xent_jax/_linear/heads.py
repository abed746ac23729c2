"""A linear head: its logits for some tokens, its matrix products, and their tangents."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from .._class_axes import across
from .._math.dtypes import compute_dtype, widen
from .._rows.row_function import RowFunction
from .._rows.row_state import finite_logits
from .traced_function import TracedFunction


class Head(NamedTuple):
    """A linear head: logits = x @ w + b for x (tokens…, D), w (D, classes), b (classes) or None."""

    x: Array
    w: Array
    b: Array | None


class Tokens(NamedTuple):
    """What a token brings besides x: its row mask (tokens…, 1), and data for the row function and
    for the loss, (tokens…, 1), (tokens…, k) or of any shape per token."""

    row_mask: Array
    data: tuple[Array, ...]
    of_loss: tuple[Array, ...] = ()


class Shaping(NamedTuple):
    """From x @ w + b to the logits: soft cap, any elementwise function, temperature, in order."""

    softcap: Array | None = None
    logits_fn: TracedFunction | None = None
    temperature: Array | None = None

    @property
    def is_nothing(self) -> bool:
        return all(part is None for part in self)

    def __call__(self, raw: Array) -> Array:
        if self.softcap is not None:  # finite, so that a slope of 0 meets no infinity
            raw = self.softcap * jnp.tanh(finite_logits(raw) / self.softcap)
        if self.logits_fn is not None:
            raw = self.logits_fn.at_each(raw.ndim - self.logits_fn.rank, raw)
        if self.temperature is None:
            return raw
        return jnp.where(
            jnp.isinf(raw), raw, jnp.where(jnp.isinf(raw), 0.0, raw) / self.temperature
        )


class Classes(NamedTuple):
    """What the classes bring: which of them exist (classes) or None, data for the row function,
    (1, classes) or (1, 1) for one number, and what shapes the logits."""

    kept: Array | None
    data: tuple[Array, ...] = ()
    shaping: Shaping = Shaping()


class Plan(NamedTuple):
    """What is computed from the logits of the heads: the values of a row function per token, and a
    loss, (values, row mask, data of the token, parameters per token) → number per token.

    The last `constants` of the values are not differentiated. `ignores` and `weighs` say whether
    the row mask and the weights may leave tokens out, `whole_rows` that the logits of a token are
    shaped together, `devices` how many split the tokens, None if nobody knows.
    """

    row: RowFunction
    loss: Callable[..., Array] | None = None
    chunk: int | None = None
    precision: Any = None
    class_axes: tuple[str, ...] = ()
    constants: int = 0
    ignores: bool = False
    weighs: bool = False
    whole_rows: bool = False
    devices: int | None = None

    def axes(self, z: Array) -> tuple[int | str, ...]:
        """The class axes of logits: the last one, and the axes of the mesh that split it."""
        return (z.ndim - 1, *self.class_axes)


def raw_logits(plan: Plan, head: Head) -> Array:
    """x @ w + b."""
    raw = product(plan, head.x, head.w, ((head.x.ndim - 1,), (0,)))
    return raw if head.b is None else raw + of_rank(widen(head.b), raw.ndim)


def shaped(classes: Classes, raw: Array) -> Array:
    """The logits, −inf for classes that do not exist."""
    z = classes.shaping(raw)
    return z if classes.kept is None else jnp.where(of_rank(classes.kept, z.ndim), z, -jnp.inf)


def logits_and_pull(
    classes: Classes, raw: Array
) -> tuple[Array, Callable[[Array], tuple[Array, Shaping | None]]]:
    """The logits, and what takes slopes by them to slopes by x @ w + b and by what shapes them."""
    if classes.shaping.is_nothing:  # the slope at a logit of −inf is 0 already
        return shaped(classes, raw), lambda g: (g, None)
    return jax.vjp(lambda raw, s: shaped(classes._replace(shaping=s), raw), raw, classes.shaping)


def of_rank(x: Array, rank: int) -> Array:
    """Data of the classes, (classes) or (1, classes), beside logits of that many axes."""
    return x.reshape((1,) * (rank - 1) + x.shape[-1:])


def product(plan: Plan, a: Array, b: Array, contracting: Any) -> Array:
    """A matrix product that adds up in the dtype of computation."""
    return lax.dot_general(
        a,
        b,
        (contracting, ((), ())),
        precision=plan.precision,
        preferred_element_type=compute_dtype(a),
    )


def slope_by_x(plan: Plan, g: Array, w: Array) -> Array:
    """g @ wᵀ for slopes g by the logits."""
    return product(plan, g, w, ((g.ndim - 1,), (1,)))


def slope_by_w(plan: Plan, x: Array, g: Array) -> Array:
    """xᵀ @ g, summed over all axes of the tokens."""
    tokens = tuple(range(x.ndim - 1))
    return product(plan, x, g, (tokens, tokens))


def moving(tangent: Any, wide: bool = True) -> Array | None:
    """The tangent, None if it is zero or that of integers."""
    if isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0:
        return None
    return widen(tangent) if wide else tangent


def raw_tangent(
    plan: Plan, head: Head, tx: Array | None, tw: Array | None, tb: Array | None
) -> Array | None:
    """tx @ w + x @ tw + tb, or None if nothing moves.

    The products are in the dtype of the operands, so that their transposes cast p − y to it.
    """
    x, w, _ = head
    parts = []
    if tx is not None:
        parts.append(widen(jnp.matmul(tx, w, precision=plan.precision)))
    if tw is not None:
        parts.append(widen(jnp.matmul(x, tw.astype(w.dtype), precision=plan.precision)))
    if tb is not None:
        parts.append(jnp.broadcast_to(of_rank(tb, x.ndim), (*x.shape[:-1], *tb.shape)))
    return reduce(operator.add, parts) if parts else None


def over_shards(plan: Plan, parts: list[Array], like: Array) -> Array:
    """The sum of the parts, over the shards of the classes too."""
    if not parts:
        return jnp.zeros_like(like)
    total = reduce(operator.add, parts)
    names = across(plan.class_axes)
    return lax.psum(total, names) if names else total
