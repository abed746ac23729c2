"""Sums and maxima over the classes, each one fused pass over its inputs on every backend.

XLA on the CPU merges equal subexpressions of different passes before it fuses, and then writes
what they share, even the broadcast of a literal, as a whole N × V array. So a pass is anchored: to
its row data and its literals it adds a zero, a row of its own that XLA cannot see through. Passes
that are equal as a whole have equal anchors, and are still merged into one.
"""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Axes = tuple[int, ...]


def compute_dtype(x: Array) -> Any:
    """float64 for float64, float32 for everything narrower."""
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def widen(x: Array) -> Array:
    """x in the dtype of computation; integers and booleans are left alone."""
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(compute_dtype(x)) if floating else x


def class_sum(term: Callable[..., Array], *data: Any, axes: Axes) -> Array:
    """Σ over the class axes of term(*data), read in one pass; the axes stay, with size one.

    The data (arrays, or tuples of them) are widened inside the pass: no float32 copy of a bfloat16
    input is asked for.
    """
    return jnp.sum(anchored(term, axes)(*data), axis=axes, keepdims=True)


def class_max(term: Callable[..., Array], *data: Any, axes: Axes) -> Array:
    """The maximum over the class axes of term(*data); a constant to differentiation."""
    return jnp.max(anchored(term, axes)(*lax.stop_gradient(data)), axis=axes, keepdims=True)


def anchored(term: Callable[..., Any], axes: Axes) -> Callable[..., Any]:
    """term on widened data, with nothing in it that another pass could share."""

    def run(*data: Any) -> Any:
        data = jax.tree.map(widen, data)
        rows = [x for x in jax.tree.leaves(data) if _is_row(x, axes)]
        if not rows:
            return term(*data)
        zero = _zero(max(rows, key=lambda x: x.size), term.__qualname__)
        data = jax.tree.map(lambda x: x + zero.astype(x.dtype) if _is_row(x, axes) else x, data)
        closed, out = jax.make_jaxpr(term, return_shape=True)(*data)
        flat = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(data), zero)
        return jax.tree.unflatten(jax.tree.structure(out), flat)

    return run


def _is_row(x: Array, axes: Axes) -> bool:
    """Whether x holds one number for each row."""
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return bool(axes) and floating and all(x.shape[a] == 1 for a in axes)


def _zero(row: Array, name: str) -> Array:
    """A row of zeros that only the run shows to be zeros, another one for another name."""
    own = 1.0 + zlib.crc32(name.encode()) % 4096
    return lax.stop_gradient(jnp.minimum(jnp.abs(row) * own, 0.0))


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape


def _evaluate(jaxpr: Any, consts: Any, arguments: Any, zero: Array) -> list[Any]:
    """The value of a jaxpr with its floating literals c read as zero + c.

    Fractions are left as they are: the coefficients of a series stand in one pass alone, and
    XLA:CPU fuses no more than about a hundred operations.
    """
    known: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments]))

    def read(atom: Any, shape: tuple[int, ...]) -> Any:
        if not hasattr(atom, "val"):  # a variable, not a literal
            return known[atom]
        fits = len(shape) == zero.ndim and all(n in (1, m) for n, m in zip(zero.shape, shape))
        floating = jnp.ndim(atom.val) == 0 and jnp.result_type(atom.val) == zero.dtype
        if fits and floating and float(atom.val).is_integer():
            return jnp.broadcast_to(zero + atom.val, shape)
        return atom.val

    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr")
        if inner is not None:
            inputs = [read(x, ()) for x in equation.invars]
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs, zero)
        else:
            shape = _shape(equation.outvars[0])
            elementwise = any(_shape(x) == shape for x in equation.invars)
            inputs = [read(x, shape if elementwise else ()) for x in equation.invars]
            outputs = equation.primitive.bind(*inputs, **equation.params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        known |= zip(equation.outvars, outputs)
    return [read(x, ()) for x in jaxpr.outvars]
