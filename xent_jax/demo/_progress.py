"""How a fit shows that it moves on: a bar on a terminal, plain lines everywhere else."""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._fit import History

_LINES = 10  # plain lines in a whole run, about
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} epochs, {remaining} left{postfix}"


@contextmanager
def progress(epochs: int) -> Iterator[Callable[[int, History], None]]:
    """Yield the callback of a fit that reports its epochs."""
    tqdm = _tqdm() if sys.stderr.isatty() else None
    if tqdm is None:
        yield _lines(epochs)
        return
    size = shutil.get_terminal_size()  # left to itself, tqdm is silent where the size is unknown
    shape = {"ncols": min(size.columns, 110), "nrows": size.lines}
    with tqdm(total=epochs, bar_format=_BAR, leave=False, **shape) as bar:

        def advance(count: int, history: History) -> None:
            bar.set_postfix_str(_losses(history), refresh=False)
            bar.update(count)

        yield advance


def _lines(epochs: int) -> Callable[[int, History], None]:
    done = 0

    def advance(count: int, history: History) -> None:
        nonlocal done
        before, done = done, done + count
        if done * _LINES // epochs > before * _LINES // epochs:
            print(f"epoch {done:>{len(str(epochs))}}/{epochs}  {_losses(history)}", flush=True)

    return advance


def _losses(history: History) -> str:
    return f"train {history.train[-1]:.4f}  test {history.test[-1]:.4f} nats"


def _tqdm() -> Any:
    try:
        return importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
