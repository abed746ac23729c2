"""The options of the command, and what is wrong with them before any work is done."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ._argument_types import integer, mesh, number, ratio
from ._errors import DemoError
from ._files import check_writable
from ._fit import EPOCHS
from ._losses import BETA, GAMMA, LOSSES, TAU
from ._train import HEADS, OPTIMIZERS

_PLOT_FORMATS = (".png", ".svg", ".pdf")
_IMBALANCE, _SEEDS = 50.0, 10  # of --compare


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options in ``argv``, by default those of the process; a `DemoError` if they are wrong."""
    options = _parser().parse_args(argv)
    _check(options)
    _resolve(options)
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
        type=integer(1, 10**6),
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
        "--loss",
        choices=LOSSES,
        help="what is minimised: cross-entropy (default), or for imbalanced classes weighted by "
        f"inverse frequency, effective-number (weights of beta {BETA:g}), focal (gamma {GAMMA:g}) "
        f"or logit-adjusted (tau {TAU:g}, in training only)",
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
        type=number("positive"),
        metavar="RATE",
        help="default 0.01 for adam, 0.1 for sgd; lbfgs takes none",
    )
    add(
        "--batch-size",
        type=integer(1, 2**31 - 1),
        metavar="N",
        help="rows in a step (default 64); lbfgs takes none",
    )
    add(
        "--l2",
        type=number("non-negative"),
        default=1e-3,
        metavar="L2",
        help="the penalty L2/2 |weights|^2, added to the mean cross entropy (default %(default)s)",
    )
    add(
        "--seed",
        type=integer(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="seed of the split and of the order of the rows (default %(default)s)",
    )
    add(
        "--mesh",
        type=mesh,
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
    add(
        "--imbalance",
        type=ratio,
        metavar="R",
        help="train on a long tail: exponentially fewer rows from class to class, R times fewer "
        "of the rarest than of the most frequent one; test on as many rows of each class",
    )
    add(
        "--compare",
        action="store_true",
        help="train with every --loss on several seeds, each with its own split, rows and order; "
        f"report balanced accuracy and recalls (the digits with --imbalance {_IMBALANCE:g} by "
        "default, a --data FILE as it is)",
    )
    add(
        "--seeds",
        type=integer(2, 1000),
        metavar="N",
        help=f"seeds of --compare, from --seed on (default {_SEEDS})",
    )
    add(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw losses, confusion and weights; with --compare, its table",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write options, measures and losses; with --compare, its table",
    )
    return parser


def _resolve(options: argparse.Namespace) -> None:
    """Defaults that depend on other options."""
    if options.compare:
        if options.data is None:
            options.imbalance = options.imbalance or _IMBALANCE
        options.seeds = options.seeds or _SEEDS
    options.loss = options.loss or LOSSES[0]


def _check(options: argparse.Namespace) -> None:
    """What can be known to go wrong before the data are read."""
    if options.compare:
        _check_compare(options)
    elif options.seeds is not None:
        raise DemoError("--seeds says over how many seeds to --compare; give that option too")
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


def _check_compare(options: argparse.Namespace) -> None:
    for given, why in [
        (options.loss and f"--loss {options.loss}", "trains with every loss"),
        (options.mesh and "--mesh", "trains everything on one device"),
        (options.head == "linear" and "--head linear", "has the dense head"),
        (options.optimizer == "lbfgs" and "--optimizer lbfgs", "takes steps on batches"),
    ]:
        if given:
            raise DemoError(f"{given} does not go with --compare, which {why}; leave it out")
