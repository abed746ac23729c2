"""The data of the demo: the digits as shipped, long tails, tables, and every complaint on them."""

import re
from importlib.resources import files

import numpy as np
import pytest

from xent_jax.demo import load_digits
from xent_jax.demo._cli import main
from xent_jax.demo._data import prepare, standardise
from xent_jax.demo._errors import DemoError
from xent_jax.demo._imbalance import long_tail_counts
from xent_jax.demo._table import Table, read_csv, read_digits

DIGIT_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_the_uci_test_set():
    table = read_digits()
    assert table.x.shape == (1797, 8, 8)
    assert table.x.min() == 0
    assert table.x.max() == 16
    assert np.bincount(table.y).tolist() == DIGIT_COUNTS
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    np.testing.assert_array_equal(table.x, digits.images)
    np.testing.assert_array_equal(table.y, digits.target)


def test_digits_name_their_source_and_licence():
    text = (files("xent_jax.demo") / "data" / "README.md").read_text(encoding="utf-8")
    for words in ("10.24432/C50P49", "CC BY 4.0", "Alpaydin", "Kaynak", "1797"):
        assert words in text


def test_load_digits_is_seeded():
    first, again, other = load_digits(1), load_digits(1), load_digits(2)
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.y_train[:100], other.y_train[:100])
    assert first.x_train.dtype == np.float32
    assert first.classes == tuple("0123456789")
    assert first.shape == (8, 8)


@pytest.mark.parametrize("sizes", [(10, 20, 30), (2, 3, 4), (2, 2), (7, 100)])
def test_split_is_stratified(sizes):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    table = Table(np.arange(len(y))[:, None], y, tuple(map(str, range(len(sizes)))), ("x",))
    data = prepare(table, 3)
    x = np.sort(np.concatenate([data.x_train, data.x_test]).ravel())
    assert len(np.unique(x)) == len(y)  # every row is in one part
    in_test = np.maximum(np.rint(0.2 * np.array(sizes)), 1)
    np.testing.assert_array_equal(np.bincount(data.y_test), in_test)
    np.testing.assert_array_equal(np.bincount(data.y_train), sizes - in_test)
    np.testing.assert_array_equal(data.x_test, prepare(table, 3).x_test)


def test_standardise_looks_at_the_training_part_only():
    rng = np.random.default_rng(0)
    train = np.column_stack([rng.normal(5, 3, 50), np.full(50, 0.1), rng.normal(0, 1e-9, 50)])
    test = np.array([[1e3, 7.0, 0.0]])
    x, x_test = standardise(train, test)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0), [1, 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(x, standardise(train, train[:1])[0])
    assert x_test[0, 0] == pytest.approx((1e3 - train[:, 0].mean()) / train[:, 0].std())
    assert x_test[0, 1] == 0


# The long tail


@pytest.mark.parametrize("ratio", [1, 2, 10, 50, 100])
@pytest.mark.parametrize("present", [[200] * 10, [150, 300, 220], [1000, 900]], ids=str)
def test_the_ratio_is_exact(present, ratio):
    present = np.array(present)
    kept = long_tail_counts(present, ratio)
    assert kept.max() == ratio * kept.min()
    assert (kept >= 1).all() and (kept <= present).all()
    # Exponential from class to class, but for the rounding to whole rows.
    falling = np.sort(kept)[::-1]
    expected = falling[0] * ratio ** -np.linspace(0, 1, len(kept))
    np.testing.assert_allclose(falling, expected, atol=0.5)
    # The frequent classes stay the frequent ones, and one row more of the rarest would not fit.
    assert (np.diff(kept[np.argsort(-present, kind="stable")]) <= 0).all()
    larger = (kept.min() + 1) * ratio ** np.linspace(1, 0, len(kept))
    assert (larger > np.sort(present)[::-1]).any()


def test_a_ratio_between_whole_rows_and_one_too_large():
    np.testing.assert_array_equal(long_tail_counts(np.array([146, 146, 146]), 1.5), [146, 119, 97])
    np.testing.assert_array_equal(long_tail_counts(np.array([3, 4]), 3.6), [1, 4])
    with pytest.raises(DemoError, match="--imbalance 5: too few rows"):
        long_tail_counts(np.array([3, 4]), 5)


def test_long_tailed_data():
    first, second = (prepare(read_digits(), seed, 50) for seed in (3, 4))
    np.testing.assert_array_equal(np.bincount(first.y_train), np.bincount(second.y_train))
    assert np.bincount(first.y_train).max() == 100 and np.bincount(first.y_train).min() == 2
    for data in first, second:
        assert len(set(np.bincount(data.y_test))) == 1
        np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-5)
    assert not np.array_equal(first.x_train, second.x_train)
    again = prepare(read_digits(), 3, 50)
    np.testing.assert_array_equal(again.x_train, first.x_train)
    np.testing.assert_array_equal(again.y_test, first.y_test)


