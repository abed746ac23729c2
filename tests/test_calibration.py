"""Brier scores against 60 digits, forecasts in bins, and the temperature that fits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from mpmath import mp, mpf

import xent_jax
from xent_jax import _temperature as temperature
from xent_jax import (
    brier_decomposition,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
    softmax_brier_score,
)

from . import definitions
from .cases import NAMED_CASES, QUICK, probabilities, quick
from .selection import slow

mp.dps = 60
INF, NAN = np.inf, np.nan
IN_BINS = (expected_calibration_error, reliability_curve, brier_decomposition)
each = pytest.mark.parametrize("f", IN_BINS, ids=lambda f: f.__name__)


# Brier scores.


def exact_softmax(z):
    top = max(map(mpf, z))
    w = [mp.exp(mpf(x) - top) for x in z]
    total = mp.fsum(w)
    return [x / total for x in w]


def exact_brier(z, y):
    """(value, gradient by z, gradient by y) of one row in 60 digits."""
    p = exact_softmax([float(x) for x in z])
    r = [a - mpf(float(b)) for a, b in zip(p, y)]
    pull = mp.fsum(a * b for a, b in zip(p, r))
    by_z = [float(2 * a * (b - pull)) for a, b in zip(p, r)]
    return float(mp.fsum(x * x for x in r)), by_z, [float(-2 * x) for x in r]


CASES = [c for c in NAMED_CASES if len(c.first) == 10]
FIRST, SECOND = (np.stack([getattr(c, n) for c in CASES]) for n in ("first", "second"))
LABELS = np.array([c.label for c in CASES], np.int32)
CONFIDENT = np.array([[20, 0, 0, -1], [-1, 0, 20, 0], [9, 9, 0, 0]], np.float32)


@functools.partial(jax.jit, compiler_options=QUICK)
def in_both_modes(z, y, v):
    """Value and slopes of each row, and by forward mode the value again and its slope along v."""
    value, pull = jax.vjp(softmax_brier_score, z, y)
    return value, pull(jnp.ones_like(value)), jax.jvp(softmax_brier_score, (z, y), v)


@pytest.mark.parametrize("dtype", [np.float32, slow(np.float64)])
@pytest.mark.parametrize("soft", [False, True])
def test_brier_score_of_logits_in_60_digits(dtype, soft):
    bar, tiny = (3e-6 if dtype == np.float32 else 1e-13), np.finfo(dtype).tiny
    eps = np.finfo(dtype).eps  # what labels that are near a prediction are rounded by
    z = FIRST.astype(dtype)
    y = probabilities(SECOND, None, dtype) if soft else np.eye(10, dtype=dtype)[LABELS]
    v = tuple(np.random.default_rng(0).normal(size=(2, *z.shape)).astype(dtype))
    with jax.enable_x64(dtype == np.float64):
        found = jax.tree.map(np.asarray, in_both_modes(z, y, v))
        value, slopes, (primal, along) = found
        if not soft:
            of_ids = jax.grad(lambda z: softmax_brier_score(z, LABELS).sum())(z)
            np.testing.assert_allclose(of_ids, slopes[0], bar, bar * np.abs(of_ids).max())
    for i, case in enumerate(CASES):
        want, *gradients = exact_brier(z[i], y[i])
        for got in (value[i], primal[i]):
            assert abs(got - want) <= bar * want + soft * 4 * eps * (want**0.5 + eps) + tiny, (
                case.name
            )
        moved = bound = 0.0
        for got, g, direction in zip(slopes, gradients, v):
            allowed = bar * np.abs(g).max() + soft * eps + tiny
            assert np.abs(got[i] - g).max() <= allowed, case.name
            moved, bound = moved + np.dot(g, direction[i]), bound + 10 * allowed
        assert abs(along[i] - moved) <= bound, case.name


def test_confident_rows_keep_every_digit():
    value, slope = jax.value_and_grad(lambda z: softmax_brier_score(z, jnp.array([0, 2, 0])).sum())(
        CONFIDENT
    )
    for z, label, g in zip(CONFIDENT, (0, 2, 0), slope):
        want, by_z, _ = exact_brier(z, np.eye(4)[label])
        np.testing.assert_allclose(softmax_brier_score(z, label), want, 1e-6)
        np.testing.assert_allclose(g, by_z, 2e-6, 1e-7 * np.abs(by_z).max())
    wrong = softmax_brier_score(CONFIDENT[0], 3)
    np.testing.assert_allclose(wrong, 2.0, 1e-6)
    assert value > 0


def test_brier_edges():
    z = np.array([[1, -INF, 0], [INF, 0, 0], [NAN, 0, 0], [-INF] * 3], np.float32)
    got = softmax_brier_score(z, np.array([1, 0, 0, 0]))
    p = np.exp([1, -INF, 0]) / (np.e + 1)
    np.testing.assert_allclose(got, [np.sum((p - [0, 1, 0]) ** 2), 0, NAN, NAN], 1e-6)
    np.testing.assert_array_equal(
        softmax_brier_score(np.zeros((4, 3)), [3, -1, 2, 1])[:2], [NAN] * 2
    )
    ignored = jax.value_and_grad(lambda z: softmax_brier_score(z, 7, ignore_index=7))(z[2])
    np.testing.assert_array_equal(jnp.hstack(ignored), [0, 0, 0, 0])
    nothing = jax.value_and_grad(lambda z: softmax_brier_score(z, 0, where=False))(z[3])
    np.testing.assert_array_equal(jnp.hstack(nothing), [0, 0, 0, 0])
    # An id on a class that does not exist.
    kept = np.array([False, True, True])
    np.testing.assert_allclose(softmax_brier_score(np.zeros(3), 0, where=kept), 1.5, 1e-6)
    np.testing.assert_allclose(brier_score(np.array([0.2, 0.5, 0.5]), 0, where=kept), 1.5, 1e-6)
    p = np.array([[0.5, 0.5], [-0.1, 1.1], [NAN, 1.0], [0.25, 0.75]], np.float32)
    np.testing.assert_allclose(brier_score(p, [0, 0, 0, 2]), [0.5, NAN, NAN, NAN], 1e-6)
    np.testing.assert_array_equal(brier_score(p[:1], np.array([[-0.5, 1.5]])), [NAN])
    assert brier_score(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)
    assert brier_score(p.astype(jnp.bfloat16), [0, 0, 0, 1]).dtype == jnp.float32
    slope = jax.grad(lambda z: softmax_brier_score(z, 0))(jnp.zeros(3, jnp.bfloat16))
    assert slope.dtype == jnp.bfloat16


@pytest.mark.slow
def test_brier_score_of_several_class_axes():
    z = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    ids = np.array([3, 0, 11])
    got = softmax_brier_score(z, ids, axis=(0, 2), keepdims=True)
    flat = np.moveaxis(z, 1, 0).reshape(3, 20)
    want = definitions.softmax_brier_score(flat, ids)
    assert got.shape == (1, 3, 1)
    np.testing.assert_allclose(got[0, :, 0], want, 1e-6)
    p = np.exp(flat) / np.exp(flat).sum(-1, keepdims=True)
    np.testing.assert_allclose(brier_score(p, ids), want, 1e-6)


# Forecasts in bins.


def sample(n, seed=0, distinct=None):
    rng = np.random.default_rng(seed)
    c = rng.beta(3, 1, n)
    c = (c if distinct is None else np.ceil(c * distinct) / distinct).astype(np.float32)
    w = rng.uniform(0.1, 2, n).astype(np.float32)
    return c, rng.uniform(size=n) < c, np.where(np.arange(n) % 5 == 0, 0, w).astype(np.float32)


def assert_trees(got, want, tolerance=2e-6):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, tolerance, 2e-7)


@each
@pytest.mark.parametrize("binning", ["width", slow("mass")])
@pytest.mark.parametrize("n, bins", [slow(1, 15), slow(2, 1), (997, 15), slow(997, 4)])
def test_bins_are_their_definition(f, binning, n, bins):
    c, o, w = sample(n)
    w = np.ones(n, np.float32) if n < 3 else w
    for weights in (None, w):
        define = getattr(definitions, f.__name__)
        data = (x if x is None else x.astype(float) for x in (c, o, weights))
        a, b, at = data
        want = define(a, b, bins=bins, binning=binning, weights=at)
        assert_trees(f(c, o, bins=bins, binning=binning, weights=weights), want)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_order_does_not_matter_and_equal_forecasts_stay_together(binning):
    c, o, w = sample(500, distinct=7)
    turn = np.random.default_rng(1).permutation(500)
    for weights in (None, w):
        curve = reliability_curve(c, o, binning=binning, weights=weights)
        other = None if weights is None else weights[turn]
        assert_trees(reliability_curve(c[turn], o[turn], binning=binning, weights=other), curve)
        full = np.asarray(curve.weight) > 0
        together = np.array(curve.confidence)[full]
        assert full.sum() <= 7 and np.all(np.diff(together) > 0)
        if full.sum() == 7:  # a bin for each
            np.testing.assert_allclose(together, np.unique(c), 1e-6)


def test_bins_of_equal_mass_weigh_the_same():
    c, o, _ = sample(1500)
    np.testing.assert_allclose(reliability_curve(c, o, binning="mass").weight, 1 / 15, 1e-6)
    doubled = reliability_curve(np.r_[c, c], np.r_[o, o], binning="mass")
    assert_trees(doubled, reliability_curve(c, o, binning="mass", weights=np.full(1500, 2)))


def test_edges_belong_to_the_bin_below():
    c = np.array([0.0, 0.2, 0.2000001, 0.6, 1.0], np.float32)
    curve = reliability_curve(c, c, bins=5)
    np.testing.assert_allclose(curve.weight, [0.4, 0.2, 0.2, 0, 0.2], 1e-6)
    np.testing.assert_allclose(curve.edges, np.arange(6) / 5, 1e-6)
    assert np.isnan(curve.confidence[3]) and np.isnan(curve.frequency[3])


@pytest.mark.slow
def test_what_is_left_out_is_not_looked_at():
    c, o, w = sample(200)
    bad = w == 0
    for binning in ("width", "mass"):
        for f in IN_BINS:
            whole = f(np.where(bad, NAN, c), np.where(bad, 7.0, o), binning=binning, weights=w)
            assert_trees(whole, f(c[~bad], o[~bad], binning=binning, weights=w[~bad]))


@each
@pytest.mark.parametrize("wrong", [-0.1, 1.1, NAN])
def test_a_bad_value_shows(f, wrong):
    c, o, w = sample(20)
    for place in range(3):
        data = [c.copy(), o.astype(np.float32), w]
        data[place] = np.where(np.arange(20) == 1, -wrong if place == 2 else wrong, data[place])
        if place == 2 and not data[2][1] < 0:
            data[2][1] = INF
        assert all(np.isnan(x).all() for x in jax.tree.leaves(f(*data[:2], weights=data[2])))
    assert not any(np.isnan(x).all() for x in jax.tree.leaves(f(c, o, weights=w)))


@pytest.mark.slow
def test_no_forecasts():
    none = np.zeros(0, np.float32)
    for given in ((none, none, None), (np.ones(3), np.zeros(3), np.zeros(3))):
        for binning in ("width", "mass"):
            options = {"binning": binning, "weights": given[2]}
            assert expected_calibration_error(*given[:2], **options) == 0
            assert not any(brier_decomposition(*given[:2], **options))
            curve = reliability_curve(*given[:2], **options)
            assert np.isnan(curve.confidence).all() and not curve.weight.any()


@pytest.mark.slow
def test_calibration_error_in_both_modes():
    c, o, w = sample(50)
    f = functools.partial(expected_calibration_error, bins=6)

    def total(c, w):
        return f(c, o, weights=w)

    by_c, by_w = quick(jax.grad(total, (0, 1)))(c, w)
    gap = np.array([w[k] @ (c[k] - o[k]) for k in groups(c, 6)])
    place = np.clip(np.ceil(c * 6) - 1, 0, 5).astype(int)
    sign = np.sign(gap)[place]
    np.testing.assert_allclose(by_c, sign * w / w.sum(), 1e-5)
    np.testing.assert_allclose(by_w, (sign * (c - o) - total(c, w)) / w.sum(), 1e-4, 1e-6)
    forward = quick(jax.jacfwd(total, (0, 1)))(c, w)
    assert_trees(forward, (by_c, by_w), 1e-5)


def groups(c, bins):
    place = np.clip(np.ceil(c * bins) - 1, 0, bins - 1)
    return [place == k for k in range(bins)]


@pytest.mark.slow
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_parts_of_the_brier_score_add_up(binning):
    c, o, w = sample(3001)
    for outcome in (o, np.random.default_rng(2).uniform(size=len(c)).astype(np.float32)):
        for bins in (1, 15):
            parts = brier_decomposition(c, outcome, bins=bins, binning=binning, weights=w)
            whole = parts.reliability - parts.resolution + parts.uncertainty + parts.within
            np.testing.assert_allclose(whole, parts.score, 1e-6)
            assert min(parts[:4]) >= 0
    # Nothing cancels: forecasts of a rare event that are nearly right, and all alike.
    rare = np.full(1000, 1e-3, np.float32)
    came = np.arange(1000) < 1
    parts = brier_decomposition(rare, came)
    assert parts.reliability < 1e-15 and parts.within < 1e-15
    np.testing.assert_allclose(parts.score, parts.uncertainty, 1e-6)


@pytest.mark.slow
def test_beside_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    metrics = pytest.importorskip("sklearn.metrics")
    c, o, w = sample(700)
    found = reliability_curve(c, o, bins=10)
    full = np.asarray(found.weight) > 0
    frequency, mean = calibration.calibration_curve(o, c, n_bins=10)
    np.testing.assert_allclose(np.array(found.frequency)[full], frequency, 1e-6)
    np.testing.assert_allclose(np.array(found.confidence)[full], mean, 1e-6)
    score = metrics.brier_score_loss(o, c, sample_weight=w)
    np.testing.assert_allclose(brier_decomposition(c, o, weights=w).score, score, 1e-6)
    two = brier_score(np.stack([1 - c, c], -1), o.astype(int))
    np.testing.assert_allclose(np.average(two, weights=w), 2 * score, 1e-6)


@pytest.mark.slow
@each
def test_batches_and_dtypes_of_forecasts(f):
    c, o, w = sample(120)
    batch = tuple(x.reshape(3, 40) for x in (c, o, w))
    run = functools.partial(f, bins=5, binning="mass")
    many = jax.vmap(lambda c, o, w: run(c, o, weights=w))(*batch)
    alone = [run(*row[:2], weights=row[2]) for row in zip(*batch)]
    assert_trees(many, jax.tree.map(lambda *x: np.stack(x), *alone))
    for x in jax.tree.leaves(f(c.astype(jnp.bfloat16), o)):
        assert x.dtype == jnp.float32
    assert_trees(f(c.reshape(4, 30), o.reshape(4, 30).astype(np.int8)), f(c, o))
    with jax.enable_x64(True):
        for x in jax.tree.leaves(f(c.astype(float), o)):
            assert x.dtype == jnp.float64


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True])
def test_ten_million_forecasts(alike):
    c, o, _ = sample(10**7)
    # None on an edge, which the two types round in different ways.
    c = np.where(np.abs(c * 15 - np.round(c * 15)) < 1e-4, np.float32(0.5), c)
    c = np.full_like(c, 0.7) if alike else c
    for f in IN_BINS:
        got = f(c, o)
        with jax.enable_x64(True):
            want = f(c.astype(float), o.astype(float))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, 1e-6, 1e-6 * np.nanmax(np.abs(b)) if a.ndim else 1e-8)


def refuses(error, message, f, *args, **options):
    with pytest.raises(error) as caught:
        f(*args, **options)
    assert str(caught.value) == f"{f.__name__}: {message}"


@each
def test_messages_of_bins(f):
    c, o, w = sample(6)
    refuses(ValueError, "bins must be a positive int, got 0.", f, c, o, bins=0)
    refuses(ValueError, "bins must be a positive int, got 2.5.", f, c, o, bins=2.5)
    says = 'binning must be "width" or "mass", got \'rank\'.'
    refuses(ValueError, says, f, c, o, binning="rank")
    says = "confidence and outcome must have the same shape, got (6,) and (5,); broadcast one with "
    refuses(ValueError, says + "jnp.broadcast_to, or use jax.vmap.", f, c, o[:5])
    says = "weights must hold one number per forecast, (6,) for these forecasts, got (5,); "
    refuses(ValueError, says + "broadcast it with jnp.broadcast_to.", f, c, o, weights=w[:5])
    with pytest.raises(TypeError, match="there is no argument 'n_bins'; did you mean 'bins'"):
        f(c, o, n_bins=3)
    checked = checkify.checkify(f, errors=checkify.user_checks)
    for argument, data in (("confidence", (2 * c, o)), ("outcome", (c, 2 * o))):
        with xent_jax.value_checks():
            error = checked(*data)[0].get()
        assert error.startswith(f"{f.__name__}: {argument} holds a value outside [0, 1] that is")


def test_messages_of_brier_scores():
    p = np.full((2, 3), 1 / 3, np.float32)
    says = "integer labels must have the shape of p without its class axes, (2,) for p of shape "
    says += "(2, 3), got (3,); give one id per example, or axis=0 if it holds the classes."
    refuses(ValueError, says, brier_score, p, np.zeros(3, int))
    says = "floating labels are distributions of the shape of p, (2, 3), got float32 of shape (2,);"
    says += " class ids must be integers: labels.astype(int)."
    refuses(ValueError, says, brier_score, p, np.zeros(2, np.float32))
    says = "p holds int32 of shape (2,) and labels float32 of shape (2, 3); swapped? The order is "
    refuses(ValueError, f"{says}brier_score(p, labels).", brier_score, np.zeros(2, np.int32), p)


# The temperature.


def logits_of(n, k, true, seed=0, scale=1.0):
    """Logits that are too sure by the factor `true`, and ids."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, k))
    labels = (z / true + rng.gumbel(size=z.shape)).argmax(-1)
    return (z * scale).astype(np.float32), labels.astype(np.int32)


