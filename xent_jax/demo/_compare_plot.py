"""The picture of a comparison: balanced accuracy and the recall of each class, for each loss."""

import numpy as np
from matplotlib.figure import Figure

from ._compare import Comparison, mean_and_error
from ._losses import LOSSES
from ._plot import label_ticks

_COLOURS, _MARKERS = ("C7", "C0", "C2", "C8", "C1"), "osD^v"
_MOST_CLASSES = 16  # that have room side by side


def draw_comparison(comparison: Comparison) -> Figure:
    """A group of points for each class; no lines, as nothing lies between two classes."""
    recalls = comparison.recalls
    balanced = recalls.mean(axis=-1, keepdims=True)
    groups = np.concatenate([balanced, recalls[..., -_MOST_CLASSES:]], axis=-1)
    means, errors = mean_and_error(100 * groups)
    figure = Figure(figsize=(13, 4.8), layout="constrained", dpi=130)
    axes = figure.subplots()
    places = np.arange(means.shape[1])
    for number, (loss, colour, marker) in enumerate(zip(LOSSES, _COLOURS, _MARKERS)):
        axes.errorbar(
            places + 0.14 * (number - 2),
            means[number],
            errors[number],
            label=f"{loss}, {means[number, 0]:.1f} ± {errors[number, 0]:.1f}",
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=3,
        )
    for edge in places[1:] - 0.5:
        axes.axvline(edge, color="black" if edge < 1 else "0.9", linewidth=1, zorder=0)
    label_ticks(axes.xaxis, ["mean", *comparison.names[-_MOST_CLASSES:]], room=130)
    some = f", the {_MOST_CLASSES} rarest" if len(comparison.names) > _MOST_CLASSES else ""
    axes.set_xlabel(f"recall of the classes (rows to train on){some}, and on the left their mean")
    axes.set_ylabel(f"% of the test rows, mean ± s.e. of {len(recalls)} seeds")
    axes.grid(alpha=0.25, axis="y")
    figure.legend(title="loss, balanced accuracy", loc="outside right center")
    return figure
