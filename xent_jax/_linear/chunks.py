"""A scan over chunks of the tokens, and how many tokens a chunk holds."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .heads import Head

_BUDGET = 64 * 2**20


def chunk_size(tokens: int, head: Head) -> int:
    """Tokens per chunk: its float32 logits take 64 MiB, or a quarter of what dw takes if more."""
    features, classes = head.w.shape
    budget = max(_BUDGET // (4 * max(classes, 1)), features // 4, 1)
    return max(1, budget if not isinstance(tokens, int) else min(tokens, budget))


def shards_of_tokens(x: Array) -> int:
    """Over how many devices an explicit mesh splits the tokens: a chunk is a multiple of that."""
    sharding = jax.typeof(x).sharding
    names = sharding.spec[0]
    names = (names,) if isinstance(names, str) else names or ()
    return math.prod(sharding.mesh.shape[name] for name in names)


def in_chunks(
    chunk: int, step: Callable[..., tuple[Any, Any]], carry: Any, parts: Any
) -> tuple[Any, Any]:
    """jax.lax.scan of step over chunks of the tokens; the last one is filled up with left-out ones.

    A filler token is all zeros: its row mask and its weight leave it out. Chunk c takes the tokens
    c, c + count, …, so that every chunk is split over devices as the tokens are.
    """
    tokens = jax.tree.leaves(parts)[0].shape[0]
    if isinstance(tokens, int) and tokens <= chunk:
        return step(carry, parts)
    count = -(-tokens // chunk)
    fill = count * chunk - tokens
    filled = not isinstance(fill, int) or fill > 0

    def split(x: Array) -> Array:
        if filled:
            x = jnp.concatenate([x, jnp.zeros((fill, *x.shape[1:]), x.dtype)])
        return jnp.swapaxes(x.reshape(chunk, count, *x.shape[1:]), 0, 1)

    carry, results = jax.lax.scan(step, carry, jax.tree.map(split, parts))

    def join(x: Array) -> Array:
        whole = jnp.swapaxes(x, 0, 1).reshape(count * chunk, *x.shape[2:])
        return whole[:tokens] if filled else whole

    return carry, jax.tree.map(join, results)