SAMPLES = [(100, 2, 0.5, 1.0), (300, 10, 1.0, 1e-3), (300, 10, 3.0, 1e3), (97, 1000, 1.5, 1.0)]


@pytest.mark.parametrize("n, k, true, scale", SAMPLES)
def test_temperature_is_the_best(n, k, true, scale):
    z, labels = logits_of(n, k, true, scale=scale)
    want = definitions.fit_temperature(z, labels)
    np.testing.assert_allclose(fit_temperature(z, labels), want, 1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(fit_temperature(z.astype(float), labels), want, 1e-12)


@pytest.mark.slow
def test_temperature_takes_a_few_steps(monkeypatch):
    counts = []
    search = temperature.search

    def counted(*args):
        beta, steps = search(*args)
        jax.debug.callback(lambda x: counts.append(int(x)), steps)
        return beta, steps

    monkeypatch.setattr(temperature, "search", counted)
    for n, k, true, scale in SAMPLES[:3]:
        z, labels = logits_of(n, k, true, scale=scale)
        fit = temperature.best_temperature
        rows = temperature.Rows(-1, None)
        jax.jit(lambda z, y: fit("f", z, y, rows, None, None))(z, labels).block_until_ready()  # noqa: B023
    jax.effects_barrier()
    assert len(counts) == 3 and max(counts) <= 8


@pytest.mark.slow
def test_temperature_of_logits_that_tell_all_or_nothing():
    z = np.array([[3.0, 0, -1], [0, 2, 1], [-5, 0, 0]], np.float32)
    assert fit_temperature(z, [0, 1, 2]) == 0
    assert fit_temperature(-z, [0, 1, 0]) == INF
    assert fit_temperature(np.full((2, 3), 7.0), [0, 1]) == 1
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert fit_temperature(z, [0, 1, 2], weights=np.zeros(3)) == 1
    assert fit_temperature(z, [0, 2, 1], where=False) == 1
    assert fit_temperature(z[:, :1], [0, 0, 0]) == 1
    barred = np.where(np.arange(3) == 2, -INF, z)
    assert fit_temperature(barred, [0, 0, 2]) == INF
    for labels in ([0, 1, 2], [2, 0, 0]):
        slope = jax.grad(lambda z, w: fit_temperature(z, labels, weights=w), (0, 1))(z, np.ones(3))  # noqa: B023
        assert not any(map(np.any, slope))


@pytest.mark.slow
def test_temperature_of_bad_values():
    z, labels = logits_of(20, 4, 2.0)
    for bad in (np.where(z == z[3, 1], NAN, z), np.where(np.arange(20)[:, None] == 3, -INF, z)):
        assert np.isnan(fit_temperature(bad, labels))
    for wrong in (4, -1):
        broken = np.where(np.arange(20) == 3, wrong, labels)
        assert np.isnan(fit_temperature(z, broken))
        want = fit_temperature(np.delete(z, 3, 0), np.delete(labels, 3))
        weights = (np.arange(20) != 3).astype(np.float32)
        np.testing.assert_allclose(fit_temperature(z, broken, ignore_index=wrong), want, 1e-6)
        np.testing.assert_allclose(fit_temperature(z, broken, weights=weights), want, 1e-6)
    gone = np.where(np.arange(20)[:, None] == 3, NAN, z)
    of_left_out = jax.value_and_grad(lambda z: fit_temperature(z, labels, weights=weights))(gone)
    np.testing.assert_allclose(of_left_out[0], want, 1e-6)
    assert np.isfinite(of_left_out[1]).all() and not of_left_out[1][3].any()
    for weight in (-1.0, NAN, INF):
        assert np.isnan(fit_temperature(z, labels, weights=np.where(weights == 0, weight, 1)))


@pytest.mark.slow
def test_temperature_of_masks_offsets_and_scales():
    z, labels = logits_of(60, 5, 2.0)
    labels = labels % 4
    kept = np.arange(5) < 4
    want = fit_temperature(z[:, :4], labels)
    np.testing.assert_allclose(fit_temperature(z, labels, where=kept), want, 1e-6)
    barred = np.where(kept, z, -INF)
    value, slope = jax.value_and_grad(lambda z: fit_temperature(z, labels))(barred)
    np.testing.assert_allclose(value, want, 1e-6)
    assert np.isfinite(slope).all() and not slope[:, 4].any()
    np.testing.assert_allclose(slope.sum(-1), 0, 0, 1e-5)  # by offsets
    # A factor of two rounds nothing.
    np.testing.assert_array_equal(fit_temperature(barred * 2.0**10, labels), value * 2.0**10)
    np.testing.assert_allclose(
        fit_temperature(z.T, labels, axis=0, where=kept[:, None]), want, 1e-6
    )
    of_shares = fit_temperature(z, np.eye(5, dtype=np.float32)[labels], where=kept)
    np.testing.assert_allclose(of_shares, want, 1e-6)


def test_temperature_of_soft_labels_is_theirs():
    z, _ = logits_of(30, 6, 1.0)
    y = np.exp(z / 2.5)
    y = (y / y.sum(-1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(fit_temperature(z, y), 2.5, 1e-6)
    np.testing.assert_allclose(fit_temperature(z, 3 * y, weights=abs(z[:, 0])), 2.5, 1e-6)


@pytest.mark.slow
def test_temperature_in_both_modes_and_batches():
    with jax.enable_x64(True):
        z, labels = (x.reshape(3, 20, *x.shape[1:]) for x in logits_of(60, 4, 1.5))
        z, w = z.astype(float), np.random.default_rng(0).uniform(0.5, 2, (3, 20))
        w[:, 0] = 0
        fit = jax.vmap(lambda z, y, w: fit_temperature(z, y, weights=w))
        many, pull = jax.vjp(lambda z, w: fit(z, labels, w), z, w)
        alone = [fit_temperature(*x, weights=v) for *x, v in zip(z, labels, w)]
        np.testing.assert_allclose(many, alone, 1e-12)
        by_z, by_w = pull(np.ones(3))
        rng = np.random.default_rng(1)
        v = rng.normal(size=z.shape), rng.uniform(size=w.shape)
        _, along = jax.jvp(lambda z, w: fit(z, labels, w), (z, w), v)
        # A weight of 0 moves to one side alone.
        near, far = (fit(z + s * v[0], labels, w + s * v[1]) for s in (1e-4, 2e-4))
        np.testing.assert_allclose((by_z * v[0]).sum((1, 2)) + (by_w * v[1]).sum(1), along, 1e-10)
        np.testing.assert_allclose((4 * near - 3 * many - far) / 2e-4, along, 1e-5)
    assert fit_temperature(z.astype(jnp.bfloat16)[0], labels[0]).dtype == jnp.float32


def test_messages_of_the_temperature():
    z, labels = logits_of(6, 3, 1.0)
    says = "weights must hold one number per example, (6,) for these logits, got (5,); broadcast it"
    refuses(
        ValueError, f"{says} with jnp.broadcast_to.", fit_temperature, z, labels, weights=z[:5, 0]
    )
    checked = checkify.checkify(fit_temperature, errors=checkify.user_checks)
    with xent_jax.value_checks():
        assert "an id outside [0, 3)" in checked(z, labels + 3)[0].get()
        found = checked(z, labels, weights=z[:, 0])[0].get()
    assert found.startswith("fit_temperature: weights holds a negative, infinite or NaN number.")
