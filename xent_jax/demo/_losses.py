"""The losses to train with: plain cross entropy, and four that are made for imbalanced classes."""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

import xent_jax

Loss = Literal["cross-entropy", "weighted", "effective-number", "focal", "logit-adjusted"]
LOSSES: tuple[Loss, ...] = get_args(Loss)

BETA = 0.99  # examples of a class beyond about 100 add little to it
GAMMA = 2.0  # of Lin et al. 2017
TAU = 1.0  # consistent for the balanced accuracy: Menon et al. 2021


class Method(NamedTuple):
    """A loss w_y · (1 − p_y)^γ · (−log p_y) with p = softmax(logits + adjustment)."""

    class_weights: jax.Array  # w [classes]
    adjustment: jax.Array  # [classes], in nats; in training only
    gamma: jax.Array  # []


def method_of(loss: Loss, counts: np.ndarray) -> Method | None:
    """The method that a loss is, for classes that occur so often [classes]; None: cross entropy."""
    ones = jnp.ones(counts.shape, jnp.float32)
    plain = Method(ones, 0 * ones, jnp.zeros((), jnp.float32))
    match loss:
        case "cross-entropy":
            return None
        case "weighted":
            return plain._replace(class_weights=xent_jax.balanced_class_weights(counts))
        case "effective-number":
            weights = xent_jax.effective_number_weights(counts, beta=BETA)
            return plain._replace(class_weights=weights)
        case "focal":
            return plain._replace(gamma=plain.gamma + GAMMA)
        case "logit-adjusted":
            return plain._replace(adjustment=xent_jax.logit_adjustment(counts, tau=TAU))
