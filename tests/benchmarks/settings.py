"""What the command line asked for, as every suite receives it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .peers import Peer

Row = dict[str, Any]
Shape = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """`shapes`, `dtypes`, `functions` and `targets` are None where the suite is to choose."""

    shapes: tuple[Shape, ...] | None
    dtypes: tuple[str, ...] | None
    repeats: int
    peers: tuple[Peer, ...]
    functions: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    progress: Callable[[str], None]

    @property
    def dtype(self) -> str:
        """For a suite that measures one."""
        return self.dtypes[0] if self.dtypes else "float32"

    def choose(self, functions: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the suite's functions that were asked for."""
        return tuple(f for f in functions if self.functions is None or f in self.functions)


def show(shape: Shape) -> str:
    return "x".join(map(str, shape))
