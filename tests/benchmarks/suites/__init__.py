"""One file per suite; a file dropped in here is a suite under its own name.

A suite has `DEFAULT` (whether it runs unless others are named), `run`, which yields rows fit for
JSON, `describe`, which shows one row on the terminal, and `tables`, which gives Markdown tables by
suffix of their name. `PACKAGES`, if it has them, are compared with besides the peers.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Protocol, cast

from ..settings import Row, Settings


class Suite(Protocol):
    DEFAULT: bool

    def run(self, settings: Settings) -> Iterator[Row]: ...
    def describe(self, row: Row) -> str: ...
    def tables(self, rows: list[Row]) -> dict[str, str]: ...


NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> Suite:
    return cast(Suite, importlib.import_module(f".{name}", __name__))
