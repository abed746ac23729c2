"""optax losses. Their divergences take log-probabilities, which the user has to make first."""

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.nn import log_softmax

from ..functions import SMOOTHING
from .peer import Peer


def _cross_entropy_of_smoothed(z: Array, ids: Array) -> Array:
    hot = jax.nn.one_hot(ids, z.shape[-1], dtype=z.dtype)
    return optax.losses.softmax_cross_entropy(z, optax.losses.smooth_labels(hot, SMOOTHING))


PEER = Peer(
    "optax",
    optax.__version__,
    {
        "softmax_cross_entropy/ids": optax.losses.softmax_cross_entropy_with_integer_labels,
        "softmax_cross_entropy/smoothed": _cross_entropy_of_smoothed,
        "softmax_cross_entropy/soft": optax.losses.softmax_cross_entropy,
        "softmax_kl_divergence": lambda z, zq: optax.losses.kl_divergence_with_log_targets(
            log_softmax(zq), log_softmax(z)
        ),
        "kl_divergence": lambda p, q: optax.losses.kl_divergence(jnp.log(q), p),
        "sigmoid_cross_entropy": optax.losses.sigmoid_binary_cross_entropy,
        "sigmoid_focal_loss": lambda z, y: optax.losses.sigmoid_focal_loss(z, y, gamma=2.0),
    },
)
