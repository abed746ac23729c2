"""What the matrix products of a compiled program cost: dots, convolutions, calls of a library.

A compiler's own count takes the body of a loop once; here it counts as often as the loop turns.
"""

import math
import re

from .hlo import Instruction, computations, ran, sizes

_CALLED = re.compile(r"\bcalls=%?([\w.-]+)")
_LIBRARY = 'custom_call_target="__cublas$'
# The attribute of a dot, and the one in the configuration of the library's call.
_CONTRACTED = re.compile(r'lhs_contracting_dim(?:ension)?s"?[=:][{\[]([\d,"]*)')
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window={([^}]*)}")


def flops(text: str) -> int:
    """A multiplication and an addition for each pair of numbers that meet in a product."""
    bodies = computations(text)[1]
    return 2 * sum(n * _pairs(i, bodies) for n, i in ran(text))


def _pairs(i: Instruction, bodies: dict[str, list[Instruction]]) -> int:
    if i.op == "fusion":
        called = _CALLED.search(i.attributes)
        return sum(_pairs(j, bodies) for j in bodies.get(called[1] if called else "", ()))
    if i.op == "convolution":
        return _of_convolution(i)
    if i.op == "dot" or _LIBRARY in i.attributes:
        return _of_dot(i)
    return 0


def _of_dot(i: Instruction) -> int:
    found = _CONTRACTED.search(i.attributes)
    lhs, axes = sizes(i.operands[0]), re.findall(r"\d+", found[1] if found else "")
    return math.prod(sizes(i.type)) * math.prod(lhs[int(axis)] for axis in axes)


def _of_convolution(i: Instruction) -> int:
    """As which a product for a TPU is written, what is left of its batches or sums as a window."""
    labels = _LABELS.search(i.attributes)
    if not labels:
        raise ValueError(f"nothing names the axes of the convolution {i.name}")
    lhs, rhs, out = (
        dict(zip(axes, sizes(type), strict=True))
        for axes, type in zip(labels.groups(), (*i.operands[:2], i.type), strict=True)
    )
    pairs = out["b"] * out["f"] * rhs["i"]
    for axis in filter(str.isdigit, lhs):
        pairs *= _in_window(i, int(axis), lhs[axis], rhs[axis], out[axis])
    return pairs


def _in_window(i: Instruction, axis: int, given: int, window: int, results: int) -> int:
    """How often a number of the window meets one that is given, and not what pads or dilates."""
    found = _WINDOW.search(i.attributes)
    options = dict(option.split("=") for option in (found[1] if found else "").split())

    def of(name: str, default: str) -> str:
        return options[name].split("x")[axis] if name in options else default

    stride, low = int(of("stride", "1")), int(of("pad", "0_0").split("_")[0])
    apart, steps = int(of("lhs_dilate", "1")), int(of("rhs_dilate", "1"))
    places = (r * stride + w * steps - low for r in range(results) for w in range(window))
    return sum(0 <= place <= (given - 1) * apart and place % apart == 0 for place in places)
