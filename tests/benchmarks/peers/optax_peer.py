"""optax losses. Their divergences take log-probabilities, which the user has to make first."""

import jax.numpy as jnp
import optax
from jax.nn import log_softmax

from .peer import Peer

PEER = Peer(
    "optax",
    optax.__version__,
    {
        "softmax_cross_entropy/ids": optax.losses.softmax_cross_entropy_with_integer_labels,
        "softmax_cross_entropy/soft": optax.losses.softmax_cross_entropy,
        "softmax_kl_divergence": lambda z, zq: optax.losses.kl_divergence_with_log_targets(
            log_softmax(zq), log_softmax(z)
        ),
        "kl_divergence": lambda p, q: optax.losses.kl_divergence(jnp.log(q), p),
        "sigmoid_cross_entropy": optax.losses.sigmoid_binary_cross_entropy,
        "sigmoid_focal_loss": lambda z, y: optax.losses.sigmoid_focal_loss(z, y, gamma=2.0),
    },
)
