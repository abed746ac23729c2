"""The losses at masked, certain and infinite classes and weights, and as functions of arrays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
from .cases import LOSSES, NAMED_CASES, QUICK, SOFTMAX_LOSSES, USUAL_LOSSES, batch, quick
from .selection import each, several_devices, usually

INF, NAN = np.inf, np.nan


ROWS = np.stack([case.first for case in NAMED_CASES]).astype(np.float32)

IDS = np.array([case.label for case in NAMED_CASES], np.int32)

SOFT = np.random.default_rng(0).dirichlet(np.ones(10), len(ROWS)).astype(np.float32)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@each([f for f in LOSSES if f.elementwise], few=USUAL_LOSSES)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("dtype", usually([jnp.bfloat16], [jnp.bfloat16, jnp.float16]))
def test_narrow_dtypes_are_computed_in_float32(dtype):
    z = jnp.asarray(ROWS[:5], dtype)
    for f in (softmax_focal_loss, softmax_poly_loss, softmax_generalized_cross_entropy):
        value, slopes = jax.value_and_grad(lambda z: jnp.sum(f(z, IDS[:5])))(z)  # noqa: B023
        assert value.dtype == jnp.float32 and slopes.dtype == dtype
        np.testing.assert_allclose(f(z, IDS[:5]), f(z.astype(jnp.float32), IDS[:5]), 2.0**-22)
