"""The expressions that people write with jax.nn and jax.scipy.special."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_sigmoid, log_softmax
from jax.scipy.special import entr, kl_div, rel_entr, xlogy

from .peer import Peer


def _cross_entropy_of_ids(z: Array, ids: Array) -> Array:
    return -jnp.take_along_axis(log_softmax(z), jnp.asarray(ids)[..., None], -1)[..., 0]


def _softmax_entropy(z: Array) -> Array:
    log_p = log_softmax(z)
    return -jnp.sum(jnp.exp(log_p) * log_p, -1)


def _softmax_kl(z: Array, zq: Array) -> Array:
    log_p = log_softmax(z)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_softmax(zq)), -1)


def _kl(p: Array, q: Array) -> Array:
    """From JAX 0.12 on `kl_div` is exact for p near q; before, it adds roundings to `rel_entr`."""
    exact = tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 12)
    return jnp.sum((kl_div if exact else rel_entr)(p, q), -1)


def _js(p: Array, q: Array) -> Array:
    middle = (p + q) / 2
    return jnp.sum(rel_entr(p, middle) + rel_entr(q, middle), -1) / 2


def _focal_of_ids(z: Array, ids: Array) -> Array:
    cost = _cross_entropy_of_ids(z, ids)
    return (1 - jnp.exp(-cost)) ** 2 * cost


def _sigmoid_entropy(z: Array) -> Array:
    p = jax.nn.sigmoid(z)
    return -p * log_sigmoid(z) - (1 - p) * log_sigmoid(-z)


def _sigmoid_kl(z: Array, zq: Array) -> Array:
    p = jax.nn.sigmoid(z)
    of_one = p * (log_sigmoid(z) - log_sigmoid(zq))
    return of_one + (1 - p) * (log_sigmoid(-z) - log_sigmoid(-zq))


def _sigmoid_js(z: Array, zq: Array) -> Array:
    p, q = jax.nn.sigmoid(z), jax.nn.sigmoid(zq)
    middle = (p + q) / 2
    of_one = rel_entr(p, middle) + rel_entr(q, middle)
    return (of_one + rel_entr(1 - p, 1 - middle) + rel_entr(1 - q, 1 - middle)) / 2


PEER = Peer(
    "jax",
    jax.__version__,
    {
        "softmax_cross_entropy/ids": _cross_entropy_of_ids,
        "softmax_cross_entropy/soft": lambda z, y: -jnp.sum(y * log_softmax(z), -1),
        "softmax_entropy": _softmax_entropy,
        "softmax_kl_divergence": _softmax_kl,
        "softmax_js_divergence": lambda z, zq: _js(jax.nn.softmax(z), jax.nn.softmax(zq)),
        "entropy": lambda p: jnp.sum(entr(p), -1),
        "cross_entropy": lambda p, q: -jnp.sum(xlogy(p, q), -1),
        "kl_divergence": _kl,
        "js_divergence": _js,
        "sigmoid_cross_entropy": lambda z, y: -y * log_sigmoid(z) - (1 - y) * log_sigmoid(-z),
        "sigmoid_entropy": _sigmoid_entropy,
        "sigmoid_kl_divergence": _sigmoid_kl,
        "sigmoid_js_divergence": _sigmoid_js,
        "softmax_focal_loss/ids": _focal_of_ids,
    },
)
