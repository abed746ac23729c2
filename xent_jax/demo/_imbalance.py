"""A long tail made of a data set: few rows of rare classes to train on, a balanced test part."""

import numpy as np

from ._errors import DemoError


def long_tail_counts(present: np.ndarray, ratio: float) -> np.ndarray:
    """How many rows each class keeps of those present: exponentially fewer, down to 1/ratio.

    The k-th of K classes keeps about n₀ · ratio^(−k/(K − 1)) rows, k = 0 the class with the most
    rows, and n₀ as large as the rows allow (Cao et al. 2019, Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss, section 4).
    """
    order = np.argsort(-present, kind="stable")
    shares = ratio ** -np.linspace(0, 1, len(present))
    # The smallest class first: the largest one then meets the ratio to half a row.
    smallest = int(np.min(present[order] / shares) / ratio + 1e-9)
    if not smallest:
        raise DemoError(f"--imbalance {ratio:g}: too few rows for it; give a smaller ratio")
    kept = np.empty_like(present)
    kept[order] = np.minimum(np.rint(round(smallest * ratio) * shares), present[order])
    return kept


def draw(y: np.ndarray, kept: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions in ``y``, in order, of so many rows of each class."""
    rows = [rng.permutation(np.flatnonzero(y == label))[:count] for label, count in enumerate(kept)]
    return np.sort(np.concatenate(rows))
