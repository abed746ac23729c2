"""A table to learn: the digits of this package, or a .csv file."""

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._errors import DemoError

_LARGEST = 1e30  # its square, in a standard deviation, must stay far from overflow


class Table(NamedTuple):
    """A labelled table of finite numbers, with two rows or more of each class."""

    x: np.ndarray  # [N, ...]
    y: np.ndarray  # [N], positions in ``classes``
    classes: tuple[str, ...]
    features: tuple[str, ...]  # one name for each number of an input


def read_digits() -> Table:
    """The 1797 handwritten digits, as stored."""
    with (files("xent_jax.demo") / "data" / "digits.npz").open("rb") as file:
        arrays = np.load(file)
        x, y = arrays["x"], arrays["y"]
    pixels = tuple(f"pixel {row}, {column}" for row, column in np.ndindex(8, 8))
    return Table(x, y, tuple("0123456789"), pixels)


def read_csv(path: Path, label: str | None = None) -> Table:
    """The table in a .csv file with a header row; ``label`` or else the last column is the label.

    A `DemoError` says what is wrong with it.
    """
    import pandas as pd  # an extra

    try:
        frame: Any = pd.read_csv(path, skipinitialspace=True)
    except ValueError as error:
        raise DemoError(f"{path}: {error}; save the table as CSV in UTF-8") from None
    label = label or str(frame.columns[-1])
    _check_header(list(frame.columns), label, path)
    features = frame.drop(columns=label)
    x = features.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    for row, column in np.argwhere(~(np.abs(x) <= _LARGEST)):
        cell, name = str(features.iat[row, column])[:40], features.columns[column]
        raise DemoError(
            f"{path}: column {name!r} of row {row + 1} is no finite number but {cell!r}; mend it, "
            "remove the row or the column, or name the column with --label if it is the label"
        )
    for row in np.flatnonzero(frame[label].isna()):
        raise DemoError(f"{path}: row {row + 1} has no label; fill it in or remove the row")
    y, classes = pd.factorize(frame[label], sort=True)
    for number in np.flatnonzero(np.bincount(y) < 2):
        raise DemoError(
            f"{path}: only one row has the label {str(classes[number])!r}; give one to train on "
            "and one to test on, or name the column of the classes with --label"
        )
    if len(classes) < 2:
        raise DemoError(f"{path}: {len(y)} rows, {len(classes)} different labels; give two or more")
    return Table(x, y, tuple(map(_shortened, classes)), tuple(map(_shortened, features.columns)))


def _shortened(name: Any) -> str:
    return str(name) if len(str(name)) <= 20 else str(name)[:19] + "…"


def _check_header(names: list[str], label: str, path: Path) -> None:
    """Raise a `DemoError` unless the columns have names and the label is one of several."""
    if label not in names:
        raise DemoError(f"--label {label!r}: no such column in {path}; it has {', '.join(names)}")
    if len(names) == 1:
        raise DemoError(f"{path}: only one column; put commas between features and label")
    if any(name.startswith("Unnamed: ") for name in names):
        raise DemoError(
            f"{path}: a column has no name; name it in the header, or remove it if it only numbers "
            "the rows (pandas: index=False)"
        )
    if all(name.replace(".", "").lstrip("-").isdecimal() for name in names if name != label):
        raise DemoError(f"{path}: the first row holds numbers; put a header row of names above it")
