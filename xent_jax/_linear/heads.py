"""A linear head: its logits for some tokens, its matrix products, and their tangents."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from .._class_axes import Axes, is_sharded
from .._math.dtypes import compute_dtype, widen
from .._rows.row_function import RowFunction


class Head(NamedTuple):
    """A linear head: logits = x @ w + b for x (tokens, D), w (D, classes), b (classes) or None."""

    x: Array
    w: Array
    b: Array | None


class Tokens(NamedTuple):
    """What a token brings besides x: its row mask (tokens, 1), and data for the row function and
    for the loss, (tokens, 1) or (tokens, k)."""

    row_mask: Array
    data: tuple[Array, ...]
    of_loss: tuple[Array, ...] = ()


class Classes(NamedTuple):
    """What the classes bring: which of them exist (classes) or None, and data for the row function:
    (1, classes), or (1, 1) for one number."""

    kept: Array | None
    data: tuple[Array, ...]


class Plan(NamedTuple):
    """What is computed from the logits of the heads: the values of a row function per token, and a
    loss, (values, data of the token, parameters) → number per token."""

    row: RowFunction
    loss: Callable[..., Array] | None
    logits_fn: Callable[[Array], Array] | None
    chunk: int
    axes: Axes = (1,)


def chunk_logits(
    plan: Plan, classes: Classes, head: Head
) -> tuple[Array, Callable[[Array], Array]]:
    """The logits of a chunk, and what takes slopes by them to slopes by x @ w + b."""
    raw = product(head.x, head.w, ((1,), (0,)))
    if head.b is not None:
        raw = raw + widen(head.b)[None]

    def shape(raw: Array) -> Array:
        z = raw if plan.logits_fn is None else plan.logits_fn(raw)
        return z if classes.kept is None else jnp.where(classes.kept[None], z, -jnp.inf)

    if plan.logits_fn is None:
        return shape(raw), lambda g: g  # the slope at a logit of −inf is 0 already
    z, pull = jax.vjp(shape, raw)
    return z, lambda g: pull(g)[0]


def product(a: Array, b: Array, contracting: Any) -> Array:
    """A matrix product that adds up in the dtype of computation, split as its factors are."""
    out_sharding = None
    if is_sharded(a, b):  # under an explicit mesh, where a sum over shards wants to be asked for
        (kept_a,), (kept_b,) = ({0, 1} - {c} for (c,) in contracting)
        split, mesh = jax.typeof(a).sharding.spec[kept_a], jax.typeof(a).sharding.mesh
        out_sharding = NamedSharding(mesh, P(split, jax.typeof(b).sharding.spec[kept_b]))
    return jax.lax.dot_general(
        a,
        b,
        (contracting, ((), ())),
        preferred_element_type=compute_dtype(a),
        out_sharding=out_sharding,
    )


def moving(tangent: Any, wide: bool = True) -> Array | None:
    """The tangent, None if it is zero or that of integers."""
    if isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0:
        return None
    return widen(tangent) if wide else tangent


def logit_tangent(head: Head, tx: Array | None, tw: Array | None, tb: Array | None) -> Any:
    """tx @ w + x @ tw + tb, or None if nothing moves.

    The products are in the dtype of the operands, so that their transposes cast p − y to it.
    """
    x, w, _ = head
    parts = []
    if tx is not None:
        parts.append(widen(tx @ w))
    if tw is not None:
        parts.append(widen(x @ tw.astype(w.dtype)))
    if tb is not None:
        parts.append(jnp.broadcast_to(tb, (x.shape[0], *tb.shape)))
    return reduce(operator.add, parts) if parts else None
