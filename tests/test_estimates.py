"""Estimates of the KL divergence from the log-probabilities of samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf

import xent_jax
from xent_jax import kl_estimate

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
