"""The linear row against what it means: the dense row of all logits, in values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax._linear import reference

from .selection import usually

TOKENS, FEATURES, CLASSES = 13, 5, 11
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X, V, W, U, B = (
    normal(*shape)
    for shape in ((TOKENS, FEATURES), (TOKENS, FEATURES), (FEATURES, CLASSES))
    + ((FEATURES, CLASSES), (CLASSES,))
)
IDS = RNG.integers(0, CLASSES, TOKENS)
BITS = RNG.integers(0, 2, (TOKENS, CLASSES))
KEPT = np.arange(CLASSES) != 3
IDS = np.where(IDS == 3, 4, IDS)
SHAPES = {"softcap": 3.0, "logits_fn": lambda z: z + jnp.sin(z), "temperature": 0.7}
WEIGHED = {"weights": RNG.uniform(size=TOKENS).astype(np.float32), "reduction": "mean"}


def clipped(s, advantage):
    return 0.01 * s.logsumexp - jnp.minimum(jnp.exp(s.log_prob) * advantage, advantage) + s.entropy


# The function of x and w, its meaning as a function of logits, and options that both take.
ONE_HEAD = {
    "cross entropy": (
        lambda x, w, **o: xent_jax.linear_softmax_cross_entropy(x, w, IDS, **o),
        lambda z, **o: reference.dense_cross_entropy(z, IDS, **o),
        {"label_smoothing": 0.1, "class_weights": abs(B), "z_loss": 1e-2, "ignore_index": 4},
    ),
    "entropy": (xent_jax.linear_softmax_entropy, reference.dense_entropy, {"base": 2}),
    "loss": (
        lambda x, w, **o: xent_jax.linear_softmax_loss(clipped, x, w, IDS, B[0] * X[:, 0], **o),
        lambda z, **o: reference.dense_loss(clipped, z, IDS, B[0] * X[:, 0], **o),
        {},
    ),
    "sigmoid": (
        lambda x, w, **o: xent_jax.linear_sigmoid_cross_entropy(x, w, lambda y: y, BITS, **o),
        lambda z, **o: reference.dense_sigmoid_cross_entropy(z, BITS, **o),
        {"pos_weight": abs(B)},
    ),
}
TWO_HEADS = {
    "kl": (xent_jax.linear_softmax_kl_divergence, reference.dense_kl_divergence),
    "js": (xent_jax.linear_softmax_js_divergence, reference.dense_js_divergence),
}


def assert_alike(ours, meant, *arrays):
    got, want = (jax.jit(jax.value_and_grad(f, range(len(arrays))))(*arrays) for f in (ours, meant))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=4e-6 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize("name", usually(["loss"], ONE_HEAD))
def test_one_head(name):
    f, meaning, options = ONE_HEAD[name]
    options = {"where": KEPT, **options}
    mass = 1.0
    if name == "cross entropy":  # a mean counts the weights of the classes, of what is not ignored
        mass = jnp.where(IDS == 4, 0.0, abs(B)[IDS])

    def meant(x, w, b):
        values = meaning(reference.dense_logits(x, w, b, **SHAPES), **options)
        whole = jnp.sum(WEIGHED["weights"] * mass)
        return reference.dense_reduction(values, **WEIGHED, normalizer=whole)

    def ours(x, w, b):
        return f(x, w, b=b, chunk_size=4, **SHAPES, **options, **WEIGHED)

    assert_alike(ours, meant, X, W, B)


@pytest.mark.parametrize("name", usually(["kl"], TWO_HEADS))
def test_two_heads(name):
    f, meaning = TWO_HEADS[name]

    def meant(x, w, v, u):
        z, y = (reference.dense_logits(*head, **SHAPES) for head in ((x, w, B), (v, u, -B)))
        return reference.dense_reduction(meaning(z, y, where=KEPT), **WEIGHED)

    def ours(x, w, v, u):
        return f(x, w, v, u, bp=B, bq=-B, where=KEPT, chunk_size=4, **SHAPES, **WEIGHED)

    assert_alike(ours, meant, X, W, V, U)


def test_statistics():
    options = {"where": KEPT, "ignore_index": 4}
    ours = jax.jit(functools.partial(xent_jax.linear_softmax_statistics, chunk_size=4, **options))
    meant = reference.dense_statistics(reference.dense_logits(X, W), IDS, **options)
    for a, b in zip(ours(X, W, IDS), meant, strict=True):
        np.testing.assert_allclose(a, b, 4e-6, 4e-6)
