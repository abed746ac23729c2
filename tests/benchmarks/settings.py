"""What the command line asked for, as every suite receives it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .peers import Peer

Row = dict[str, Any]
Shape = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """`shapes` and `functions` are None where the suite is to choose."""

    shapes: tuple[Shape, ...] | None
    dtype: str
    repeats: int
    peers: tuple[Peer, ...]
    functions: tuple[str, ...] | None
    progress: Callable[[str], None]

    def choose(self, functions: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the suite's functions that were asked for."""
        return tuple(f for f in functions if self.functions is None or f in self.functions)


def show(shape: Shape) -> str:
    return "x".join(map(str, shape))
