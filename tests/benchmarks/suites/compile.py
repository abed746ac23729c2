"""Seconds to trace and compile a gradient, and whether XLA complained of constant folding."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import jax

from ..functions import FUNCTIONS, title
from ..peers.ours import OURS
from ..peers.peer import Peer, with_gradients
from ..report import durations, markdown, significant, versus
from ..settings import Row, Settings, Shape, show
from ..timing import best_peer, medians

DEFAULT = True
_SHAPES = ((1048576, 10),)
_FUNCTIONS = (
    "softmax_cross_entropy/ids",
    "softmax_cross_entropy/soft",
    "softmax_entropy",
    "softmax_kl_divergence",
    "entropy",
    "cross_entropy",
    "kl_divergence",
)
_PEERS = ("optax", "jax")
_REPEATS = 3
_ALARM = "constant folding"


def run(settings: Settings) -> Iterator[Row]:
    for shape in settings.shapes or _SHAPES:
        for name in settings.choose(_FUNCTIONS):
            settings.progress(f"compile {show(shape)} {name}")
            yield _measure(settings, shape, name)


def _measure(settings: Settings, shape: Shape, name: str) -> Row:
    peers = [p for p in settings.peers if p.name in _PEERS and name in p.forms]
    samples: dict[str, list[float]] = {p.name: [] for p in (OURS, *peers)}
    alarms = []
    for repeat in range(min(settings.repeats, _REPEATS)):
        # One row more each time, so that no cache of JAX has the answer.
        rows = (shape[0] + repeat, shape[1])
        for peer in (OURS, *peers):
            with _standard_error() as said:
                samples[peer.name].append(_seconds(peer, name, rows, settings.dtype))
            if _ALARM in said().lower() and peer.name not in alarms:
                alarms.append(peer.name)
    return {
        "function": name,
        "shape": show(shape),
        "dtype": settings.dtype,
        "alarms": alarms,
        "seconds": significant(samples),
    }


def _seconds(peer: Peer, name: str, shape: Shape, dtype: str) -> float:
    function = FUNCTIONS[name]
    float_array = jax.ShapeDtypeStruct(shape, dtype)
    ids = jax.ShapeDtypeStruct(shape[:1], "int32")
    arrays = [ids if column == "ids" else float_array for column in function.inputs]
    start = time.perf_counter()
    jax.jit(with_gradients(peer.forms[name], function.wrt)).lower(*arrays).compile()
    return time.perf_counter() - start


@contextmanager
def _standard_error() -> Iterator[Callable[[], str]]:
    """What is written to file descriptor 2 meanwhile: XLA does not go through sys.stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        said: list[str] = []
        try:
            yield lambda: said[0]
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.append(_content(file))


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def describe(row: Row) -> str:
    seconds = medians(row["seconds"])
    alarm = f"; constant folding: {', '.join(row['alarms'])}" if row["alarms"] else ""
    return f"compile {row['shape']} {row['function']:<27} {durations(seconds)}{alarm}"


def tables(rows: list[Row]) -> dict[str, str]:
    header = ["", "ours ÷ best peer", "constant-folding alarm"]
    return {"": markdown(header, map(_line, rows))}


def _line(row: Row) -> list[str]:
    best = best_peer(medians(row["seconds"]), OURS.name)
    return [title(row["function"]), versus(best), ", ".join(row["alarms"]) or "none"]
