"""How the text of an option becomes a value, and what is said where it cannot."""

import argparse
import math
from collections.abc import Callable


def integer(least: int, most: int) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {text!r}"
            )
        return value

    return parse


def number(kind: str) -> Callable[[str], float]:
    """A finite number, "positive" or "non-negative"."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 <= value < math.inf) or (kind == "positive" and value == 0):
            raise argparse.ArgumentTypeError(f"must be a {kind} finite number, not {text!r}")
        return value

    return parse


def ratio(text: str) -> float:
    """A finite number from 1 on."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a finite number of at least 1, not {text!r}")
    return value


def mesh(text: str) -> tuple[int, int]:
    """Two numbers of devices."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdecimal() and 0 < int(p) < 2**16 for p in parts):
        raise argparse.ArgumentTypeError(f"must be two numbers of devices as in 2x4, not {text!r}")
    return int(parts[0]), int(parts[1])
