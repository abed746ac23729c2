"""Every loss on every seed: balanced accuracy and recalls, as a table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ._data import Dataset
from ._fit import Progress, Training, fit_softmax_classifier
from ._losses import LOSSES


class Comparison(NamedTuple):
    """What the losses, in the order of `LOSSES`, make of the test parts."""

    names: list[str]  # of the classes, with the rows to train on, the most frequent class first
    recalls: np.ndarray  # [seeds, losses, classes], the share of the test rows that is found


def compare(parts: Sequence[Dataset], training: Training, progress: Progress = iter) -> Comparison:
    """Fit every loss to every data set, with seeds from that of ``training`` on."""

    def recalls(number: int) -> list[np.ndarray]:
        seed = training.seed + number
        return [_recalls(parts[number], replace(training, loss=loss, seed=seed)) for loss in LOSSES]

    first = recalls(0)  # compiles, before the progress is measured
    others = [recalls(number) for number in progress(range(1, len(parts)))]
    counts = np.bincount(parts[0].y_train)
    order = np.argsort(-counts, kind="stable")
    names = [f"{parts[0].classes[label]} ({counts[label]})" for label in order]
    return Comparison(names, np.array([first, *others])[..., order])


def _recalls(data: Dataset, training: Training) -> np.ndarray:
    params, _ = fit_softmax_classifier(data, training)
    hits = np.argmax(params.logits(jnp.asarray(data.x_test)), axis=-1) == data.y_test
    return np.bincount(data.y_test, hits) / np.bincount(data.y_test)


def table(comparison: Comparison) -> str:
    """Balanced accuracy and recalls in percent, a column for each loss."""
    recalls = comparison.recalls
    balanced = recalls.mean(axis=-1)
    rows = {"balanced accuracy": balanced, "  gain on cross-entropy": balanced - balanced[:, :1]}
    for at, name in enumerate(comparison.names):
        rows[f"recall of {name}"] = recalls[..., at]
    width = max(map(len, rows))
    lines = [
        f"% of the test rows, mean ± standard error of {len(recalls)} seeds (rows to train on)",
        " " * width + "".join(f"{loss:>18}" for loss in LOSSES),
    ]
    for row, values in rows.items():
        pairs = zip(*mean_and_error(100 * values))
        cells = (f"{f'{mean:.1f} ± {error:.1f}':>18}" for mean, error in pairs)
        lines.append(f"{row:<{width}}" + "".join(cells))
    return "\n".join(lines)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over the seeds, the first axis."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
