"""The head of independent labels: the dense sigmoid row of x @ w + b, summed over the classes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import quick
from .selection import slow

TOKENS, FEATURES, CLASSES, CHUNK = 29, 8, 23, 8
CE = functools.partial(xent_jax.linear_sigmoid_cross_entropy, chunk_size=CHUNK)


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


IDS = np.random.default_rng(1).integers(-1, CLASSES, (TOKENS, 4))
HARD = np.eye(CLASSES + 1)[IDS].max(1)[:, :CLASSES]  # −1 is padding, the last column
KEPT = np.arange(CLASSES) < 20


def given():
    weights = abs(draw(6, CLASSES))
    return draw(2, TOKENS, FEATURES), draw(3, FEATURES, CLASSES), draw(4, CLASSES), weights


@pytest.mark.parametrize("labels", ["ids", "function"])
@pytest.mark.parametrize("reduction", ["mean", slow(None)])
def test_agrees_with_the_dense_row(labels, reduction):
    """Value, both modes and Hessian products, by x, w, b, the weights and the temperature."""
    with jax.enable_x64(True):
        arguments = (*given(), jnp.asarray(1.7))

        def linear(x, w, b, weights, temperature):
            options = {"b": b, "where": KEPT, "pos_weight": weights, "temperature": temperature}
            options |= {"reduction": reduction}
            if labels == "ids":
                return CE(x, w, IDS, ignore_index=-1, **options)
            return CE(x, w, lambda i: jnp.max(jax.nn.one_hot(i, CLASSES), 0), IDS, **options)

        def dense(x, w, b, weights, temperature):
            z = (x @ w + b[None]) / temperature
            cost = xent_jax.sigmoid_cross_entropy(z, jnp.asarray(HARD), pos_weight=weights[None])
            cost = jnp.sum(jnp.where(KEPT[None], cost, 0.0), 1)
            return jnp.mean(cost) if reduction else cost

        steps = tuple(draw(20 + i, *x.shape) for i, x in enumerate(arguments))
        for f in (linear, dense):
            slopes = jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), tuple(range(5)))
            found = quick(
                lambda *a, f=f, slopes=slopes: (jax.jvp(f, a, steps), jax.jvp(slopes, a, steps))
            )(*arguments)
            if f is linear:
                got = found
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(a, b, 1e-9, 1e-10)


def test_confident_rows_keep_their_digits():
    """Σ of tails: nothing is 1 − something."""
    x, w = jnp.ones((1, 1)), jnp.array([[30.0, -40.0, -50.0]])
    loss, slope = jax.value_and_grad(lambda w: CE(x, w, jnp.array([[0]]), reduction="sum"))(w)
    tails = np.exp(np.array([-30.0, -40.0, -50.0]))
    np.testing.assert_allclose(loss, tails.sum(), 2e-6)
    np.testing.assert_allclose(slope[0], tails * [-1, 1, 1], 2e-6)


def test_pairs_of_images_and_texts():
    """SigLIP: a scale and a bias that are trained, n × n never formed."""
    n, images, texts = 16, draw(0, 16, 8).astype("float32"), draw(1, 16, 8).astype("float32")

    def linear(images, texts, scale, bias):
        pairs = jnp.arange(n)[:, None]
        return CE(images * scale, texts.T, pairs, b=bias, reduction="mean")

    def dense(images, texts, scale, bias):
        signs = 2 * jnp.eye(n) - 1
        return -jnp.sum(jax.nn.log_sigmoid(signs * (scale * images @ texts.T + bias))) / n

    arguments = (images, texts, jnp.float32(2.0), jnp.float32(-3.0))
    ours, theirs = (quick(jax.value_and_grad(f, range(4)))(*arguments) for f in (linear, dense))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, 2e-5, 1e-5)


@pytest.mark.slow
def test_ids_that_are_not_classes():
    x, w, *_ = (a.astype("float32") for a in given())
    ids = jnp.asarray(IDS).at[:, 0].set(2).at[0, 0].set(CLASSES).at[1, 1].set(-2)
    losses = CE(x, w, ids, ignore_index=-1)
    assert np.isnan(losses[:2]).all() and np.isfinite(losses[2:]).all()
    repeated = jnp.concatenate([ids, ids], 1)
    np.testing.assert_array_equal(CE(x, w, repeated, ignore_index=-1)[2:], losses[2:])
    wrong = CE(x, w, lambda i: jnp.full(CLASSES, 1.5), ids)
    assert np.isnan(wrong).all()


@pytest.mark.slow
def test_weights_leave_tokens_out():
    x, w, *_ = (a.astype("float32") for a in given())
    weights = (jnp.arange(TOKENS) % 3 == 0).astype("float32")

    def f(x, w, weights):
        return CE(x, w, IDS, ignore_index=-1, weights=weights, reduction="mean")

    got = quick(jax.value_and_grad(f, (0, 1)))(x.at[1].set(jnp.nan), w, weights)
    kept = np.arange(TOKENS) % 3 == 0
    want = CE(x[kept], w, IDS[kept], ignore_index=-1, reduction="mean")
    np.testing.assert_allclose(got[0], want, 1e-6)
    assert all(np.isfinite(g).all() for g in got[1])


def test_three_products():
    x, w, *_ = (a.astype("float32") for a in given())
    f = jax.value_and_grad(lambda x, w: CE(x, w, IDS, ignore_index=-1, reduction="sum"), (0, 1))
    assert jax.jit(f).lower(x, w).as_text().count("stablehlo.dot_general") == 3


@pytest.mark.slow
def test_functions_of_labels_under_vmap():
    """By what the function closes over, and by one of two data; scalars per token too."""
    x, w, *_ = (a.astype("float32") for a in given())
    one = jnp.arange(TOKENS) % CLASSES
    hard = CE(x, w, one[:, None])
    np.testing.assert_allclose(CE(x, w, lambda i: jax.nn.one_hot(i, CLASSES), one), hard, 1e-6)
    scales, soft = jnp.array([1.0, 0.5, 0.0]), jnp.asarray(HARD, "float32")

    def closed(c):
        return CE(x, w, lambda y: y * c, soft, reduction="sum")

    def datum(u):
        return CE(x, w, lambda y, u: y * u, soft, u, reduction="sum")

    want = [jnp.sum(xent_jax.sigmoid_cross_entropy(x @ w, soft * c)) for c in scales]
    np.testing.assert_allclose(jax.vmap(closed)(scales), want, 1e-5)
    np.testing.assert_allclose(jax.vmap(datum)(jnp.ones((3, TOKENS)) * scales[:, None]), want, 1e-5)


def test_messages():
    x, w, *_ = (a.astype("float32") for a in given())
    cases = {
        r"one label per class, \(23,\), got \(4,\)": lambda: CE(x, w, lambda i: i, IDS),
        r"the axes of the tokens and k, \(29, k\), got": lambda: CE(x, w, IDS[:5]),
        r"pos_weight must hold one number per class, \(23,\)": lambda: CE(
            x, w, IDS, pos_weight=jnp.ones(3)
        ),
        "data are for labels that are a function, got 1 beside": lambda: CE(x, w, IDS, -10.0),
        r"must be ids; labels 0 and 1 .* lambda y: y": lambda: CE(x, w, HARD.astype(int)),
        r"got bool; labels 0 and 1 .* lambda y: y": lambda: CE(x, w, HARD > 0),
        "ignore_index=-1 goes with ids": lambda: CE(x, w, lambda y: y, HARD, ignore_index=-1),
    }
    for message, call in cases.items():
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            call()
        assert "linear_sigmoid_cross_entropy" in str(caught.value)
