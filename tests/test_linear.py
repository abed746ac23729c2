"""The linear row: the dense row of x @ w + b, chunk after chunk, under every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax._linear.schedule import Devices, Limits, schedule

from .cases import quick
from .selection import slow, usually
from .tokens import draw, ids

TOKENS, FEATURES, CLASSES, CHUNK = 37, 16, 101, 8
CE, DENSE_CE = xent_jax.linear_softmax_cross_entropy, xent_jax.softmax_cross_entropy


# -- values and gradients, in every dtype and shape ------------------------------------------------

SHAPES = [  # tokens, classes, features, chunk size
    (7, 5003, 123, 3),
    slow(0, 129, 64, None),
    slow(1, 2, 1, None),
    slow(7, 129, 64, 100),
    slow(2047, 129, 64, 89),
    slow(2047, 5003, 123, 1024),
    slow(2047, 32768, 1, None),
    slow(7, 32768, 64, 7),
]
# How far each dtype may be from the truth of its own inputs, beside what the dense row is.
BAR = {"float32": 2e-6, "bfloat16": 1e-2, "float64": 1e-13}


def truth(x, w, labels):
    """Mean loss and gradients in float64 NumPy, with 1 − p as a sum."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    if not len(x):
        return 0.0, np.zeros_like(x), np.zeros_like(w)
    z = x @ w
    rows = np.arange(len(x))
    z -= z[rows, labels][:, None]
    top = np.maximum(z.max(1, keepdims=True), 0.0)
    e = np.exp(z - top)
    e[rows, labels] = 0.0
    others = e.sum(1, keepdims=True)
    at_label = np.exp(-top)
    loss = np.where(top == 0.0, np.log1p(others), top + np.log(others + at_label))
    p = e / (others + at_label)
    p[rows, labels] = -(others / (others + at_label))[:, 0]
    g = p / len(x)
    return loss.mean(), g @ w.T, x.T @ g


def problem(kind, tokens, classes, features, dtype):
    x, w = draw(0, tokens, features), draw(1, features, classes) / np.sqrt(features)
    labels = ids(2, classes, tokens)
    if kind == "zero":
        w = 0 * w
    if kind == "peaked":  # rows of w are the features of a token, which is sure of its label
        x = x + np.sign(x)
        w[:, np.asarray(labels)] = 3 * x.T
    return jnp.asarray(x, dtype), jnp.asarray(w, dtype), labels


def mean_of_linear(x, w, labels, chunk):
    return CE(x, w, labels, reduction="mean", chunk_size=chunk)


def mean_of_dense(x, w, labels):
    wide = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
    return jnp.sum(DENSE_CE(x.astype(wide) @ w.astype(wide), labels)) / max(len(x), 1)


# Jitted once: problems of one shape share a program.
STEP_OF_LINEAR = jax.jit(jax.value_and_grad(mean_of_linear, (0, 1)), static_argnums=3)
STEP_OF_DENSE = jax.jit(jax.value_and_grad(mean_of_dense, (0, 1)))


@pytest.mark.parametrize("kind", ["random", slow("zero"), slow("peaked")])
@pytest.mark.parametrize("dtype", BAR)
@pytest.mark.parametrize(("tokens", "classes", "features", "chunk"), SHAPES)
def test_as_near_to_the_truth_as_the_dense_row(tokens, classes, features, chunk, dtype, kind):
    with jax.enable_x64(True):
        x, w, labels = problem(kind, tokens, classes, features, dtype)
        want = truth(x, w, np.asarray(labels))
        loss, (dx, dw) = STEP_OF_LINEAR(x, w, labels, chunk)
        peer, (peer_dx, peer_dw) = STEP_OF_DENSE(x, w, labels)
        assert (dx.dtype, dw.dtype) == (x.dtype, w.dtype)
        parts = zip((loss, dx, dw), (peer, peer_dx, peer_dw), want, strict=True)
        for ours, theirs, true in parts:
            ours, theirs = (np.asarray(a, np.float64) for a in (ours, theirs))
            scale = np.max(np.abs(true), initial=0.0)
            error = np.max(np.abs(ours - true), initial=0.0)
            others = np.max(np.abs(theirs - true), initial=0.0)
            assert error <= 2 * others + BAR[dtype] * scale


