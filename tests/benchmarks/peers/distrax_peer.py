"""Distributions of distrax."""

import distrax
from distrax import Bernoulli, Categorical

from .peer import Peer

PEER = Peer(
    "distrax",
    distrax.__version__,
    {
        "softmax_cross_entropy/ids": lambda z, ids: -Categorical(logits=z).log_prob(ids),
        "softmax_entropy": lambda z: Categorical(logits=z).entropy(),
        "softmax_kl_divergence": lambda z, zq: Categorical(logits=z).kl_divergence(
            Categorical(logits=zq)
        ),
        "entropy": lambda p: Categorical(probs=p).entropy(),
        "kl_divergence": lambda p, q: Categorical(probs=p).kl_divergence(Categorical(probs=q)),
        "sigmoid_cross_entropy": lambda z, y: -Bernoulli(logits=z).log_prob(y),
    },
)
