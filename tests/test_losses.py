"""The variants of cross entropy, class weights and z-loss: the table of losses in every test.

The oracle and the bars are those of the grid; f(c) has slope up to 1 + γ relative to its cost, and
so has the rounding of a logit difference.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import xent_jax
from xent_jax import (
    linear_softmax_cross_entropy,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
    softmax_generalized_cross_entropy,
    softmax_poly_loss,
)

from . import edge_rows, oracle
from .cases import LOSSES, MASKED_CASES, NAMED_CASES, QUICK, batch, quick
from .compare import compare, compare_second_derivatives
from .selection import each, several_devices, slow, usually

INF, NAN = np.inf, np.nan
SOFTMAX_LOSSES = [f for f in LOSSES if not f.elementwise]
# One of each kind, with ids and with soft labels.
DEFAULT = [f for f in LOSSES if str(f) in {
    "softmax_focal_loss-ids-gamma=2", "softmax_focal_loss-soft-gamma=2",
    "softmax_poly_loss-ids-epsilon=2", "softmax_generalized_cross_entropy-soft-q=0.7",
    "sigmoid_focal_loss-ids-gamma=2-alpha=0.25",
}]  # fmt: skip


# Against 60 digits.


@each(usually(DEFAULT, LOSSES))
def test_float32(function):
    compare(function, NAMED_CASES, np.float32)


@each(usually(DEFAULT[:1], LOSSES))
def test_float32_of_masked_rows(function):
    compare(function, MASKED_CASES, np.float32)


@each(usually(DEFAULT[1:2], LOSSES))
def test_float64(function):
    with jax.enable_x64(True):
        compare(function, NAMED_CASES, np.float64)


@pytest.mark.parametrize("over", usually(["forward"], ["forward", "reverse"]))
@each(LOSSES, few=DEFAULT[:1])
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


@each([f for f in SOFTMAX_LOSSES if dict(f.given).get("gamma", 2.0) == 2.0], few=DEFAULT)
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


@pytest.mark.parametrize("labels", [IDS, SOFT], ids=["ids", "soft"])
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


def test_masked_labels_and_bad_values():
    z, w = jnp.array([2.0, 1.0, 0.0]), jnp.array([1.0, 2.0, 3.0])
    masked = jnp.array([False, True, True])
    assert softmax_cross_entropy(z, 0, where=masked, class_weights=w) == INF
    assert softmax_focal_loss(z, 0, where=masked) == INF
    np.testing.assert_allclose(softmax_generalized_cross_entropy(z, 0, q=0.5, where=masked), 2.0)
    assert softmax_cross_entropy(z, 0, where=masked, class_weights=w.at[0].set(0.0)) == 0.0
    for bad in (-1.0, NAN):
        assert np.isnan(softmax_focal_loss(z, 0, gamma=bad))
        assert np.isnan(softmax_generalized_cross_entropy(z, 0, q=bad))
        assert np.isnan(sigmoid_focal_loss(z, z > 0, gamma=bad)).all()
        assert np.isnan(sigmoid_focal_loss(z, z > 0, alpha=bad)).all()
        np.testing.assert_array_equal(
            np.isnan(sigmoid_cross_entropy(z, z > 0, pos_weight=bad)), z > 0
        )
        losses = softmax_cross_entropy(
            jnp.stack([z, z, z]), jnp.array([0, 1, 7]), class_weights=w.at[0].set(bad),
            ignore_index=7,
        )  # fmt: skip
        assert np.isnan(losses[0]) and losses[2] == 0.0 and np.isfinite(losses[1])
    assert np.isnan(softmax_focal_loss(z, 3)) and np.isnan(softmax_focal_loss(z, -1))
    assert softmax_focal_loss(z, -1, ignore_index=-1) == 0.0


def test_a_likely_class_with_most_of_the_mass_keeps_its_gradient():
    """Σ y' of the other classes, against 60 digits: Σ y' − y'_j would have no digit left."""
    cases = [
        (
            "softmax_generalized_cross_entropy",
            {"q": 0.5},
            [30.0, 0, -0.5, 0.125],
            [1.5, 2, 0.25, 0],
        ),
        ("softmax_generalized_cross_entropy", {"q": 1.0}, [17.0, 0, 1, 2], [1, 1, 1, 1]),
        ("softmax_cross_entropy", {}, [20.0, 0, 0, 0], [1e6, 1, 1, 1]),
        ("softmax_cross_entropy", {}, [40.0, 0, 1, 0], [1e3, 1, 1, 1]),
        ("softmax_focal_loss", {"gamma": 0.5}, [17.0, 0, 0, 1], [1.5, 2, 0.25, 1]),
    ]
    for name, parameter, z, w in cases:
        given = {"label_smoothing": 0.25, "class_weights": np.array(w, np.float32), **parameter}
        z = np.array(z, np.float32)
        want = getattr(oracle, name.replace("softmax_cross", "softmax_weighted_cross"))(
            z, 0, **given
        )
        got = quick(jax.grad(lambda z: getattr(xent_jax, name)(z, 0, **given)))(z)  # noqa: B023
        np.testing.assert_allclose(got, want[1], 2e-6, 1e-6 * np.abs(want[1]).max())
    # Soft labels that nearly are one class: their sum is rounded by more than the others are.
    y = np.array([1 - 2**-20, 2**-22, 2**-22, 2**-24], np.float32)
    z = np.array([60, 0, 0, 0], np.float32)
    want = oracle.softmax_cross_entropy(z, y)[1]
    np.testing.assert_allclose(jax.grad(softmax_cross_entropy)(z, y), want, 1e-6)


