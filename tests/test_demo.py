"""The training demo: the fit, the numbers it prints, the files it writes, and how it gives up."""

import io
import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from xent_jax.demo._train import Params

from xent_jax.demo import _cli, _files, fit_softmax_classifier, load_digits
from xent_jax.demo._cli import main
from xent_jax.demo._data import Dataset
from xent_jax.demo._progress import progress
from xent_jax.demo._report import Measures, as_json, measure, summary


@pytest.fixture(autouse=True)
def as_users_run_it():
    # optax's adam mixes a Python float with an int32 count, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def complaint(capsys, *argv):
    """The single line that the command says on stderr as it refuses with status 2."""
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"xent_jax\.demo: error: [^\n]+\n", err)
    return err


# The fit


def objective(params, x, y, l2):
    """The objective and its gradient in float64 NumPy."""
    weights, bias = (np.asarray(values, np.float64) for values in params)
    logits = np.asarray(x, np.float64) @ weights + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean() + l2 / 2 * np.sum(weights**2)


def test_lbfgs_reaches_the_optimum_of_scikit_learn(digits):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y, l2 = digits.x_train, digits.y_train, 1e-2
    reference = linear_model.LogisticRegression(C=1 / (len(y) * l2), tol=1e-9, max_iter=2000)
    reference.fit(np.asarray(x, np.float64), y)
    optimum = objective((reference.coef_.T, reference.intercept_), x, y, l2)
    params, history = fit_softmax_classifier(x, y, optimizer="lbfgs", l2=l2)
    assert objective(params, x, y, l2) == pytest.approx(optimum, rel=1e-5)
    assert history.objective[-1] == pytest.approx(optimum, rel=1e-5)
    assert history.test.size == 0


def test_history_is_measured_at_the_end_of_each_epoch(digits):
    test = digits.x_test, digits.y_test
    params, history = fit_softmax_classifier(
        digits.x_train, digits.y_train, test=test, epochs=4, l2=0.1
    )
    last = objective(params, digits.x_train, digits.y_train, 0.1)
    assert history.objective[-1] == pytest.approx(last, rel=1e-5)
    assert history.test[-1] == pytest.approx(objective(params, *test, 0), rel=1e-5)
    assert history.train.shape == history.test.shape == (4,)
    assert (np.diff(history.objective) < 0).all()
    assert history.objective[-1] < math.log(10)  # where it started


def test_same_seed_same_fit_and_watching_changes_nothing(digits):
    def fit(**options):
        test = digits.x_test, digits.y_test
        return fit_softmax_classifier(
            digits.x_train, digits.y_train, test=test, epochs=4, **options
        )

    counts = []
    first = fit(seed=1)
    watched = fit(
        seed=1, on_epochs=lambda count, history: counts.append((count, len(history.train)))
    )
    other = fit(seed=2)
    np.testing.assert_array_equal(first.params.weights, fit(seed=1).params.weights)
    np.testing.assert_allclose(first.params.weights, watched.params.weights, atol=1e-5)
    np.testing.assert_allclose(first.history.train, watched.history.train, rtol=1e-5)
    assert not np.array_equal(first.params.weights, other.params.weights)
    assert counts == [(1, 1)] * 4


def test_the_linear_head_gives_the_same_result(digits):
    def fit(**options):
        return fit_softmax_classifier(digits.x_train, digits.y_train, epochs=4, **options)

    dense, linear = fit(), fit(head="linear")
    np.testing.assert_allclose(dense.params.weights, linear.params.weights, atol=1e-4)
    np.testing.assert_allclose(dense.history.train, linear.history.train, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"head": "linear"}], ids=str)
def test_a_mesh_of_devices_gives_the_same_result(digits, options):
    """Ten classes over four devices: the last one has fewer."""

    def fit(**more):
        return fit_softmax_classifier(digits.x_train, digits.y_train, epochs=3, **options, **more)

    alone, split = fit(), fit(mesh=(2, 4))
    assert split.params.weights.shape == alone.params.weights.shape
    np.testing.assert_allclose(alone.params.weights, split.params.weights, atol=1e-3)
    np.testing.assert_allclose(alone.history.train, split.history.train, rtol=1e-4)


