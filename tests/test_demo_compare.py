"""The demo on imbalanced classes: the losses, and their comparison over seeds."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xent_jax.demo import Training, fit_softmax_classifier
from xent_jax.demo._cli import main
from xent_jax.demo._compare import Comparison, compare, table
from xent_jax.demo._data import prepare
from xent_jax.demo._fit import _train_epoch
from xent_jax.demo._losses import BETA, GAMMA, LOSSES, Method, method_of
from xent_jax.demo._options import parse_options
from xent_jax.demo._table import read_digits

TRAINING = Training(epochs=4, seed=3)


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    # optax's adam mixes a Python float with an int32 count, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def parts():
    return [prepare(read_digits(), seed, 50) for seed in (3, 4)]


@pytest.mark.slow
def test_methods():
    n = np.array([60, 30, 9, 1])
    effective = (1 - BETA) / (1 - BETA**n)
    expected = {
        "weighted": (100 / (4 * n), np.zeros(4), 0),
        "effective-number": (4 * effective / effective.sum(), np.zeros(4), 0),
        "focal": (np.ones(4), np.zeros(4), GAMMA),
        "logit-adjusted": (np.ones(4), np.log(n / 100), 0),
    }
    assert ("cross-entropy", *expected) == LOSSES
    assert method_of("cross-entropy", n) is None
    for loss, points in expected.items():
        for found, wanted in zip(method_of(loss, n), points, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def objective(params, data, point, l2):
    """Σ loss / Σ class weight + penalty, in float64 NumPy."""
    w, adjustment, gamma = (np.asarray(value, float) for value in point)
    weights, bias = (np.asarray(value, float) for value in params)
    logits = np.asarray(data.x_train, float) @ weights + bias + adjustment
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    log_p = log_p[np.arange(len(data.y_train)), data.y_train]
    losses = w[data.y_train] * (1 - np.exp(log_p)) ** gamma * -log_p
    return losses.sum() / w[data.y_train].sum() + l2 / 2 * np.sum(weights**2)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_objective_is_that_of_the_loss(loss, parts):
    params, history = fit_softmax_classifier(parts[0], replace(TRAINING, loss=loss))
    plain = Method(np.ones(10), np.zeros(10), np.zeros(()))
    point = method_of(loss, np.bincount(parts[0].y_train)) or plain
    minimised = objective(params, parts[0], point, TRAINING.l2)
    assert history.objective[-1] == pytest.approx(minimised, rel=1e-5)
    unpenalised = objective(params, parts[0], plain, 0)
    assert history.train[-1] == pytest.approx(unpenalised, rel=1e-5)
    assert (np.diff(history.objective) < 0).all()


@pytest.mark.slow
def test_a_comparison_is_the_fits_one_by_one(parts):
    compiled = _train_epoch._cache_size()
    found = compare(parts, TRAINING)
    # One program for plain cross entropy, one for all other losses, whatever the seed.
    assert _train_epoch._cache_size() <= compiled + 2
    assert found.recalls.shape == (2, len(LOSSES), 10)
    assert found.names[:3] == ["1 (100)", "3 (65)", "5 (42)"] and found.names[-1] == "8 (2)"
    for loss in "cross-entropy", "logit-adjusted":
        params, _ = fit_softmax_classifier(parts[1], replace(TRAINING, loss=loss, seed=4))
        predicted = np.argmax(params.logits(jnp.asarray(parts[1].x_test)), axis=-1)
        recalls = found.recalls[1, LOSSES.index(loss)]
        for name, recall in zip(found.names, recalls, strict=True):
            mine = predicted[parts[1].y_test == int(name.split()[0])]
            assert recall == np.mean(mine == int(name.split()[0]))


@pytest.mark.slow
def test_table_of_recalls():
    # Balanced accuracies of two seeds: 75 and 85 percent with cross entropy, 10 more with the next.
    recalls = np.ones((2, len(LOSSES), 2))
    recalls[:, :, 1] = [[0.5, 0.7, 0.5, 0.5, 0.5], [0.7, 0.9, 0.7, 0.7, 0.7]]
    lines = table(Comparison(["usual (30)", "rare (2)"], recalls)).splitlines()
    assert "mean ± standard error of 2 seeds" in lines[0]
    assert tuple(lines[1].split()) == LOSSES
    rows = {}
    for line in lines[2:]:
        pairs = re.findall(r"(-?[\d.]+ ± [\d.]+)", line)
        assert len(pairs) == len(LOSSES)
        rows[re.split("  +", line.strip())[0]] = pairs[:2]
    assert rows == {
        "balanced accuracy": ["80.0 ± 5.0", "90.0 ± 5.0"],
        "gain on cross-entropy": ["0.0 ± 0.0", "10.0 ± 0.0"],
        "recall of usual (30)": ["100.0 ± 0.0", "100.0 ± 0.0"],
        "recall of rare (2)": ["60.0 ± 10.0", "80.0 ± 10.0"],
    }


@pytest.mark.slow
def test_command_compares(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.png"
    argv = ["--compare", "2", "--seed", "3", "--epochs", "4", "--plot", str(picture)]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "280 rows to train on (2 to 100 of a class), 350 to test (35 to 35)" in out
    assert "\nrecall of 8 (2) " in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_only_the_digits_are_thinned_unasked():
    assert parse_options(["--compare"]).imbalance == 50
    assert parse_options(["--compare", "--imbalance", "8"]).imbalance == 8
    pytest.importorskip("pandas")
    assert parse_options(["--compare", "--data", "t.csv"]).imbalance is None
    assert parse_options([]).imbalance is None


@pytest.mark.slow
def test_methods_are_float32_whatever_the_default():
    with jax.enable_x64(True):
        for loss in LOSSES[1:]:
            assert {value.dtype for value in method_of(loss, np.array([3, 1]))} == {np.dtype("f4")}
