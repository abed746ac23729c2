"""The command: options, data, fit, report, files; and one line for every mistake."""

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ._compare import compare, table
from ._data import Dataset, prepare
from ._errors import DemoError
from ._fit import Training, fit_softmax_classifier
from ._options import parse_options
from ._report import measure, summary
from ._table import read_csv, read_digits


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo with the arguments ``argv`` and return its exit status.

    0: done; 2: a mistake in the input, said in one line on stderr; 130: interrupted.

    Example:
      >>> from xent_jax.demo._cli import main
      >>> main(["--epochs", "0"])
      2
    """
    try:
        _run(parse_options(argv))
        return 0
    except (DemoError, OSError) as error:
        print(f"xent_jax.demo: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("xent_jax.demo: interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> None:
    rows = read_digits() if options.data is None else read_csv(options.data, options.label)
    training = Training(**{field.name: getattr(options, field.name) for field in fields(Training)})
    seeds = range(options.seed, options.seed + (options.compare or 1))
    parts = [prepare(rows, seed, options.imbalance) for seed in seeds]
    print(_description(options, parts[0]), flush=True)
    if options.compare:
        _run_comparison(parts, training, options.plot)
    else:
        _run_fit(parts[0], training, options.plot)


def _run_fit(data: Dataset, training: Training, picture: Path | None) -> None:
    """Fit one classifier, report and draw it."""
    params, history = fit_softmax_classifier(data, training, _progress)
    parts = measure(params, data)
    print(summary(parts, training.loss))
    if picture is not None:
        from ._plot import draw_fit  # matplotlib is an extra

        _save(draw_fit(params, history, data, parts["test"], training.loss), picture)


def _run_comparison(parts: list[Dataset], training: Training, picture: Path | None) -> None:
    """Fit every loss on every seed, report and draw them."""
    comparison = compare(parts, training, _progress)
    print(table(comparison))
    if picture is not None:
        from ._compare_plot import draw_comparison

        _save(draw_comparison(comparison), picture)


def _save(figure: Any, picture: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font lacks it: a box is drawn
        figure.savefig(picture)
    print(f"wrote {picture}")


def _description(options: argparse.Namespace, data: Dataset) -> str:
    train, test = np.bincount(data.y_train), np.bincount(data.y_test)
    return (
        f"{options.data or 'UCI handwritten digits'}: {len(data.features)} features, "
        f"{len(data.classes)} classes; {train.sum()} rows to train on ({train.min()} to "
        f"{train.max()} of a class), {test.sum()} to test ({test.min()} to {test.max()})"
    )


def _progress(calls: Iterable[int]) -> Iterable[int]:
    """A bar on a terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return calls
    shape = "training {percentage:3.0f}%|{bar}| {remaining} left"
    return tqdm(calls, disable=None, leave=False, ncols=70, bar_format=shape)
