"""Programs for GPUs and TPUs, compiled but not run: memory traffic, temporaries, kernels."""

from collections.abc import Iterator
from typing import Any

import jax

from .. import aot
from ..functions import FUNCTIONS, title
from ..peers import Peer
from ..peers.ours import OURS
from ..peers.peer import with_gradients
from ..report import duration, markdown, percent, ratio
from ..settings import Row, Settings, Shape, show

DEFAULT = False
_SHAPES = {"h200": ((4096, 49152),)}
_SHAPES_OF_TPUS = ((8192, 32768),)
_DTYPES = ("float32", "bfloat16")
_PASSES = ("value", "value and gradient")
_PEERS = ("optax", "jax")


def run(settings: Settings) -> Iterator[Row]:
    for target in settings.targets or ():
        aot.report(jax.numpy.exp, aot.array(target, (8, 128)))  # the first one loads a compiler
        for shape in settings.shapes or _SHAPES.get(target, _SHAPES_OF_TPUS):
            for name in settings.choose(tuple(FUNCTIONS)):
                settings.progress(f"accelerators {target} {show(shape)} {name}")
                for which in _PASSES:
                    for dtype in settings.dtypes or _DTYPES:
                        peer = next((p for p in settings.peers if _offers(p, name)), None)
                        yield _measure(target, shape, name, which, dtype, peer)


def _offers(peer: Peer, name: str) -> bool:
    return peer.name in _PEERS and name in peer.forms


def _measure(
    target: str, shape: Shape, name: str, which: str, dtype: str, peer: Peer | None
) -> Row:
    function = FUNCTIONS[name]
    arrays = [
        aot.array(target, shape[:1], "int32")
        if column == "ids"
        else aot.array(target, shape, dtype)
        for column in function.inputs
    ]
    wrt = () if which == "value" else function.wrt
    forms = {p.name: with_gradients(p.forms[name], wrt) for p in (OURS, peer) if p}
    read, written = _bytes(arrays), _bytes(jax.eval_shape(forms[OURS.name], *arrays))
    return {
        "target": target,
        "shape": show(shape),
        "function": name,
        "pass": which,
        "dtype": dtype,
        "input_bytes": read,
        "least_bytes": read + written,
        "programs": {peer: aot.program(form, *arrays) for peer, form in forms.items()},
    }


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def describe(row: Row) -> str:
    programs = (f"{name}: {_show(row, program)}" for name, program in row["programs"].items())
    which = f"{row['function']:<30}{row['pass']:<19}{row['dtype']:<9}"
    return f"{row['target']} {row['shape']} {which} {'  '.join(programs)}"


def _show(row: Row, program: Row) -> str:
    cells = [
        f"traffic {_traffic(row, program)}",
        f"temporaries {_temporaries(row, program)}",
        f"{program['kernels']} kernels",
        *(f"{kind} {size} bytes" for kind, size in program["collective_bytes"].items()),
        f"compiled in {duration(program['compile_seconds'])}",
    ]
    if program["estimated_seconds"] is not None:
        cells.append(f"estimate {duration(program['estimated_seconds'])}")
    return ", ".join(cells)


def _traffic(row: Row, program: Row) -> str:
    return ratio(program["traffic_bytes"] / row["least_bytes"])


def _temporaries(row: Row, program: Row) -> str:
    return percent(100 * program["temporary_bytes"] / row["input_bytes"])


def _compile(row: Row, program: Row) -> str:
    return ratio(program["compile_seconds"])


def _kernels(row: Row, program: Row) -> str:
    return str(program["kernels"])


_COLUMNS = {
    "traffic": _traffic,
    "temporaries": _temporaries,
    "kernels": _kernels,
    "compile, s": _compile,
}


def tables(rows: list[Row]) -> dict[str, str]:
    """One per shape and pass, and per target where there are several in one file."""
    several = len({row["target"] for row in rows}) > 1
    found: dict[str, list[Row]] = {}
    for row in rows:
        target = [row["target"].replace(":", "-")] if several else []
        name = "-".join([*target, row["shape"], row["pass"].replace(" ", "-")])
        found.setdefault(name, []).append(row)
    return {name: _table(chosen) for name, chosen in found.items()}


def _table(rows: list[Row]) -> str:
    """Where both dtypes were read, a cell shows one number for each."""
    estimated = any(row["programs"][OURS.name]["estimated_seconds"] is not None for row in rows)
    header = [" / ".join(dict.fromkeys(row["dtype"] for row in rows)), "peer"]
    header += [h for column in _COLUMNS for h in (column, "peer's")]
    header += ["estimate ÷ peer's"] * estimated
    functions = dict.fromkeys(row["function"] for row in rows)
    lines = (_line([r for r in rows if r["function"] == f], estimated) for f in functions)
    return markdown(header, lines)


def _line(rows: list[Row], estimated: bool) -> list[str]:
    peer = next((name for name in rows[0]["programs"] if name != OURS.name), None)
    cells = [title(rows[0]["function"]), peer or "—"]
    for show_one in _COLUMNS.values():
        for name in (OURS.name, peer):
            cells.append(_both(show_one(r, r["programs"][name]) if name else "—" for r in rows))
    return cells + [_both(ratio(against_peer(row)) for row in rows)] * estimated


def _both(cells: Iterator[str]) -> str:
    return " / ".join(cells)


def against_peer(row: Row) -> float | None:
    """The estimate for ours ÷ that for the peer."""
    ours = row["programs"][OURS.name]["estimated_seconds"]
    others = (p for name, p in row["programs"].items() if name != OURS.name)
    peer = next(others, {}).get("estimated_seconds")
    return ours / peer if ours and peer else None
