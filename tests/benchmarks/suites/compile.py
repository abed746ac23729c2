"""Seconds to trace and compile a gradient, the size of its program, and whether XLA complained of
constant folding."""

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
_USUAL, _LONG = (256, 1000), (1048576, 10)  # of the long one constants are dear to fold
_SHAPES = (_USUAL, _LONG)
_PEERS = ("optax", "jax")
_REPEATS = 3
_ALARM = "constant folding"


def run(settings: Settings) -> Iterator[Row]:
    for shape in settings.shapes or _SHAPES:
        for name in settings.choose(tuple(FUNCTIONS)):
            settings.progress(f"compile {show(shape)} {name}")
            yield _measure(settings, shape, name)


def _measure(settings: Settings, shape: Shape, name: str) -> Row:
    peers = [p for p in settings.peers if p.name in _PEERS and name in p.forms]
    samples: dict[str, list[float]] = {p.name: [] for p in (OURS, *peers)}
    alarms: list[str] = []
    instructions: dict[str, int] = {}
    for _ in range(min(settings.repeats, _REPEATS)):
        for peer in (OURS, *peers):
            with _standard_error() as said:
                seconds, instructions[peer.name] = _compiled(peer, name, shape, settings.dtype)
            samples[peer.name].append(seconds)
            if _ALARM in said().lower() and peer.name not in alarms:
                alarms.append(peer.name)
    return {
        "function": name,
        "shape": show(shape),
        "dtype": settings.dtype,
        "alarms": alarms,
        "instructions": instructions,
        "seconds": significant(samples),
    }


def _compiled(peer: Peer, name: str, shape: Shape, dtype: str) -> tuple[float, int]:
    """Seconds to trace and compile, with nothing traced before, and the operations of the trace."""
    function = FUNCTIONS[name]
    float_array = jax.ShapeDtypeStruct(shape, dtype)
    ids = jax.ShapeDtypeStruct(shape[:1], "int32")
    arrays = [ids if column == "ids" else float_array for column in function.inputs]
    jax.clear_caches()
    start = time.perf_counter()
    lowered = jax.jit(with_gradients(peer.forms[name], function.wrt)).lower(*arrays)
    lowered.compile()
    return time.perf_counter() - start, lowered.as_text().count(" = ")


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
    shapes = dict.fromkeys(row["shape"] for row in rows)
    header = ["", *(f"{s} ÷ best peer" for s in shapes), "operations", "constant-folding alarm"]
    names = dict.fromkeys(row["function"] for row in rows)
    lines = ({r["shape"]: r for r in rows if r["function"] == name} for name in names)
    return {"": markdown(header, (_line(line, list(shapes)) for line in lines))}


def _line(by_shape: dict[str, Row], shapes: list[str]) -> list[str]:
    rows = list(by_shape.values())
    seconds = [medians(by_shape[s]["seconds"]) if s in by_shape else {} for s in shapes]
    ratios = [versus(best_peer(s, OURS.name) if s else None) for s in seconds]
    size = best_peer(rows[0]["instructions"], OURS.name)
    alarms = dict.fromkeys(name for row in rows for name in row["alarms"])
    return [title(rows[0]["function"]), *ratios, versus(size), ", ".join(alarms) or "none"]
