"""The variants of cross entropy, class weights and z-loss: the table of losses in every test.

The oracle and the bars are those of the grid; f(c) has slope up to 1 + γ relative to its cost, and
so has the rounding of a logit difference.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax import (
    softmax_cross_entropy,
    softmax_focal_loss,
    softmax_generalized_cross_entropy,
)

from . import oracle
from .cases import LOSSES, MASKED_CASES, NAMED_CASES, SOFTMAX_LOSSES, USUAL_LOSSES, batch, quick
from .compare import compare, compare_second_derivatives
from .selection import each, slow, usually

INF, NAN = np.inf, np.nan


# Against 60 digits.


@each(usually(USUAL_LOSSES, LOSSES))
def test_float32(function):
    compare(function, NAMED_CASES, np.float32)


@each(usually(USUAL_LOSSES[:1], LOSSES))
def test_float32_of_masked_rows(function):
    compare(function, MASKED_CASES, np.float32)


@each(usually(USUAL_LOSSES[1:2], LOSSES))
def test_float64(function):
    with jax.enable_x64(True):
        compare(function, NAMED_CASES, np.float64)


@pytest.mark.parametrize("over", usually(["forward"], ["forward", "reverse"]))
@each(LOSSES, few=USUAL_LOSSES[:1])
def test_second_derivatives(function, over):
    compare_second_derivatives(function, over)


def slopes_of_parameter(function, argument, parameter, value):
    """The derivative by the parameter, in both modes."""
    f = lambda x: function(*argument, **{parameter: x})  # noqa: E731
    one = jnp.ones((), jnp.float32)

    @quick
    def both(x):
        forward = jax.jvp(f, (x,), (one,))[1]
        return forward, jax.vmap(lambda t: jax.vjp(f, x)[1](t)[0])(jnp.eye(len(forward)))

    forward, reverse = both(value * one)
    np.testing.assert_allclose(reverse, forward, 1e-6, 1e-12)
    return forward


@each([f for f in SOFTMAX_LOSSES if dict(f.given).get("gamma", 2.0) == 2.0], few=USUAL_LOSSES)
def test_derivative_by_the_parameter(function):
    """Against the oracle, for the rows whose loss is finite."""
    ((parameter, value),) = function.given
    arguments, _ = batch(function, NAMED_CASES, np.float32)
    got = slopes_of_parameter(getattr(xent_jax, function.name), arguments, parameter, value)
    exact = float(np.float32(value))
    truth = getattr(oracle, function.name)
    rows = [truth(*row, **{parameter: exact}) for row in zip(*arguments, strict=True)]
    value, want = (np.array([row[i] for row in rows]) for i in (0, -1))
    known = np.isfinite(value) & np.isfinite(want) & (np.abs(want) < 1e30)
    np.testing.assert_allclose(got[known], want[known], 2e-5, 1e-30)


# What holds exactly.

ROWS = np.stack([case.first for case in NAMED_CASES]).astype(np.float32)
IDS = np.array([case.label for case in NAMED_CASES], np.int32)
SOFT = np.random.default_rng(0).dirichlet(np.ones(10), len(ROWS)).astype(np.float32)


@pytest.mark.parametrize("labels", [IDS, slow(SOFT)], ids=["ids", "soft"])
@pytest.mark.parametrize(
    ("loss", "given"),
    [
        (softmax_focal_loss, {"gamma": 0.0}),
        (softmax_generalized_cross_entropy, {"q": 0.0}),
        (softmax_cross_entropy, {"class_weights": np.ones(10)}),
    ],
    ids=["gamma 0", "q 0", "weights 1"],
)
def test_is_cross_entropy_exactly(loss, given, labels):
    """Bit for bit in value at class ids; under distributions, and in gradient, to a bit or two.

    Cross entropy under a distribution is linear in the labels, which has a sum of its own.
    """

    def value_and_slopes(f):
        @jax.jit
        def run(z):
            return f(z), jax.grad(lambda z: jnp.sum(f(z)[:-1]))(z)

        return run(ROWS)

    got, slopes = value_and_slopes(lambda z: loss(z, labels, **given))
    exact, want = value_and_slopes(lambda z: softmax_cross_entropy(z, labels))
    if labels is SOFT:
        np.testing.assert_allclose(got, exact, 3e-7)
    else:
        np.testing.assert_array_equal(got, exact)
    np.testing.assert_allclose(slopes, want, 3e-7, 1e-7 * (labels is SOFT))


@pytest.mark.parametrize("gamma", usually([0.5], [0.0, 0.5, 1.0, 5.0]))
def test_saturated_rows_keep_finite_derivatives(gamma):
    """To the second order, where 1 − p is far below rounding, 0, or 1."""
    f = functools.partial(softmax_focal_loss, labels=0, gamma=gamma)
    run = quick(lambda z: (jax.grad(f)(z), jax.jacfwd(f)(z), jax.jacfwd(jax.grad(f))(z)))
    for row in ([20, 0, 0, -1], [60, 0, 0, 0], [1e4, 0, 0, 0], [0, 1e4, 0, 0], [0, -INF, 0, 1]):
        z = jnp.array(row, jnp.float32)
        gradient, forward, curvature = run(z)
        np.testing.assert_allclose(gradient, forward, 1e-6)
        assert np.all(np.isfinite(gradient)) and np.all(np.isfinite(curvature)), row
    loss, slope = jax.value_and_grad(f)(jnp.array([20.0, 0.0, 0.0, -1.0]))
    cost = 4.880564755e-09
    np.testing.assert_allclose(loss, cost ** (1 + gamma), 1e-5, 1e-38)
    np.testing.assert_allclose(slope[0], -(1 + gamma) * cost ** (1 + gamma), 1e-5, 1e-38)


OPTIONS_OF = {
    "softmax_cross_entropy": {},
    "softmax_focal_loss": {"gamma": 2.0},
    "softmax_poly_loss": {"epsilon": 1.0},
    "softmax_generalized_cross_entropy": {"q": 0.5},
}


@pytest.mark.parametrize("smoothing", usually([0.1], [0.0, 0.1]))
@pytest.mark.parametrize("kind", ["ids", "soft"])
@pytest.mark.parametrize("name", usually(["softmax_focal_loss"], OPTIONS_OF))
def test_weights_smoothing_masks_and_base_together(name, kind, smoothing):
    """Against the oracle, with the gradient by the class weights."""
    rng = np.random.default_rng(0)
    z, w = (3 * rng.normal(size=(6, 7))).astype(np.float32), rng.uniform(0, 3, 7).astype(np.float32)
    where = rng.random((6, 7)) < 0.8
    labels = np.array([np.flatnonzero(row)[0] for row in where])
    if kind == "soft":
        labels = np.where(where, rng.dirichlet(np.ones(7), 6), 0).astype(np.float32)
    options = {"label_smoothing": smoothing, **OPTIONS_OF[name]}

    def f(z, w):
        given = {"where": where, "class_weights": w, "base": 2, **options}
        return getattr(xent_jax, name)(z, labels, **given)

    @quick
    def run(z, w):
        values, pull = jax.vjp(f, z, w)
        along = jax.jvp(lambda w: f(z, w), (w,), (jnp.ones_like(w),))[1]
        return values, *pull(jnp.ones(6)), along

    values, by_z, by_w, along = run(z, w)
    truth = getattr(oracle, name.replace("softmax_cross", "softmax_weighted_cross"))

    def rows(weights):
        return [
            truth(a, y, where=m, class_weights=weights, **options)
            for a, y, m in zip(z, labels, where, strict=True)
        ]

    np.testing.assert_allclose(values, [r[0] / np.log(2) for r in rows(w)], 1e-6)
    want = np.stack([r[1] for r in rows(w)]) / np.log(2)
    np.testing.assert_allclose(by_z, want, 1e-5, 1e-6 * np.abs(want).max())
    # Every loss is linear in the class weights: by each of them it is the loss of that class alone.
    want = np.array([[r[0] for r in rows(one)] for one in np.eye(7)]) / np.log(2)
    np.testing.assert_allclose(by_w, want.sum(1), 1e-5, 1e-6 * want.max())
    np.testing.assert_allclose(along, want.sum(0), 1e-5)
