"""Every public function under every transform, against plain calls and central differences.

One program for each function, compiled once, in float64: the differences need it. What the
transforms do at the edges is in tests/test_transforms_at_edges.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .calls import BATCH, CALLS, ONE_EACH, value_and_gradients
from .cases import QUICK
from .selection import slow, usually

STEP = 1e-5
# Its gradient holds the coefficient constant, with which it moves.
NO_DIFFERENCES = {"kl_estimate_with_error"}


def arrays_of(call):
    """In float64, and a direction for each floating one that moves no probability below 0."""
    rng = np.random.default_rng(1)
    arrays = [x.astype(np.float64) if x.dtype == np.float32 else x for x in call.arrays]
    return arrays, tuple(0.3 * x * rng.normal(size=x.shape) for x in floats_of(call, arrays))


def floats_of(call, arrays):
    return tuple(arrays[i] for i in call.floating)


def dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(a, b, strict=True))


def derivatives(call, every_way, arrays, v):
    """Value and gradient, the derivative along v and the Hessian product with v, each twice."""

    def of_floats(*floats):
        full = list(arrays)
        for place, x in zip(call.floating, floats, strict=True):
            full[place] = x
        return call(*full)

    def total(*floats):
        """A sum in which no entry weighs as another."""
        leaves = [
            x for x in jax.tree.leaves(of_floats(*floats)) if jnp.isdtype(x.dtype, "real floating")
        ]
        return sum(
            jnp.sum(jnp.sin(x) * jnp.linspace(0.5, 1.5, x.size).reshape(x.shape)) for x in leaves
        )

    floats = floats_of(call, arrays)
    every = tuple(range(len(floats)))
    total = jax.jit(total)  # traced once for all that follows
    gradient = jax.jit(jax.grad(total, every))
    recomputed = jax.grad(jax.checkpoint(total), every)
    primal, tangent = jax.jvp(total, floats, v)
    slopes, product = jax.jvp(gradient, floats, v)
    moved = jax.vmap(lambda s: recomputed(*(x + s * d for x, d in zip(floats, v, strict=True))))
    around = moved(STEP * jnp.arange(-1.0, 2.0))
    return {
        "values": (total(*floats), primal),
        "gradients": (slopes, [g[1] for g in around]),
        "along v": (dot(slopes, v), tangent),
        "Hessian products": (product,),
        "differences": [(g[2] - g[0]) / (2 * STEP) for g in around],
    } | (ways_of_second_order(total, floats, v) if every_way else {})


def ways_of_second_order(total, floats, v):
    """What differentiates in yet another order."""
    every = tuple(range(len(floats)))
    gradient = jax.grad(total, every)
    value, linear = jax.linearize(total, *floats)
    return {
        "linearized": (jax.jvp(total, floats, v), (value, linear(*v))),
        "second order": (
            jax.jvp(gradient, floats, v)[1],
            jax.grad(lambda *x: jax.jvp(total, x, v)[1], every)(*floats),
            jax.grad(lambda *x: dot(gradient(*x), v), every)(*floats),
        ),
    }


# Kin of others, and long to compile.
LONG = ("softmax_renyi", "softmax_tsallis", "renyi_divergence", "brier_dec", "linear_softmax_js")
DERIVED = [
    pytest.param(
        c,
        False,
        id=str(c),
        marks=() if c in ONE_EACH and not c.name.startswith(LONG) else pytest.mark.slow,
    )
    for c in CALLS
    if c.floating
] + [
    slow(c, True, id=f"{c} in every way")
    for c in ONE_EACH
    if c.floating and not c.name.startswith(LONG)
]


def close(got, want, tolerance, absolute=None):
    """Each entry, or rather each array to its largest."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        size = np.abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, tolerance, absolute or tolerance * size)


@pytest.mark.parametrize("call, every_way", DERIVED)
def test_derivatives_agree(call, every_way):
    """Forward, reverse, checkpointed, batched; linearized and of second order in every way."""
    with jax.enable_x64(True):
        arrays, v = arrays_of(call)
        run = jax.jit(functools.partial(derivatives, call, every_way), compiler_options=QUICK)
        found = jax.tree.map(np.asarray, run(arrays, v))
    differences = found.pop("differences")
    for first, *others in found.values():
        for other in others:
            close(other, first, 1e-10, 1e-13)
    if call.name not in NO_DIFFERENCES:
        close(found["Hessian products"][0], differences, 1e-6, 1e-8)


@pytest.mark.parametrize(
    "call",
    usually(
        [c for c in ONE_EACH if not c.name.startswith(LONG)], [c for c in CALLS if 0 in c.rows]
    ),
    ids=str,
)
def test_vmap_is_a_loop_of_plain_calls(call):
    """Of value and gradients, over the examples: a scan calls them one after another."""
    examples = functools.partial(value_and_gradients, call)

    def alone(arrays, i):
        row = [x if axis is None else x[i] for x, axis in zip(arrays, call.rows, strict=True)]
        return examples(*row)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(arrays):
        loop = jax.lax.map(functools.partial(alone, arrays), jnp.arange(BATCH))
        return jax.vmap(examples, call.rows)(*arrays), loop

    close(*run([jnp.asarray(x) for x in call.arrays]), 1e-5, 1e-6)
