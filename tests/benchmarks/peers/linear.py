"""What others offer for the mean cross entropy of a linear head, as functions (x, w, labels)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array


def _optax(x: Array, w: Array, labels: Array) -> Array:
    logits = jnp.matmul(x, w, preferred_element_type=jnp.float32)
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels))


def _load() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {"optax, dense": _optax}
    try:
        from tokamax import linear_softmax_cross_entropy_loss as tokamax_loss

        found["tokamax"] = lambda x, w, labels: tokamax_loss(x, labels, w, reduction="mean")
    except ImportError:
        pass
    return found


PEERS = _load()