@pytest.mark.slow
def test_curvature_of_a_confident_row_over_reverse_mode():
    z, w = jnp.array([17.0, 0.0, 0.0]), jnp.array([1.5, 2, 0.25])
    f = functools.partial(
        softmax_focal_loss, labels=0, gamma=0.5, label_smoothing=0.25, class_weights=w
    )
    by_reverse, by_forward = (quick(mode(jax.jacrev(f)))(z) for mode in (jax.jacrev, jax.jacfwd))
    np.testing.assert_allclose(by_reverse, by_forward, 0, 1e-6)


def test_infinite_losses_and_weights_leave_the_others_alone():
    z, w = jnp.array([-INF, 0, 1, 2]), jnp.array([1.5, 2, 0.25, 0])
    soft = jnp.array([0.5, 0.25, 0.25, 0.5])
    for labels in (0, soft):
        f = lambda w: softmax_cross_entropy(z, labels, class_weights=w)  # noqa: B023, E731
        for slopes in (jax.grad(f)(w), jax.jacfwd(f)(w)):
            assert slopes[0] > 1e30 and np.all(np.isfinite(slopes[1:]))
    moved = jax.jvp(
        lambda z, w: softmax_cross_entropy(z, 0, class_weights=w),
        (z, w), (jnp.ones(4), jnp.zeros(4)),
    )  # fmt: skip
    assert moved[0] == INF and abs(moved[1]) < 1e-6
    dead = jnp.array([[True], [False]])
    f = lambda w: softmax_cross_entropy(  # noqa: E731
        jnp.zeros((2, 4)), jnp.array([0, 1]), where=dead, label_smoothing=0.1, class_weights=w
    )
    assert np.all(np.isfinite(jax.grad(lambda w: f(w).sum())(w))) and f(w)[1] == 0.0
    slopes = jax.grad(lambda z: softmax_cross_entropy(z, 0, z_loss=0.1))(jnp.array([INF, 0, 1]))
    assert slopes[0] > 1e30 and not np.any(slopes[1:])
    # A weight at a class that is masked, or has label 0, is of no use, whatever it is.
    x, kept = jnp.array([1.0, 2, 3]), jnp.array([True, True, False])
    for bad in (INF, NAN):
        weights = jnp.array([1, 1, bad])
        f = functools.partial(softmax_cross_entropy, x, class_weights=weights)
        for labels in (0, jnp.array([0.5, 0.5, 0])):
            for smoothing in (0.0, 0.1):
                assert np.isfinite(f(labels, where=kept, label_smoothing=smoothing))
        assert np.isfinite(f(0)) and np.isfinite(f(jnp.array([0.5, 0.5, 0])))
    losses = sigmoid_cross_entropy(
        jnp.array([1, -1, 2, -3.0]), jnp.array([0, 0, 1, 1]), pos_weight=INF
    )
    np.testing.assert_array_equal(np.isfinite(losses), [True, True, False, False])
    assert sigmoid_focal_loss(jnp.array(INF), jnp.array(0), alpha=1.0) == 0.0


