"""The command line: which suites, on what, compared with whom, and where the results go."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import aot, peers, suites
from .functions import FUNCTIONS
from .machine import environment
from .settings import Settings, Shape

# The suites that run on no device, and for which they compile unless others are named.
_COMPILED = {"accelerators": aot.TARGETS, "heads": aot.OF_EIGHT_DEVICES}


class _Parser(argparse.ArgumentParser):
    """One line for a bad option, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _shape(text: str) -> Shape:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected ROWSxCLASSES such as 2048x32768, got {text!r}")
    return int(match[1]), int(match[2])


def _target(text: str) -> str:
    if not re.fullmatch(r"h200|\w+:\d+(x\d+)*", text):
        raise argparse.ArgumentTypeError(f"expected h200 or a TPU as v5p:2x2x1, got {text!r}")
    return text


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
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="default: float32; accelerators: both; heads: bfloat16",
    )
    parser.add_argument("--repeats", type=_count, default=7, help="rounds; default: 7")
    parser.add_argument("--json", type=_file, metavar="FILE", help="also write the results here")
    parser.add_argument(
        "--peers", nargs="+", choices=peers.NAMES, help="default: all that are installed"
    )
    parser.add_argument("--function", action="append", choices=FUNCTIONS, help="repeatable")
    parser.add_argument(
        "--target",
        action="append",
        type=_target,
        help=f"repeatable, for {' and '.join(_COMPILED)}: h200, or a TPU such as v5e:2x4;"
        " default: h200 and a TPU v5p, where their compilers are installed",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    names = options.suite or [name for name in suites.NAMES if suites.load(name).DEFAULT]
    targets = _targets(parser, names, options.target)
    settings = Settings(
        shapes=options.shape and tuple(dict.fromkeys(options.shape)),
        dtypes=options.dtype and (options.dtype,),
        repeats=options.repeats,
        peers=_peers(parser, options.peers),
        functions=options.function and tuple(options.function),
        targets=targets,
        progress=_progress,
    )
    packages = tuple(p for name in names for p in getattr(suites.load(name), "PACKAGES", ()))
    results: dict[str, Any] = {"environment": environment(settings.peers, packages), "suites": {}}
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


def _targets(
    parser: argparse.ArgumentParser, names: list[str], asked: list[str] | None
) -> tuple[str, ...] | None:
    """Before JAX looks for devices: it must not where only compilers are used."""
    compiled = [name for name in names if name in _COMPILED]
    if not compiled:
        if asked:
            parser.error(f"argument --target: only for --suite {' or '.join(_COMPILED)}")
        return None
    if len(compiled) < len(names):
        parser.error(f"argument --suite: {compiled[0]} runs alone, the others need the device")
    aot.stay_on_cpu()
    default = dict.fromkeys(target for name in compiled for target in _COMPILED[name])
    targets = tuple(dict.fromkeys(asked or filter(aot.available, default)))
    if not targets:
        commands = dict.fromkeys(map(aot.install, default))
        parser.error("no compiler here: " + " or ".join(commands))
    try:
        for target in targets:
            aot.devices(target)
    except aot.Unavailable as problem:
        parser.error(f"argument --target: {problem}")
    return targets


def _peers(parser: argparse.ArgumentParser, asked: list[str] | None) -> tuple[peers.Peer, ...]:
    loaded = {name: peers.load(name) for name in dict.fromkeys(asked or peers.NAMES)}
    missing = [name for name, peer in loaded.items() if peer is None]
    if asked and missing:
        parser.error(f"argument --peers: {', '.join(missing)} cannot be imported here")
    return tuple(peer for peer in loaded.values() if peer is not None)


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
