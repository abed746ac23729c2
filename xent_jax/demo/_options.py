"""The options of the command, and what is wrong with them before any work is done."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ._errors import DemoError
from ._files import check_writable
from ._fit import EPOCHS
from ._train import HEADS, OPTIMIZERS

_PLOT_FORMATS = (".png", ".svg", ".pdf")


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options in ``argv``, by default those of the process; a `DemoError` if they are wrong."""
    options = _parser().parse_args(argv)
    _check(options)
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # by default: the usage, then the error
        raise DemoError(f"{message}; --help lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m xent_jax.demo",
        allow_abbrev=False,
        description="Train a softmax classifier by minimising the cross entropy, on handwritten "
        "digits or on a table of yours, and report it in nats and bits.",
    )
    add = parser.add_argument
    add(
        "--epochs",
        type=_integer(1, 10**6),
        default=EPOCHS,
        metavar="N",
        help="passes over the training rows; for lbfgs, iterations (default %(default)s)",
    )
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default="adam",
        help="adam, sgd (plain gradient descent) or lbfgs (default %(default)s)",
    )
    add(
        "--head",
        choices=HEADS,
        default="dense",
        help="linear: the loss never forms the logits, as with many classes; same result "
        "(default %(default)s)",
    )
    add(
        "--learning-rate",
        type=_number("positive"),
        metavar="RATE",
        help="default 0.01 for adam, 0.1 for sgd; lbfgs takes none",
    )
    add(
        "--batch-size",
        type=_integer(1, 2**31 - 1),
        metavar="N",
        help="rows in a step (default 64); lbfgs takes none",
    )
    add(
        "--l2",
        type=_number("non-negative"),
        default=1e-3,
        metavar="L2",
        help="the penalty L2/2 |weights|^2, added to the mean cross entropy (default %(default)s)",
    )
    add(
        "--seed",
        type=_integer(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="seed of the split and of the order of the rows (default %(default)s)",
    )
    add(
        "--mesh",
        type=_mesh,
        metavar="ROWSxCLASSES",
        help="split batches over ROWS devices and classes over CLASSES, as in 2x4; a CPU is split "
        "into that many",
    )
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help="a table to learn instead of the digits: .csv with a header row and the label in "
        "the last column, or .npz with arrays x [N, features] and y [N]",
    )
    add("--label", metavar="NAME", help="the label column of a .csv file")
    add("--plot", type=Path, metavar="FILE.png", help="draw losses, confusion and weights")
    add("--json", type=Path, metavar="FILE", help="write options, measures and losses")
    return parser


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {text!r}"
            )
        return value

    return parse


def _mesh(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdecimal() and 0 < int(p) < 2**16 for p in parts):
        raise argparse.ArgumentTypeError(f"must be two numbers of devices as in 2x4, not {text!r}")
    return int(parts[0]), int(parts[1])


def _number(kind: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 <= value < math.inf) or (kind == "positive" and value == 0):
            raise argparse.ArgumentTypeError(f"must be a {kind} finite number, not {text!r}")
        return value

    return parse


def _check(options: argparse.Namespace) -> None:
    """What can be known to go wrong before the data are read."""
    if options.optimizer == "lbfgs":
        for option in ("learning_rate", "batch_size"):
            if getattr(options, option) is not None:
                raise DemoError(
                    f"--{option.replace('_', '-')} does not go with --optimizer lbfgs, which "
                    "searches for each step length on all rows at once; leave it out"
                )
    if options.label is not None and options.data is None:
        raise DemoError("--label names a column of a --data FILE.csv; give that file too")
    if options.plot is not None:
        if options.plot.suffix.lower() not in _PLOT_FORMATS:
            raise DemoError(f"--plot {options.plot}: the name must end in .png, .svg or .pdf")
        try:
            import matplotlib.figure  # noqa: F401
        except ImportError:
            raise DemoError("--plot needs matplotlib; pip install matplotlib") from None
    taken = {} if options.data is None else {options.data.resolve(): "--data"}
    for option in ("--json", "--plot"):
        path = getattr(options, option[2:])
        if path is not None:
            check_writable(option, path)
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise DemoError(f"{option} {path}: is also the file of {other}; give another name")
