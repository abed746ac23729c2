"""The losses to train with: plain cross entropy, and four that are made for imbalanced classes."""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

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


def method(loss: Loss, counts: jax.Array) -> Method:
    """The method that a loss is, for classes that occur so often [classes] in training."""
    ones, zeros = jnp.ones(counts.shape, jnp.float32), jnp.zeros(counts.shape, jnp.float32)
    plain = Method(ones, zeros, jnp.zeros((), jnp.float32))
    match loss:
        case "cross-entropy":
            return plain
        case "weighted":
            return plain._replace(class_weights=xent_jax.balanced_class_weights(counts))
        case "effective-number":
            return plain._replace(class_weights=xent_jax.effective_number_weights(counts, BETA))
        case "focal":
            return plain._replace(gamma=jnp.full((), GAMMA, jnp.float32))
        case "logit-adjusted":
            return plain._replace(adjustment=xent_jax.logit_adjustment(counts, TAU))


def method_of(loss: Loss, y: jax.Array, classes: int, width: int) -> Method | None:
    """The method for these training labels, of the given width; None for plain cross entropy."""
    if loss == "cross-entropy":
        return None
    weights, adjustment, gamma = method(loss, xent_jax.class_frequencies(y, classes))
    padding = (0, width - classes)  # columns that are no classes
    return Method(jnp.pad(weights, padding), jnp.pad(adjustment, padding), gamma)
