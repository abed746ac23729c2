"""The data of the demo: the digits as shipped, tables from files, and every complaint on them."""

import io
import re
from importlib.resources import files

import numpy as np
import pytest

from xent_jax.demo import load_digits
from xent_jax.demo._cli import main
from xent_jax.demo._data import prepare, read_digits, standardise, stratified_split
from xent_jax.demo._table import Table, read_csv, read_npz, read_table

DIGIT_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def csv(text, label=None):
    return read_csv(io.StringIO(text), "t.csv", label)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    return read_npz(file, "t.npz")


def test_digits_are_the_uci_test_set():
    table = read_digits()
    assert table.x.shape == (1797, 8, 8)
    assert table.x.min() == 0
    assert table.x.max() == 16
    assert np.bincount([int(label) for label in table.y]).tolist() == DIGIT_COUNTS
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    np.testing.assert_array_equal(table.x, digits.images)
    np.testing.assert_array_equal([int(label) for label in table.y], digits.target)


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


@pytest.mark.parametrize("sizes", [(10, 20, 30), (1, 2, 3), (2, 2), (1, 5), (7, 100)])
def test_split_is_stratified(sizes):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, test = stratified_split(y, 0.2, seed=3)
    assert sorted([*train, *test]) == list(range(len(y)))
    for label, size in enumerate(sizes):
        in_test = np.sum(y[test] == label)
        assert in_test == (0 if size == 1 else max(1, round(0.2 * size)))
        assert np.sum(y[train] == label) >= 1
    np.testing.assert_array_equal(test, stratified_split(y, 0.2, seed=3)[1])


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


def test_csv_takes_the_last_column_or_the_named_one():
    text = 'kind,width, "height" \nred,1,2.5\n\n"blue, dark", 3 ,-4e1\nred,5,6\nred,5,7\n'
    with pytest.raises(Exception, match="column 'kind' holds the text 'red'"):
        csv(text)
    table = csv(text, "kind")
    assert table.features == ("width", '"height"')
    assert table.y == ("red", "blue, dark", "red", "red")
    np.testing.assert_array_equal(table.x, [[1, 2.5], [3, -40], [5, 6], [5, 7]])
    assert csv("a,b\n1,x\n2,y\n3,x\n4,y\n").y == ("x", "y", "x", "y")


def test_csv_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "t.CSV"
    path.write_text("a,b\n1,0\n2,0\n3,1\n4,1\n", encoding="utf-8-sig")
    assert read_table(path, None).features == ("a",)


def test_integer_labels_are_in_numeric_order():
    y = ("10", "9", "-1", "b", "a") * 2
    table = Table(np.arange(10.0)[:, None], y, ("x",))
    data = prepare(table, seed=0)
    assert data.classes == ("-1", "9", "10", "a", "b")
    assert set(data.y_train.tolist()) == {0, 1, 2, 3, 4}


def test_columns_may_be_numbered():
    assert csv("0,1,2\n5,6,a\n7,8,b\n5,5,a\n6,6,b\n").features == ("0", "1")


@pytest.mark.parametrize(
    "y",
    [[0, 1, 0, 1], ["a", "b", "a", "b"], [True, False, True, False], np.uint8([3, 4, 3, 4])],
)
def test_npz_takes_integers_and_strings(y):
    table = npz(x=np.arange(8).reshape(4, 2), y=y)
    assert table.y == tuple(map(str, y))
    assert table.features == ("x[0]", "x[1]")
    assert table.x.dtype == np.float64


def test_npz_takes_images():
    table = npz(x=np.zeros((4, 2, 3), np.float16), y=[0, 0, 1, 1])
    assert table.features[-1] == "x[1, 2]"
    assert prepare(table, 0).shape == (2, 3)
    assert prepare(table, 0).x_train.shape == (2, 6)


GOOD = "a,b,label\n" + "1,2,x\n3,4,y\n" * 4
CSV_ERRORS = {
    "": "the file is empty; give a header row",
    "\n\n": "the file is empty",
    "a,b,label\n": "no rows; give one row per example",
    "label\nx\ny\n": "one column only; give features and a label, with commas",
    "a;label\n1;x\n2;y\n": "with commas between the columns",
    "a,,label\n1,2,x\n": "column 2 has no name; name it in the header",
    "1,2,0\n3,4,1\n": "the first row holds numbers; put a header row",
    "a,a,label\n1,2,x\n": "two columns are named 'a'; rename one",
    GOOD + "1,2\n": "line 10: 2 cells, but the header has 3; give every row as many",
    GOOD + "1,,x\n": "line 10: column 'b' has a missing value; fill it in or remove the row",
    GOOD + "1,NaN,x\n": "line 10: column 'b' has a missing value",
    GOOD + "-inf,2,x\n": "line 10: column 'a' is -inf; give a finite number",
    GOOD + "1e31,2,x\n": "column 'a' is 1e31; give a finite number of at most 1e+30",
    GOOD
    + "red,2,x\n": "column 'a' holds the text 'red'; features must be numbers: encode or remove",
    GOOD + "1,2,\n": "line 10: the label is missing; fill it in or remove the row",
    "a,label\n1,x\n2,x\n": "every label is 'x'; a classifier needs at least two classes",
    "a,price\n1,2.5\n2,3.5\n3,4.25\n": "3 classes in 3 rows; give two rows per class",
    GOOD + '1,2,"x\0"\n1,"' + "2" * 200_000 + '",x\n': "save the table as CSV",
}


