"""The options of the command, and what is wrong with them before any work is done."""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from ._errors import DemoError
from ._fit import OPTIMIZERS, Training
from ._losses import BETA, GAMMA, LOSSES, TAU

_IMBALANCE = 50.0  # of --compare
_EXAMPLES = """\
examples:
  python -m xent_jax.demo --plot digits.png
  python -m xent_jax.demo --loss focal --imbalance 20 --plot focal.png
  python -m xent_jax.demo --compare 5 --plot losses.png
  python -m xent_jax.demo --data table.csv --label kind
"""


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options in ``argv``, by default those of the process; a `DemoError` if they are wrong."""
    parser = _Parser(
        prog="python -m xent_jax.demo",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a softmax classifier by minimising the cross entropy, on handwritten\n"
        "digits or on a table of yours, and report it in nats and bits.",
        epilog=_EXAMPLES,
    )
    _add_data(parser.add_argument_group("data").add_argument)
    _add_training(parser.add_argument_group("training and report").add_argument)
    parser.set_defaults(**asdict(Training()))
    options = parser.parse_args(argv)
    _check(options)
    if options.compare and options.data is None:
        options.imbalance = options.imbalance or _IMBALANCE
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # by default: the usage, then the error
        raise DemoError(f"{message}; --help lists the options")


def _add_data(add: Callable[..., Any]) -> None:
    add(
        "--data",
        type=Path,
        metavar="FILE.csv",
        help="a table to learn instead of the digits: a header row, a column of labels, numbers",
    )
    add("--label", metavar="NAME", help="the column of labels (default: the last one)")
    add(
        "--imbalance",
        type=_number(float, 1, 10**6),
        metavar="R",
        help="train on a long tail: exponentially fewer rows from class to class, R times fewer "
        "of the rarest than of the most frequent one; test on as many rows of each class",
    )


def _add_training(add: Callable[..., Any]) -> None:
    add(
        "--loss",
        choices=LOSSES,
        help="what is minimised: cross-entropy (default), or for imbalanced classes weighted by "
        f"inverse frequency, effective-number (weights of beta {BETA:g}), focal (gamma {GAMMA:g}) "
        f"or logit-adjusted (tau {TAU:g}, in training only)",
    )
    default = "(default %(default)s)"
    add("--optimizer", choices=OPTIMIZERS, help=f"sgd: plain gradient descent {default}")
    add("--learning-rate", type=_number(float, 1e-9, 10**9), help=f"for sgd rather 0.1 {default}")
    add("--epochs", type=_number(int, 1, 10**6), help=f"passes over the rows {default}")
    add("--batch-size", type=_number(int, 1, 2**31), help=f"the most rows in a step {default}")
    add("--l2", type=_number(float, 0, 10**9), help=f"weight of the penalty |W|^2 / 2 {default}")
    add("--seed", type=_number(int, 0, 2**31), help=f"of the split and of the order {default}")
    add(
        "--compare",
        type=_number(int, 2, 1000),
        metavar="SEEDS",
        nargs="?",
        const=10,
        help="train with every --loss on so many seeds (10 unless given), each with its own split, "
        f"and report the recalls; the digits by default with --imbalance {_IMBALANCE:g}",
    )
    add("--plot", type=Path, metavar="FILE.png", help="draw the results; also .svg and .pdf")


def _number(convert: type, least: float, most: float) -> Callable[[str], Any]:
    """Reads a number between bounds."""

    def read(text: str) -> Any:
        value = convert(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, not {text}")
        return value

    read.__name__ = convert.__name__  # for the message where the text is no number
    return read


def _check(options: argparse.Namespace) -> None:
    """What can be known to go wrong before the data are read."""
    if options.compare and options.loss != Training.loss:
        raise DemoError("--compare trains with every loss; leave out --loss")
    if options.label is not None and options.data is None:
        raise DemoError("--label names a column of a --data file; give that file too")
    for option, library in (("data", "pandas"), ("plot", "matplotlib")):
        if getattr(options, option) and importlib.util.find_spec(library) is None:
            raise DemoError(f'--{option} needs {library}: pip install "xent-jax[demo]"')
    if options.plot is not None:
        if options.plot.suffix.lower() not in {".png", ".svg", ".pdf"}:
            raise DemoError(f"--plot {options.plot}: the name must end in .png, .svg or .pdf")
        if not options.plot.parent.is_dir():
            raise DemoError(f"--plot {options.plot}: there is no such folder; make it first")
