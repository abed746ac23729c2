"""Estimates of the KL divergence from the log-probabilities of samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf

import xent_jax
from xent_jax import kl_estimate, kl_estimate_with_error

from .cases import quick
from .information import BAR, INF, NAN, softmax

both_dtypes = pytest.mark.parametrize("dtype", BAR, ids=lambda d: d.__name__)


@functools.cache
def estimate(kind):
    def run(log_p, log_q):
        value, pull = jax.vjp(functools.partial(kl_estimate, kind=kind), log_p, log_q)
        return value, *pull(jnp.ones_like(value))

    return jax.jit(run)


@both_dtypes
def test_estimates(dtype):
    ratios = np.array([0, 1e-15, 1e-12, 1e-6, -1e-6, 1e-3, -0.5, 0.9, 1, 1.1, -3, 30, 80, -80])
    with jax.enable_x64(dtype is np.float64):
        log_p, log_q = np.zeros_like(ratios, dtype), (-ratios).astype(dtype)
        exact = [-mpf(float(x)) for x in log_q]
        for kind, want in (
            ("k1", [(x, 1) for x in exact]),
            ("k2", [(x * x / 2, x) for x in exact]),
            ("k3", [(mp.expm1(-x) + x, -mp.expm1(-x)) for x in exact]),
        ):
            value, by_p, by_q = estimate(kind)(log_p, log_q)
            values, slopes = np.array(want, float).T
            np.testing.assert_allclose(value, values, BAR[dtype])
            np.testing.assert_allclose(by_p, slopes, BAR[dtype])
            np.testing.assert_allclose(by_q, -slopes, BAR[dtype])


def test_which_estimates_are_unbiased():
    """The exact expectation over samples of p, and of the gradient by what gives log_q."""
    p, z = softmax(np.arange(4.0)).astype(np.float32), np.float32([1, 0.5, -1, 2])
    log_p, exact = np.log(p), lambda z: xent_jax.kl_divergence(p, jax.nn.softmax(z))

    def mean(z, kind):
        return jnp.sum(p * kl_estimate(log_p, jax.nn.log_softmax(z), kind=kind))

    for kind, unbiased in (("k1", True), ("k3", True), ("k2", False)):
        value, gradient = quick(jax.value_and_grad(functools.partial(mean, kind=kind)))(z)
        want, slope = quick(jax.value_and_grad(exact))(z)
        assert np.isclose(value, want, 1e-5) == unbiased
        assert np.allclose(gradient, slope, 1e-5, 1e-6) == unbiased


def test_estimates_at_the_edges():
    log_p = np.float32([-1, -INF, -INF, NAN, -1, -1])
    log_q = np.float32([-INF, -1, -INF, -1, NAN, -1])
    for kind, want in (
        ("k1", [INF, -INF, NAN, NAN, NAN, 0]),
        ("k2", [INF, INF, NAN, NAN, NAN, 0]),
        ("k3", [INF, INF, NAN, NAN, NAN, 0]),
    ):
        value, by_p, by_q = estimate(kind)(log_p, log_q)
        np.testing.assert_array_equal(value, want)
        for slope in (by_p, by_q):
            np.testing.assert_array_equal(np.isnan(slope), np.isnan(want))
            assert not np.isinf(slope).any()


def test_estimates_that_do_not_exist_are_0_with_gradient_0():
    log_p, log_q = np.float32([-1, NAN, -2]), np.float32([-1.5, -INF, NAN])
    where = np.array([True, False, False])
    for kind in ("k1", "k2", "k3"):

        def total(*logs, kind=kind):
            return kl_estimate(*logs, kind=kind, where=where).sum()

        value, slopes = quick(jax.value_and_grad(total, (0, 1)))(log_p, log_q)
        np.testing.assert_allclose(value, kl_estimate(log_p[0], log_q[0], kind=kind), 1e-6)
        assert not any(np.any(slope[1:]) for slope in slopes) and all(s[0] for s in slopes)


# --- the average of least variance, and its standard error


def regression(ratios):
    """(value, standard error, λ, λ − 1) in 60 digits."""
    ratios = [mpf(float(x)) for x in ratios]
    g, n = [mp.expm1(-x) for x in ratios], len(ratios)
    mean, mean_g = mp.fsum(ratios) / n, mp.fsum(g) / n
    variance = mp.fsum((x - mean_g) ** 2 for x in g)
    weight = -mp.fsum((x - mean) * (y - mean_g) for x, y in zip(ratios, g)) / variance
    value = mean + weight * mean_g
    squares = mp.fsum((x + weight * y - value) ** 2 for x, y in zip(ratios, g))
    return value, mp.sqrt(squares / ((n - 2) * n)), weight, weight - 1


def of_value(log_p, log_q):
    value, pull, found = jax.vjp(lambda *x: with_aux(*x), log_p, log_q, has_aux=True)
    return found, pull(jnp.ones_like(value))


def with_aux(log_p, log_q):
    found = kl_estimate_with_error(log_p, log_q)
    return found.value, found


@both_dtypes
def test_the_regression(dtype):
    """Rows of ratios of every size, about as samples of p give them."""
    noise, bar = np.random.default_rng(0).normal(size=64), {np.float32: 3e-6, np.float64: 1e-13}
    sizes = [1e-8, 1e-5, 1e-3, 0.03, 0.5, 1, 2]
    with jax.enable_x64(dtype is np.float64):
        ratios = np.array([s * noise + s * s / 2 for s in sizes], dtype)
        found, slopes = jax.jit(of_value)(ratios, np.zeros_like(ratios))
        want = np.array([regression(row) for row in ratios], float).T
        for got, true in zip(found, want[:3], strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, true, bar[dtype], bar[dtype] * 1e-4)
        ratios = ratios.astype(float)
        true = (-np.expm1(-ratios) - want[3][:, None] * np.exp(-ratios)) / 64
        for got, sign in zip(slopes, (1, -1), strict=True):
            allowed = bar[dtype] * np.abs(true).max(-1, keepdims=True)
            assert (np.abs(sign * got - true) <= allowed).all()


def test_the_error_is_right_and_the_variance_least():
    """Many repeats of some hundred samples: the true value lies where the error says."""
    size, repeats = 512, 2000
    for seed, step in ((0, 0.1), (1, 0.4)):
        a, b = np.random.default_rng(seed).normal(size=(2, 16))
        log_p, log_q = (np.log(softmax(z)) for z in (a, a + step * b))
        exact = np.sum(np.exp(log_p) * (log_p - log_q))
        drawn = np.random.default_rng(2).choice(16, (repeats, size), p=np.exp(log_p))
        logs = np.float32(log_p[drawn]), np.float32(log_q[drawn])
        found = jax.jit(jax.vmap(kl_estimate_with_error))(*logs)
        k1, k3 = (np.mean(kl_estimate(*logs, kind=k), -1, dtype=float) for k in ("k1", "k3"))
        value, error = (np.asarray(x, float) for x in found[:2])
        for sigmas, inside in ((1, 0.683), (2, 0.954)):
            assert abs(np.mean(np.abs(value - exact) <= sigmas * error) - inside) < 0.025
        spread = np.std(value)
        np.testing.assert_allclose(np.mean(error), spread, 0.05)
        assert abs(value.mean() - exact) < 0.1 * spread
        assert spread < 1.01 * min(np.std(k1), np.std(k3))


def test_the_estimate_at_its_edges():
    one = np.zeros(4, np.float32)
    for row, want in (
        ([0, 0, 0, 0], (0, 0, 1)),
        ([0.1, 0.1, 0.1, 0.1], (np.expm1(-0.1) + 0.1, 0, 1)),  # that of k3, without a regression
        ([1, 2, INF, 0], (INF, NAN, 1)),
        ([1, 2, NAN, 0], (NAN, NAN, None)),
        ([1, 2, -INF, 0], (NAN, NAN, None)),
    ):
        found, slopes = jax.jit(of_value)(np.float32(row), one)
        for got, true in zip(found, want, strict=True):
            if true is not None:
                np.testing.assert_allclose(got, true, 1e-5)
        bad = np.isnan(want[0])
        assert all(np.isnan(s).any() == bad for s in slopes)
    # Ratios that are no numbers: λ of that one sample, and the average of l.
    found, slopes = jax.jit(of_value)(np.float32([1, 2, -200, 3]), one)
    np.testing.assert_allclose(found[:2], [2, 1 / 3**0.5], 0.15)
    assert np.isfinite(slopes).all() and found.coefficient == 0
    for n in (1, 2):
        found = kl_estimate_with_error(np.float32([1, 2][:n]), one[:n])
        assert np.isfinite(found.value) and np.isnan(found.standard_error)


def test_samples_that_do_not_count():
    rng = np.random.default_rng(3)
    log_p, log_q = rng.normal(size=(2, 3, 8)).astype(np.float32)
    where = np.arange(8) < 5
    log_p[:, 6], log_q[:, 7] = NAN, INF

    def total(*logs, where=None):
        return kl_estimate_with_error(*logs, where=where).value.sum()

    slopes = quick(jax.grad(total, (0, 1)))(log_p, log_q, where=where)
    plain = quick(jax.grad(total, (0, 1)))(log_p[:, :5], log_q[:, :5])
    found = kl_estimate_with_error(log_p, log_q, where=where)
    for got, want in zip(found, kl_estimate_with_error(log_p[:, :5], log_q[:, :5]), strict=True):
        np.testing.assert_allclose(got, want, 1e-5)
    for slope, want in zip(slopes, plain, strict=True):
        np.testing.assert_allclose(slope[:, :5], want, 1e-5, 1e-6)
        assert not np.any(slope[:, 5:])
    assert not np.any(kl_estimate_with_error(log_p, log_q, where=where & ~where).value)
    along = kl_estimate_with_error(log_p.T, log_q.T, axis=0, where=where[:, None])
    np.testing.assert_allclose(along.value, found.value, 1e-5)


def test_the_errors_are_not_differentiated():
    log_p, log_q = np.random.default_rng(4).normal(size=(2, 8)).astype(np.float32)
    for i in (1, 2):
        gradient = jax.grad(lambda x, i=i: kl_estimate_with_error(x, log_q)[i])(log_p)
        assert not np.any(gradient)
