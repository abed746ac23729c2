"""Σ weight · loss over the tokens, with its gradients from the same pass: three matrix products.

The loss of a token is an ordinary function of the values of a row function. A chunk computes its
logits, the values, the derivatives of the loss by them, and with the partials of the values the
slopes by the logits: two more products and they are slopes by x and w. The tangent of the sum is
⟨gradient, tangent of the argument⟩, which gives both modes of AD and every order.
"""

import operator
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from .._class_axes import vary_like
from .._math.dtypes import compute_dtype, largest
from .._rows.row_function import instantiate
from .chunks import in_chunks
from .heads import Classes, Head, Plan, Tokens, chunk_logits, moving, product
from .token_values import inputs, over_shards, partials_of, token_values, values_and_residuals


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def weighted_sum(
    plan: Plan,
    heads: tuple[Head, ...],
    weights: Array,
    tokens: Tokens,
    classes: Classes,
    parameters: tuple[Array, ...],
) -> Array:
    """Σ weight · loss over the tokens. Weights: (tokens,); parameters of the loss: (1, 1) each."""
    losses = losses_of(plan, token_values(plan, heads, tokens, classes), tokens, parameters)
    return jnp.sum(weights * unless_left_out(losses[:, 0], weights))


def losses_of(
    plan: Plan, values: tuple[Array, ...], tokens: Tokens, parameters: tuple[Array, ...]
) -> Array:
    """The loss of each token, (tokens, 1): the only value where the plan has no loss."""
    if plan.loss is None:
        (value,) = values
        return value
    return plan.loss(values, tokens.row_mask, tokens.of_loss, parameters)


def unless_left_out(values: Array, weights: Array) -> Array:
    """The values, 0 for those that are not finite and have weight 0: 0·inf would be NaN."""
    return jnp.where((weights == 0.0) & ~jnp.isfinite(values), 0.0, values)


@partial(weighted_sum.defjvp, symbolic_zeros=True)
def _weighted_sum_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For speed and memory: value and gradients in one pass over the tokens.
    total, gradients = _with_gradients(plan, _wanted(tangents), *primals)
    return total, _pairing(plan, total, gradients, tangents)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _wanted(tangents: Any) -> tuple[bool, ...]:
    """Which arguments move, in the order of the leaves."""
    leaves = jax.tree.leaves(tangents, is_leaf=_is_zero)
    return tuple(moving(t) is not None for t in leaves)


def _pairing(plan: Plan, total: Array, gradients: Any, tangents: Any) -> Array:
    """⟨gradient, tangent⟩, over the arguments that have both."""

    def products(gradients: Any, tangents: Any) -> list[Array]:
        leaves = map(moving, jax.tree.leaves(tangents, is_leaf=_is_zero))
        pairs = zip(gradients, leaves, strict=True)
        return [jnp.sum(g * t) for g, t in pairs if g is not None and t is not None]

    # Every shard of the classes knows its part of the gradients by what meets the logits, and the
    # whole of the others.
    of_shard, of_whole = gradients
    heads, weights, tokens, classes, parameters = tangents
    parts = products(of_shard, (heads, tokens.data, classes))
    whole = products(of_whole, (weights, tokens.row_mask, tokens.of_loss, parameters))
    return reduce(operator.add, whole, over_shards(plan, parts, total))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _with_gradients(plan: Plan, wanted: tuple[bool, ...], *arguments: Any) -> tuple[Array, Any]:
    """The weighted sum, and its gradients by the wanted leaves of the arguments (else None).

    Those by heads, data of the row function and classes; and apart from them all others.
    """
    return _sum_and_gradients(plan, wanted, *arguments)


@partial(_with_gradients.defjvp, symbolic_zeros=True)
def _with_gradients_jvp(plan: Plan, wanted: Any, primals: Any, tangents: Any) -> Any:
    # The sum moves by the gradients that do not cancel; the gradients as their formula does.
    result = _with_gradients(plan, wanted, *primals)
    slopes = _with_gradients(plan, _wanted(tangents), *primals)[1]
    moving_sum = _pairing(plan, result[0], slopes, tangents)
    full = jax.tree.map(instantiate, primals, tangents)
    again = partial(_sum_and_gradients, plan, wanted, differentiated=True)
    return result, (moving_sum, jax.jvp(again, primals, full)[1][1])


