"""The row of Bernoulli probabilities: against 60 digits, at its edges, and beside its siblings."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.experimental import checkify

import xent_jax

OF_TWO = {
    "binary_cross_entropy": lambda p, q: -p * mpmath.log(q) - (1 - p) * mpmath.log(1 - q),
    "binary_kl_divergence": lambda p, q: (
        p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q))
    ),
    "binary_js_divergence": lambda p, q: (
        OF_TWO["binary_kl_divergence"](p, (p + q) / 2) / 2
        + OF_TWO["binary_kl_divergence"](q, (p + q) / 2) / 2
    ),
}
OF_ONE = {"binary_entropy": lambda p: OF_TWO["binary_cross_entropy"](p, p)}
TRUTH = OF_ONE | OF_TWO
each = pytest.mark.parametrize("name", TRUTH)


def pairs(dtype):
    """Probabilities from 1e-30 to 1 − 6e-8 and ½, and others that are near, far, or theirs."""
    rng = np.random.default_rng(0)
    few = np.concatenate([10.0 ** rng.uniform(-30, 0, 40), rng.uniform(0, 1, 40), [0.5, 0.25]])
    near_1 = 1 - 10.0 ** rng.uniform(-7, 0, 40)
    p = np.concatenate([few, near_1])
    apart = 10.0 ** rng.uniform(-6, 0, p.size)
    near = p + apart * np.minimum(p, 1 - p) * rng.uniform(-0.9, 0.9, p.size)
    p, q = np.concatenate([p, p]), np.concatenate([near, rng.permutation(p)])
    return p.astype(dtype), q.astype(dtype)


def truth(name, *arguments):
    """The value and its derivatives, of one element."""
    f = TRUTH[name]
    with mpmath.workdps(60):
        point = [mpmath.mpf(float(x)) for x in arguments]
        orders = np.eye(len(point), dtype=int)
        slopes = [mpmath.diff(f, tuple(point), tuple(map(int, o))) for o in orders]
        return [float(x) for x in (f(*point), *slopes)]


@functools.cache
def known(name, dtype):
    p, q = pairs(dtype)
    inside = (p > 0) & (p < 1) & (q > 0) & (q < 1)
    arguments = (p[inside],) if name in OF_ONE else (p[inside], q[inside])
    return arguments, np.array([truth(name, *row) for row in zip(*arguments, strict=True)]).T


@each
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_value_and_gradients(name, dtype):
    """In both modes; a slope of opposite terms is as exact as the larger of the two."""
    f = getattr(xent_jax, name)
    with jax.enable_x64(dtype == "float64"):
        arguments, (value, *slopes) = known(name, dtype)
        places = tuple(range(len(arguments)))
        bar = 1e-6 if dtype == "float32" else 2e-15
        got = jax.jit(f)(*arguments)
        tiny = np.finfo(dtype).tiny
        np.testing.assert_allclose(got, value, bar, tiny)
        total = jax.jit(jax.grad(lambda *x: jnp.sum(f(*x)), places))
        for place, (g, want) in enumerate(zip(total(*arguments), slopes, strict=True)):
            np.testing.assert_allclose(g, want, 4 * bar, tiny)
            ones = [jnp.ones_like(x) if i == place else jnp.zeros_like(x)
                    for i, x in enumerate(arguments)]  # fmt: skip
            forward = jax.jit(lambda *x, ones=ones: jax.jvp(f, x, tuple(ones))[1])(*arguments)
            np.testing.assert_allclose(forward, want, 4 * bar, tiny)


@each
def test_edges(name):
    """Certain outcomes, and the finite slopes beside them."""
    f = getattr(xent_jax, name)
    p = np.float32([0, 1, 0, 1, 0.5, 0.5, -0.1, 1.1, np.nan, 0.5])
    q = np.float32([0, 1, 1, 0, 0, 1, 0.5, 0.5, 0.5, np.nan])
    arguments = (p,) if name in OF_ONE else (p, q)
    want = {
        "binary_entropy": [0, 0, 0, 0, np.log(2), np.log(2)],
        "binary_js_divergence": [0, 0, np.log(2), np.log(2), 0.215762, 0.215762],
    }.get(name, [0, 0, *[np.inf] * 4])
    value, pull = jax.vjp(f, *arguments)
    np.testing.assert_allclose(value[:6], want, 1e-5)
    assert not np.any(np.signbit(value[:6]))
    invalid = [i >= 6 and not (name in OF_ONE and i == 9) for i in range(10)]
    assert np.isnan(value).tolist() == invalid
    for slope in pull(jnp.ones_like(value)):
        assert np.all(np.isfinite(slope[:6]))


def test_slopes_of_js_are_those_of_its_mirror():
    def slopes(p, q):
        return jax.grad(xent_jax.binary_js_divergence, (0, 1))(p, q)

    for p, q in ((0.5, 0.0), (0.5, 1.0), (0.0, 1.0)):
        np.testing.assert_allclose(slopes(p, q), slopes(q, p)[::-1], 1e-6)
        assert abs(slopes(p, q)[1]) < 100


def test_labels_come_first():
    labels, q = jnp.array([1, 0]), jnp.array([0.25, 0.5])
    for given in (labels, labels.astype(bool), labels.astype(jnp.bfloat16), [1, 0]):
        got = xent_jax.binary_cross_entropy(given, q)
        np.testing.assert_allclose(got, np.log([4, 2]), 1e-6)
    with pytest.raises(
        TypeError, match=r"binary_cross_entropy: q holds int32 .* labels come first"
    ):
        xent_jax.binary_cross_entropy(q, labels)
    said = r"p and q must have the same shape, got \(2,\) and \(2, 1\); squeeze"
    with pytest.raises(ValueError, match=said):
        xent_jax.binary_cross_entropy(labels, q[:, None])


@pytest.mark.slow
@each
def test_second_derivatives(name):
    f = getattr(xent_jax, name)
    arguments = [jnp.float32(x) for x in ((0.3,) if name in OF_ONE else (0.3, 0.30001))]
    places = tuple(range(len(arguments)))
    got = jax.hessian(f, places)(*arguments)
    with mpmath.workdps(60):
        point = tuple(mpmath.mpf(float(x)) for x in arguments)
        for i in places:
            for j in places:
                order = tuple(int(k == i) + int(k == j) for k in places)
                want = float(mpmath.diff(TRUTH[name], point, order))
                np.testing.assert_allclose(got[i][j], want, 1e-4, 1e-30)


def test_beside_logits_and_classes():
    """σ of logits, and the two outcomes as classes."""
    z, zq = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    p, q = jax.nn.sigmoid(z), jax.nn.sigmoid(zq)
    for kind in ("kl_divergence", "js_divergence"):
        got = getattr(xent_jax, f"binary_{kind}")(p, q)
        np.testing.assert_allclose(got, getattr(xent_jax, f"sigmoid_{kind}")(z, zq), 1e-4)
        both = (jnp.stack([x, 1 - x], -1) for x in (p, q))
        np.testing.assert_allclose(got, getattr(xent_jax, kind)(*both), 1e-4)
    want = xent_jax.sigmoid_cross_entropy(zq, p)
    np.testing.assert_allclose(xent_jax.binary_cross_entropy(p, q), want, 1e-5)
    np.testing.assert_allclose(xent_jax.binary_entropy(p), xent_jax.sigmoid_entropy(z), 1e-5)


def test_value_checks_send_logits_to_their_own_row():
    f = functools.partial(xent_jax.binary_cross_entropy, np.float32(1))
    with xent_jax.value_checks():
        error, _ = checkify.checkify(f, errors=checkify.user_checks)(np.float32(2.5))
    wanted = "binary_cross_entropy: q holds a NaN, or a number outside [0, 1]; for logits take "
    assert wanted + "sigmoid_cross_entropy." in error.get()
