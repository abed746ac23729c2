"""Every function of the grid against the 60-digit oracle: tests/compare.py has the bar."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import FUNCTIONS, MASKED_CASES, NAMED_CASES, SIZES, batch, random_cases, select
from .compare import (
    check,
    compare,
    compare_second_derivatives,
    compare_values,
    compiled,
    gradient_bars,
    truth,
)
from .selection import each, slow, usually

OVER_CLASSES = [f for f in FUNCTIONS if not f.elementwise]


@pytest.mark.parametrize("cases", [NAMED_CASES, MASKED_CASES], ids=["named", "masked"])
@each(FUNCTIONS)
def test_float32(function, cases):
    compare(function, cases, np.float32, forward=cases is NAMED_CASES)


@pytest.mark.parametrize("forward", [False, slow(True)], ids=["reverse", "forward"])
@each(FUNCTIONS, few=FUNCTIONS[:3])
def test_float64(function, forward):
    with jax.enable_x64(True):
        compare(function, NAMED_CASES, np.float64, forward)


@functools.cache
def random_batch(size):
    return tuple(random_cases(size))


@pytest.mark.parametrize("size", usually((131072,), SIZES))
@each(OVER_CLASSES)
def test_float32_value_of_any_size(function, size):
    cases = random_batch(size)
    arguments, _ = batch(function, cases, np.float32)
    compare_values(function, cases, np.float32, function(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize("size", usually((131072,), SIZES))
@each(OVER_CLASSES)
def test_float32_gradient_of_any_size(function, size):
    compare(function, random_batch(size), np.float32, forward=False)


@each(OVER_CLASSES)
def test_forward_mode_gives_the_same_gradient(function):
    arguments, _ = batch(function, NAMED_CASES, np.float32)
    value, *gradients = true = truth(function, NAMED_CASES, np.float32)
    bars = gradient_bars(function, arguments, None, true, np.float32)
    floats = [arguments[i] for i in function.differentiable]
    for i, (want, allowed) in enumerate(zip(gradients, bars, strict=True)):
        columns = []
        for row in np.eye(want.shape[-1], dtype=np.float32):
            tangents = [np.broadcast_to(row * (j == i), x.shape) for j, x in enumerate(floats)]
            columns.append(compiled(function)(arguments, None, tangents)[2][1])
        ok = np.isfinite(want) & np.isfinite(value)[:, None]
        got = np.where(ok, np.stack(columns, -1), 0)
        check(function, got, np.where(ok, want, 0), allowed, NAMED_CASES)


def in_narrow(function, narrow):
    """The named cases in a narrow dtype, and those same numbers in float32."""
    arguments, _ = batch(function, NAMED_CASES, np.float32)
    low = [jnp.asarray(x, x.dtype if x.dtype == np.int32 else narrow) for x in arguments]
    return low, [x if x.dtype == np.int32 else x.astype(jnp.float32) for x in low]


@pytest.mark.parametrize("narrow", [jnp.bfloat16, slow(jnp.float16)], ids=["bfloat16", "float16"])
@each(FUNCTIONS, few=FUNCTIONS[:7])
def test_narrow_value_is_that_of_its_float32(function, narrow):
    low, wide = in_narrow(function, narrow)
    value = function(*low)
    assert value.dtype == jnp.float32
    # The last two bits: the compiler may order a sum in another way.
    np.testing.assert_allclose(value, function(*wide), 2.0**-22)


@each(FUNCTIONS, few=FUNCTIONS[2:6])
def test_bfloat16_gradient_is_that_of_its_float32(function):
    low, wide = in_narrow(function, jnp.bfloat16)
    _, low_gradients, _ = compiled(function, quick=True)(low, None, None)
    tangents = [wide[i] for i in function.differentiable]
    _, gradients, _ = compiled(function)(wide, None, tangents)
    for got, want in zip(low_gradients, gradients, strict=True):
        assert got.dtype == jnp.bfloat16
        got, want = (np.asarray(g.astype(jnp.bfloat16), np.float32) for g in (got, want))
        np.testing.assert_allclose(got, want, 2.0**-7, 2.0**-24)


@pytest.mark.parametrize("over", usually(["forward"], ["forward", "reverse"]))
@each(FUNCTIONS, few=OVER_CLASSES)
def test_second_derivatives(function, over):
    compare_second_derivatives(function, over)


@each(select(name="_divergence"))
def test_divergence_is_never_negative(function):
    """4096 pairs from 1e-8 apart to far: close ones are where rounding turns the sign."""
    rng = np.random.default_rng(0)
    first = 2 * rng.normal(size=(4096, 10))
    apart = 10.0 ** rng.uniform(-8, 1, size=(4096, 1))
    label = np.zeros(4096, np.int32)
    p, q = function.arguments(first, first + apart * rng.normal(size=first.shape), label)
    assert np.min(function(p, q)) >= 0
    np.testing.assert_array_equal(function(p, p), np.zeros(first.shape[: function(p, p).ndim]))


@pytest.mark.parametrize(
    "function", [xent_jax.softmax_kl_divergence, xent_jax.softmax_js_divergence]
)
def test_gradients_of_confident_rows_that_nearly_agree(function):
    """To the rounding of the logits, 2⁻²⁴ of the margin of each, and what a sum adds to it."""
    rng = np.random.default_rng(301)
    zp = rng.normal(size=(400, 777)).astype(np.float32)
    zp[:, 0] += 20
    zq = zp + 0.01 * rng.normal(size=zp.shape).astype(np.float32)
    slopes = jax.jit(jax.grad(lambda p, q: jnp.sum(function(p, q)), (0, 1)))
    got = slopes(zp, zq)
    with jax.enable_x64(True):
        want = slopes(zp.astype(np.float64), zq.astype(np.float64))
    for g, w in zip(map(np.asarray, got), map(np.asarray, want), strict=True):
        largest = np.max(np.abs(w), -1)
        assert np.max(np.max(np.abs(g - w), -1) / largest) < 20 * 2**-23


def test_a_matrix_of_one_row_is_as_exact_as_a_vector():
    """XLA:CPU adds up a long row by itself one entry after the other."""
    z = np.random.default_rng(0).normal(size=131072).astype(np.float32)
    p = np.asarray(jax.nn.softmax(z))
    for f, row in ((xent_jax.softmax_entropy, z), (xent_jax.entropy, p)):
        np.testing.assert_allclose(f(row[None])[0], f(row), 2e-7)
    truth = -np.sum(p.astype(float) * np.log(p.astype(float)))
    np.testing.assert_allclose(xent_jax.entropy(p[None])[0], truth, 1e-6)


def test_ratios_beyond_the_largest_number():
    for p, q in ((1e5, 1e-35), (1e30, 1e-20), (3.0, 1.2e-38)):
        a, b = float(np.float32(p)), float(np.float32(q))
        got = xent_jax.kl_divergence(np.float32([p]), np.float32([q]))
        np.testing.assert_allclose(got, a * (np.log(a) - np.log(b)) - a + b, 1e-6)
