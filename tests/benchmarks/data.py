"""Seeded random inputs: constant ones would be folded by the compiler."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .settings import Shape

# Up to four inputs, two gradients, and what a peer writes in between.
_ARRAYS_ALIVE = 12


def inputs(shape: Shape, dtype: str, names: tuple[str, ...]) -> tuple[Array, ...]:
    """The named columns: logits z and zq, their softmaxes p and q, class ids."""
    return tuple(_column(name, shape, dtype) for name in names)


def _column(name: str, shape: Shape, dtype: str) -> Array:
    if name == "ids":
        ids = np.random.default_rng(2).integers(shape[1], size=shape[0], dtype=np.int32)
        return jnp.asarray(ids)
    seed = 0 if name in ("z", "p") else 1
    z = 2 * np.random.default_rng(seed).standard_normal(shape, np.float32)
    x = jnp.asarray(z) if name in ("z", "zq") else jax.nn.softmax(jnp.asarray(z))
    return jax.block_until_ready(x.astype(dtype))


def bytes_needed(shape: Shape, dtype: str) -> int:
    return _ARRAYS_ALIVE * shape[0] * shape[1] * jnp.dtype(dtype).itemsize
