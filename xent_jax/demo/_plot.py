"""The picture of a fit: how the loss fell, what is confused with what, and the learned weights."""

import io
import math
import warnings
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from ._data import Dataset
from ._fit import Fit
from ._report import Measures

_BLUE, _ORANGE, _GREY = "#2a6fbb", "#d9722e", "#777777"
_MOST_FEATURES, _MOST_CLASSES = 24, 20  # that can be told apart in the space there is


def plot(fit: Fit, data: Dataset, parts: dict[str, Measures], form: str) -> bytes:
    """The picture in the format ``form``: "png", "svg" or "pdf"."""
    figure = Figure(figsize=(14, 4.6), layout="constrained", dpi=130)
    panels: Any = figure.subfigures(1, 3, width_ratios=(1, 0.95, 1.25), wspace=0.03)
    _curves(panels[0].subplots(), fit, parts)
    _confusion(panels[1].subplots(), data, parts["test"])
    weights = np.asarray(fit.params.weights)
    if len(data.shape) == 2:
        _weight_images(panels[2], weights, data)
    else:
        _weight_table(panels[2], weights, data)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph", UserWarning
        )  # a name beyond the font shows boxes
        figure.savefig(file, format=form)
    return file.getvalue()


def _curves(axes: Axes, fit: Fit, parts: dict[str, Measures]) -> None:
    epochs = np.arange(1, len(fit.history.train) + 1)
    test = parts["test"]
    axes.axhline(test.prior_cross_entropy, color=_GREY, lw=1, ls="--")
    axes.annotate(
        "class frequencies alone",
        (1, test.prior_cross_entropy),
        (0, -4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top",
        color=_GREY,
        fontsize=9,
    )
    marker = "o" if len(epochs) == 1 else None  # a line needs two points to be seen
    axes.plot(epochs, fit.history.train, color=_BLUE, marker=marker, label="train")
    axes.plot(epochs, fit.history.test, color=_ORANGE, marker=marker, label="test")
    axes.set(xlabel="epoch", ylabel="cross entropy (nats)", yscale="log")
    axes.set_title(f"test {test.cross_entropy:.3g} nats = {test.cross_entropy_bits:.3g} bits")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _confusion(axes: Axes, data: Dataset, test: Measures) -> None:
    counts = test.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(counts) <= _MOST_CLASSES:
        for (true, predicted), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[true, predicted] > 0.5 else "black"
                axes.text(
                    predicted, true, str(count), ha="center", va="center", color=colour, fontsize=8
                )
        _class_ticks(axes, data.classes, "x")
        _class_ticks(axes, data.classes, "y")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"test accuracy {test.accuracy:.2%}")


def _class_ticks(axes: Axes, classes: tuple[str, ...], which: Any) -> None:
    labels = [shortened(name, 14) for name in classes]
    axes.tick_params(which, length=0)
    if which == "y":
        axes.set_yticks(range(len(labels)), labels)
    else:
        upright = max(map(len, labels)) * len(labels) <= 36
        turned = {} if upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(labels)), labels, **turned)


def _weight_images(panel: SubFigure, weights: np.ndarray, data: Dataset) -> None:
    """One picture for each class: red pixels speak for it, blue ones against it."""
    shown = data.classes[:_MOST_CLASSES]
    columns = math.ceil(math.sqrt(1.2 * len(shown)))
    grid = panel.subplots(-(-len(shown) // columns), columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for number, (axes, name) in enumerate(zip(grid, shown, strict=False)):
        image = _show(axes, weights[:, number].reshape(data.shape), weights)
        axes.set_title(shortened(name, 12), fontsize=10)
    panel.suptitle("weights of each class")
    panel.colorbar(image, ax=list(grid), shrink=0.7, label="weight")


def _weight_table(panel: SubFigure, weights: np.ndarray, data: Dataset) -> None:
    """Features down, classes across; the features with the largest weights if there are many."""
    axes = panel.subplots()
    chosen = np.sort(np.argsort(-np.abs(weights).max(axis=1), kind="stable")[:_MOST_FEATURES])
    image = _show(axes, weights[chosen], weights)
    axes.set_aspect("auto")
    axes.set_yticks(
        range(len(chosen)), [shortened(data.features[at], 20) for at in chosen], fontsize=8
    )
    axes.tick_params("y", length=0)
    if len(data.classes) <= _MOST_CLASSES:
        _class_ticks(axes, data.classes, "x")
    some = "" if len(chosen) == len(weights) else f", the {len(chosen)} largest"
    panel.suptitle(f"weights of standardised features{some}")
    panel.colorbar(image, ax=axes, label="weight")


def _show(axes: Axes, image: np.ndarray, weights: np.ndarray) -> Any:
    largest = float(np.abs(weights).max()) or 1.0
    return axes.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)


def shortened(name: str, most: int) -> str:
    """A name from the data, short, and never taken for a formula."""
    return (name if len(name) <= most else name[: most - 1] + "…").replace("$", r"\$")
