"""What a fitted model is worth, in nats and bits: the measures, and the lines that show them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import xent_jax

from ._data import Dataset
from ._fit import Params
from ._losses import Loss


class Measures(NamedTuple):
    """Means over one part of the data, entropies in nats."""

    cross_entropy: float
    label_entropy: float  # H(labels): of the labels of equal inputs
    kl_divergence: float  # KL(labels‖model): what the cross entropy has on top of it
    model_entropy: float  # of the model's own predictions
    prior_cross_entropy: float  # of always predicting the class frequencies of the training part
    accuracy: float
    balanced_accuracy: float  # the mean of the recalls of the classes
    confusion: np.ndarray  # [classes, classes], counts: true class, predicted class


def measure(params: Params, data: Dataset) -> dict[str, Measures]:
    """The measures of the training part and of the test part."""
    counts = np.bincount(data.y_train).astype(np.float32)
    log_prior = np.log(counts / counts.sum())
    parts = {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}
    return {name: _measure(params, x, y, log_prior) for name, (x, y) in parts.items()}


def _measure(params: Params, x: np.ndarray, y: np.ndarray, log_prior: np.ndarray) -> Measures:
    logits = params.logits(jnp.asarray(x))
    labels = label_distributions(x, y, len(log_prior))
    prior_logits = np.broadcast_to(log_prior, logits.shape)
    confusion = np.zeros((len(log_prior), len(log_prior)), int)
    np.add.at(confusion, (y, np.argmax(logits, axis=-1)), 1)
    hits, rows = np.diagonal(confusion), confusion.sum(axis=1)
    return Measures(
        cross_entropy=_mean(xent_jax.softmax_cross_entropy(logits, y)),
        label_entropy=_mean(xent_jax.entropy(labels)),
        kl_divergence=_mean(xent_jax.softmax_kl_divergence(jnp.log(labels), logits)),
        model_entropy=_mean(xent_jax.softmax_entropy(logits)),
        prior_cross_entropy=_mean(xent_jax.softmax_cross_entropy(prior_logits, y)),
        accuracy=hits.sum() / len(y),
        balanced_accuracy=np.mean(hits / rows),
        confusion=confusion,
    )


def _mean(values: jax.Array) -> float:
    return float(np.asarray(values).mean(dtype=np.float64))


def label_distributions(x: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """The distribution over classes [N, classes] of the labels that equal rows of ``x`` carry.

    One-hot where an input occurs once. Where it occurs with several labels no model can tell them
    apart, and the entropy of this distribution is the least cross entropy there.
    """
    _, group = np.unique(x, axis=0, return_inverse=True)
    group = group.ravel()  # NumPy 2.0 returns a column
    counts = np.zeros((group.max() + 1, classes), np.float32)
    np.add.at(counts, (group, y), 1)
    return (counts / counts.sum(axis=1, keepdims=True))[group]


def summary(parts: dict[str, Measures], loss: Loss) -> str:
    """The measures as a table, and lines that say what they are of."""
    columns = [_column(measures) for measures in parts.values()]
    lines = [f"{'':32}" + "".join(f"{part:>12}" for part in parts)]
    for name in columns[0]:
        lines.append(f"{name:32}" + "".join(f"{column[name]:>12}" for column in columns))
    lines.append("H(labels), the entropy of the labels given the input, is the least there can be.")
    if loss != "cross-entropy":
        lines.append(f"The {loss} loss was minimised, and not the cross entropy above.")
    return "\n".join(lines)


def _column(measures: Measures) -> dict[str, str]:
    nats = measures.cross_entropy
    return {
        "cross entropy (nats)": f"{nats:.5g}",
        "  = H(labels)": f"{measures.label_entropy:.5g}",
        "  + KL(labels||model)": f"{measures.kl_divergence:.5g}",
        "cross entropy (bits)": f"{nats / math.log(2):.5g}",
        "perplexity": f"{jnp.exp(nats):.5g}",
        "accuracy": f"{measures.accuracy:.2%}",
        "balanced accuracy": f"{measures.balanced_accuracy:.2%}",
        "entropy of predictions (nats)": f"{measures.model_entropy:.5g}",
        "class frequencies alone (nats)": f"{measures.prior_cross_entropy:.5g}",
    }
