"""Distributions of TensorFlow Probability on JAX."""

import tensorflow_probability.substrates.jax as tfp

from .peer import Peer

Categorical = tfp.distributions.Categorical
Bernoulli = tfp.distributions.Bernoulli

PEER = Peer(
    "tfp",
    tfp.__version__,
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
