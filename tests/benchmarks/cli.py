"""The command line: which suites, on what, compared with whom, and where the results go."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import peers, suites
from .functions import FUNCTIONS
from .machine import environment
from .settings import Settings, Shape


class _Parser(argparse.ArgumentParser):
    """One line for a bad option, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _shape(text: str) -> Shape:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected ROWSxCLASSES such as 2048x32768, got {text!r}")
    return int(match[1]), int(match[2])


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write a file at {text!r}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tests.benchmarks", description=__doc__)
    default = ", ".join(name for name in suites.NAMES if suites.load(name).DEFAULT)
    parser.add_argument(
        "--suite", action="append", choices=suites.NAMES, help=f"repeatable; default: {default}"
    )
    parser.add_argument(
        "--shape", action="append", type=_shape, metavar="ROWSxCLASSES", help="repeatable"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=_count, default=7, help="rounds; default: 7")
    parser.add_argument("--json", type=_file, metavar="FILE", help="also write the results here")
    parser.add_argument(
        "--peers", nargs="+", choices=peers.NAMES, help="default: all that are installed"
    )
    parser.add_argument("--function", action="append", choices=FUNCTIONS, help="repeatable")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    names = options.suite or [name for name in suites.NAMES if suites.load(name).DEFAULT]
    settings = Settings(
        shapes=options.shape and tuple(dict.fromkeys(options.shape)),
        dtype=options.dtype,
        repeats=options.repeats,
        peers=_peers(parser, options.peers),
        functions=options.function and tuple(options.function),
        progress=_progress,
    )
    results: dict[str, Any] = {"environment": environment(settings.peers), "suites": {}}
    print(*(f"{key}: {value}" for key, value in results["environment"].items()), sep="\n")
    for name in dict.fromkeys(names):
        suite, rows = suites.load(name), results["suites"].setdefault(name, [])
        for row in suite.run(settings):
            rows.append(row)
            print(suite.describe(row), flush=True)
            _write(options.json, results)
    _write(options.json, results)
    return 0


def _write(path: Path | None, results: dict[str, Any]) -> None:
    """After every row, so that an interrupted run leaves what it measured."""
    if path:
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _peers(parser: argparse.ArgumentParser, asked: list[str] | None) -> tuple[peers.Peer, ...]:
    loaded = {name: peers.load(name) for name in dict.fromkeys(asked or peers.NAMES)}
    missing = [name for name, peer in loaded.items() if peer is None]
    if asked and missing:
        parser.error(f"argument --peers: {', '.join(missing)} cannot be imported here")
    return tuple(peer for peer in loaded.values() if peer is not None)


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
