"""Σ weight · loss over the tokens, with its gradients from the same pass.

The loss of a token is an ordinary function of the values of a row function. The tangent of the sum
is ⟨gradient, tangent of the argument⟩: both modes of AD and every order.
"""

import operator
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from .._rows.row_function import instantiate
from .gradients import (
    Arguments,
    constants_of,
    losses_of,
    meeting_logits,
    others,
    sum_and_gradients,
    unless_left_out,
)
from .heads import Plan, moving, over_shards
from .platforms import by_platform, limits_here
from .token_values import live_tokens, values_of_live


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def weighted_sum(plan: Plan, arguments: Arguments) -> tuple[Array, tuple[Array, ...]]:
    """Σ weight · loss over the tokens, and the constant values of each token."""
    heads, weights, tokens, classes, parameters = arguments
    live = live_tokens(plan, tokens, weights)
    values = values_of_live(plan, live, heads, tokens, classes)
    losses = losses_of(plan, values, tokens, parameters)
    return jnp.sum(weights * unless_left_out(losses, weights)), constants_of(plan, values)


@partial(weighted_sum.defjvp, symbolic_zeros=True)
def _weighted_sum_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    # For speed and memory: value and gradients in one pass over the tokens.
    total, constants, gradients = _with_gradients(plan, _wants(tangents[0]), *primals)
    still = tuple(map(zero_from_primal, constants))
    return (total, constants), (_pairing(plan, total, gradients, tangents[0]), still)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _wants(tangents: Arguments) -> tuple[bool, ...]:
    """Which arguments move, in the order of the leaves."""
    leaves = jax.tree.leaves(tangents, is_leaf=_is_zero)
    return tuple(moving(t) is not None for t in leaves)


def _pairing(plan: Plan, total: Array, gradients: Any, tangents: Arguments) -> Array:
    """⟨gradient, tangent⟩, over the arguments that have both."""

    def products(gradients: Any, tangents: Any) -> list[Array]:
        leaves = map(moving, jax.tree.leaves(tangents, is_leaf=_is_zero))
        pairs = zip(gradients, leaves, strict=True)
        # A float64 bias or datum of float32 logits does not widen the sum.
        return [
            jnp.sum(g.astype(total.dtype) * t.astype(total.dtype))
            for g, t in pairs
            if g is not None and t is not None
        ]

    # Every shard of the classes knows its part of the gradients by what meets the logits, and the
    # whole of the others.
    of_shard, of_whole = gradients
    parts = products(of_shard, meeting_logits(tangents))
    return reduce(
        operator.add, products(of_whole, others(tangents)), over_shards(plan, parts, total)
    )


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _with_gradients(
    plan: Plan, wanted: tuple[bool, ...], arguments: Arguments
) -> tuple[Array, tuple[Array, ...], Any]:
    """The weighted sum, the constants, and the gradients by the wanted leaves (else None).

    Those by heads, data of the row function and classes; and apart from them all others.
    """
    want = jax.tree.unflatten(jax.tree.structure(arguments), wanted)
    weights = None if want.weights else arguments.weights  # whose slope is the loss of each token
    live = live_tokens(plan, arguments.tokens, weights)
    compute = partial(sum_and_gradients, plan, want)
    return by_platform(plan, arguments.heads, live is not None, compute, arguments, live)


@partial(_with_gradients.defjvp, symbolic_zeros=True)
def _with_gradients_jvp(plan: Plan, wanted: Any, primals: Any, tangents: Any) -> Any:
    # The sum moves by the gradients that do not cancel; the gradients as their formula does.
    total, constants, gradients = _with_gradients(plan, wanted, *primals)
    slopes = _with_gradients(plan, _wants(tangents[0]), *primals)[2]
    moving_sum = _pairing(plan, total, slopes, tangents[0])
    full = jax.tree.map(instantiate, primals, tangents)
    want = jax.tree.unflatten(jax.tree.structure(primals[0]), wanted)
    limits = limits_here(plan, primals[0].heads)

    def again(arguments: Arguments) -> Any:
        found = sum_and_gradients(plan, want, limits, arguments, None, True)
        return found[2]

    moving_gradients = jax.jvp(again, primals, full)[1]
    still = tuple(map(zero_from_primal, constants))
    return (total, constants, gradients), (moving_sum, still, moving_gradients)