def test_a_confident_token_keeps_its_loss_and_its_gradient():
    x, w = jnp.ones((1, 1)), jnp.array([[20.0, 0.0, 0.0, -1.0]])
    loss, slope = jax.value_and_grad(lambda w: CE(x, w, jnp.array([0]), reduction="sum"))(w)
    np.testing.assert_allclose([loss, -slope[0, 0]], 4.880564767e-09, rtol=2e-6)


# -- the dense row under every transformation ------------------------------------------------------

CAP = lambda z: 5 * jnp.tanh(z / 5)  # noqa: E731
KEPT = jnp.arange(CLASSES) < 90


CLASS_WEIGHTS = abs(draw(10, CLASSES))


def dense_loss(x, w, b, weights, z_loss=0.0, logits_fn=None, focal_gamma=None, **options):
    z = x @ w + b[None]
    z = z if logits_fn is None else logits_fn(z)
    if focal_gamma is None:
        loss = DENSE_CE(z, ids(9, 90, TOKENS), **options)
    else:
        loss = xent_jax.softmax_focal_loss(z, ids(9, 90, TOKENS), gamma=focal_gamma, **options)
    height = jax.nn.logsumexp(z, -1, where=options.get("where"))
    return weights * (loss + z_loss * height**2)


def linear_loss(x, w, b, weights, **options):
    labels = ids(9, 90, TOKENS)
    return CE(x, w, labels, b=b, weights=weights, chunk_size=CHUNK, **options)


def few_dense(x, w, probs, focal_gamma=0.0, **options):
    z = x @ w
    rows = jnp.arange(TOKENS)[:, None]
    labels = jnp.zeros_like(z).at[rows, ids(8, CLASSES, TOKENS, 3)].add(probs)
    return xent_jax.softmax_focal_loss(z, labels, gamma=focal_gamma, **options)


def few_linear(x, w, probs, **options):
    few = ids(8, CLASSES, TOKENS, 3)
    return CE(x, w, few, label_probs=probs, chunk_size=CHUNK, **options)


def two_heads(kind):
    dense = getattr(xent_jax, f"softmax_{kind}_divergence")
    linear = getattr(xent_jax, f"linear_softmax_{kind}_divergence")
    return (
        lambda x, w, v, u: dense(x @ w, v @ u),
        functools.partial(linear, chunk_size=CHUNK),
    )


def statistics_dense(x, w, b):
    z, labels = x @ w + b[None], ids(9, CLASSES, TOKENS)
    entropy = xent_jax.softmax_entropy(z)
    return jnp.stack([-DENSE_CE(z, labels), jax.nn.logsumexp(z, -1), entropy])


def statistics_linear(x, w, b):
    labels = ids(9, CLASSES, TOKENS)
    return jnp.stack(xent_jax.linear_softmax_statistics(x, w, labels, b=b, chunk_size=CHUNK)[:3])


X, W = draw(1, TOKENS, FEATURES), draw(2, FEATURES, CLASSES)
B, OMEGA = draw(3, CLASSES), abs(draw(4, TOKENS))
PROBS, V, U = abs(draw(5, TOKENS, 3)), draw(6, TOKENS, 5), draw(7, 5, CLASSES)
FULL = (X, W, B, OMEGA)


def options(**given):
    return (
        functools.partial(dense_loss, **given),
        functools.partial(linear_loss, **given),
        FULL,
    )


