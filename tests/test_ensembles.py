"""Information of ensembles: against 50 digits, at its edges, and beside its siblings."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import xent_jax
from xent_jax import ensemble_information, softmax_ensemble_information

from .selection import slow

MEMBERS, CLASSES = 4, 6
INF = np.inf


def _logits():
    """name: logits of the members."""
    rng = np.random.default_rng(0)
    shape = (MEMBERS, CLASSES)
    one, all_of_them = rng.normal(size=CLASSES), rng.normal(size=shape)
    sure = np.array([20.0, 0, 0, -1, 0, 0])
    return {
        "generic": 3 * all_of_them,
        "a part in 10⁴ apart": 3 * one + 1e-4 * all_of_them,
        "offsets": 3 * one + 1e-4 * all_of_them + rng.integers(-50, 50, (MEMBERS, 1)),
        "confident": sure + 0.1 * all_of_them,
        "confident of several classes": np.stack([np.roll(sure, i // 2) for i in range(MEMBERS)])
        + all_of_them,
        "one apart": np.concatenate([5 * all_of_them[:1], one + 1e-4 * all_of_them[1:]]),
        "excluded classes": np.where(rng.random(shape) < 0.3, -INF, 3 * all_of_them),
    }


LOGITS = _logits()
WEIGHTS = np.random.default_rng(1).uniform(0.1, 1, MEMBERS)


def truth(logits, weights):
    """The three numbers, and the derivatives of the mutual one by logits and by weights."""
    with mpmath.workdps(50):
        p = [[mpmath.exp(x) if x > -INF else mpmath.mpf(0) for x in map(mpmath.mpf, row)]
             for row in logits.tolist()]  # fmt: skip
        p = [[x / sum(row) for x in row] for row in p]
        whole = sum(map(mpmath.mpf, weights.tolist()))
        a = [w / whole for w in weights.tolist()]
        m = [mpmath.fdot(a, column) for column in zip(*p, strict=True)]

        def cost(p, q):
            return sum(x * -mpmath.log(y) for x, y in zip(p, q, strict=True) if x)

        entropies = [cost(row, row) for row in p]
        distances = [cost(row, m) - h for row, h in zip(p, entropies, strict=True)]
        expected, mutual = mpmath.fdot(a, entropies), mpmath.fdot(a, distances)
        by_logits = [[a[n] * x * (mpmath.log(x / y) - distances[n]) if x else 0
                      for x, y in zip(row, m, strict=True)] for n, row in enumerate(p)]  # fmt: skip
        by_weights = [(d - mutual) / whole for d in distances]
        return (
            np.array([expected + mutual, expected, mutual], float),
            np.array(by_logits, float),
            np.array(by_weights, float),
        )


@functools.cache
def compiled(dtype):
    """The numbers, and the derivatives of the mutual one in both modes."""

    def mutual(z, w):
        return softmax_ensemble_information(z, weights=w).mutual

    def all_of_it(z, w):
        forward = jax.jacfwd(mutual, (0, 1))(z, w)
        return softmax_ensemble_information(z, weights=w), jax.grad(mutual, (0, 1))(z, w), forward

    return jax.jit(all_of_it)


@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
@pytest.mark.parametrize("name", LOGITS)
def test_numbers_and_derivatives(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        bar = 1e-6 if dtype == "float32" else 4e-15
        z, w = LOGITS[name].astype(dtype), WEIGHTS.astype(dtype)
        want, by_logits, by_weights = truth(z, w)
        found, *both = compiled(dtype)(z, w)
        np.testing.assert_allclose(found, want, bar)
        for got_by_logits, got_by_weights in both:
            for got, true in ((got_by_logits, by_logits), (got_by_weights, by_weights)):
                np.testing.assert_allclose(got, true, 0, 2 * bar * abs(true).max())


def plainly(p, weights):
    shares = weights / weights.sum()
    mixture = shares @ p
    expected = -shares @ jnp.sum(p * jnp.log(p), -1)
    predictive = -jnp.sum(mixture * jnp.log(mixture))
    return predictive, expected, predictive - expected


@pytest.mark.slow
def test_all_three_differentiate_twice():
    """As their definitions do, in float64."""

    def mixed(f, x, w):
        return jnp.dot(jnp.stack(f(x, w)), jnp.array([1.0, -0.7, 0.3]))

    with jax.enable_x64(True):
        z = LOGITS["generic"]
        softmaxes = (softmax_ensemble_information, lambda z, w: plainly(jax.nn.softmax(z), w), z)
        vectors = (ensemble_information, plainly, np.asarray(jax.nn.softmax(z)))
        for ours, definition, x in (softmaxes, vectors):
            for order in (jax.grad, jax.hessian):
                f = functools.partial(mixed, lambda x, w, ours=ours: ours(x, weights=w))
                got = jax.jit(order(f, (0, 1)))(x, WEIGHTS)
                want = jax.jit(order(functools.partial(mixed, definition), (0, 1)))(x, WEIGHTS)
                jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12), got, want)


@pytest.mark.slow
def test_probabilities_agree_with_logits_and_with_a_table():
    z = LOGITS["generic"].astype("float32")
    p = jax.nn.softmax(z)
    from_p = ensemble_information(p, weights=WEIGHTS, base=2)
    from_z = softmax_ensemble_information(z, weights=WEIGHTS, base=2)
    np.testing.assert_allclose(from_p, from_z, 1e-6)
    joint = p * (WEIGHTS / WEIGHTS.sum())[:, None].astype("float32")
    np.testing.assert_allclose(from_p.mutual, xent_jax.mutual_information(joint, base=2), 1e-6)
    np.testing.assert_allclose(from_p.expected, xent_jax.conditional_entropy(joint, base=2), 1e-6)
    np.testing.assert_allclose(from_p.predictive, xent_jax.entropy(joint.sum(0), base=2), 1e-6)


def test_two_members_are_jensen_shannon():
    z = LOGITS["a part in 10⁴ apart"][:2].astype("float32")
    js = xent_jax.softmax_js_divergence(*z)
    np.testing.assert_allclose(softmax_ensemble_information(z).mutual, js, 1e-6)
    p = jax.nn.softmax(z)
    np.testing.assert_allclose(ensemble_information(p).mutual, xent_jax.js_divergence(*p), 1e-6)


def test_members_that_agree_have_nothing_to_tell():
    z = np.tile(np.array([3.0, -INF, 0.1, -2.0], "float32"), (5, 1))
    for x, f in ((z, softmax_ensemble_information), (jax.nn.softmax(z), ensemble_information)):
        for members in (1, 5):
            found, slopes = jax.value_and_grad(lambda x, f=f: f(x).mutual)(x[:members])
            assert found == 0.0 and not np.any(slopes)


def test_a_member_of_weight_0_is_left_out_whatever_it_says():
    z = np.array([[1.0, 2, 3], [3, 1, 0], [np.nan, INF, -INF]], "float32")
    w = np.array([1.0, 3, 0], "float32")
    want = softmax_ensemble_information(z[:2], weights=w[:2])
    np.testing.assert_allclose(softmax_ensemble_information(z, weights=w), want, 1e-6)
    slopes = jax.grad(lambda z: sum(softmax_ensemble_information(z, weights=w)))(z)
    assert np.all(np.isfinite(slopes)) and not np.any(slopes[2])
    p = np.array([[0.2, 0.8], [0.5, 0.5], [np.nan, -1]], "float32")
    want = ensemble_information(p[:2], weights=w[:2])
    np.testing.assert_allclose(ensemble_information(p, weights=w), want, 1e-6)


def test_edges():
    with np.errstate(invalid="ignore"):
        z = np.array([[[INF, 1, 2], [np.nan, 0, 0], [1, 2, 3]],
                      [[0, INF, 2], [1, 2, 3], [-INF, -INF, -INF]]], "float32")  # fmt: skip
    found = softmax_ensemble_information(z)
    np.testing.assert_allclose(found.mutual, [np.log(2), np.nan, np.nan], 1e-6)
    np.testing.assert_array_equal(found.expected, [0, np.nan, np.nan])
    slopes = jax.grad(lambda z: sum(softmax_ensemble_information(z)))(z[:, 0])
    assert np.all(np.isfinite(slopes))
    p = np.array([[1.0, 0, 0], [0, 0, 1]], "float32")
    found, slopes = jax.value_and_grad(lambda p: sum(ensemble_information(p)))(p)
    np.testing.assert_allclose(found, 2 * np.log(2), 1e-6)
    assert np.all(np.isfinite(slopes))
    assert all(map(np.isnan, ensemble_information(-p)))
    for bad in ([1.0, -1.0], [np.nan, 1.0], [0.0, 0.0]):
        assert all(map(np.isnan, ensemble_information(p, weights=np.array(bad, "float32"))))
    assert all(x == 0 for x in softmax_ensemble_information(z[:, 2], where=np.zeros(3, bool)))


@pytest.mark.parametrize("shape", [(1, 2, 1), slow((3, 0, 5)), slow((2, 7, 3)), slow((5, 1, 257))])
def test_shapes_and_axes(shape):
    z = np.random.default_rng(0).normal(size=shape).astype("float32")
    rows = softmax_ensemble_information(z)
    assert all(x.shape == shape[1:2] and x.dtype == jnp.float32 for x in rows)
    moved = softmax_ensemble_information(np.moveaxis(z, 0, 2), ensemble_axis=2, axis=1)
    np.testing.assert_allclose(moved, rows, 1e-5, 1e-7)
    mapped = jax.vmap(softmax_ensemble_information, 1)(z)
    np.testing.assert_allclose(mapped, rows, 1e-5, 1e-7)


@pytest.mark.slow
def test_narrow_types():
    z = LOGITS["generic"].astype(jnp.bfloat16)
    value, slope = jax.value_and_grad(lambda z: softmax_ensemble_information(z).mutual)(z)
    assert value.dtype == jnp.float32 and slope.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        value, softmax_ensemble_information(z.astype(np.float32)).mutual, 1e-6
    )


P = np.full((3, 2, 4), 0.25, "float32")
MESSAGES = [
    ({"ensemble_axis": 5}, ValueError, r"ensemble_axis 5 is out of range for p of shape \(3, 2"),
    ({"ensemble_axis": -1}, ValueError, r"ensemble_axis -1 is a class axis of p of shape .*stack"),
    ({"ensemble_axis": "n"}, TypeError, r"ensemble_axis must be an int, got 'n'"),
    ({"weights": np.ones(2)}, ValueError, r"weights must hold one number per member, \(3,\)"),
]


@pytest.mark.parametrize("options, error, message", MESSAGES)
def test_messages(options, error, message):
    with pytest.raises(error, match=f"^ensemble_information: {message}"):
        ensemble_information(P, **options)
    with pytest.raises(ValueError, match=r"of shape \(0, 2, 4\) has no member along axis 0"):
        softmax_ensemble_information(P[:0])
