"""What the functions of the linear row mean: those of the dense row, of logits x @ w + b.

They form all logits, and are what tests compare with.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..sigmoid import sigmoid_cross_entropy
from ..softmax import (
    softmax_cross_entropy,
    softmax_entropy,
    softmax_js_divergence,
    softmax_kl_divergence,
)
from ..statistics import softmax_statistics


def dense_logits(
    x: Array,
    w: Array,
    b: Any = 0.0,
    softcap: Any = None,
    logits_fn: Callable[[Array], Array] | None = None,
    temperature: Any = None,
) -> Array:
    z = jnp.matmul(x, w, preferred_element_type=jnp.float32)
    z = z + jnp.broadcast_to(b, z.shape)
    z = z if softcap is None else softcap * jnp.tanh(z / softcap)
    z = z if logits_fn is None else logits_fn(z)
    return z if temperature is None else z / temperature


def dense_cross_entropy(z: Array, labels: Array, **options: Any) -> Array:
    return softmax_cross_entropy(z, labels, **options)


def dense_entropy(z: Array, **options: Any) -> Array:
    return softmax_entropy(z, **options)


def dense_kl_divergence(zp: Array, zq: Array, **options: Any) -> Array:
    return softmax_kl_divergence(zp, zq, **options)


def dense_js_divergence(zp: Array, zq: Array, **options: Any) -> Array:
    return softmax_js_divergence(zp, zq, **options)


def dense_statistics(z: Array, labels: Array | None = None, **options: Any) -> Any:
    return softmax_statistics(z, labels, **options)


def dense_loss(
    loss_fn: Callable[..., Array], z: Array, labels: Array | None, *data: Array, **options: Any
) -> Array:
    """Data with the axes of the tokens first."""
    one = loss_fn
    for _ in z.shape[:-1]:
        one = jax.vmap(one)
    return one(softmax_statistics(z, labels, **options), *data)


def dense_sigmoid_cross_entropy(
    z: Array, labels: Array, where: Any = None, **options: Any
) -> Array:
    """Labels 0 and 1, or their probabilities, of all classes."""
    where = None if where is None else jnp.broadcast_to(where, z.shape)
    return jnp.sum(sigmoid_cross_entropy(z, labels, where=where, **options), axis=-1)


def dense_reduction(
    values: Array, reduction: str | None = None, weights: Any = 1.0, normalizer: Any = None
) -> Array:
    weighed = weights * values
    if reduction is None:
        return weighed
    if reduction == "sum":
        return jnp.sum(weighed)
    whole = jnp.sum(jnp.broadcast_to(weights, values.shape)) if normalizer is None else normalizer
    return jnp.sum(weighed) / whole
