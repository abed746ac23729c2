"""A long tail made of a data set: few rows of rare classes to train on, a balanced test part."""

import math

import numpy as np

from ._errors import DemoError


def long_tail(y: np.ndarray, classes: tuple[str, ...], ratio: float, seed: int) -> np.ndarray:
    """The rows of the training part to keep, drawn with ``seed``, in the order of the data."""
    present = np.bincount(y, minlength=len(classes))
    order = _frequent_first(present)[:-1]
    # The smallest class keeps a row if the k-th one has ratio^(1 − k/(K − 1)).
    limits = present[order] ** (1 / (1 - _exponents(len(present))[:-1]))
    if ratio > limits.min() + _ROUNDING:
        few = order[int(limits.argmin())]
        raise DemoError(
            f"--imbalance {ratio:g}: too few rows of class {classes[few]!r} to train on "
            f"({present[few]}); give a ratio of at most {math.floor(limits.min() + _ROUNDING)}"
        )
    return _draw(y, long_tail_counts(present, ratio), np.random.default_rng([seed, 1]))


def long_tail_counts(present: np.ndarray, ratio: float) -> np.ndarray:
    """How many rows each class keeps of those present: exponentially fewer, down to 1/ratio.

    The k-th of K classes keeps about n₀ · ratio^(−k/(K − 1)) rows, k = 0 the class with the most
    rows, and n₀ as large as the rows allow (Cao et al. 2019, Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss, section 4).
    """
    order = _frequent_first(present)
    shares = ratio ** -_exponents(len(present))
    # The smallest class first: the largest one then meets the ratio to half a row.
    smallest = math.floor(np.min(present[order] / shares) / ratio + _ROUNDING)
    largest = round(smallest * ratio)
    kept = np.empty_like(present)
    kept[order] = np.minimum(np.rint(largest * shares).astype(int), present[order])
    kept[order[-1]] = smallest
    return kept


_ROUNDING = 1e-9  # of powers of the ratio


def _frequent_first(present: np.ndarray) -> np.ndarray:
    return np.argsort(-present, kind="stable")


def _exponents(classes: int) -> np.ndarray:
    return np.linspace(0, 1, classes)


def balanced_test(y: np.ndarray, classes: tuple[str, ...], seed: int) -> np.ndarray:
    """The rows of the test part to keep: of every class as many as the smallest one has."""
    present = np.bincount(y, minlength=len(classes))
    if not present.all():
        raise DemoError(
            f"--imbalance: class {classes[int(present.argmin())]!r} has no row to test on; give at "
            "least two rows of every class"
        )
    return _draw(y, np.full_like(present, present.min()), np.random.default_rng([seed, 2]))


def _draw(y: np.ndarray, kept: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions in ``y``, in order, of so many rows of each class."""
    drawn = [
        rng.permutation(np.flatnonzero(y == label))[:count] for label, count in enumerate(kept)
    ]
    return np.sort(np.concatenate(drawn))
