"""The two short tables of the README: five rows each of what results/ holds."""

from collections.abc import Iterator
from typing import Any

from .functions import FUNCTIONS, title
from .limits import least_seconds
from .peers.ours import OURS
from .report import gib, markdown, ratio
from .settings import Row
from .suites import accuracy
from .suites.dense import seconds_and_kernels
from .timing import medians

Kept = dict[str, Any]

_HARD_INPUTS = (
    ("softmax_cross_entropy/ids", "logits [20, 0, 0, −1], label 0"),
    ("softmax_entropy", "logits [20, 0, 0, −1]"),
    ("softmax_kl_divergence", "logits 10⁻⁴ apart"),
    ("kl_divergence", "probabilities 10⁻⁴ apart"),
    ("softmax_focal_loss/ids", "logits [10, 0, 0], label 0"),
)
_HEADS = ("8192x4096x131072", "32768x2560x128256", "4096x4096x151936")
_DENSE = (
    ("softmax_cross_entropy/ids", "65536x4096"),
    ("softmax_kl_divergence", "65536x4096"),
)
_IN_PYTORCH = ("torch", "torch, compiled", "Liger")


def summaries(kept: dict[str, Kept]) -> dict[str, tuple[str, list[Kept]]]:
    """By name, a table and the results it shows; only where all of them are there."""
    found = {}
    if "accuracy" in kept:
        rows = {(r["function"], r["input"]): r for r in kept["accuracy"]["suites"]["accuracy"]}
        if rows.keys() >= set(_HARD_INPUTS):
            chosen = [rows[key] for key in _HARD_INPUTS]
            found["summary-accuracy"] = accuracy.tables(chosen)[""], [kept["accuracy"]]
    sources = [kept[name] for name in ("linear-h200", "dense-h200") if name in kept]
    if len(sources) == 2:
        lines = (*_heads(sources[0]["suites"]["linear"]), *_dense(sources[1]["suites"]["dense"]))
        header = ["value and gradients, time ÷ limit", "xent_jax", "best in JAX", "best in PyTorch"]
        header += ["temporaries, GiB", "those of the best in JAX"]
        found["summary-speed"] = markdown(header, lines), sources
    return found


def _heads(rows: list[Row]) -> Iterator[list[str]]:
    for row in rows:
        if row["form"] == "mean" and row["shape"] in _HEADS:
            seconds = medians(row["seconds"])
            limit = seconds.pop("bare products")
            yield _line(f"head, {row['shape'].replace('x', ' × ')}", row, seconds, limit)


def _dense(rows: list[Row]) -> Iterator[list[str]]:
    for row in rows:
        if row["pass"] != "forward" and (row["function"], row["shape"]) in _DENSE:
            seconds, kernels = seconds_and_kernels(row)
            limit = least_seconds(FUNCTIONS[row["function"]], True, kernels)
            name = f"{title(row['function'])}, {row['shape'].replace('x', ' × ')}"
            yield _line(name, row, seconds, limit)


def _line(name: str, row: Row, seconds: dict[str, float], limit: float) -> list[str]:
    in_torch = {n: s for n, s in seconds.items() if n in _IN_PYTORCH}
    in_jax = {n: s for n, s in seconds.items() if n not in _IN_PYTORCH and n != OURS.name}
    memory = row["temporary_bytes"]
    best = [min(those, key=those.__getitem__) for those in (in_jax, in_torch)]
    cells = [f"{ratio(seconds[peer] / limit)} ({peer})" for peer in best]
    return [
        name,
        ratio(seconds[OURS.name] / limit),
        *cells,
        gib(memory[OURS.name]),
        gib(memory[best[0]]),
    ]