def _sum_and_gradients(
    plan: Plan,
    wanted: tuple[bool, ...],
    *arguments: Any,
    differentiated: bool = False,
) -> tuple[Array, Any]:
    heads, weights, tokens, classes, parameters = arguments
    want_heads, want_weights, want_tokens, want_classes, want_parameters = jax.tree.unflatten(
        jax.tree.structure(arguments), wanted
    )

    def step(sums: Any, part: Any) -> tuple[Any, Any]:
        xs, weight, here = part
        here_heads = [h._replace(x=x) for h, x in zip(heads, xs, strict=True)]
        zs, pulls = zip(*(chunk_logits(plan, classes, h) for h in here_heads), strict=True)
        values, residuals = values_and_residuals(plan, zs, here, classes)

        def loss(values: Any, of_loss: Any, parameters: Any) -> Array:
            return losses_of(plan, values, here._replace(of_loss=of_loss), parameters)

        losses, pull = jax.vjp(loss, values, here.of_loss, parameters)
        by_values, by_data, by_parameters = pull(weight)
        left_out = weight == 0.0
        partials = partials_of(plan, residuals, zs, here, classes)
        slopes = _slopes(left_out, by_values, partials)
        dxs, new_sums = [], []
        of_heads, of_classes, of_parameters = sums
        for head, g, take, want, (dw, db) in zip(
            here_heads, slopes, pulls, want_heads, of_heads, strict=False
        ):
            g = take(g)
            cast = g.astype(head.w.dtype)
            dxs.append(product(cast, head.w, ((1,), (1,))) if want.x else None)
            if want.w:
                dw = dw + product(head.x, cast, ((0,), (0,)))
            if want.b:
                db = db + jnp.sum(g, 0)
            new_sums.append((dw, db))
        first = len(zs) + len(here.data)
        of_rows = _of_tokens(want_tokens.data, slopes[len(zs) : first], here.data)
        new_classes = _added(of_classes, slopes[first:])
        by_data = [
            _unless_undefined(left_out, g) if want else None
            for g, want in zip(by_data, want_tokens.of_loss, strict=True)
        ]
        new_parameters = [
            None if total is None else total + g
            for total, g in zip(of_parameters, by_parameters, strict=True)
        ]
        return (new_sums, new_classes, new_parameters), (losses[:, 0], dxs, of_rows, by_data)

    def zeros(x: Array | None, want: bool | None) -> Array | None:
        if x is None or not want:
            return None
        return vary_like(jnp.zeros_like(x, compute_dtype(x)), *jax.tree.leaves(arguments))

    of_heads = [(zeros(h.w, w.w), zeros(h.b, w.b)) for h, w in zip(heads, want_heads, strict=True)]
    of_classes = [zeros(x, w) for x, w in zip(classes.data, want_classes.data, strict=True)]
    of_parameters = [zeros(x, w) for x, w in zip(parameters, want_parameters, strict=True)]
    sums = (of_heads, of_classes, of_parameters)
    if differentiated:
        step = jax.checkpoint(step, prevent_cse=False)
    sums, (losses, dxs, of_rows, by_data) = in_chunks(
        plan.chunk, step, sums, (inputs(heads), weights[:, None], tokens)
    )
    of_heads, of_classes, of_parameters = sums
    by_heads = tuple(Head(dx, dw, db) for dx, (dw, db) in zip(dxs, of_heads, strict=True))
    of_shard = _leaves_like(
        (heads, tokens.data, classes),
        (by_heads, tuple(of_rows), Classes(None, tuple(of_classes))),
    )
    losses = unless_left_out(losses, weights)
    # An infinite slope is made finite, as those of the row functions are.
    by_weights = jnp.clip(losses, -largest(losses), largest(losses)) if want_weights else None
    of_whole = (by_weights, None, *by_data, *of_parameters)
    return jnp.sum(weights * losses), (of_shard, of_whole)


def _slopes(left_out: Array, by_values: Any, partials: Any) -> list[Array | None]:
    """Σ over the values of (derivative of the loss by it)·(its partial), for each argument."""
    floating = [g for g in by_values if g.dtype != jax.dtypes.float0]
    places = max(map(len, partials))
    found: list[Array | None] = []
    for i in range(places):
        terms = [
            g * of_value[i]
            for g, of_value in zip(floating, partials, strict=True)
            if i < len(of_value) and of_value[i] is not None
        ]
        total = reduce(operator.add, terms) if terms else None
        found.append(None if total is None else _unless_undefined(left_out, total))
    return found


def _unless_undefined(left_out: Array, slope: Array) -> Array:
    """The slope; 0 where weight 0 meets what is not finite: a finite one moves by its weight."""
    return jnp.where(left_out & ~jnp.isfinite(slope), 0.0, slope)


def _of_tokens(wanted: Any, slopes: list[Array | None], data: Any) -> list[Array | None]:
    """The gradients by the tokens' data: summed over the classes where there is one number each."""
    found = [
        (jnp.sum(g, 1, keepdims=True) if x.shape[1] == 1 else g) if want and g is not None else None
        for g, want, x in zip(slopes, wanted, data)
    ]
    return found + [None] * (len(data) - len(found))


def _added(sums: list[Array | None], slopes: list[Array | None]) -> list[Array | None]:
    """The sums over the tokens, and over the classes for one number that they share."""
    slopes = slopes + [None] * (len(sums) - len(slopes))
    return [
        total if total is None or g is None else total + _summed_to(total.shape, g)
        for total, g in zip(sums, slopes)
    ]


def _summed_to(shape: tuple[int, ...], x: Array) -> Array:
    return jnp.sum(x, axis=0 if shape[1] > 1 else None, keepdims=True)


def _leaves_like(arguments: Any, gradients: Any) -> tuple[Array | None, ...]:
    """One gradient, or None, for each leaf of the arguments."""
    structure = jax.tree.structure(arguments)
    return tuple(structure.flatten_up_to(gradients))
