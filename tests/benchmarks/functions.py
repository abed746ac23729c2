"""The functions compared: what each reads, differentiates, and at the least has to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """`inputs` name the columns of data.py; `wrt` are the positions of those differentiated.

    `exps` and `reads` state the least work of the value: inputs that need one exponential or
    logarithm per entry, and further inputs that only have to be read.
    """

    inputs: tuple[str, ...]
    wrt: tuple[int, ...]
    exps: int
    reads: int = 0


FUNCTIONS = {
    "softmax_cross_entropy/ids": Function(("z", "ids"), (0,), 1),
    "softmax_cross_entropy/smoothed": Function(("z", "ids"), (0,), 1),
    "softmax_cross_entropy/soft": Function(("z", "p"), (0,), 1, 1),
    "softmax_entropy": Function(("z",), (0,), 1),
    "softmax_kl_divergence": Function(("z", "zq"), (0, 1), 2),
    "softmax_js_divergence": Function(("z", "zq"), (0, 1), 2),
    "entropy": Function(("p",), (0,), 1),
    "cross_entropy": Function(("p", "q"), (0, 1), 1, 1),
    "kl_divergence": Function(("p", "q"), (0, 1), 1, 1),
    "js_divergence": Function(("p", "q"), (0, 1), 2),
    "sigmoid_cross_entropy": Function(("z", "p"), (0,), 1, 1),
    "sigmoid_entropy": Function(("z",), (0,), 1),
    "sigmoid_kl_divergence": Function(("z", "zq"), (0, 1), 2),
    "sigmoid_js_divergence": Function(("z", "zq"), (0, 1), 2),
    "softmax_focal_loss/ids": Function(("z", "ids"), (0,), 1),
    "sigmoid_focal_loss": Function(("z", "p"), (0,), 1, 1),
}

SMOOTHING = 0.1
_LABELS = {
    "ids": "integer labels",
    "smoothed": "integer labels, smoothed",
    "soft": "soft labels",
}


def title(name: str) -> str:
    """The name of a function as a table shows it."""
    function, _, labels = name.partition("/")
    return f"`{function}`" + (f", {_LABELS[labels]}" if labels else "")
