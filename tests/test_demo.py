"""The training demo: the fit, the numbers it prints, and how it gives up."""

import math
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from xent_jax.demo import Dataset, Training, _cli, _fit, fit_softmax_classifier, load_digits
from xent_jax.demo._cli import main
from xent_jax.demo._fit import History, Params
from xent_jax.demo._report import measure, summary

TRAINING = Training(epochs=4, l2=0.1)


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    # optax's adam mixes a Python float with an int32 count, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def fit(digits, as_users_run_it):
    return fit_softmax_classifier(digits, TRAINING)


def objective(params, x, y, l2):
    """The objective in float64 NumPy."""
    weights, bias = (np.asarray(values, np.float64) for values in params)
    logits = np.asarray(x, np.float64) @ weights + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean() + l2 / 2 * np.sum(weights**2)


# The fit


@pytest.mark.slow
def test_gradient_descent_reaches_the_optimum_of_scikit_learn(digits):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y, l2 = digits.x_train[:300], digits.y_train[:300], 0.1
    reference = linear_model.LogisticRegression(C=1 / (len(y) * l2), tol=1e-9, max_iter=2000)
    reference.fit(np.asarray(x, np.float64), y)
    optimum = objective((reference.coef_.T, reference.intercept_), x, y, l2)
    training = Training(optimizer="sgd", learning_rate=0.5, epochs=600, batch_size=300, l2=l2)
    params, history = fit_softmax_classifier(digits._replace(x_train=x, y_train=y), training)
    assert objective(params, x, y, l2) == pytest.approx(optimum, rel=1e-6)
    assert history.objective[-1] == pytest.approx(optimum, rel=1e-6)


def test_history_is_measured_at_the_end_of_each_epoch(digits, fit):
    params, history = fit
    train, test = (digits.x_train, digits.y_train), (digits.x_test, digits.y_test)
    assert history.objective[-1] == pytest.approx(objective(params, *train, 0.1), rel=1e-5)
    assert history.train[-1] == pytest.approx(objective(params, *train, 0), rel=1e-5)
    assert history.test[-1] == pytest.approx(objective(params, *test, 0), rel=1e-5)
    assert history.objective.shape == history.train.shape == history.test.shape == (4,)
    assert (np.diff(history.objective) < 0).all()
    assert history.objective[-1] < math.log(10)  # where it started


def test_the_seed_orders_the_rows_and_progress_sees_every_epoch_after_the_first(digits, fit):
    seen = []

    def watch(epochs):
        for epoch in epochs:
            seen.append(epoch)
            yield epoch

    again = fit_softmax_classifier(digits, TRAINING, watch)
    other = fit_softmax_classifier(digits, Training(epochs=4, l2=0.1, seed=1))
    np.testing.assert_array_equal(fit[0].weights, again[0].weights)
    assert not np.array_equal(fit[0].weights, other[0].weights)
    assert seen == [1, 2, 3]


def test_every_row_counts_once_in_an_epoch_of_equal_batches():
    # Row i alone moves weight i, by half the learning rate over the rows of its batch.
    x, y = np.eye(7, dtype=np.float32), np.int32([0, 0, 0, 0, 0, 0, 1])
    data = Dataset(x, y, x, y, ("a", "b"), tuple("0123456"), (7,))
    training = Training(optimizer="sgd", learning_rate=1e-3, epochs=1, batch_size=4, l2=0)
    params, _ = fit_softmax_classifier(data, training)
    moved = np.sort(np.abs(params.weights[:, 0])) / (1e-3 / 2)
    np.testing.assert_allclose(moved, [0, *[1 / 3] * 6], rtol=1e-2)  # 2 batches of 3


# The measures


def test_measures_agree_with_each_other(digits, fit):
    params = fit[0]
    parts = measure(params, digits)
    for part, y in ("train", digits.y_train), ("test", digits.y_test):
        now = parts[part]
        x = getattr(digits, f"x_{part}")
        assert now.cross_entropy == pytest.approx(objective(params, x, y, 0), rel=1e-5)
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
    data = Dataset(x, y, x, y, ("no", "yes"), ("x",), (1,))
    params = Params(np.zeros((1, 2), np.float32), np.log(np.float32([0.25, 0.75])))
    train = measure(params, data)["train"]
    label_entropy = 0.75 * (math.log(3) - 2 / 3 * math.log(2))
    model_entropy = math.log(4) - 0.75 * math.log(3)
    assert train.label_entropy == pytest.approx(label_entropy, rel=1e-6)
    assert train.model_entropy == pytest.approx(model_entropy, rel=1e-6)
    assert train.cross_entropy == pytest.approx(math.log(4) - math.log(3) / 2, rel=1e-6)
    assert train.label_entropy + train.kl_divergence == pytest.approx(train.cross_entropy, rel=1e-6)
    assert train.balanced_accuracy == 0.5


def numbers(line):
    return np.array([float(word.rstrip("%")) for word in line.split()[-2:]])


