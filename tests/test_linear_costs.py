"""What the linear row costs: matrix products, and no value of tokens times classes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .selection import cpu_program
from .tokens import draw, ids

TOKENS, FEATURES, CLASSES, CHUNK = 37, 16, 101, 8

CE, DENSE_CE = xent_jax.linear_softmax_cross_entropy, xent_jax.softmax_cross_entropy


X, W = draw(1, TOKENS, FEATURES), draw(2, FEATURES, CLASSES)


def lowered(f, *arguments):
    return jax.jit(f).lower(*arguments)


def products(f, *arguments):
    return len(re.findall(r"stablehlo\.dot_general", lowered(f, *arguments).as_text()))


def linear_of(reduction):
    labels = ids(9, CLASSES, TOKENS)
    return lambda x, w: jnp.sum(CE(x, w, labels, reduction=reduction, chunk_size=CHUNK))


@pytest.mark.parametrize(
    ("reduction", "wanted", "count"),
    [("mean", (0, 1), 3), ("mean", 0, 2), ("mean", 1, 2), (None, (0, 1), 4), (None, 0, 3)],
)
def test_matrix_products(reduction, wanted, count):
    """A gradient that nobody asks for is not computed."""
    f = linear_of(reduction)
    x, w = jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)
    assert products(f, x, w) == 1
    assert products(jax.value_and_grad(f, wanted), x, w) == count


def shapes_in(jaxpr):
    for equation in jaxpr.eqns:
        yield from (v.aval.shape for v in equation.outvars if hasattr(v.aval, "shape"))
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from shapes_in(inner)


def test_no_value_of_tokens_times_classes():
    f, x, w = linear_of("mean"), jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)
    g, slopes = linear_of(None), jax.grad(linear_of("mean"), (0, 1))
    batch = jnp.stack([x, x])
    for traced in (
        jax.make_jaxpr(slopes)(x, w),
        jax.make_jaxpr(jax.grad(g, (0, 1)))(x, w),
        jax.make_jaxpr(lambda x, w: jax.jvp(f, (x, w), (x, w)))(x, w),
        jax.make_jaxpr(lambda x, w: jax.jvp(g, (x, w), (x, w)))(x, w),
        jax.make_jaxpr(jax.vmap(slopes, (0, None)))(batch, w),
    ):
        sizes = [int(np.prod(s)) for s in shapes_in(traced.jaxpr) if CLASSES in s]
        assert sizes and max(sizes) < TOKENS * CLASSES, max(sizes)


@cpu_program
@pytest.mark.parametrize("reduction", ["mean", None])
def test_memory_at_a_large_vocabulary(reduction):
    """The dense logits would take 2 GiB."""
    x, w, y = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (
            ((4096, 256), "float32"),
            ((256, 131072), "float32"),
            ((4096,), "int32"),
        )
    )

    def loss(x, w, y):
        return jnp.mean(CE(x, w, y, reduction=reduction))

    compiled = lowered(jax.value_and_grad(loss, (0, 1)), x, w, y).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 300 * 2**20
