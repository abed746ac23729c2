"""Seeded random inputs: constant ones would be folded by the compiler."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from .settings import Shape

# Up to four inputs, two gradients, and what a peer writes in between.
_ARRAYS_ALIVE = 12


def inputs(shape: Shape, dtype: str, names: tuple[str, ...]) -> tuple[Array, ...]:
    """The named columns: logits z and zq, their softmaxes p and q, class ids."""
    return tuple(_column(name, shape, dtype) for name in names)


def _column(name: str, shape: Shape, dtype: str) -> Array:
    if name == "ids":
        return jax.random.randint(jax.random.key(2), shape[:1], 0, shape[1])
    return jax.block_until_ready(_rows(name in ("p", "q"), shape, dtype, int(name in ("zq", "q"))))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _rows(probabilities: bool, shape: Shape, dtype: str, seed: int) -> Array:
    z = 2 * jax.random.normal(jax.random.key(seed), shape)
    return (jax.nn.softmax(z) if probabilities else z).astype(dtype)


def bytes_needed(shape: Shape, dtype: str) -> int:
    return _ARRAYS_ALIVE * shape[0] * shape[1] * jnp.dtype(dtype).itemsize
