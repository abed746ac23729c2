"""What a comparison of losses says: a table, what follows from it, and the same as JSON."""

import numpy as np

from ._compare import Comparison
from ._losses import LOSSES


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over the seeds, the first axis."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def frequent_first(comparison: Comparison) -> np.ndarray:
    """The classes, the one with the most rows to train on first."""
    return np.argsort(-comparison.train_counts, kind="stable")


def table(comparison: Comparison) -> str:
    """Balanced accuracy and recalls in percent, a column for each loss."""
    names = [_short(comparison.classes[at], 16) for at in frequent_first(comparison)]
    counts = comparison.train_counts[frequent_first(comparison)]
    rows = [("balanced accuracy", comparison.balanced_accuracy)]
    for name, count, at in zip(names, counts, frequent_first(comparison), strict=True):
        rows.append((f"recall of {name} ({count})", comparison.recalls[..., at]))
    first = max(len(label) for label, _ in rows)
    widths = [max(len(loss), 12) + 2 for loss in LOSSES]
    seeds = len(comparison.confusion)
    lines = [
        f"Test rows, in percent: mean ± standard error over {seeds} seeds (rows to train on)",
        " " * first + "".join(f"{loss:>{width}}" for loss, width in zip(LOSSES, widths)),
    ]
    for label, values in rows:
        pairs = zip(*mean_and_error(100 * values), widths, strict=True)
        cells = (f"{f'{mean:.1f} ± {error:.1f}':>{width}}" for mean, error, width in pairs)
        lines.append(f"{label:<{first}}" + "".join(cells))
    return "\n".join(lines)


def remarks(comparison: Comparison) -> list[str]:
    """Which loss is best, and which ones do no better than plain cross entropy."""
    balanced = 100 * comparison.balanced_accuracy
    mean, error = mean_and_error(balanced)
    gain, gain_error = mean_and_error(balanced - balanced[:, :1])
    best = np.flatnonzero(mean == mean.max())
    names = " and ".join(LOSSES[at] for at in best)
    first = f"Best balanced accuracy: {names}, {mean[best[0]]:.1f} ± {error[best[0]]:.1f} %"
    if 0 not in best:
        at = best[0]
        first += f", {gain[at]:+.1f} ± {gain_error[at]:.1f} points on {LOSSES[0]} (paired by seed)"
    others = range(1, len(LOSSES))
    level = [
        f"{LOSSES[at]} ({round(gain[at], 1) + 0.0:+.1f} ± {gain_error[at]:.1f} points)"
        for at in others
        if not gain[at] > gain_error[at]
    ]
    if level:
        return [
            f"{first}.",
            f"No gain on {LOSSES[0]} beyond its standard error: {', '.join(level)}.",
        ]
    return [f"{first}.", f"Every other loss gains on {LOSSES[0]} beyond its standard error."]


def as_json(comparison: Comparison) -> dict[str, object]:
    """Per loss what the table shows, as shares of one, and the confusions it comes from."""
    order = frequent_first(comparison)
    losses: dict[str, object] = {}
    for at, loss in enumerate(LOSSES):
        balanced = comparison.balanced_accuracy
        losses[loss] = {
            "balanced_accuracy": _statistic(balanced[:, at]),
            "above_cross_entropy": _statistic(balanced[:, at] - balanced[:, 0]),
            "recall": {
                comparison.classes[label]: _statistic(comparison.recalls[:, at, label])
                for label in order
            },
            "confusion": comparison.confusion[:, at].tolist(),
        }
    return {
        "train_counts": dict(zip(comparison.classes, comparison.train_counts.tolist())),
        "losses": losses,
        "remarks": remarks(comparison),
    }


def _statistic(values: np.ndarray) -> dict[str, float]:
    mean, error = mean_and_error(values)
    return {"mean": float(mean), "standard_error": float(error)}


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
