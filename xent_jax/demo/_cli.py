"""The command: options, data, fit, report, files; and one line for every mistake."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._compare import compare
from ._compare_report import as_json as comparison_as_json
from ._compare_report import remarks
from ._compare_report import table as compare_table
from ._data import Dataset, prepare, read_digits
from ._errors import DemoError
from ._files import write_whole
from ._fit import Fit, fit_softmax_classifier, settings
from ._mesh import ask_for_devices
from ._options import parse_options
from ._progress import progress
from ._report import as_json, measure, summary
from ._table import Table, read_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo with the arguments ``argv`` and return its exit status.

    0: done; 2: a mistake in the input, said in one line on stderr; 130: interrupted; 141: nobody
    reads the output any more.

    Example:
      >>> from xent_jax.demo._cli import main
      >>> main(["--epochs", "0"])
      2
    """
    try:
        _run(parse_options(argv))
        sys.stdout.flush()
    except DemoError as error:
        print(f"xent_jax.demo: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("xent_jax.demo: interrupted; no file is left half written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _run(options: argparse.Namespace) -> None:
    table = read_digits() if options.data is None else read_table(options.data, options.label)
    data = prepare(table, options.seed, options.imbalance)
    print(
        f"{options.data or 'UCI handwritten digits'}: {len(table.y)} rows, "
        f"{len(data.features)} features, {len(data.classes)} classes; "
        f"{len(data.y_train)} rows to train on, {len(data.y_test)} to test",
        flush=True,
    )
    if options.imbalance is not None:
        counts = np.bincount(data.y_train)
        print(
            f"long tail of ratio {options.imbalance:g}: {counts.max()} to {counts.min()} rows of a "
            f"class to train on, {np.bincount(data.y_test)[0]} of each to test",
            flush=True,
        )
    if options.mesh is not None:
        ask_for_devices(math.prod(options.mesh))
    # Everything is made before anything is written.
    outputs = _compared(options, table) if options.compare else _fitted(options, data)
    for path, content in outputs:
        write_whole(path, content)
        print(f"wrote {path}")


def _fitted(options: argparse.Namespace, data: Dataset) -> list[tuple[Path, bytes]]:
    """Fit one classifier and report it; the files to write."""
    fit = _fit(options, data)
    parts = measure(fit.params, data)
    print(summary(parts, options.loss))
    outputs: list[tuple[Path, bytes]] = []
    if options.json is not None:
        results = as_json(parts)
        history = {name: losses.tolist() for name, losses in fit.history._asdict().items()}
        outputs.append((options.json, _json(options, data, {**results, "history": history})))
    if options.plot is not None:
        from ._plot import plot  # matplotlib is an extra

        outputs.append((options.plot, plot(fit, data, parts, _format(options.plot))))
    return outputs


def _compared(options: argparse.Namespace, table: Table) -> list[tuple[Path, bytes]]:
    """Fit every loss on every seed and report them; the files to write."""
    seeds = range(options.seed, options.seed + options.seeds)
    data = [prepare(table, seed, options.imbalance) for seed in seeds]
    with progress(options.epochs) as on_epochs:
        comparison = compare(
            data,
            seeds,
            epochs=options.epochs,
            optimizer=options.optimizer,
            learning_rate=options.learning_rate,
            batch_size=options.batch_size,
            l2=options.l2,
            on_epochs=on_epochs,
        )
    print("\n".join([compare_table(comparison), *remarks(comparison)]))
    outputs: list[tuple[Path, bytes]] = []
    if options.json is not None:
        outputs.append((options.json, _json(options, data[0], comparison_as_json(comparison))))
    if options.plot is not None:
        from ._compare_plot import plot

        outputs.append((options.plot, plot(comparison, _format(options.plot))))
    return outputs


def _format(path: Path) -> str:
    return path.suffix[1:].lower()


def _fit(options: argparse.Namespace, data: Dataset) -> Fit:
    with progress(options.epochs) as on_epochs:
        fit = fit_softmax_classifier(
            data.x_train,
            data.y_train,
            test=(data.x_test, data.y_test),
            num_classes=len(data.classes),
            epochs=options.epochs,
            optimizer=options.optimizer,
            loss=options.loss,
            head=options.head,
            learning_rate=options.learning_rate,
            batch_size=options.batch_size,
            l2=options.l2,
            seed=options.seed,
            mesh=options.mesh,
            on_epochs=on_epochs,
        )
    finite = np.isfinite(fit.history.objective) & np.isfinite(fit.history.test)
    if not finite.all():
        rate, _ = settings(options.optimizer, options.learning_rate, options.batch_size, 1)
        fix = "--optimizer adam" if rate is None else f"a --learning-rate below {rate:g}"
        if options.l2 > 1:
            fix += f" or an --l2 below {options.l2:g}"
        raise DemoError(
            f"training diverged: the loss of epoch {finite.argmin() + 1} is not finite; try {fix}"
        )
    return fit


def _json(options: argparse.Namespace, data: Dataset, results: dict[str, Any]) -> bytes:
    rate, batch = settings(
        options.optimizer, options.learning_rate, options.batch_size, len(data.y_train)
    )
    chosen = ["epochs", "optimizer", "loss", "head", "l2", "seed", "mesh", "imbalance"]
    if options.compare:
        chosen = ["epochs", "optimizer", "l2", "seed", "seeds", "imbalance"]
    report = {
        "data": {
            "name": "digits" if options.data is None else str(options.data),
            "features": len(data.features),
            "classes": data.classes,
            "train_rows": len(data.y_train),
            "test_rows": len(data.y_test),
        },
        "options": {
            **{name: getattr(options, name) for name in chosen},
            "learning_rate": rate,
            "batch_size": batch,
        },
        **results,
    }
    lines = (f"{json.dumps(key)}: {json.dumps(report[key], allow_nan=False)}" for key in report)
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
