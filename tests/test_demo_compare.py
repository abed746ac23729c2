"""The demo on imbalanced classes: the long tail, the losses, and their comparison over seeds."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from xent_jax.demo._compare_report import as_json, remarks, table

import xent_jax
from xent_jax.demo import _cli, _compare, fit_softmax_classifier
from xent_jax.demo._cli import main
from xent_jax.demo._compare import Comparison, compare
from xent_jax.demo._data import prepare, read_digits
from xent_jax.demo._errors import DemoError
from xent_jax.demo._imbalance import long_tail, long_tail_counts
from xent_jax.demo._losses import BETA, GAMMA, LOSSES, Method, method
from xent_jax.demo._table import Table

SEEDS, EPOCHS, L2 = (3, 4), 4, 1e-3


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    # optax's adam mixes a Python float with an int32 count, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def parts():
    return [prepare(read_digits(), seed, 50) for seed in SEEDS]


@pytest.fixture(scope="module")
def compared(parts):
    """The comparison, and the parameters it ended with."""
    states, counts = [], []

    def train_all(*args, **options):
        states.append(original(*args, **options))
        return states[-1]

    original = _compare.train_all
    before = original._cache_size()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_compare, "train_all", train_all)
        comparison = compare(
            parts, SEEDS, epochs=EPOCHS, l2=L2, on_epochs=lambda n, _: counts.append(n)
        )
    # Every loss on every seed for every epoch: one compilation.
    assert original._cache_size() == before + 1
    assert counts == [1] * EPOCHS
    return comparison, states[-1][0].params


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


def test_a_ratio_between_whole_rows():
    np.testing.assert_array_equal(long_tail_counts(np.array([146, 146, 146]), 1.5), [146, 119, 97])
    np.testing.assert_array_equal(long_tail_counts(np.array([3, 4]), 3.6), [1, 4])


def test_the_largest_ratio_is_the_one_in_the_message():
    classes, y = ("a", "b", "c"), np.repeat([0, 1, 2], [40, 5, 2])
    with pytest.raises(DemoError) as caught:
        long_tail(y, classes, 26, 0)
    assert str(caught.value) == (
        "--imbalance 26: too few rows of class 'b' to train on (5); give a ratio of at most 25"
    )
    np.testing.assert_array_equal(np.bincount(y[long_tail(y, classes, 25, 0)]), [25, 5, 1])


def test_long_tailed_data(parts):
    first, second = (np.bincount(data.y_train) for data in parts)
    np.testing.assert_array_equal(first, second)
    assert first.max() == 100 and first.min() == 2
    for data in parts:
        assert len(set(np.bincount(data.y_test))) == 1
        np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-5)
    assert not np.array_equal(parts[0].x_train, parts[1].x_train)
    again = prepare(read_digits(), SEEDS[0], 50)
    np.testing.assert_array_equal(again.x_train, parts[0].x_train)
    np.testing.assert_array_equal(again.y_test, parts[0].y_test)
    whole = prepare(read_digits(), SEEDS[0])
    assert len(whole.y_train) == 1438 and len(whole.y_test) == 359


def test_a_class_without_a_test_row():
    labels = ("a",) * 9 + ("b",)
    rows = Table(np.arange(10.0)[:, None], labels, ("x",))
    with pytest.raises(DemoError, match="class 'b' has no row to test on; give at least two rows"):
        prepare(rows, 0, 2)


# The losses


def test_methods():
    counts = jnp.array([60, 30, 9, 1])
    n = np.array(counts, float)
    effective = (1 - BETA) / (1 - BETA**n)
    expected = {
        "cross-entropy": (np.ones(4), np.zeros(4), 0),
        "weighted": (100 / (4 * n), np.zeros(4), 0),
        "effective-number": (4 * effective / effective.sum(), np.zeros(4), 0),
        "focal": (np.ones(4), np.zeros(4), GAMMA),
        "logit-adjusted": (np.ones(4), np.log(n / 100), 0),
    }
    assert tuple(expected) == LOSSES
    for loss, points in expected.items():
        for found, wanted in zip(method(loss, counts), points, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def objective(params, data, point):
    """Σ loss / Σ class weight + penalty, in float64 NumPy."""
    w, adjustment, gamma = (np.asarray(value, float) for value in point)
    weights, bias = (np.asarray(value, float) for value in params)
    logits = np.asarray(data.x_train, float) @ weights + bias + adjustment
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    log_p = log_p[np.arange(len(data.y_train)), data.y_train]
    losses = w[data.y_train] * (1 - np.exp(log_p)) ** gamma * -log_p
    return losses.sum() / w[data.y_train].sum() + L2 / 2 * np.sum(weights**2)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fit_alone_is_a_row_of_the_comparison(loss, parts, compared):
    """For cross entropy the comparison has γ = 0, weights 1, adjustment 0; the fit has none."""
    comparison, states = compared
    at = LOSSES.index(loss)
    for number, (data, seed) in enumerate(zip(parts, SEEDS, strict=True)):
        alone = fit_softmax_classifier(
            data.x_train, data.y_train, epochs=EPOCHS, loss=loss, l2=L2, seed=seed
        )
        np.testing.assert_allclose(states.weights[number, at], alone.params.weights, atol=1e-5)
        np.testing.assert_allclose(states.bias[number, at], alone.params.bias, atol=1e-5)
        predicted = np.asarray(alone.params.logits(data.x_test)).argmax(axis=1)
        confusion = np.zeros((10, 10), int)
        np.add.at(confusion, (data.y_test, predicted), 1)
        np.testing.assert_array_equal(comparison.confusion[number, at], confusion)

    point = method(loss, xent_jax.class_frequencies(data.y_train, 10))
    minimised = objective(alone.params, data, point)
    assert alone.history.objective[-1] == pytest.approx(minimised, rel=1e-5)
    plain = method("cross-entropy", jnp.ones(10))
    weights = np.asarray(alone.params.weights, float)
    unpenalised = objective(alone.params, data, plain) - L2 / 2 * np.sum(weights**2)
    assert alone.history.train[-1] == pytest.approx(unpenalised, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("effective-number", {"head": "linear"}),
        ("focal", {"head": "linear"}),
        ("logit-adjusted", {"mesh": (2, 4)}),
    ],
    ids=str,
)
def test_the_other_head_and_a_mesh_give_the_same_result(loss, options, parts):
    def fit(**more):
        data = parts[0]
        return fit_softmax_classifier(data.x_train, data.y_train, epochs=2, loss=loss, **more)

    dense, other = fit(), fit(**options)
    np.testing.assert_allclose(dense.params.weights, other.params.weights, atol=1e-3)
    np.testing.assert_allclose(dense.history.objective, other.history.objective, rtol=1e-4)


def test_a_class_that_training_lacks():
    x, y = np.eye(4), [0, 0, 0, 1]
    for loss in "weighted", "logit-adjusted":
        params, history = fit_softmax_classifier(x, y, num_classes=3, epochs=3, loss=loss)
        assert np.isfinite(params.weights).all() and np.isfinite(history.objective).all()


def test_a_loss_that_does_not_exist():
    with pytest.raises(ValueError, match=r"loss must be one of .* got 'hinge'"):
        fit_softmax_classifier(np.eye(2), [0, 1], loss="hinge")


# The report


def synthetic(gains):
    """Two classes, three seeds of ten rows: recalls of class 1 as given, those of class 0 one."""
    confusion = np.zeros((3, len(LOSSES), 2, 2), int)
    confusion[..., 0, 0] = 10
    confusion[..., 1, 1] = gains
    confusion[..., 1, 0] = 10 - confusion[..., 1, 1]
    return Comparison(("rare", "usual"), np.array([2, 30]), confusion)


def test_table_is_that_of_the_confusion_matrices(compared):
    comparison = compared[0]
    lines = table(comparison).splitlines()
    assert "mean ± standard error over 2 seeds" in lines[0]
    assert tuple(lines[1].split()) == LOSSES
    counts = comparison.train_counts
    recalls = np.array(
        [
            [[c[k, k] / c[k].sum() for k in np.argsort(-counts, kind="stable")] for c in seed]
            for seed in comparison.confusion
        ]
    )
    values = 100 * np.concatenate([recalls.mean(axis=2)[..., None], recalls], axis=2)
    found = json.loads(json.dumps(as_json(comparison), allow_nan=False))
    for row, line in enumerate(lines[2:]):
        pairs = re.findall(r"([\d.]+) ± ([\d.]+)", line)
        for at, pair in enumerate(pairs):
            mean, error = np.mean(values[:, at, row]), np.std(values[:, at, row], ddof=1) / 2**0.5
            np.testing.assert_allclose(np.float64(pair), [mean, error], atol=0.051)
            told = found["losses"][LOSSES[at]]
            told = told["balanced_accuracy"] if row == 0 else [*told["recall"].values()][row - 1]
            assert told == pytest.approx({"mean": mean / 100, "standard_error": error / 100})
        assert len(pairs) == len(LOSSES)
    assert row == len(counts)
    assert [line.split(" (")[0] for line in lines[3:5]] == ["recall of 1", "recall of 3"]


def test_remarks_name_the_best_loss_and_those_that_gain_nothing():
    # Gains on cross entropy in percent of balanced accuracy: 10 ± 0, 5 ± 5, 10 ± 2.9, −5 ± 0.
    gains = [[2, 4, 2, 3, 1], [3, 5, 3, 5, 2], [4, 6, 7, 7, 3]]
    best, others = remarks(synthetic(gains))
    assert best.startswith("Best balanced accuracy: weighted and focal, 75.0 ± 2.9 %, +10.0 ± 0.0")
    assert others == (
        "No gain on cross-entropy beyond its standard error: "
        "effective-number (+5.0 ± 5.0 points), logit-adjusted (-5.0 ± 0.0 points)."
    )


def test_remarks_where_cross_entropy_is_best_and_where_all_others_are_better():
    best, others = remarks(synthetic([[5, 4, 3, 2, 1]] * 3))
    assert best == "Best balanced accuracy: cross-entropy, 75.0 ± 0.0 %."
    assert all(loss in others for loss in LOSSES[1:])
    _, others = remarks(synthetic([[1, 2, 3, 4, 5]] * 3))
    assert others == "Every other loss gains on cross-entropy beyond its standard error."


# The command


def complaint(capsys, *argv):
    """The single line that the command says on stderr as it refuses with status 2."""
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"xent_jax\.demo: error: [^\n]+\n", err)
    return err


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_command_compares(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    argv = ["--compare", "--seeds", "2", "--seed", str(SEEDS[0]), "--epochs", str(EPOCHS)]
    files = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]
    assert main([*argv, *files]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "long tail of ratio 50: 100 to 2 rows of a class to train on, 35 of each to test" in out
    assert "\nBest balanced accuracy: " in out
    report = strict_json((tmp_path / "a.json").read_text())
    assert report["options"]["imbalance"] == 50 and report["options"]["seeds"] == 2
    assert list(report["losses"]) == list(LOSSES)
    assert np.sum(report["losses"]["focal"]["confusion"]) == 2 * 350
    assert all(line in out for line in report["remarks"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_command_trains_with_a_loss_on_a_long_tail_of_a_table(tmp_path, capsys):
    path = tmp_path / "t.csv"
    rows = [f"{size},{kind}" for kind, many in [("ant", 40), ("bee", 20)] for size in range(many)]
    path.write_text("\n".join(["size,kind", *rows]))
    argv = ["--data", str(path), "--imbalance", "8", "--loss", "logit-adjusted", "--epochs", "2"]
    assert main([*argv, "--json", str(tmp_path / "a.json")]) == 0
    assert "ratio 8: 32 to 4 rows of a class to train on, 4 of each" in capsys.readouterr().out
    options = strict_json((tmp_path / "a.json").read_text())["options"]
    assert options["loss"] == "logit-adjusted" and options["imbalance"] == 8
    assert "too few rows of class 'ant' to train on (32); give a ratio of at most 32" in complaint(
        capsys, "--data", str(path), "--imbalance", "50"
    )
    # By itself a comparison leaves a table as it is.
    assert main(["--data", str(path), "--compare", "--seeds", "2", "--epochs", "2"]) == 0
    out = capsys.readouterr().out
    assert "recall of ant (32)" in out and "recall of bee (16)" in out and "long tail" not in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--imbalance", "0.5"], "--imbalance: must be a finite number of at least 1, not '0.5'"),
        (["--imbalance", "inf"], "--imbalance: must be a finite number of at least 1"),
        (["--imbalance", "1e9"], "too few rows of class '1' to train on (146); give a ratio of at"),
        (["--loss", "hinge"], "--loss: invalid choice: 'hinge'"),
        (["--seeds", "3"], "--seeds says over how many seeds to --compare; give that option too"),
        (["--compare", "--seeds", "1"], "--seeds: must be a whole number from 2 to 1000"),
        (
            ["--compare", "--loss", "cross-entropy"],
            "--loss cross-entropy does not go with --compare, which trains with every loss; leave",
        ),
        (["--compare", "--mesh", "2x2"], "--mesh does not go with --compare"),
        (["--compare", "--head", "linear"], "--head linear does not go with --compare"),
        (["--compare", "--optimizer", "lbfgs"], "--optimizer lbfgs does not go with --compare"),
    ],
)
def test_command_complains(argv, message, capsys, monkeypatch):
    monkeypatch.setattr(_cli, "fit_softmax_classifier", None)  # all this comes before the training
    monkeypatch.setattr(_cli, "compare", None)
    assert message in complaint(capsys, *argv)


def test_diverged_comparison_says_so(parts):
    with pytest.raises(DemoError, match=r"diverged: with \S+ the loss of epoch \d is not finite"):
        compare(parts, SEEDS, epochs=4, learning_rate=1e38, l2=L2, on_epochs=lambda *_: None)


def test_methods_are_float32_whatever_the_default():
    with jax.enable_x64(True):
        for loss in LOSSES:
            point = method(loss, jnp.array([3, 1]))
            assert isinstance(point, Method)
            assert {value.dtype for value in point} == {jnp.dtype("float32")}
