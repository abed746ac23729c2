"""Row functions of logits x @ w + b that never exist as a whole: chunk after chunk of the tokens.

A chunk has all its logits, so that the dense row functions serve it as they are; what they say
about a chunk is all that is kept. Every derivative is a custom_jvp, which gives both modes of AD
and every order, in one of two forms:

- a weighted sum over the tokens computes its gradients in the pass that computes its value: three
  matrix products in all, and the tangent is ⟨gradient, tangent of the argument⟩;
- values per token have a tangent computed chunk by chunk, under jax.checkpoint: its transpose
  computes the logits again, four matrix products in all.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ._blocks import Axes, across, in_blocks, is_sharded
from ._numerics import compute_dtype, largest, widen
from ._rows import RowFunction, instantiate

_BUDGET = 64 * 2**20


class Head(NamedTuple):
    """A linear head: logits = x @ w + b for x (tokens, D), w (D, classes), b (classes) or None."""

    x: Array
    w: Array
    b: Array | None


class Tokens(NamedTuple):
    """What a token brings besides x: the verdict on it (tokens, 1), and data for the formula."""

    verdict: Array
    data: tuple[Array, ...]


class Classes(NamedTuple):
    """What the classes bring: which of them exist (classes) or None, and data for the formula."""

    kept: Array | None
    data: tuple[Array, ...]


@dataclass(frozen=True)
class Plan:
    """What is computed from the logits of the heads: row functions, each of the same arguments."""

    rows: tuple[RowFunction, ...]
    logits_fn: Callable[[Array], Array] | None
    chunk: int
    axes: Axes = (1,)


def chunk_size(tokens: int, head: Head) -> int:
    """Tokens per chunk: its float32 logits take 64 MiB, or a quarter of what dw takes if more."""
    features, classes = head.w.shape
    budget = max(_BUDGET // (4 * max(classes, 1)), features // 4, 1)
    return max(1, min(tokens, budget))


def shards_of_tokens(x: Array) -> int:
    """Over how many devices an explicit mesh splits the tokens: a chunk is a multiple of that."""
    sharding = jax.typeof(x).sharding
    names = sharding.spec[0]
    names = (names,) if isinstance(names, str) else names or ()
    return math.prod(sharding.mesh.shape[name] for name in names)


def token_values(
    plan: Plan, heads: tuple[Head, ...], tokens: Tokens, classes: Classes
) -> tuple[Array, ...]:
    """The value of each row function, one number per token: shapes (tokens,)."""
    return tuple(v[:, 0] for v in _token_values(plan, heads, tokens, classes))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _token_values(plan: Plan, heads: Any, tokens: Tokens, classes: Classes) -> tuple[Array, ...]:
    def values(_: Any, part: tuple[Any, Tokens]) -> tuple[Any, tuple[Array, ...]]:
        xs, here = part
        zs = [_logits(plan, classes, h._replace(x=x))[0] for h, x in zip(heads, xs, strict=True)]
        return (), tuple(_value(plan, row, zs, here, classes)[0] for row in plan.rows)

    return _in_chunks(plan, values, (), (_inputs(heads), tokens))[1]


@partial(_token_values.defjvp, symbolic_zeros=True)
def _token_values_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    # For memory: neither logits nor slopes are kept, and for the slopes that do not cancel.
    heads, tokens, classes = primals
    moving_heads, moving_tokens, _ = tangents
    # Their cotangents add up over the chunks: in the dtype of computation.
    wide = [(_moving(t.w), None if t.b is None else _moving(t.b)) for t in moving_heads]

    @partial(jax.checkpoint, prevent_cse=False)
    def moved(_: Any, part: Any) -> tuple[Any, tuple[Array, ...]]:
        xs, here, moving_xs, moving_data = part
        here_heads = [h._replace(x=x) for h, x in zip(heads, xs, strict=True)]
        zs, pulls = zip(*(_logits(plan, classes, h) for h in here_heads))
        steps = [
            _logit_tangent(h, tx, tw, tb)
            for h, tx, (tw, tb) in zip(here_heads, moving_xs, wide, strict=True)
        ]
        results = []
        for row in plan.rows:
            value, numbers = _value(plan, row, zs, here, classes, fused=False)
            slopes = _slopes(plan, row, value, numbers, zs, here, classes)
            of_logits = [pull(g) for pull, g in zip(pulls, slopes)]
            pairs = [*zip(of_logits, steps), *zip(slopes[len(zs) :], moving_data)]
            products = [jnp.sum(g * widen(t), 1, keepdims=True) for g, t in pairs if t is not None]
            results.append(_over_shards(plan, products, value))
        return (), tuple(results)

    moving_xs = tuple(_moving(t.x, wide=False) for t in moving_heads)
    moving_data = tuple(map(_moving, moving_tokens.data))
    parts = (_inputs(heads), tokens, moving_xs, moving_data)
    return _token_values(plan, *primals), _in_chunks(plan, moved, (), parts)[1]


def _moving(tangent: Any, wide: bool = True) -> Array | None:
    """The tangent, None if it is zero or that of integers."""
    if isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0:
        return None
    return widen(tangent) if wide else tangent


def _logit_tangent(head: Head, tx: Array | None, tw: Array | None, tb: Array | None) -> Any:
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


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def weighted_sum(
    plan: Plan, heads: tuple[Head, ...], weights: Array, tokens: Tokens, classes: Classes
) -> Array:
    """Σ weight · value over the tokens, of the one row function of the plan. Weights: (tokens,)."""
    (values,) = token_values(plan, heads, tokens, classes)
    return jnp.sum(weights * unless_left_out(values, weights))


@partial(weighted_sum.defjvp, symbolic_zeros=True)
def _weighted_sum_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For speed and memory: value and gradients in one pass over the tokens.
    total, gradients = _with_gradients(plan, _wanted(tangents), *primals)
    return total, _pairing(plan, total, gradients, tangents)


def unless_left_out(values: Array, weights: Array) -> Array:
    """The values, 0 for those that are not finite and have weight 0: 0·inf would be NaN."""
    return jnp.where((weights == 0.0) & ~jnp.isfinite(values), 0.0, values)


def _wanted(tangents: Any) -> tuple[bool, ...]:
    """Which arguments move, in the order of the leaves of (heads, weights, tokens, classes)."""
    leaves = jax.tree.leaves(tangents, is_leaf=lambda t: isinstance(t, SymbolicZero))
    return tuple(_moving(t) is not None for t in leaves)


def _pairing(plan: Plan, total: Array, gradients: Any, tangents: Any) -> Array:
    """⟨gradient, tangent⟩, over the arguments that have both."""

    def products(gradients: Any, tangents: Any) -> list[Array]:
        leaves = jax.tree.leaves(tangents, is_leaf=lambda t: isinstance(t, SymbolicZero))
        moving = zip(gradients, map(_moving, leaves), strict=True)
        return [jnp.sum(g * t) for g, t in moving if g is not None and t is not None]

    # Every shard of the classes knows its part of each gradient, and all of that by the weights.
    by_arguments, (by_weights,) = gradients
    heads, weights, *others = tangents
    parts = products(by_arguments, (heads, *others))
    whole = products([by_weights], weights)
    return reduce(operator.add, whole, _over_shards(plan, parts, total))


def _over_shards(plan: Plan, parts: list[Array], like: Array) -> Array:
    """The sum of the parts, over the shards of the classes too."""
    if not parts:
        return jnp.zeros_like(like)
    total = reduce(operator.add, parts)
    return jax.lax.psum(total, across(plan.axes)) if across(plan.axes) else total


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _with_gradients(
    plan: Plan, wanted: tuple[bool, ...], heads: Any, weights: Array, tokens: Tokens,
    classes: Classes,
) -> tuple[Array, Any]:  # fmt: skip
    """The weighted sum, and its gradients by the wanted leaves of the arguments (else None):

    by heads, tokens and classes, and apart from them by the weights.
    """
    return _sum_and_gradients(plan, wanted, heads, weights, tokens, classes, True)


@partial(_with_gradients.defjvp, symbolic_zeros=True)
def _with_gradients_jvp(plan: Plan, wanted: Any, primals: Any, tangents: Any) -> Any:
    # The sum moves by the gradients that do not cancel; the gradients as their formula does.
    result = _with_gradients(plan, wanted, *primals)
    slopes = _with_gradients(plan, _wanted(tangents), *primals)[1]
    moved_sum = _pairing(plan, result[0], slopes, tangents)
    full = jax.tree.map(instantiate, primals, tangents)
    plain = partial(_sum_and_gradients, plan, wanted, fused=False)
    moved = jax.jvp(plain, primals, full)[1][1]
    return result, (moved_sum, moved)


def _sum_and_gradients(
    plan: Plan, wanted: tuple[bool, ...], heads: Any, weights: Array, tokens: Tokens,
    classes: Classes, fused: bool,
) -> tuple[Array, Any]:  # fmt: skip
    arguments = (heads, weights, tokens, classes)
    flags = jax.tree.unflatten(jax.tree.structure(arguments), wanted)
    want_heads, want_weights, want_tokens, _ = flags
    (row,) = plan.rows

    def step(sums: Any, part: Any) -> tuple[Any, Any]:
        xs, weight, here = part
        zs, pulls = zip(
            *(_logits(plan, classes, h._replace(x=x)) for h, x in zip(heads, xs, strict=True))
        )
        value, numbers = _value(plan, row, zs, here, classes, fused)
        left_out = weight == 0.0
        slopes = _slopes(plan, row, value, numbers, zs, here, classes)
        slopes = [jnp.where(left_out, 0.0, weight * g) for g in slopes]
        dxs, new_sums = [], []
        for head, x, pull, g, want, (dw, db) in zip(
            heads, xs, pulls, slopes, want_heads, sums, strict=False
        ):
            g = pull(g)
            cast = g.astype(head.w.dtype)
            dxs.append(_product(cast, head.w, ((1,), (1,))) if want.x else None)
            if want.w:
                dw = dw + _product(x, cast, ((0,), (0,)))
            if want.b:
                db = db + jnp.sum(g, 0)
            new_sums.append((dw, db))
        of_data = [
            jnp.sum(g, 1, keepdims=True) if want and x.shape[1] == 1 else g if want else None
            for g, x, want in zip(slopes[len(zs) :], here.data, want_tokens.data)
        ]
        of_data += [None] * (len(here.data) - len(of_data))
        return new_sums, (value[:, 0], dxs, of_data)

    def zeros(x: Array | None, want: bool | None) -> Array | None:
        if x is None or not want:
            return None
        return _varying(jnp.zeros_like(x, compute_dtype(x)), arguments)

    sums = [(zeros(h.w, w.w), zeros(h.b, w.b)) for h, w in zip(heads, want_heads, strict=True)]
    if not fused:
        step = jax.checkpoint(step, prevent_cse=False)
    sums, (values, dxs, of_data) = _in_chunks(
        plan, step, sums, (_inputs(heads), weights[:, None], tokens)
    )
    by_heads = tuple(Head(dx, dw, db) for dx, (dw, db) in zip(dxs, sums, strict=True))
    by_arguments = (by_heads, Tokens(None, tuple(of_data)), _nothing(classes))  # type: ignore[arg-type]
    gradients = _leaves_like((heads, tokens, classes), by_arguments)
    values = unless_left_out(values, weights)
    # An infinite slope is made finite, as those of the row functions are.
    by_weights = jnp.clip(values, -largest(values), largest(values)) if want_weights else None
    return jnp.sum(weights * values), (gradients, (by_weights,))


def _varying(x: Array, like: Any) -> Array:
    """x, typed as varying over the mesh axes over which anything in `like` does (in shard_map)."""
    axes = frozenset().union(
        *(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(like))
    )
    missing = tuple(axes - jax.typeof(x).manual_axis_type.varying)
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def _nothing(tree: Any) -> Any:
    return jax.tree.map(lambda _: None, tree)


def _leaves_like(arguments: Any, gradients: Any) -> tuple[Array | None, ...]:
    """One gradient, or None, for each leaf of the arguments."""
    structure = jax.tree.structure(arguments)
    return tuple(structure.flatten_up_to(gradients))


def _product(a: Array, b: Array, contracting: Any) -> Array:
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


def _inputs(heads: tuple[Head, ...]) -> tuple[Array, ...]:
    return tuple(h.x for h in heads)


def _logits(plan: Plan, classes: Classes, head: Head) -> tuple[Array, Callable[[Array], Array]]:
    """The logits of a chunk, and what takes slopes by them to slopes by x @ w + b."""
    raw = _product(head.x, head.w, ((1,), (0,)))
    if head.b is not None:
        raw = raw + widen(head.b)[None]

    def shape(raw: Array) -> Array:
        z = raw if plan.logits_fn is None else plan.logits_fn(raw)
        return z if classes.kept is None else jnp.where(classes.kept[None], z, -jnp.inf)

    if plan.logits_fn is None:
        return shape(raw), lambda g: g  # the slope at a logit of −inf is 0 already
    z, pull = jax.vjp(shape, raw)
    return z, lambda g: pull(g)[0]


def _value(
    plan: Plan, row: RowFunction, zs: Any, here: Tokens, classes: Classes, fused: bool = True
) -> tuple[Array, Any]:
    data = (here.verdict, *zs, *here.data, *classes.data)
    return in_blocks(row.judged, plan.axes, *data) if fused else row.judged(plan.axes, *data)


def _slopes(
    plan: Plan, row: RowFunction, value: Array, numbers: Any, zs: Any, here: Tokens,
    classes: Classes,
) -> list[Array]:  # fmt: skip
    data = (*zs, *here.data, *classes.data)
    return row.judged_slopes(plan.axes, here.verdict, value, numbers, *data)


def _in_chunks(
    plan: Plan, step: Callable[..., tuple[Any, Any]], carry: Any, parts: Any
) -> tuple[Any, Any]:
    """jax.lax.scan of step over chunks of the tokens; the last one is filled up with left-out ones.

    A filler token is all zeros: its verdict and its weight leave it out. Chunk c takes the tokens
    c, c + count, …, so that every chunk is split over devices as the tokens are.
    """
    tokens = jax.tree.leaves(parts)[0].shape[0]
    if tokens <= plan.chunk:
        return step(carry, parts)
    count = -(-tokens // plan.chunk)
    fill = count * plan.chunk - tokens

    def split(x: Array) -> Array:
        if fill:
            x = jnp.pad(x, [(0, fill)] + [(0, 0)] * (x.ndim - 1))
        return jnp.swapaxes(x.reshape(plan.chunk, count, *x.shape[1:]), 0, 1)

    carry, results = jax.lax.scan(step, carry, jax.tree.map(split, parts))

    def join(x: Array) -> Array:
        whole = jnp.swapaxes(x, 0, 1).reshape(count * plan.chunk, *x.shape[2:])
        return whole[:tokens] if fill else whole

    return carry, jax.tree.map(join, results)