def test_every_row_counts_once_in_an_epoch():
    # Row i alone moves weight i, by half the learning rate over the rows of its batch: 4, then 1.
    rate = 1e-3
    params, _ = fit_softmax_classifier(
        np.eye(5), [0, 0, 0, 0, 1], optimizer="sgd", learning_rate=rate, epochs=1, batch_size=4
    )
    moved = np.sort(np.abs(params.weights[:, 0])) / (rate / 2)
    np.testing.assert_allclose(moved, [0.25, 0.25, 0.25, 0.25, 1], rtol=1e-2)


def test_a_batch_is_at_most_all_rows():
    x, y = np.eye(3), [0, 1, 2]
    whole = fit_softmax_classifier(x, y, epochs=2, batch_size=3)
    larger = fit_softmax_classifier(x, y, epochs=2, batch_size=100)
    np.testing.assert_array_equal(whole.params.weights, larger.params.weights)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros(3), [0, 1, 0], {}, "x must be [N, features] and y [N]"),
        (np.zeros((3, 2)), [0, 1], {}, "got x and y of shapes (3, 2) and (2,)"),
        (np.zeros((3, 2)), [0.0, 1.0, 0.0], {}, "must hold integer class ids, got float64"),
        (np.zeros((3, 2)), [0, 1, -1], {}, "class ids must lie in [0, 2), got -1 to 1"),
        (np.zeros((3, 2)), [0, 1, 2], {"num_classes": 2}, "class ids must lie in [0, 2)"),
        (np.zeros((3, 2)), [0, 1, 2], {"epochs": 0}, "epochs must be at least 1"),
        (np.zeros((3, 2)), [0, 1, 2], {"batch_size": 0}, "batch_size must be positive"),
        (np.zeros((3, 2)), [0, 1, 2], {"optimizer": "rms"}, "optimizer must be one of"),
        (np.zeros((3, 2)), [0, 1, 2], {"head": "sparse"}, "head must be one of"),
        (
            np.zeros((3, 2)),
            [0, 1, 2],
            {"optimizer": "lbfgs", "learning_rate": 0.1},
            "lbfgs takes no learning_rate",
        ),
    ],
)
def test_fit_complains(x, y, options, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fit_softmax_classifier(x, y, **options)


# The measures


def test_measures_agree_with_each_other(digits):
    test = digits.x_test, digits.y_test
    params, _ = fit_softmax_classifier(digits.x_train, digits.y_train, test=test, epochs=4)
    parts = measure(params, digits)
    for part, y in ("train", digits.y_train), ("test", digits.y_test):
        now = parts[part]
        x = getattr(digits, f"x_{part}")
        assert now.cross_entropy == pytest.approx(objective(params, x, y, 0), rel=1e-5)
        assert now.cross_entropy_bits == now.cross_entropy / math.log(2)
        assert now.perplexity == math.exp(now.cross_entropy)
        assert now.label_entropy == 0
        assert now.kl_divergence == pytest.approx(now.cross_entropy, rel=1e-6)
        assert now.accuracy == np.mean(np.asarray(params.logits(x)).argmax(axis=1) == y)
        assert now.confusion.trace() / now.confusion.sum() == now.accuracy
        np.testing.assert_array_equal(now.confusion.sum(axis=1), np.bincount(y))
    frequencies = np.bincount(digits.y_train) / len(digits.y_train)
    prior = -np.sum(frequencies * np.log(frequencies))
    assert parts["train"].prior_cross_entropy == pytest.approx(prior, rel=1e-6)


def test_split_of_labels_that_disagree():
    # Input 0 carries the labels 0, 0, 1; input 1 only the label 1. A constant model predicts 1/4.
    x, y = np.float32([[0], [0], [0], [1]]), np.int32([0, 0, 1, 1])
    data = Dataset(x, y, x[:2], y[:2], ("no", "yes"), ("x",), (1,))
    params = Params(np.zeros((1, 2), np.float32), np.log(np.float32([0.25, 0.75])))
    train = measure(params, data)["train"]
    label_entropy = 0.75 * (math.log(3) - 2 / 3 * math.log(2))
    assert train.label_entropy == pytest.approx(label_entropy, rel=1e-6)
    assert train.cross_entropy == pytest.approx(math.log(4) - math.log(3) / 2, rel=1e-6)
    assert train.label_entropy + train.kl_divergence == pytest.approx(train.cross_entropy, rel=1e-6)
    text = summary(measure(params, data))
    assert "no model of these inputs has a lower cross entropy" in text
    assert "lower --learning-rate" in text  # 1/2, 1/2 predicts better


def test_json_has_no_infinity():
    measures = Measures(
        800.0, 1154.2, 0.0, 800.0, 0.1, 2.3, math.inf, 0.1, 0.2, np.eye(2, dtype=int)
    )
    text = json.dumps(as_json({"train": measures}), allow_nan=False)
    assert strict_json(text)["train"]["perplexity"] is None


# The command


def numbers(line):
    return [float(word.rstrip("%")) for word in line.split() if re.match(r"[\d.]", word)]


def test_command_prints_and_writes_the_same_numbers(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    files = tmp_path / "a.json", tmp_path / "b.json"
    argv = ["--epochs", "4", "--plot", str(tmp_path / "a.png"), "--json"]
    assert main([*argv, str(files[0])]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert main([*argv, str(files[1])]) == 0
    assert files[0].read_text() == files[1].read_text()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png", "b.json"]

    report = strict_json(files[0].read_text())
    assert report["options"]["learning_rate"] == 0.01
    assert report["options"]["batch_size"] == 64
    assert [len(losses) for losses in report["history"].values()] == [4, 4, 4]
    lines = out.splitlines()
    assert "1797 rows, 64 features, 10 classes; 1438 rows to train on, 359 to test" in lines[0]
    assert [line for line in lines if line.startswith("epoch ")][-1].startswith("epoch 4/4  train ")
    table = {
        "cross entropy  ": "cross_entropy",
        "      bits": "cross_entropy_bits",
        "  = H(labels) ": "label_entropy",
        "  + KL(labels||model)": "kl_divergence",
        "perplexity": "perplexity",
        "accuracy": "accuracy",
        "balanced accuracy": "balanced_accuracy",
    }
    printed = {}
    for start, key in table.items():
        (line,) = [line for line in lines if line.startswith(start) or "   " + start in line[:32]]
        printed[key] = np.array(numbers(line))
        scale = 100 if key.endswith("accuracy") else 1
        expected = [scale * report[part][key] for part in ("train", "test")]
        np.testing.assert_allclose(printed[key], expected, rtol=1e-4)
    nats = printed["cross_entropy"]
    np.testing.assert_allclose(printed["cross_entropy_bits"], nats / math.log(2), rtol=1e-4)
    np.testing.assert_allclose(printed["perplexity"], np.exp(nats), rtol=1e-4)
    np.testing.assert_allclose(printed["label_entropy"] + printed["kl_divergence"], nats, rtol=1e-4)
    assert (printed["accuracy"] > 80).all()


def test_command_learns_a_table(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, plot = tmp_path / "t.csv", tmp_path / "t.SVG"
    rows = [f"{kind},{size},{7 - size}" for kind in ("ant", "bee") for size in (1, 2, 5, 5)]
    path.write_text("\n".join(["kind,width,height", *rows]))
    argv = ["--data", str(path), "--label", "kind", "--optimizer", "sgd", "--plot", str(plot)]
    assert main([*argv, "--epochs", "3", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "8 rows, 2 features, 2 classes; 6 rows to train on, 2 to test" in out
    assert "no model of these inputs has a lower cross entropy" in out
    assert b"<svg" in plot.read_bytes()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "0"], "--epochs: must be a whole number from 1 to 1000000, not '0'"),
        (["--epochs", "2.5"], "--epochs: must be a whole number"),
        (["--mesh", "2by4"], "--mesh: must be two numbers of devices as in 2x4, not '2by4'"),
        (["--mesh", "3x99"], "--mesh asks for 297 devices, this machine has 8"),
        (["--batch-size", "-3"], "--batch-size: must be a whole number from 1"),
        (["--learning-rate", "0"], "--learning-rate: must be a positive finite number, not '0'"),
        (["--learning-rate", "nan"], "--learning-rate: must be a positive finite number"),
        (["--l2", "-1"], "--l2: must be a non-negative finite number, not '-1'"),
        (["--l2", "inf"], "--l2: must be a non-negative finite number"),
        (["--seed", "-1"], "--seed: must be a whole number from 0 to 4294967295"),
        (["--optimizer", "newton"], "--optimizer: invalid choice: 'newton'"),
        (["--optimizer", "lbfgs", "--batch-size", "8"], "--batch-size does not go with"),
        (["--optimizer", "lbfgs", "--learning-rate", "1"], "leave it out"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3; --help lists the options"),
        (["--json"], "--json: expected one argument; --help"),
        (["--json", "/no/such/folder/a.json"], "No such file or directory; give a file in a"),
        (["--plot", "/no/such/folder/a.png"], "No such file or directory; give a file in a"),
        (["--json", "/"], "not a regular file; give the name of a file"),
        (["--plot", "a.jpeg"], "the name must end in .png, .svg or .pdf"),
        (["--json", "a.png", "--plot", "./a.png"], "is also the file of --json"),
        (["--json", "a\nb/c\n.json"], "No such file or directory"),
    ],
)
def test_command_complains(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_cli, "fit_softmax_classifier", None)  # all this comes before the training
    if "--plot" in argv:
        pytest.importorskip("matplotlib")
    assert message in complaint(capsys, *argv)
    assert list(tmp_path.iterdir()) == []


def test_plot_without_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install matplotlib" in complaint(capsys, "--plot", "a.png")


def test_diverged_training_says_so(capsys, tmp_path):
    argv = ["--learning-rate", "1e38", "--epochs", "4", "--json", str(tmp_path / "a.json")]
    text = complaint(capsys, *argv)
    assert re.search(r"training diverged: the loss of epoch \d is not finite", text)
    assert "try a --learning-rate below 1e+38" in text
    assert list(tmp_path.iterdir()) == []


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit_little(epochs):
    with progress(epochs) as on_epochs:
        x, y = np.eye(2), np.array([0, 1])
        fit_softmax_classifier(x, y, test=(x, y), epochs=epochs, on_epochs=on_epochs)


def test_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit_little(106)
    assert capsys.readouterr().out == ""
    assert "/106 epochs" in terminal.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_plain_lines_otherwise(terminal, monkeypatch, capsys):
    if terminal:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(sys, "stderr", Terminal())
    fit_little(106)  # twice a prime: 53 calls of two epochs
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    for line in lines:
        assert re.fullmatch(r"epoch [ \d]{3}/106  train \d\.\d{4}  test \d\.\d{4} nats", line)
    assert lines[-1].startswith("epoch 106/106")


# Interruptions


def test_interrupted_training_writes_nothing(monkeypatch, capsys, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "fit_softmax_classifier", interrupt)
    assert main(["--json", str(tmp_path / "a.json")]) == 130
    err = capsys.readouterr().err
    assert err == "xent_jax.demo: interrupted; no file is left half written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_write_leaves_the_old_file(error, monkeypatch, tmp_path):
    def fail(*args):
        raise error

    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(_files.os, "replace", fail)
    with pytest.raises((KeyboardInterrupt, _files.DemoError)):
        _files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_keeps_pointing_at_its_file(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "folder" / "b.json")
    _files.write_whole(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "b.json").read_bytes() == b"new"


# As a process

ROOT = Path(__file__).parents[1]


def start(*argv):
    # A shell lets its background jobs, and all that they start, ignore Ctrl-C: hear it again.
    code = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('xent_jax.demo', run_name='__main__')"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *argv]
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def test_a_mistake_in_a_process():
    process = start("--data", "no-such-file.csv")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert re.fullmatch(r"xent_jax\.demo: error: --data no-such-file\.csv: [^\n]+\n", err)


def test_ctrl_c_in_a_process(tmp_path):
    process = start("--epochs", "1000000", "--json", str(tmp_path / "a.json"))
    assert process.stdout is not None
    assert "1797 rows" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "xent_jax.demo: interrupted; no file is left half written\n"
    assert list(tmp_path.iterdir()) == []


def test_the_library_does_not_import_optax():
    code = (
        "import sys, xent_jax; sys.exit('optax' in sys.modules or 'xent_jax.demo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
