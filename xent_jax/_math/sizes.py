"""Sizes of axes, which may be symbols where a function is exported for batches of any size."""

from typing import Any


def is_one(size: Any) -> bool:
    """Whether the size is known to be 1."""
    return isinstance(size, int) and size == 1