TABLE = {
    "plain": options(),
    "masked and smoothed": options(where=KEPT, label_smoothing=0.1),
    "capped": options(logits_fn=CAP),
    "z-loss": options(z_loss=0.01),
    "weighted": options(class_weights=CLASS_WEIGHTS),
    "weighted, with z-loss": options(class_weights=CLASS_WEIGHTS, z_loss=0.01),
    "weighted and smoothed": options(class_weights=CLASS_WEIGHTS, label_smoothing=0.1),
    "focal": options(focal_gamma=2.0),
    "all of it": options(
        focal_gamma=0.5, class_weights=CLASS_WEIGHTS, label_smoothing=0.1, where=KEPT, logits_fn=CAP
    ),
    "few labels": (few_dense, few_linear, (X, W, PROBS)),
    "few labels, weighted and focal": (
        *(
            functools.partial(f, class_weights=CLASS_WEIGHTS, focal_gamma=2.0)
            for f in (few_dense, few_linear)
        ),
        (X, W, PROBS),
    ),
    "kl": (*two_heads("kl"), (X, W, V, U)),
    "js": (*two_heads("js"), (X, W, V, U)),
    "entropy": (
        lambda x, w: xent_jax.softmax_entropy(x @ w),
        functools.partial(xent_jax.linear_softmax_entropy, chunk_size=CHUNK),
        (X, W),
    ),
}
TRANSFORMED = {
    **{(name, "per token"): row for name, row in TABLE.items()},
    **{
        (name, "sum"): (
            lambda *a, f=dense: jnp.sum(f(*a)),
            functools.partial(linear, reduction="sum"),
            arguments,
        )
        for name, (dense, linear, arguments) in TABLE.items()
    },
    ("statistics", "per token"): (statistics_dense, statistics_linear, (X, W, B)),
}


# tests/test_transforms.py has each function under each transform by default.
USUAL = {("few labels", "sum")}
# The reductions take turns.
TURNS = {(name, ("per token", "sum")[i % 2]) for i, name in enumerate(TABLE)} | USUAL
CASES = [case for case in TRANSFORMED if case[0] == "statistics" or case in TURNS]


@pytest.mark.slow
@pytest.mark.parametrize("case", usually(USUAL, CASES), ids=" ".join)
def test_agrees_with_the_dense_row_under(case):
    """Value, reverse and forward mode, Hessian products both ways: all at once, in float64."""
    with jax.enable_x64(True):
        dense, linear, given = TRANSFORMED[case]
        given = [jnp.asarray(x) for x in given]
        steps = [jnp.asarray(draw(20 + i, *x.shape)) for i, x in enumerate(given)]
        every = tuple(range(len(given)))

        def all_of(f):
            def bent(*a):
                return jnp.sum(jnp.sin(f(*a)))

            def along(*a):
                slopes = jax.grad(bent, every)(*a)
                return sum(jnp.vdot(g, s) for g, s in zip(slopes, steps, strict=True))

            def run(*a):
                forward = jax.jvp(jax.grad(bent, every), a, tuple(steps))
                return f(*a), forward, jax.grad(along, every)(*a), jax.jvp(f, a, tuple(steps))

            return jax.tree.leaves(quick(run)(*given))

        for ours, theirs in zip(all_of(linear), all_of(dense), strict=True):
            scale = float(np.max(np.abs(theirs)))
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11 * max(scale, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, slow(0.1)])
def test_weighted_mean_divides_by_the_weights_of_the_labels(smoothing):
    """Also its gradient by the class weights of plain ids, and what a weight of 0 leaves out."""
    with jax.enable_x64(True):
        x, w, labels = jnp.asarray(X), jnp.asarray(W), ids(9, CLASSES, TOKENS).at[3].set(-1)
        counted = labels >= 0

        def linear(x, w, c, reduction="mean"):
            given = {"label_smoothing": smoothing, "ignore_index": -1, "chunk_size": CHUNK}
            return CE(x, w, labels, class_weights=c, reduction=reduction, **given)

        def dense(x, w, c):
            given = {"label_smoothing": smoothing, "ignore_index": -1}
            total = jnp.sum(DENSE_CE(x @ w, labels, class_weights=c, **given))
            return total / jnp.sum(jnp.where(counted, c[jnp.where(counted, labels, 0)], 0.0))

        c = jnp.asarray(CLASS_WEIGHTS).at[labels[5]].set(0.0)
        places = (0, 1) if smoothing else (0, 1, 2)
        got, want = (quick(jax.value_and_grad(f, places))(x, w, c) for f in (linear, dense))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        # An id that is none of the classes stays a mistake, whatever class 0 weighs.
        wrong, none = labels.at[5].set(CLASSES), c.at[0].set(0.0)
        bad = CE(x, w, wrong, class_weights=none, ignore_index=-1, chunk_size=CHUNK)
        assert bool(jnp.isnan(bad[5])) and bool(jnp.all(jnp.isfinite(bad[:5])))


