"""What a fit needs from a data set: its rows, a stratified split, and standardised features."""

import re
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ._imbalance import balanced_test, long_tail
from ._table import Table, read_npz

TEST_FRACTION = 0.2


class Dataset(NamedTuple):
    """A labelled data set, split in two; the inputs are standardised and flat."""

    x_train: np.ndarray  # [N, features], float32
    y_train: np.ndarray  # [N], int32: positions in ``classes``
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    features: tuple[str, ...]
    shape: tuple[int, ...]  # of one input: (8, 8) for the digits, (features,) for a table


def read_digits() -> Table:
    """The 1797 handwritten digits, as stored."""
    with (files("xent_jax.demo") / "data" / "digits.npz").open("rb") as file:
        return read_npz(file, "digits.npz")


def load_digits(seed: int = 0) -> Dataset:
    """The UCI handwritten digits, split and standardised: 1797 images of 8 x 8, ten classes.

    Args:
      seed: seed of the split.

    Returns:
      The data set: 1438 training rows and 359 test rows of 64 features.

    Example:
      >>> from xent_jax.demo import load_digits
      >>> digits = load_digits()
      >>> digits.x_train.shape, digits.x_test.shape, digits.classes[:3]
      ((1438, 64), (359, 64), ('0', '1', '2'))
    """
    return prepare(read_digits(), seed)


def prepare(table: Table, seed: int, imbalance: float | None = None) -> Dataset:
    """Number the labels, split the rows, and standardise the features.

    With ``imbalance`` the training part is a long tail of that ratio, and the test part balanced.
    """
    classes = tuple(sorted(set(table.y), key=_natural))
    ids = {label: number for number, label in enumerate(classes)}
    y = np.array([ids[label] for label in table.y], np.int32)
    train, test = stratified_split(y, TEST_FRACTION, seed)
    if imbalance is not None:
        train = train[long_tail(y[train], classes, imbalance, seed)]
        test = test[balanced_test(y[test], classes, seed)]
    x = table.x.reshape(len(table.x), -1)
    x_train, x_test = standardise(x[train], x[test])
    return Dataset(
        x_train,
        y[train],
        x_test,
        y[test],
        classes,
        table.features,
        table.x.shape[1:],
    )


def stratified_split(y: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training rows and of the test rows, both in the order of the data.

    Every class gives ``fraction`` of its rows to the test part, rounded, but at least one and never
    its last one: a class that the training part lacks could not be learned.
    """
    rng = np.random.default_rng(seed)
    test = []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        test.append(rows[: min(max(round(fraction * len(rows)), 1), len(rows) - 1)])
    in_test = np.isin(np.arange(len(y)), np.concatenate(test))
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean 0 and standard deviation 1 for every column of ``train``; ``test`` goes the same way.

    A column that is constant in ``train`` teaches nothing and becomes 0 in both.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    # Rounding of the mean leaves a constant column a deviation of about 1e-17: look at the values.
    constant = (train.min(axis=0) == train.max(axis=0)) | (deviation == 0)
    scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    return ((train - mean) * scale).astype(np.float32), ((test - mean) * scale).astype(np.float32)


def _natural(label: str) -> tuple[bool, int, str]:
    """Sort 2 before 10, and numbers before words."""
    number = re.fullmatch(r"-?\d{1,18}", label) is not None
    return (not number, int(label) if number else 0, label)
