"""The picture of a fit: how the loss fell, what is confused with what, and the learned weights."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ._data import Dataset
from ._fit import History, Params
from ._losses import Loss
from ._report import Measures

_MOST_CLASSES, _MOST_FEATURES = 20, 24  # that can be told apart in the space there is


def draw_fit(params: Params, history: History, data: Dataset, test: Measures, loss: Loss) -> Figure:
    """Losses, confusion of the test rows, and weights, side by side."""
    figure = Figure(figsize=(14, 4.6), layout="constrained", dpi=130)
    panels: Any = figure.subfigures(1, 3, width_ratios=(1, 0.95, 1.25), wspace=0.03)
    _draw_losses(panels[0].subplots(), history, test, loss)
    _draw_confusion(panels[1].subplots(), test, data.classes)
    draw_weights = _draw_images if len(data.shape) == 2 else _draw_table
    draw_weights(panels[2], np.asarray(params.weights), data)
    return figure


def _draw_losses(axes: Axes, history: History, test: Measures, loss: Loss) -> None:
    epochs = np.arange(1, len(history.train) + 1)
    axes.axhline(test.prior_cross_entropy, color="C7", ls="--", label="class frequencies alone")
    axes.plot(epochs, history.test, "C1.-", markersize=2, label="test cross entropy")
    axes.plot(epochs, history.train, "C0.-", markersize=2, label="train cross entropy")
    minimised = f"minimised: {loss} loss + penalty"
    axes.plot(epochs, history.objective, "C2.:", markersize=2, label=minimised)
    axes.set(xlabel="epoch", ylabel="nats", yscale="log")
    bits = test.cross_entropy / math.log(2)
    axes.set_title(f"test {test.cross_entropy:.3g} nats = {bits:.3g} bits")
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize="small", loc="best", framealpha=0.6)


def _draw_confusion(axes: Axes, test: Measures, classes: Sequence[str]) -> None:
    shares = test.confusion / test.confusion.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= _MOST_CLASSES:
        for row, column in np.argwhere(test.confusion):
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = str(test.confusion[row, column])
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
        label_ticks(axes.xaxis, classes)
        label_ticks(axes.yaxis, classes)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"test accuracy {test.accuracy:.2%}")


def _draw_images(panel: SubFigure, weights: np.ndarray, data: Dataset) -> None:
    """One picture for each class: red pixels speak for it, blue ones against it."""
    columns = math.ceil(math.sqrt(1.2 * len(data.classes)))
    grid: Any = panel.subplots(-(-len(data.classes) // columns), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, name, column in zip(grid.flat, data.classes, weights.T):
        image = _show(axes, column.reshape(data.shape), weights)
        axes.set_title(name, fontsize=10)
    panel.suptitle("weights of each class")
    panel.colorbar(image, ax=grid, shrink=0.7, label="weight")


def _draw_table(panel: SubFigure, weights: np.ndarray, data: Dataset) -> None:
    """Features down, classes across; the features with the largest weights if there are many."""
    axes = panel.subplots()
    largest = np.sort(np.argsort(-np.abs(weights).max(axis=1))[:_MOST_FEATURES])
    image = _show(axes, weights[largest], weights)
    axes.set_aspect("auto")
    label_ticks(axes.yaxis, [data.features[at] for at in largest])
    if len(data.classes) <= _MOST_CLASSES:
        label_ticks(axes.xaxis, data.classes)
    panel.suptitle("largest weights of standardised features")
    panel.colorbar(image, ax=axes, label="weight")


def _show(axes: Axes, image: np.ndarray, weights: np.ndarray) -> Any:
    largest = np.abs(weights).max()
    return axes.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)


def label_ticks(axis: Any, names: Sequence[str], room: int = 30) -> None:
    """One tick for each name, which is not taken for a formula."""
    axis.set_ticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    if axis.axis_name == "x" and max(map(len, names)) * len(names) > room:
        axis.set_tick_params(rotation=90)
