"""What a fitted model is worth, in nats and bits: the measures, and the lines that show them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import xent_jax

from ._data import Dataset
from ._losses import Loss
from ._train import Params


class Measures(NamedTuple):
    """Means over one part of the data. Entropies are in nats unless named bits."""

    cross_entropy: float
    cross_entropy_bits: float
    label_entropy: float  # H(labels): of the labels of equal inputs
    kl_divergence: float  # KL(labels‖model): what the cross entropy has on top of it
    model_entropy: float  # of the model's own predictions
    prior_cross_entropy: float  # of always predicting the class frequencies of the training part
    perplexity: float
    accuracy: float
    balanced_accuracy: float  # the mean of the recalls of the classes
    confusion: np.ndarray  # [classes, classes], counts: true class, predicted class


def measure(params: Params, data: Dataset) -> dict[str, Measures]:
    """The measures of the training part and of the test part."""
    classes, split = len(data.classes), len(data.y_train)
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    labels = np.concatenate(
        [
            label_distributions(data.x_train, data.y_train, classes),
            label_distributions(data.x_test, data.y_test, classes),
        ]
    )
    prior = np.bincount(data.y_train, minlength=classes) / split
    # Both parts at once: one shape, one compilation.
    entropies, predicted = map(np.asarray, _per_row(params, x, y, labels, prior))
    return {
        part: _measures(entropies[:, rows], predicted[rows], y[rows], classes)
        for part, rows in (("train", slice(split)), ("test", slice(split, None)))
    }


@jax.jit
def _per_row(
    params: Params, x: jax.Array, y: jax.Array, labels: jax.Array, prior: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Entropies [5, N] in nats, in the order of `_measures`, and predicted classes [N]."""
    logits = params.logits(x)
    entropies = (
        xent_jax.softmax_cross_entropy(logits, y),
        xent_jax.entropy(labels),
        xent_jax.softmax_kl_divergence(jnp.log(labels), logits),
        xent_jax.softmax_entropy(logits),
        xent_jax.softmax_cross_entropy(jnp.broadcast_to(jnp.log(prior), logits.shape), y),
    )
    return jnp.stack(entropies), jnp.argmax(logits, axis=-1)


def _measures(
    entropies: np.ndarray, predicted: np.ndarray, y: np.ndarray, classes: int
) -> Measures:
    cross_entropy, label, kl, model, prior = entropies.mean(axis=1, dtype=np.float64).tolist()
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y, predicted), 1)
    return Measures(
        cross_entropy=cross_entropy,
        cross_entropy_bits=cross_entropy / math.log(2),
        label_entropy=label,
        kl_divergence=kl,
        model_entropy=model,
        prior_cross_entropy=prior,
        perplexity=math.exp(cross_entropy) if cross_entropy < 700 else math.inf,
        accuracy=float(np.mean(predicted == y)),
        balanced_accuracy=_mean_recall(confusion),
        confusion=confusion,
    )


def _mean_recall(confusion: np.ndarray) -> float:
    rows = confusion.sum(axis=1)
    return float(np.mean(np.diagonal(confusion)[rows > 0] / rows[rows > 0]))


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


def summary(parts: dict[str, Measures], loss: Loss = "cross-entropy") -> str:
    """The measures as a table, and lines that say what they are of."""
    rows = [
        ("cross entropy", "nats", "cross_entropy", ".5g"),
        ("", "bits", "cross_entropy_bits", ".5g"),
        ("  = H(labels)", "nats", "label_entropy", ".5g"),
        ("  + KL(labels||model)", "nats", "kl_divergence", ".5g"),
        ("perplexity", "", "perplexity", ".5g"),
        ("accuracy", "", "accuracy", ".2%"),
        ("balanced accuracy", "", "balanced_accuracy", ".2%"),
        ("entropy of the predictions", "nats", "model_entropy", ".5g"),
        ("class frequencies alone", "nats", "prior_cross_entropy", ".5g"),
    ]
    lines = [f"{'':32}" + "".join(f"{part:>12}" for part in parts)]
    for name, unit, field, form in rows:
        cells = (format(getattr(measures, field), form) for measures in parts.values())
        lines.append(f"{name:<27}{unit:<5}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join([*lines, *_remarks(parts, loss)])


def _remarks(parts: dict[str, Measures], loss: Loss) -> list[str]:
    split = "H(labels) is the entropy of the labels given the input:"
    if all(measures.label_entropy == 0 for measures in parts.values()):
        remarks = [f"{split} 0 here, so the cross entropy is all KL(labels||model)."]
    else:
        remarks = [f"{split} no model of these inputs has a lower cross entropy."]
    if loss != "cross-entropy":
        remarks.append(f"The {loss} loss was minimised, and not this plain cross entropy.")
    elif parts["train"].cross_entropy > parts["train"].prior_cross_entropy:
        advice = "try more --epochs, or a lower --learning-rate or --l2"
        remarks.append(f"The class frequencies alone predict better than this model: {advice}.")
    return remarks


def as_json(parts: dict[str, Measures]) -> dict[str, dict[str, object]]:
    """The measures in JSON types; a perplexity beyond float64 is null."""
    return {
        part: {
            **measures._asdict(),
            "perplexity": measures.perplexity if math.isfinite(measures.perplexity) else None,
            "confusion": measures.confusion.tolist(),
        }
        for part, measures in parts.items()
    }