def test_dtypes_of_everything_that_is_given():
    low = jnp.array([2.0, -1.0, 0.5], jnp.bfloat16)
    y = jnp.array([0.3, 0.7, 0.11])
    np.testing.assert_allclose(
        sigmoid_cross_entropy(low, y), sigmoid_cross_entropy(low.astype(jnp.float32), y), 1e-6
    )
    with jax.enable_x64(True):
        z = jnp.ones((2, 3), jnp.float32)
        soft = jnp.full((2, 3), 1 / 3, jnp.float64)
        assert (
            softmax_focal_loss(z, soft, class_weights=jnp.ones(3, jnp.float32)).dtype == "float64"
        )
        few = {"label_probs": jnp.ones((2, 1), jnp.float64)}
        loss = linear_softmax_cross_entropy(z, z.T @ z, jnp.array([[0], [1]]), **few)
        assert loss.dtype == jnp.float32


# z-loss.


def test_z_loss():
    """z_loss·(log Σ e^z)² on top of every loss, but not of what is left out; never weighted."""
    z = jnp.asarray(ROWS[:6])
    ids = jnp.array([0, 3, -1, 2, 5, 1])
    height = jax.nn.logsumexp(z, -1) ** 2
    extras = ({}, {"class_weights": 1 + np.arange(10.0)}, {"label_smoothing": 0.1})
    for labels, given in ((ids, {"ignore_index": -1}), (jnp.asarray(SOFT[:6]), {})):

        @quick
        def losses(z, labels=labels, given=given):
            both = ({}, {"z_loss": 0.01})
            return [
                [softmax_cross_entropy(z, labels, **given, **extra, **more) for more in both]
                for extra in extras
            ]

        found = losses(z)
        more = 0.01 * jnp.where(found[0][0] == 0.0, 0.0, height)
        for without, got in found:
            np.testing.assert_allclose(got, without + more, 1e-6)
    f = lambda z: softmax_cross_entropy(z, 3, z_loss=0.5)  # noqa: E731
    slopes = jax.nn.softmax(z[0]) * (1 + jnp.sqrt(height[0])) - jnp.eye(10)[3]
    np.testing.assert_allclose(jax.grad(f)(z[0]), slopes, 1e-5, 1e-6)
    np.testing.assert_allclose(jax.jacfwd(f)(z[0]), slopes, 1e-5, 1e-6)


# The Bernoulli row.


def test_weight_of_the_positive_class():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=8), [20, -20, 60, -60, 0, 1e-3]]).astype(np.float32)
    y = np.where(np.arange(14) % 3 == 0, rng.random(14), rng.random(14) < 0.5).astype(np.float32)
    for weight in (1e-3, 0.5, 1.0, 7.0):
        pos = float(np.float32(weight))
        value, pull = jax.vjp(lambda z, y: sigmoid_cross_entropy(z, y, pos_weight=pos), z, y)  # noqa: B023
        rows = [oracle.sigmoid_weighted_cross_entropy(a, b, pos_weight=pos) for a, b in zip(z, y)]
        want, by_z, by_y = map(np.array, zip(*rows, strict=True))
        got_z, got_y = pull(np.ones_like(z))
        np.testing.assert_allclose(value, want, 1e-6)
        scale = np.maximum(pos * y, 1 - y)
        assert np.all(np.abs(got_z - by_z) <= 1e-6 * np.maximum(np.abs(by_z), scale * 0.25))
        assert np.all(np.abs(got_y - by_y) <= 1e-6 * np.maximum(np.abs(by_y), np.abs(pos - 1)))
    per_label = jnp.linspace(0.5, 2.0, 14)
    slope = jax.grad(
        lambda w: jnp.sum(
            sigmoid_cross_entropy(jnp.stack([z, -z]), jnp.stack([y, y]), pos_weight=w)
        )
    )(per_label)
    np.testing.assert_allclose(slope, y * (jax.nn.softplus(-z) + jax.nn.softplus(z)), 1e-5)


@each([f for f in LOSSES if f.elementwise], few=DEFAULT)
def test_sure_logits(function):
    labels = np.array([1, 0, 1, 0], np.int32 if function.kinds[-1] == "id" else np.float32)
    z = np.float32([INF, -INF, 40, -40])

    @quick
    def run(z):
        slopes = jax.grad(lambda z: jnp.sum(function(z, labels)))(z)
        forward = jax.jvp(lambda z: function(z, labels), (z,), (jnp.ones_like(z),))[1]
        return function(z, labels), slopes, forward, function(-z, labels)

    value, slopes, forward, wrong = run(z)
    assert np.all(value < 1e-15) and np.all(abs(slopes) < 1e-15) and np.all(wrong >= 8)
    np.testing.assert_allclose(forward, slopes, 1e-6)
    edge_rows.run(function, first=[INF, -INF, 0, 1], second=[1, 0, 0.5, 0.5], label=[1, 0, 1, 0])


