"""Reading a labelled table from a .csv or a .npz file. Whatever is wrong with it is said here."""

import csv
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ._errors import DemoError

_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}
_LARGEST = 1e30  # its square, in a standard deviation, must stay far from overflow


class Table(NamedTuple):
    """A labelled table: finite numbers, and at least two classes of two rows on average."""

    x: np.ndarray  # [N, ...], float64
    y: tuple[str, ...]  # N labels
    features: tuple[str, ...]  # one name for each number of an input


def read_table(path: Path, label: str | None = None) -> Table:
    """The table in a .csv file, with ``label`` or else the last column as the label, or a .npz."""
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".npz"}:
        raise DemoError(f"--data {path}: the name must end in .csv or .npz, which tells the format")
    if label is not None and suffix == ".npz":
        raise DemoError("--label is for a .csv file: the labels of a .npz file are its array y")
    try:
        if suffix == ".npz":
            with path.open("rb") as file:
                return read_npz(file, str(path))
        with path.open(encoding="utf-8-sig", newline="") as file:
            return read_csv(file, str(path), label)
    except OSError as error:
        reason = error.strerror or error
        raise DemoError(f"--data {path}: {reason}; give the path of a readable file") from None


def read_csv(file: IO[str], name: str, label: str | None) -> Table:
    """The table in an open .csv file: a header row, then one row for each example."""
    lines = _csv_rows(file, name)
    _, header = next(lines, (0, []))
    target = _label_column(header, name, label)
    features = [column for column in range(len(header)) if column != target]
    x: list[list[float]] = []
    y: list[str] = []
    for line, row in lines:
        where = f"{name}, line {line}"
        if len(row) != len(header):
            raise DemoError(
                f"{where}: {len(row)} cells, but the header has {len(header)}; "
                "give every row as many (a cell with a comma needs quotes)"
            )
        if not row[target]:
            raise DemoError(f"{where}: the label is missing; fill it in or remove the row")
        x.append([_number(row[column], where, header[column]) for column in features])
        y.append(row[target])
    names = tuple(header[column] for column in features)
    return checked(Table(np.array(x).reshape(len(x), len(names)), tuple(y), names), name)


def _csv_rows(file: IO[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every row that is not blank."""
    rows = csv.reader(file)
    try:
        for row in rows:
            if row:
                yield rows.line_num, [cell.strip() for cell in row]
    except UnicodeDecodeError:
        raise DemoError(f"{name}: not text in UTF-8; save the table as CSV in UTF-8") from None
    except csv.Error as error:
        raise DemoError(f"{name}, line {rows.line_num}: {error}; save the table as CSV") from None


def _label_column(header: list[str], name: str, label: str | None) -> int:
    """The position of the label column, once the header is known to be one."""
    if not header:
        raise DemoError(f"{name}: the file is empty; give a header row, then one row per example")
    if len(header) == 1:
        raise DemoError(
            f"{name}: one column only; give features and a label, with commas between the columns"
        )
    if "" in header:
        raise DemoError(
            f"{name}: column {header.index('') + 1} has no name; name it in the header, or remove "
            "it if it only numbers the rows (pandas: index=False)"
        )
    counting = [str(column) for column in range(len(header))]
    if header != counting and all(_is_number(cell) for cell in header):
        raise DemoError(f"{name}: the first row holds numbers; put a header row of names above it")
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise DemoError(f"{name}: two columns are named {twice[0]!r}; rename one of them")
    if label is None:
        return len(header) - 1
    if label not in header:
        known = ", ".join(header[:8]) + (", ..." if len(header) > 8 else "")
        raise DemoError(f"--label {label!r}: no such column in {name}; it has {known}")
    return header.index(label)


def _is_number(cell: str) -> bool:
    try:
        return not math.isnan(float(cell))
    except ValueError:
        return False


def _number(cell: str, where: str, column: str) -> float:
    where = f"{where}: column {column!r}"
    if cell.lower() in _MISSING:
        raise DemoError(f"{where} has a missing value; fill it in or remove the row")
    try:
        number = float(cell)
    except ValueError:
        raise DemoError(
            f"{where} holds the text {cell[:40]!r}; features must be numbers: encode or remove "
            "the column, or name it with --label if it is the label"
        ) from None
    if not abs(number) <= _LARGEST:
        raise DemoError(f"{where} is {cell[:40]}; give a finite number of at most {_LARGEST:g}")
    return number


def read_npz(file: IO[bytes], name: str) -> Table:
    """The table in an open .npz file: x [N, features] or [N, height, width], and y [N]."""
    save = "save it with numpy.savez(FILE, x=x, y=y)"
    try:
        arrays = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise DemoError(f"{name}: not a .npz file; {save}") from None
    if isinstance(arrays, np.ndarray):
        raise DemoError(f"{name}: a single array, not a .npz file; {save}")
    with arrays:
        x, y = _array(arrays, "x", name, save), _array(arrays, "y", name, save)
    if x.ndim not in (2, 3) or y.shape != x.shape[:1]:
        raise DemoError(
            f"{name}: x has shape {x.shape} and y {y.shape}; "
            "give x [N, features] or [N, height, width], and y [N]"
        )
    if x.dtype.kind not in "biuf":
        raise DemoError(f"{name}: x holds {x.dtype}; save it as real numbers")
    if y.dtype.kind not in "biuU":
        raise DemoError(f"{name}: y holds {y.dtype}; save the labels as integers or strings")
    features = tuple(f"x[{', '.join(map(str, at))}]" for at in np.ndindex(x.shape[1:]))
    return checked(Table(x.astype(np.float64), tuple(map(str, y.tolist())), features), name)


def _array(arrays: Mapping[str, np.ndarray], key: str, name: str, save: str) -> np.ndarray:
    try:
        return arrays[key]
    except KeyError:
        raise DemoError(f"{name}: no array {key!r}; {save}") from None
    except ValueError:
        raise DemoError(
            f"{name}: {key} holds Python objects; save it as an array of numbers or strings"
        ) from None
    except (EOFError, zipfile.BadZipFile, zlib.error):
        raise DemoError(f"{name}: {key} is damaged; {save} again") from None


def checked(table: Table, name: str) -> Table:
    """The table, if a classifier can be fitted to it and tested."""
    if not table.y:
        raise DemoError(f"{name}: no rows; give one row per example")
    if not table.features:
        raise DemoError(f"{name}: no features; give each row at least one number")
    bad = np.argwhere(~(np.abs(table.x) <= _LARGEST))
    if bad.size:
        row, *at = bad[0].tolist()
        raise DemoError(
            f"{name}: x{[row, *at]} is {table.x[tuple(bad[0])]:g}; every input must be a finite "
            f"number of at most {_LARGEST:g}: fill it in, rescale it or remove the row"
        )
    if len(set(table.y)) == 1:
        raise DemoError(
            f"{name}: every label is {table.y[0]!r}; a classifier needs at least two classes"
        )
    if 2 * len(set(table.y)) > len(table.y):
        raise DemoError(
            f"{name}: {len(set(table.y))} classes in {len(table.y)} rows; give two rows per class "
            "on average, or name the column of the classes with --label"
        )
    return table
