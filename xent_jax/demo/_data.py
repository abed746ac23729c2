"""What a fit needs from a table: its rows, a stratified split, and standardised features."""

from typing import NamedTuple

import numpy as np

from ._imbalance import draw, long_tail_counts
from ._table import Table, read_digits


class Dataset(NamedTuple):
    """A labelled data set, split in two; the inputs are standardised and flat."""

    x_train: np.ndarray  # [N, features], float32
    y_train: np.ndarray  # [N], int32: positions in ``classes``
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    features: tuple[str, ...]
    shape: tuple[int, ...]  # of one input: (8, 8) for the digits, (features,) for a table


def load_digits(seed: int = 0) -> Dataset:
    """The UCI handwritten digits, split and standardised: 1797 images of 8 x 8, ten classes.

    Example:
      >>> from xent_jax.demo import load_digits
      >>> digits = load_digits()
      >>> digits.x_train.shape, digits.x_test.shape, digits.classes[:3]
      ((1438, 64), (359, 64), ('0', '1', '2'))
    """
    return prepare(read_digits(), seed)


def prepare(table: Table, seed: int, imbalance: float | None = None) -> Dataset:
    """Split the rows, a fifth of each class to test on, and standardise the features.

    With ``imbalance`` the training part is a long tail of that ratio, and the test part balanced.
    """
    y, rng = table.y.astype(np.int32), np.random.default_rng(seed)
    present = np.bincount(y)
    test = draw(y, np.maximum(np.rint(present / 5), 1).astype(int), rng)
    train = np.setdiff1d(np.arange(len(y)), test)
    if imbalance is not None:
        train = train[draw(y[train], long_tail_counts(np.bincount(y[train]), imbalance), rng)]
        fewest = np.bincount(y[test]).min()
        test = test[draw(y[test], np.full(len(present), fewest), rng)]
    x = table.x.reshape(len(y), -1).astype(np.float64)
    x_train, x_test = standardise(x[train], x[test])
    shape = table.x.shape[1:]
    return Dataset(x_train, y[train], x_test, y[test], table.classes, table.features, shape)


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean 0 and standard deviation 1 for every column of ``train``; ``test`` goes the same way.

    A column that is constant in ``train`` teaches nothing and becomes 0 in both.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    # Rounding of the mean leaves a constant column a deviation of about 1e-17: look at the values.
    deviation[(np.ptp(train, axis=0) == 0) | (deviation == 0)] = np.inf
    train, test = (train - mean) / deviation, (test - mean) / deviation
    return train.astype(np.float32), test.astype(np.float32)