def test_ignored_and_masked_elements_are_seen_by_no_gradient():
    z = jnp.array([NAN, 1.0, NAN, -2.0])
    y, where = jnp.array([-1, 1, 1, 0]), jnp.array([True, True, False, True])

    def f(z):
        return jnp.sum(sigmoid_focal_loss(z, y, ignore_index=-1, where=where))

    value, slopes = jax.value_and_grad(f)(z)
    assert np.isfinite(value) and slopes[0] == slopes[2] == 0.0 and np.all(np.isfinite(slopes))


# As functions of arrays.


def test_sweep_over_parameters_and_weights_is_one_compilation():
    traced = 0

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, None))
    def sweep(gamma, weights, z):
        nonlocal traced
        traced += 1
        return jax.grad(
            lambda z: jnp.sum(softmax_focal_loss(z, IDS, gamma=gamma, class_weights=weights))
        )(z)

    gammas, weights = jnp.array([0.0, 1.0, 2.5]), 1 + jnp.arange(30.0).reshape(3, 10)
    got = sweep(gammas, weights, ROWS)
    sweep(2 * gammas, weights, ROWS)
    assert traced == 1
    for g, w, slopes in zip(gammas, weights, got, strict=True):
        f = lambda z: jnp.sum(softmax_focal_loss(z, IDS, gamma=g, class_weights=w))  # noqa: B023, E731
        np.testing.assert_allclose(slopes, jax.grad(f)(ROWS), 1e-6, 1e-12)


def test_class_axes_and_flat_weights():
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.uniform(1, 2, 12).astype(np.float32)
    ids = rng.integers(0, 12, 5)
    flat = z.reshape(12, 5).T
    want = softmax_cross_entropy(flat, ids, class_weights=w, label_smoothing=0.1)
    got = softmax_cross_entropy(z, ids, axis=(0, 1), class_weights=w, label_smoothing=0.1)
    np.testing.assert_allclose(got, want, 1e-6)
    turned = np.moveaxis(z, 0, 1)
    got = softmax_focal_loss(turned, ids, axis=(1, 0), class_weights=w, keepdims=True)
    np.testing.assert_allclose(got[0, 0], softmax_focal_loss(flat, ids, class_weights=w), 1e-6)


@several_devices
@each(SOFTMAX_LOSSES[2:3] + SOFTMAX_LOSSES[-1:], few=SOFTMAX_LOSSES[2:3])
def test_inside_shard_map(function):
    mesh = jax.make_mesh((2,), ("classes",), axis_types=(AxisType.Auto,))
    arguments, _ = batch(function, NAMED_CASES[:8], np.float32)
    specs = (P(None, "classes"), P() if function.kinds[-1] == "id" else P(None, "classes"))
    split = jax.shard_map(
        functools.partial(function, axis_name="classes"), mesh=mesh, in_specs=specs, out_specs=P()
    )
    for f in (lambda g: g, lambda g: jax.grad(lambda *a: jnp.sum(g(*a)))):
        got = jax.jit(f(split), compiler_options=QUICK)(*arguments)
        np.testing.assert_allclose(got, f(function)(*arguments), 1e-5, 1e-7)


@pytest.mark.parametrize("dtype", usually([jnp.bfloat16], [jnp.bfloat16, jnp.float16]))
def test_narrow_dtypes_are_computed_in_float32(dtype):
    z = jnp.asarray(ROWS[:5], dtype)
    for f in (softmax_focal_loss, softmax_poly_loss, softmax_generalized_cross_entropy):
        value, slopes = jax.value_and_grad(lambda z: jnp.sum(f(z, IDS[:5])))(z)  # noqa: B023
        assert value.dtype == jnp.float32 and slopes.dtype == dtype
        np.testing.assert_allclose(f(z, IDS[:5]), f(z.astype(jnp.float32), IDS[:5]), 2.0**-22)


