"""A head, labels, and data of each token for losses of its statistics."""

import functools

import jax.numpy as jnp
import numpy as np

import xent_jax

from . import tokens

TOKENS, FEATURES, CLASSES, CHUNK = 37, 8, 23, 8
LOSS = functools.partial(xent_jax.linear_softmax_loss, chunk_size=CHUNK)


def draw(seed, *shape):
    return jnp.asarray(tokens.draw(seed, *shape))


def data(dtype="float64"):
    x, w, b = draw(0, TOKENS, FEATURES), draw(1, FEATURES, CLASSES), draw(2, CLASSES)
    advantage, old = draw(3, TOKENS), draw(4, TOKENS) - 3.0
    labels = jnp.asarray(np.random.default_rng(5).integers(0, CLASSES, TOKENS))
    return labels, [a.astype(dtype) for a in (x, w, b, advantage, old)]