# Tables


@pytest.fixture
def csv(tmp_path):
    pytest.importorskip("pandas")

    def read(text, label=None, encoding="utf-8"):
        path = tmp_path / "t.csv"
        path.write_text(text, encoding=encoding)
        return read_csv(path, label)

    return read


def test_csv_takes_the_last_column_or_the_named_one(csv):
    text = 'kind,width, "height"\nred,1,2.5\n\n"blue, dark", 3 ,-4e1\nred,5,6\n"blue, dark",5,7\n'
    with pytest.raises(DemoError, match="column 'kind' of row 1 is no finite number but 'red'"):
        csv(text)
    table = csv(text, "kind")
    assert table.features == ("width", "height")
    assert table.classes == ("blue, dark", "red")
    np.testing.assert_array_equal(table.y, [1, 0, 1, 0])
    np.testing.assert_array_equal(table.x, [[1, 2.5], [3, -40], [5, 6], [5, 7]])
    assert csv("a,b\n1,x\n2,y\n3,x\n4,y\n").classes == ("x", "y")


def test_csv_with_a_byte_order_mark_and_numbers_as_labels(csv):
    table = csv("a,b\n1,10\n2,10\n3,9\n4,9\n", encoding="utf-8-sig")
    assert table.features == ("a",)
    assert table.classes == ("9", "10")


def test_long_names_are_cut(csv):
    table = csv(f"{'f' * 30},b\n1,{'k' * 30}\n2,x\n3,x\n4,{'k' * 30}\n")
    assert table.features == ("f" * 19 + "…",)
    assert table.classes == ("k" * 19 + "…", "x")


GOOD = "a,b,label\n" + "1,2,x\n3,4,y\n" * 4
CSV_ERRORS = {
    "": "No columns to parse from file; save the table as CSV in UTF-8",
    "a,b,label\n": "0 rows, 0 different labels; give two or more",
    "label\nx\ny\n": "only one column; put commas between features and label",
    "a;label\n1;x\n2;y\n": "only one column; put commas",
    "a,,label\n1,2,x\n": "a column has no name; name it in the header",
    "1,2,0\n3,4,1\n": "the first row holds numbers; put a header row",
    "5.1,-3.5,setosa\n4.9,3,setosa\n": "the first row holds numbers",
    GOOD + "1,2\n": "row 9 has no label; fill it in or remove the row",
    GOOD + "1,2,3,4\n": "Expected 3 fields in line 10, saw 4",
    GOOD + "1,,x\n": "column 'b' of row 9 is no finite number but 'nan'; mend it",
    GOOD + "-inf,2,x\n": "column 'a' of row 9 is no finite number but '-inf'",
    GOOD + "red,2,x\n": "column 'a' of row 9 is no finite number but 'red'",
    "a,label\n1,x\n2,x\n": "2 rows, 1 different labels; give two or more",
    "a,price\n1,2.5\n2,3.5\n3,4.25\n": "only one row has the label '2.5'; give one to train on",
}


@pytest.mark.parametrize("text", CSV_ERRORS, ids=list(CSV_ERRORS.values()))
def test_csv_complaints(text, tmp_path, capsys):
    pytest.importorskip("pandas")
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert main(["--data", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"xent_jax\.demo: error: [^\n]+\n", err)
    assert CSV_ERRORS[text] in err


def test_csv_in_another_encoding_and_without_the_named_column(csv):
    with pytest.raises(
        DemoError, match=r"can't decode byte 0xef .* save the table as CSV in UTF-8"
    ):
        csv("naïve,label\n1,x\n", encoding="latin-1")
    with pytest.raises(DemoError, match=r"--label 'kind': no such column in .* it has a, b, label"):
        csv(GOOD, "kind")