# What is said.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z, x: softmax_focal_loss(z, 0, gamma=x),
            "softmax_focal_loss: gamma is negative or NaN.",
        ),
        (
            lambda z, x: sigmoid_focal_loss(z, z > 0, alpha=x),
            "sigmoid_focal_loss: alpha lies outside [0, 1].",
        ),
        (
            lambda z, x: softmax_generalized_cross_entropy(z, 0, q=x),
            "softmax_generalized_cross_entropy: q lies outside [0, 1].",
        ),
        (
            lambda z, x: softmax_cross_entropy(z, 0, class_weights=x * z),
            "softmax_cross_entropy: class_weights holds a negative or NaN weight.",
        ),
        (
            lambda z, x: sigmoid_cross_entropy(z, z > 0, pos_weight=x),
            "sigmoid_cross_entropy: pos_weight holds a negative or NaN weight.",
        ),
    ],
)
def test_checkify_names_the_culprit(call, message):
    run = jax.jit(checkify.checkify(call, errors=checkify.user_checks))
    z = jnp.arange(3.0)
    with xent_jax.value_checks():
        assert run(z, 0.5)[0].get() is None
        for bad in (-0.5, NAN):
            assert run(z, bad)[0].get().startswith(message)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda z: softmax_focal_loss(z, 0, gamma=jnp.ones(2)),
            ValueError,
            "softmax_focal_loss: gamma must be one number, got shape (2,); use jax.vmap for "
            "several.",
        ),
        (
            lambda z: softmax_cross_entropy(z, 0, class_weights=jnp.ones(4)),
            ValueError,
            "softmax_cross_entropy: class_weights must hold one number per class, (3,) for these "
            "logits, got (4,); for several class axes they are flat, as the ids are.",
        ),
        (
            lambda z: linear_softmax_cross_entropy(z[None], z[:, None], [0], class_weights=z),
            ValueError,
            "linear_softmax_cross_entropy: class_weights must hold one number per class, (1,) for "
            "these logits, got (3,); for several class axes they are flat, as the ids are.",
        ),
        (
            lambda z: sigmoid_cross_entropy(z, z > 0, pos_weight=jnp.ones(2)),
            ValueError,
            "sigmoid_cross_entropy: pos_weight of shape (2,) does not broadcast to logits of shape "
            "(3,); give one number, or one per label.",
        ),
        (
            lambda z: softmax_cross_entropy(z, 0, z_loss=-1),
            ValueError,
            "softmax_cross_entropy: z_loss must be a finite number ≥ 0, got -1; 1e-4 is usual, "
            "0 is none.",
        ),
        (
            lambda z: softmax_cross_entropy(z, 0, label_smoothing=jnp.ones(2)),
            ValueError,
            "softmax_cross_entropy: label_smoothing must be one number, got shape (2,); use "
            "jax.vmap for several.",
        ),
        (
            lambda z: softmax_poly_loss(z, 0, epsilon="two"),
            TypeError,
            "softmax_poly_loss: epsilon must be an array of numbers, got str; "
            "pass a JAX or NumPy array.",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(jnp.zeros(3))
    assert str(caught.value) == message


def both_orders(f):
    """∂²f/∂x∂y, forward over reverse, and ∂²f/∂y∂x, reverse over reverse."""
    one, other = jax.jacfwd(jax.grad(f), 1), jax.jacrev(jax.grad(f, 1), 0)
    return quick(lambda x, y: (one(x, y), other(x, y)))


@pytest.mark.parametrize(
    ("loss", "given"), [slow(softmax_cross_entropy, {}), slow(softmax_focal_loss, {"gamma": 1.5})]
)
def test_mixed_second_derivatives_at_label_0(loss, given):
    """∂²/∂z∂y in both orders, at labels that are 0 and at a class weight of 0."""
    z, y, w = jnp.array([1.0, 0, -1]), jnp.array([1.0, 0, 0]), jnp.array([1.0, 0, 2])
    f = functools.partial(loss, **given)
    one, other = both_orders(f)(z, y)
    np.testing.assert_allclose(one, other.T, 1e-5, 1e-6)
    assert np.all(np.abs(one[:, 1:]) > 1e-3)
    g = lambda z, w: f(z, 0, class_weights=w, label_smoothing=0.3)  # noqa: E731
    one, other = both_orders(g)(z, w)
    np.testing.assert_allclose(one, other.T, 1e-5, 1e-6)
    assert np.all(np.abs(one[:, 1]) > 1e-3)