def test_gamma_may_be_traced():
    labels, x, w = ids(9, CLASSES, TOKENS), jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)
    gammas = jnp.array([0.0, 0.5, 2.0])
    sweep = jax.vmap(lambda g: CE(x, w, labels, focal_gamma=g, reduction="sum", chunk_size=CHUNK))
    want = [jnp.sum(xent_jax.softmax_focal_loss(x @ w, labels, gamma=g)) for g in gammas]
    np.testing.assert_allclose(sweep(gammas), want, rtol=1e-5)


@pytest.mark.slow
def test_in_vmap_scan_and_checkpoint():
    labels = ids(9, CLASSES, TOKENS)
    batch, w = jnp.asarray([X, 2 * X], jnp.float32), jnp.asarray(W, jnp.float32)

    def f(x, w):
        return CE(x, w, labels, reduction="mean", chunk_size=CHUNK)

    slopes = jax.grad(f, (0, 1))
    one_by_one = [quick(slopes)(x, w) for x in batch]
    kept = jax.grad(jax.checkpoint(f), (0, 1))

    @quick
    def all_ways(batch, w):
        together = jax.vmap(slopes, (0, None))(batch, w)
        scanned = jax.lax.scan(lambda _, x: ((), slopes(x, w)), (), batch)[1]
        return together, scanned, jax.vmap(kept, (0, None))(batch, w)

    for got in all_ways(batch, w):
        for i, want in enumerate(one_by_one):
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-7)


def test_vmap_over_labels_alone():
    labels, x, w = (
        ids(9, CLASSES, 2, TOKENS),
        jnp.asarray(X, jnp.float32),
        jnp.asarray(W, jnp.float32),
    )
    together = jax.vmap(lambda y: CE(x, w, y, chunk_size=CHUNK))(labels)
    for got, y in zip(together, labels, strict=True):
        np.testing.assert_allclose(got, CE(x, w, y, chunk_size=CHUNK), rtol=1e-6)


@pytest.mark.slow
def test_exported_for_every_platform():
    labels, x, w = ids(9, CLASSES, TOKENS), jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)

    def every(x, w):
        options = {"chunk_size": CHUNK, "reduction": "mean"}
        losses = [
            CE(x, w, labels, **options),
            xent_jax.linear_softmax_entropy(x, w, **options),
            xent_jax.linear_softmax_kl_divergence(x, w, x[::-1], w, **options),
            xent_jax.linear_softmax_js_divergence(x, w, x[::-1], w, **options),
            jnp.mean(xent_jax.linear_softmax_statistics(x, w, labels).log_prob),
        ]
        return sum(losses)

    f = quick(jax.value_and_grad(every, (0, 1)))
    platforms = ["cpu", "cuda", "tpu"]
    exported = jax.export.export(f, platforms=platforms)(x, w)
    assert list(exported.platforms) == platforms
    for a, b in zip(jax.tree.leaves(exported.call(x, w)), jax.tree.leaves(f(x, w)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_schedule_takes_no_time_to_choose():
    """Also where a chunk may have as many tokens as few classes allow, of a batch of any size."""
    (batch,) = jax.export.symbolic_shape("b")
    found = schedule((batch,), Devices(1, 1), Limits(10**9, 10**9))
    assert (found.size, found.parts) == (10**9, 1)
