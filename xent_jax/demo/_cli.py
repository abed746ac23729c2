"""The command: options, data, fit, report, files; and one line for every mistake."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ._data import Dataset, prepare, read_digits
from ._errors import DemoError
from ._files import write_whole
from ._fit import Fit, fit_softmax_classifier, settings
from ._mesh import ask_for_devices
from ._options import parse_options
from ._progress import progress
from ._report import Measures, as_json, measure, summary
from ._table import read_table


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
    data = prepare(table, options.seed)
    print(
        f"{options.data or 'UCI handwritten digits'}: {len(table.y)} rows, "
        f"{len(data.features)} features, {len(data.classes)} classes; "
        f"{len(data.y_train)} rows to train on, {len(data.y_test)} to test",
        flush=True,
    )
    if options.mesh is not None:
        ask_for_devices(math.prod(options.mesh))
    fit = _fit(options, data)
    parts = measure(fit.params, data)
    print(summary(parts))
    # Everything is made before anything is written.
    outputs: list[tuple[Path, bytes]] = []
    if options.json is not None:
        outputs.append((options.json, _json(options, data, fit, parts)))
    if options.plot is not None:
        from ._plot import plot  # matplotlib is an extra

        outputs.append((options.plot, plot(fit, data, parts, options.plot.suffix[1:].lower())))
    for path, content in outputs:
        write_whole(path, content)
        print(f"wrote {path}")


def _fit(options: argparse.Namespace, data: Dataset) -> Fit:
    with progress(options.epochs) as on_epochs:
        fit = fit_softmax_classifier(
            data.x_train,
            data.y_train,
            test=(data.x_test, data.y_test),
            num_classes=len(data.classes),
            epochs=options.epochs,
            optimizer=options.optimizer,
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


def _json(
    options: argparse.Namespace, data: Dataset, fit: Fit, parts: dict[str, Measures]
) -> bytes:
    rate, batch = settings(
        options.optimizer, options.learning_rate, options.batch_size, len(data.y_train)
    )
    report = {
        "data": {
            "name": "digits" if options.data is None else str(options.data),
            "features": len(data.features),
            "classes": data.classes,
            "train_rows": len(data.y_train),
            "test_rows": len(data.y_test),
        },
        "options": {
            "epochs": options.epochs,
            "optimizer": options.optimizer,
            "head": options.head,
            "learning_rate": rate,
            "batch_size": batch,
            "l2": options.l2,
            "seed": options.seed,
            "mesh": options.mesh,
        },
        **as_json(parts),
        "history": {name: losses.tolist() for name, losses in fit.history._asdict().items()},
    }
    lines = (f"{json.dumps(key)}: {json.dumps(report[key], allow_nan=False)}" for key in report)
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
