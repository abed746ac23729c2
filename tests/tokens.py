"""Tokens for linear heads: seeded features, and class ids."""

import jax.numpy as jnp
import numpy as np


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def draw32(seed, *shape):
    return draw(seed, *shape).astype(np.float32)


def ids(seed, classes, *shape):
    return jnp.asarray(np.random.default_rng(seed).integers(0, classes, shape), jnp.int32)