def test_summary_shows_the_measures(digits, fit):
    parts = measure(fit[0], digits)
    lines = summary(parts, "focal").splitlines()
    assert lines[0].split() == ["train", "test"]
    table = {line[:32].strip(): numbers(line) for line in lines[1:-2]}
    nats = [parts[part].cross_entropy for part in ("train", "test")]
    accuracies = [100 * parts[part].accuracy for part in ("train", "test")]
    np.testing.assert_allclose(table["cross entropy (nats)"], nats, rtol=1e-4)
    np.testing.assert_allclose(table["cross entropy (bits)"], np.log2(np.exp(nats)), rtol=1e-4)
    np.testing.assert_allclose(table["perplexity"], np.exp(nats), rtol=1e-4)
    np.testing.assert_allclose(table["accuracy"], accuracies, atol=0.01)
    np.testing.assert_allclose(table["= H(labels)"] + table["+ KL(labels||model)"], nats, rtol=1e-4)
    assert lines[-1] == "The focal loss was minimised, and not the cross entropy above."


# The command


def complaint(capsys, *argv):
    """The single line that the command says on stderr as it refuses with status 2."""
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"xent_jax\.demo: error: [^\n]+\n", err)
    return err


def test_command_draws_digits_and_names_the_loss(tmp_path, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    path = tmp_path / "a.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        assert main(["--epochs", "4", "--loss", "focal", "--plot", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("UCI handwritten digits: 64 features, 10 classes; 1438 rows to train on")
    assert "The focal loss was minimised" in out
    assert out.endswith(f"wrote {path}\n")
    assert "minimised: focal loss + penalty" in path.read_text()


def test_command_learns_a_table(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    path, plot = tmp_path / "t.csv", tmp_path / "t.PNG"
    rows = [f"{kind},{size},{7 - size}" for kind in ("ant$ $", "夜蛾") for size in (1, 2, 5, 5)]
    path.write_text("\n".join(["kind,width,height", *rows]), encoding="utf-8")
    argv = ["--data", str(path), "--label", "kind", "--optimizer", "sgd", "--plot", str(plot)]
    assert main([*argv, "--epochs", "1", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "2 features, 2 classes; 6 rows to train on (3 to 3 of a class), 2 to test" in out
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "0"], "--epochs: must be from 1 to 1000000, not 0"),
        (["--epochs", "2.5"], "--epochs: invalid int value: '2.5'"),
        (["--learning-rate", "nan"], "--learning-rate: must be from 1e-09 to 1000000000, not nan"),
        (["--l2", "-1"], "--l2: must be from 0 to 1000000000, not -1"),
        (["--optimizer", "newton"], "--optimizer: invalid choice: 'newton'"),
        (["--loss", "hinge"], "--loss: invalid choice: 'hinge'"),
        (["--imbalance", "inf"], "--imbalance: must be from 1 to 1000000, not inf"),
        (["--imbalance", "1e5"], "--imbalance 100000: too few rows for it; give a smaller ratio"),
        (["--compare", "1"], "--compare: must be from 2 to 1000, not 1"),
        (["--compare", "--loss", "focal"], "--compare trains with every loss; leave out --loss"),
        (["--label", "kind"], "--label names a column of a --data file; give that file too"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3; --help lists the options"),
        (["--plot", "/no/such/a.png"], "--plot /no/such/a.png: there is no such folder"),
        (["--plot", "a.jpeg"], "--plot a.jpeg: the name must end in .png, .svg or .pdf"),
        (["--data", "none.csv"], "No such file or directory: 'none.csv'"),
    ],
)
def test_command_complains_before_it_trains(argv, message, capsys, monkeypatch):
    monkeypatch.setattr(_cli, "fit_softmax_classifier", None)
    monkeypatch.setattr(_cli, "compare", None)
    assert message in complaint(capsys, *argv)


@pytest.mark.parametrize(("option", "library"), [("--plot", "matplotlib"), ("--data", "pandas")])
def test_a_missing_library_is_named(option, library, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    expected = f'{option} needs {library}: pip install "xent-jax[demo]"'
    assert expected in complaint(capsys, option, "a.png")


def test_diverged_training_says_so(capsys, monkeypatch):
    diverged = History(math.inf, math.nan, math.nan)
    monkeypatch.setattr(_fit, "_train_epoch", lambda state, **_: (state, diverged))
    assert "training diverged; try a smaller --learning-rate or --l2" in complaint(capsys)


# Progress and interruption


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_only(terminal, monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("LINES", "24")
    assert list(_cli._progress(range(3))) == [0, 1, 2]
    assert ("training   0%" in capsys.readouterr().err) == terminal


def test_interrupted_training(monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "fit_softmax_classifier", interrupt)
    assert main([]) == 130
    assert capsys.readouterr().err == "xent_jax.demo: interrupted\n"


def test_ctrl_c_in_a_process_without_the_extra():
    # A shell lets its background jobs, and all that they start, ignore Ctrl-C: hear it again.
    code = (
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.modules |= dict.fromkeys(['matplotlib', 'pandas', 'sklearn', 'tqdm']); "
        "runpy.run_module('xent_jax.demo', run_name='__main__')"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, "--epochs", "1000000"]
    root = Path(__file__).parents[1]
    process = subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert "1438 rows" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "xent_jax.demo: interrupted\n"
