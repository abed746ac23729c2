"""Logarithms near 1 and far from it, and series, against 50 digits; compiled, where sums may be
rearranged."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from xent_jax._math.scalars import log1p_of, log_of, outcomes
from xent_jax._math.series import phi

POINTS = sorted(
    sign * 10.0**power
    for sign in (1, -1)
    for power in (-30, -12, -8, -7.2, -5, -3, -1.3, -0.62, -0.58, -0.4, -0.3, -0.1, -0.001, 0)
)
BEYOND = [1.5, 7.0, 1e3, 1.7e7, 1e12, 1e37]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(50):
        yield


def both_modes(f, *arguments):
    """Values, and derivatives by the last argument, of which the elements are independent."""
    *given, last = arguments
    value, pull = jax.vjp(lambda x: jax.jit(f)(*given, x), last)
    backward = pull(jnp.ones_like(value))[0]
    forward = jax.jvp(lambda x: jax.jit(f)(*given, x), (last,), (jnp.ones_like(last),))[1]
    np.testing.assert_array_equal(backward, forward)
    return value, forward


def true(f, points):
    return np.array([float(f(mpmath.mpf(float(x)))) for x in points])


def close(got, want, units):
    """Within so many roundings of the dtype."""
    np.testing.assert_allclose(np.float64(got), want, units * np.finfo(got.dtype).eps, 0)


@dtypes
def test_log1p_of_elements(dtype):
    with jax.enable_x64(dtype == "float64"):
        points = jnp.array([x for x in (*POINTS, *BEYOND) if x != -1], dtype)
        value, slope = both_modes(log1p_of, points)
    close(value, true(mpmath.log1p, points), 2)
    close(slope, 1 / (1 + np.float64(points)), 2)


def test_log1p_at_its_edges():
    points = jnp.array([0.0, -1.0, jnp.inf, jnp.nan, -2.0])
    np.testing.assert_array_equal(log1p_of(points), [0, -np.inf, np.inf, np.nan, np.nan])


@dtypes
def test_log_of_a_ratio_has_the_digits_of_what_it_differs_from_1_by(dtype):
    """Also where the ratio that is given differs from that by a rounding."""
    with jax.enable_x64(dtype == "float64"):
        less_one = jnp.array([x for x in (*POINTS, *BEYOND[:-1]) if x != -1], dtype)
        ratio = (1 + less_one) * (1 - jnp.finfo(dtype).eps)
        value, _ = both_modes(log_of, ratio, less_one)
    near, want = np.abs(less_one) <= 0.25, true(mpmath.log1p, less_one)
    close(value[near], want[near], 2)
    units = 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.float64(value[~near]), want[~near], units, units)


@pytest.mark.parametrize("ratio", [0.0, 1e-39])
def test_log_of_no_normal_number_is_finite(ratio):
    tiny = np.finfo(np.float32).tiny
    got, slope = jax.jvp(log_of, (jnp.float32(ratio), -jnp.ones(())), (jnp.ones(()),) * 2)
    np.testing.assert_allclose(got, np.log(tiny), 1e-6)
    assert slope == 0


@dtypes
def test_outcomes_of_a_logit_keep_the_rare_one(dtype):
    with jax.enable_x64(dtype == "float64"):
        logits = jnp.array([*(x for x in POINTS if x != 0), 0, 20, -20, 80, -80], dtype)
        one, zero = outcomes(logits)
        slope = jax.grad(lambda z: outcomes(z)[0].sum())(logits)
    share = [1 / (1 + mpmath.exp(-mpmath.mpf(float(z)))) for z in logits]
    close(one, np.array([float(p) for p in share]), 2)
    close(zero, np.array([float(1 / (1 + mpmath.exp(mpmath.mpf(float(z))))) for z in logits]), 2)
    close(slope, np.array([float(p * (1 - p)) for p in share]), 3)


@dtypes
def test_phi_and_its_slope_to_rounding(dtype):
    """e^{−x} − 1 + x, and 1 − e^{−x}, where both are small and where the series ends."""
    with jax.enable_x64(dtype == "float64"):
        points = jnp.array([x for x in np.linspace(-1, 1, 1001) if x != 0] + [1e-9, -1e-15], dtype)
        ones = jnp.ones_like(points)
        value, forward = jax.jit(lambda x: jax.jvp(phi, (x,), (ones,)))(points)
        backward = jax.jit(lambda x: jax.vjp(phi, x)[1](ones)[0])(points)
    close(value, true(lambda x: mpmath.expm1(-x) + x, points), 2)
    for slope in (forward, backward):
        close(slope, true(lambda x: -mpmath.expm1(-x), points), 3)
