"""Relative error of values and gradients against 60 digits, on named hard inputs."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..functions import FUNCTIONS, title
from ..hard_inputs import Hard, hard_inputs
from ..peers import Peer
from ..peers.ours import OURS
from ..peers.peer import Bound
from ..report import markdown
from ..settings import Row, Settings

DEFAULT = False
Error = float | str | None
_KINDS = ("NaN", "inf", "negative", "0", "finite")


def run(settings: Settings) -> Iterator[Row]:
    chosen = settings.choose(tuple(FUNCTIONS))
    for hard in hard_inputs():
        if hard.function in chosen:
            settings.progress(f"accuracy {hard.function}: {hard.title}")
            peers = [p for p in (OURS, *settings.peers) if hard.function in p.forms]
            truth = _truth(hard)
            errors = {p.name: _errors(p, hard, *truth) for p in peers}
            yield {"function": hard.function, "input": hard.title, "errors": errors}


def _truth(hard: Hard) -> tuple[np.ndarray, list[np.ndarray]]:
    """The values of the rows, and the gradients of each differentiated argument."""
    from ... import oracle  # needs mpmath, which the other suites do without

    function = getattr(oracle, hard.function.partition("/")[0])
    rows = [function(*row) for row in zip(*hard.arrays, strict=True)]
    arguments = range(1, 1 + len(FUNCTIONS[hard.function].wrt))
    return np.array([row[0] for row in rows]), [np.stack([r[i] for r in rows]) for i in arguments]


def _errors(
    peer: Peer, hard: Hard, value: np.ndarray, gradients: list[np.ndarray]
) -> dict[str, Error]:
    wrt = FUNCTIONS[hard.function].wrt
    try:
        got = _float64(_result(peer.bind(hard.function, hard.arrays)))
    except (IndexError, RuntimeError, TypeError, ValueError):
        return {"value": "raises", "gradient": None}
    errors: dict[str, Error] = {"value": _worst(map(_value_error, got, value)), "gradient": None}
    try:
        by_argument = _result(peer.bind(hard.function, hard.arrays, wrt))[1]
    except NotImplementedError:
        return errors
    # Calls give the gradient of the mean; the counts of rows are powers of two, so this is exact.
    rows = (
        _gradient_error(hard.function, g, t)
        for got, truth in zip(by_argument, gradients, strict=True)
        for g, t in zip(_float64(got) * len(value), truth, strict=True)
    )
    return errors | {"gradient": _worst(rows)}


def _result(bound: Bound) -> Any:
    """What the call gives; a framework with a queue of its own wraps it."""
    found = bound.call()
    return getattr(found, "value", found)


def _float64(x: Any) -> np.ndarray:
    """Of JAX or PyTorch; bfloat16 is known to neither NumPy nor torch.numpy()."""
    x = x.detach().cpu().double() if hasattr(x, "detach") else x
    return np.asarray(x).astype(np.float64)


def _value_error(got: float, truth: float) -> Error:
    if np.isnan(truth):
        return 0.0 if np.isnan(got) else "finite"
    if np.isnan(got):
        return "NaN"
    if got == truth:
        return 0.0
    if not np.isfinite(got):
        return "inf"
    if got <= 0 < truth:
        return "negative" if got < 0 else "0"
    return abs(got - truth) / truth if truth > 0 else "inf"


def _gradient_error(function: str, got: np.ndarray, truth: np.ndarray) -> Error:
    """Relative to the largest entry; an infinite slope is only asked not to be NaN."""
    if np.all(np.isnan(truth)):
        return 0.0 if np.all(np.isnan(got)) else "finite"
    if np.any(np.isnan(got)):
        return "NaN"
    sloping = np.isfinite(truth)
    got, truth = got[sloping], truth[sloping]
    if function == "kl_divergence":
        # Definitions differ by a constant over the classes, which no move among distributions sees.
        got, truth = got - got.mean(), truth - truth.mean()
    if np.array_equal(got, truth):
        return 0.0
    if not np.all(np.isfinite(got)):
        return "inf"
    if not np.any(got):
        return "0"
    scale = np.abs(truth).max()
    return np.abs(got - truth).max() / scale if scale > 0 else "inf"


def _worst(errors: Iterator[Error]) -> Error:
    """A wrong kind of answer is worse than any error."""
    everything = list(errors)
    words = [kind for kind in _KINDS if kind in everything]
    return words[0] if words else float(f"{max(everything):.2g}")  # type: ignore[type-var]


def _show(error: Error) -> str:
    if error is None:
        return "—"
    if isinstance(error, str):
        return f"**{error}**"
    if error == 0:
        return "exact"
    digits, exponent = f"{error:.0e}".split("e")
    return f"{digits}e{int(exponent)}"


def _cell(errors: dict[str, Error] | None) -> str:
    return " / ".join(map(_show, errors.values())) if errors else ""


def describe(row: Row) -> str:
    cells = (f"{peer} {_cell(errors)}" for peer, errors in row["errors"].items())
    return f"{row['function']}, {row['input']}: {' · '.join(cells)}"


def tables(rows: list[Row]) -> dict[str, str]:
    peers = dict.fromkeys(peer for row in rows for peer in row["errors"])
    lines = (
        [f"{title(row['function'])}: {row['input']}", *(_cell(row["errors"].get(p)) for p in peers)]
        for row in rows
    )
    return {"": markdown(["value / gradient", *peers], lines)}
