"""The picture of a comparison: balanced accuracy of each loss, and recall from frequent to rare."""

import io
import warnings
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._compare import Comparison
from ._compare_report import frequent_first, mean_and_error
from ._losses import LOSSES
from ._plot import shortened

_COLOURS = ("#777777", "#2a6fbb", "#3aa6a0", "#b8a02a", "#d9722e")
_MARKERS = "osD^v"
_MOST_TICKS = 24


def plot(comparison: Comparison, form: str) -> bytes:
    """The picture in the format ``form``: "png", "svg" or "pdf"."""
    figure = Figure(figsize=(13, 4.8), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.9))
    _balanced(left, comparison)
    _recalls(right, comparison)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A name beyond the font shows boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format=form)
    return file.getvalue()


def _balanced(axes: Axes, comparison: Comparison) -> None:
    mean, error = mean_and_error(100 * comparison.balanced_accuracy)
    at = np.arange(len(LOSSES))[::-1]
    axes.axvline(mean[0], color=_COLOURS[0], lw=1, ls="--", zorder=0)
    for number, y in enumerate(at):
        axes.errorbar(
            mean[number],
            y,
            xerr=error[number],
            color=_COLOURS[number],
            marker=_MARKERS[number],
            ms=9,
            capsize=4,
        )
        axes.annotate(
            f"{mean[number]:.1f} ± {error[number]:.1f}",
            (mean[number], y),
            (0, 11),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    axes.margins(x=0.22)
    axes.set_ylim(-0.5, len(LOSSES) - 0.3)
    axes.set_yticks(at, LOSSES)
    for label, colour in zip(axes.get_yticklabels(), _COLOURS, strict=True):
        label.set_color(colour)
    axes.grid(alpha=0.25, axis="x")
    axes.set(xlabel=f"% of the test rows, mean ± s.e. of {len(comparison.confusion)} seeds")
    axes.set_title("balanced accuracy")
    axes.spines[["top", "right"]].set_visible(False)


def _recalls(axes: Axes, comparison: Comparison) -> None:
    order = frequent_first(comparison)
    mean, error = mean_and_error(100 * comparison.recalls[..., order])
    places = np.arange(len(order))
    for number in range(len(LOSSES)):
        # Side by side, so that the error bars can be told apart.
        shift = min(0.11, 0.011 * len(order)) * (number - (len(LOSSES) - 1) / 2)
        axes.errorbar(
            places + shift,
            mean[number],
            error[number],
            color=_COLOURS[number],
            marker=_MARKERS[number],
            ms=4.5,
            lw=1,
            elinewidth=1,
            capsize=2,
        )
    shown = places[:: -(-len(places) // _MOST_TICKS)]
    names = [shortened(comparison.classes[at], 12) for at in order[shown]]
    counts = comparison.train_counts[order[shown]]
    turned: dict[str, Any] = {}
    if max(len(name) + 1 for name in names) * len(names) > 100:
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    form = "{} ({})" if turned else "{}\n{}"
    names = [form.format(name, count) for name, count in zip(names, counts, strict=True)]
    axes.set_xticks(shown, names, **turned)
    axes.set(xlabel="class, and its rows to train on", ylabel="recall (%)")
    axes.set_title("recall of each class, from frequent to rare; colours and marks as on the left")
    axes.grid(alpha=0.25, axis="y")
    axes.spines[["top", "right"]].set_visible(False)