def complaint(capsys, *argv):
    """The single line that the command says on stderr as it refuses with status 2."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"xent_jax\.demo: error: [^\n]+\n", err)
    return err


@pytest.mark.parametrize("text", CSV_ERRORS, ids=list(CSV_ERRORS.values()))
def test_csv_complaints(text, tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert CSV_ERRORS[text] in complaint(capsys, "--data", str(path))


X, Y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
NPZ_ERRORS = [
    ({"y": Y}, "no array 'x'; save it with numpy.savez(FILE, x=x, y=y)"),
    ({"x": X}, "no array 'y'"),
    ({"x": X, "y": Y[:3]}, "x has shape (4, 2) and y (3,); give x [N, features]"),
    ({"x": X[:, 0], "y": Y}, "x has shape (4,)"),
    ({"x": X, "y": Y[:, None]}, "y (4, 1)"),
    ({"x": X.astype(object), "y": Y}, "x holds Python objects; save it as an array"),
    ({"x": X, "y": Y.astype(object)}, "y holds Python objects"),
    ({"x": X.astype(str), "y": Y}, "save it as real numbers"),
    ({"x": X + 1j, "y": Y}, "x holds complex128; save it as real numbers"),
    ({"x": X, "y": Y + 0.5}, "y holds float64; save the labels as integers or strings"),
    ({"x": np.where(X == 3, np.nan, X), "y": Y}, "x[1, 1] is nan; every input must be a finite"),
    ({"x": np.where(X == 0, -np.inf, X), "y": Y}, "x[0, 0] is -inf"),
    ({"x": X, "y": 0 * Y}, "every label is '0'"),
    ({"x": X[:0], "y": Y[:0]}, "no rows"),
    ({"x": X[:, :0], "y": Y}, "no features"),
]


@pytest.mark.parametrize(("arrays", "message"), NPZ_ERRORS, ids=[text for _, text in NPZ_ERRORS])
def test_npz_complaints(arrays, message, tmp_path, capsys):
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    assert message in complaint(capsys, "--data", str(path))


def test_files_that_are_not_what_they_claim(tmp_path, capsys):
    path = tmp_path / "t.npz"
    for content in (b"", b"hello", b"PK\x03\x04 not a zip file"):
        path.write_bytes(content)
        assert "not a .npz file; save it with" in complaint(capsys, "--data", str(path))
    with path.open("wb") as file:
        np.save(file, X)
    assert "a single array, not a .npz file" in complaint(capsys, "--data", str(path))
    np.savez_compressed(path, x=X, y=Y)
    whole = bytearray(path.read_bytes())
    whole[60:80] = bytes(20)
    path.write_bytes(whole)
    assert "x is damaged" in complaint(capsys, "--data", str(path))
    text = tmp_path / "t.csv"
    text.write_bytes("naïve,label\n1,x\n".encode("latin-1"))
    assert "not text in UTF-8" in complaint(capsys, "--data", str(text))


def test_data_file_complaints(tmp_path, capsys):
    missing = complaint(capsys, "--data", str(tmp_path / "none.csv"))
    assert "No such file or directory; give the path of a readable file" in missing
    (tmp_path / "folder.csv").mkdir()
    assert "Is a directory" in complaint(capsys, "--data", str(tmp_path / "folder.csv"))
    assert "must end in .csv or .npz" in complaint(capsys, "--data", str(tmp_path / "t.xlsx"))
    path = tmp_path / "t.csv"
    path.write_text(GOOD)
    wrong = complaint(capsys, "--data", str(path), "--label", "kind")
    assert "--label 'kind': no such column" in wrong
    assert "it has a, b, label" in wrong
    assert "give that file too" in complaint(capsys, "--label", "kind")
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    with_label = complaint(capsys, "--data", str(tmp_path / "t.npz"), "--label", "y")
    assert "--label is for a .csv file" in with_label
