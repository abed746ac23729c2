"""Jitted values and gradients of the dense rows: time, temporaries, and how far from the limit."""

from collections.abc import Iterator

import jax
from jax import Array

from ..data import bytes_needed, inputs
from ..functions import FUNCTIONS, title
from ..limits import kernels, least_seconds
from ..machine import free_bytes
from ..peers.ours import OURS
from ..report import durations, markdown, percent, ratio, significant, versus
from ..settings import Row, Settings, show
from ..timing import best_peer, interleave, medians

DEFAULT = True
_SHAPES = ((2048, 32768), (65536, 1000), (32, 10))
_ON_ACCELERATORS = ((8192, 131072), (65536, 4096), (1048576, 1000))
_FUNCTIONS = (
    "softmax_cross_entropy/ids",
    "softmax_cross_entropy/soft",
    "softmax_entropy",
    "softmax_kl_divergence",
    "entropy",
    "cross_entropy",
    "kl_divergence",
)
_LIMIT = "limit:"
_PASSES = ("forward", "value and gradient")


def run(settings: Settings) -> Iterator[Row]:
    usual = _SHAPES if jax.default_backend() == "cpu" else _ON_ACCELERATORS
    for shape in settings.shapes or usual:
        free, needed = free_bytes(), bytes_needed(shape, settings.dtype)
        if free is not None and needed > free:
            gib = f"needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
            settings.progress(f"skipped {show(shape)}: {gib}")
            continue
        for name in settings.choose(_FUNCTIONS):
            arrays = inputs(shape, settings.dtype, FUNCTIONS[name].inputs)
            for which in _PASSES:
                settings.progress(f"dense {show(shape)} {name}, {which}")
                yield {"shape": show(shape)} | _measure(settings, arrays, name, which)


def _measure(settings: Settings, arrays: tuple[Array, ...], name: str, which: str) -> Row:
    wrt = () if which == "forward" else FUNCTIONS[name].wrt
    peers = (OURS, *(p for p in settings.peers if p.timed and name in p.forms))
    bound = {p.name: p.bind(name, arrays, wrt) for p in peers}
    calls = {peer: b.call for peer, b in bound.items()}
    samples = interleave(
        calls | {f"{_LIMIT}{k}": call for k, call in kernels(arrays[0]).items()}, settings.repeats
    )
    read = sum(x.nbytes for x in arrays)
    temporaries = {peer: b.temporary_bytes for peer, b in bound.items()}
    return {
        "function": name,
        "pass": which,
        "dtype": settings.dtype,
        "input_bytes": read,
        "temporary_bytes": {p: b for p, b in temporaries.items() if b is not None},
        "seconds": significant(samples),
    }


def seconds_and_kernels(row: Row) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of the variants, and of the kernels of the limit."""
    seconds = medians(row["seconds"])
    kernels = {n.removeprefix(_LIMIT): s for n, s in seconds.items() if n.startswith(_LIMIT)}
    return {n: s for n, s in seconds.items() if not n.startswith(_LIMIT)}, kernels


def _to_limit(row: Row) -> float:
    seconds, kernel = seconds_and_kernels(row)
    least = least_seconds(FUNCTIONS[row["function"]], row["pass"] != "forward", kernel)
    return seconds[OURS.name] / least


def _temporaries(row: Row) -> float | None:
    ours = row["temporary_bytes"].get(OURS.name)
    return None if ours is None else 100 * ours / row["input_bytes"]


def describe(row: Row) -> str:
    seconds, _ = seconds_and_kernels(row)
    return (
        f"{row['shape']:>12} {row['function']:<27}{row['pass']:<19}"
        f" ÷ best {versus(best_peer(seconds, OURS.name))}  ÷ limit {ratio(_to_limit(row))}"
        f"  temporaries {percent(_temporaries(row))}  [{durations(seconds)}]"
    )


def tables(rows: list[Row]) -> dict[str, str]:
    """One table per shape: ratios only, since times belong to a machine."""
    header = ["", "value ÷ best peer", "÷ limit", "temporaries"]
    header += ["value and gradient ÷ best peer", "÷ limit", "temporaries"]
    shapes = dict.fromkeys(row["shape"] for row in rows)
    return {shape: markdown(header, _lines(rows, shape)) for shape in shapes}


def _lines(rows: list[Row], shape: str) -> Iterator[list[str]]:
    here = {(row["function"], row["pass"]): row for row in rows if row["shape"] == shape}
    for name in dict.fromkeys(function for function, _ in here):
        cells = [title(name)]
        for row in (here.get((name, which)) for which in _PASSES):
            if row is None:  # an interrupted run
                cells += ["—"] * 3
                continue
            best = best_peer(seconds_and_kernels(row)[0], OURS.name)
            cells += [versus(best), ratio(_to_limit(row)), percent(_temporaries(row))]
        yield cells
