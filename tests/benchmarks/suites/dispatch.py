"""What an eager call on three numbers costs: ours is compiled, peers run operation by operation."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from ..data import inputs
from ..functions import FUNCTIONS, title
from ..peers.ours import OURS
from ..peers.peer import Form
from ..report import durations, markdown, ratio, significant
from ..settings import Row, Settings
from ..timing import interleave, medians

DEFAULT = True
_FUNCTIONS = (
    "softmax_cross_entropy/ids",
    "softmax_cross_entropy/soft",
    "softmax_entropy",
    "softmax_kl_divergence",
    "softmax_js_divergence",
    "entropy",
    "cross_entropy",
    "kl_divergence",
    "js_divergence",
    "sigmoid_cross_entropy",
    "softmax_focal_loss/ids",
    "sigmoid_focal_loss",
)
_PEERS = ("optax", "jax")


def run(settings: Settings) -> Iterator[Row]:
    for name in settings.choose(_FUNCTIONS):
        settings.progress(f"dispatch {name}")
        arrays = tuple(x[0] for x in inputs((1, 3), settings.dtype, FUNCTIONS[name].inputs))
        calls = {OURS.name: _call(OURS.forms[name], arrays)}
        for peer in settings.peers:
            if peer.name in _PEERS and name in peer.forms:
                calls[peer.name] = _call(peer.forms[name], arrays)
                calls[f"{peer.name}, jitted"] = _call(jax.jit(peer.forms[name]), arrays)
        samples = interleave(calls, settings.repeats)
        yield {"function": name, "dtype": settings.dtype, "seconds": significant(samples)}


def _call(form: Form, arrays: tuple[Any, ...]) -> Callable[[], Any]:
    """The call, already compiled."""
    jax.block_until_ready(form(*arrays))
    return lambda: jax.block_until_ready(form(*arrays))


def describe(row: Row) -> str:
    return f"dispatch {row['function']:<27} {durations(medians(row['seconds']))}"


def tables(rows: list[Row]) -> dict[str, str]:
    """Microseconds of ours, because they are what a user pays per call; ratios for the rest."""
    others = dict.fromkeys(name for row in rows for name in row["seconds"] if name != OURS.name)
    header = ["", "µs per call", *(f"÷ {name}" for name in others)]
    return {"": markdown(header, (_line(row, list(others)) for row in rows))}


def _line(row: Row, others: list[str]) -> list[str]:
    seconds = medians(row["seconds"])
    ours = seconds[OURS.name]
    ratios = [ratio(ours / seconds[n] if n in seconds else None) for n in others]
    return [title(row["function"]), f"{ours * 1e6:.0f}", *ratios]
