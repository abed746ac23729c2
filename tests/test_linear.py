"""The linear row: the dense row of x @ w + b, chunk after chunk, under every transformation."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import quick
from .selection import cpu_program, slow, usually

TOKENS, FEATURES, CLASSES, CHUNK = 37, 16, 101, 8
CE, DENSE_CE = xent_jax.linear_softmax_cross_entropy, xent_jax.softmax_cross_entropy


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def ids(seed, classes, *shape):
    return jnp.asarray(np.random.default_rng(seed).integers(0, classes, shape), jnp.int32)


# -- values and gradients, in every dtype and shape ------------------------------------------------

SHAPES = [  # tokens, classes, features, chunk size
    (7, 5003, 123, 3),
    slow(0, 129, 64, None),
    slow(1, 2, 1, None),
    slow(7, 129, 64, 100),
    (2047, 129, 64, 89),
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


@pytest.mark.parametrize("kind", ["random", "zero", "peaked"])
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


@pytest.mark.parametrize("case", usually(USUAL, TRANSFORMED), ids=" ".join)
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


# -- what it costs ---------------------------------------------------------------------------------


def lowered(f, *arguments):
    return jax.jit(f).lower(*arguments)


def products(f, *arguments):
    return len(re.findall(r"stablehlo\.dot_general", lowered(f, *arguments).as_text()))


def linear_of(reduction):
    labels = ids(9, CLASSES, TOKENS)
    return lambda x, w: jnp.sum(CE(x, w, labels, reduction=reduction, chunk_size=CHUNK))


@pytest.mark.parametrize(
    ("reduction", "wanted", "count"),
    [("mean", (0, 1), 3), ("mean", 0, 2), ("mean", 1, 2), (None, (0, 1), 4), (None, 0, 3)],
)
def test_matrix_products(reduction, wanted, count):
    """A gradient that nobody asks for is not computed."""
    f = linear_of(reduction)
    x, w = jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)
    assert products(f, x, w) == 1
    assert products(jax.value_and_grad(f, wanted), x, w) == count


def shapes_in(jaxpr):
    for equation in jaxpr.eqns:
        yield from (v.aval.shape for v in equation.outvars if hasattr(v.aval, "shape"))
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from shapes_in(inner)


def test_no_value_of_tokens_times_classes():
    f, x, w = linear_of("mean"), jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)
    g, slopes = linear_of(None), jax.grad(linear_of("mean"), (0, 1))
    batch = jnp.stack([x, x])
    for traced in (
        jax.make_jaxpr(slopes)(x, w),
        jax.make_jaxpr(jax.grad(g, (0, 1)))(x, w),
        jax.make_jaxpr(lambda x, w: jax.jvp(f, (x, w), (x, w)))(x, w),
        jax.make_jaxpr(lambda x, w: jax.jvp(g, (x, w), (x, w)))(x, w),
        jax.make_jaxpr(jax.vmap(slopes, (0, None)))(batch, w),
    ):
        sizes = [int(np.prod(s)) for s in shapes_in(traced.jaxpr) if CLASSES in s]
        assert sizes and max(sizes) < TOKENS * CLASSES, max(sizes)


@cpu_program
@pytest.mark.parametrize("reduction", ["mean", None])
def test_memory_at_a_large_vocabulary(reduction):
    """The dense logits would take 2 GiB."""
    x, w, y = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (
            ((4096, 256), "float32"),
            ((256, 131072), "float32"),
            ((4096,), "int32"),
        )
    )

    def loss(x, w, y):
        return jnp.mean(CE(x, w, y, reduction=reduction))

    compiled = lowered(jax.value_and_grad(loss, (0, 1)), x, w, y).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 300 * 2**20


# -- edges -----------------------------------------------------------------------------------------


def small():
    return jnp.asarray(draw(1, 4, 3), jnp.float32), jnp.asarray(draw(2, 3, 5), jnp.float32)


@pytest.mark.parametrize("reduction", ["mean", slow(None)])
def test_what_is_left_out_is_not_seen(reduction):
    """By weight or by ignore_index: neither in the loss nor in any gradient, not even a NaN."""
    x, w = small()
    dirty, labels = x.at[1].set(jnp.nan), jnp.array([0, 1, 2, 3])
    kept = jnp.array([0, 2, 3])

    def of(x, labels, **options):
        def f(x, w):
            return jnp.sum(CE(x, w, labels, reduction=reduction, chunk_size=3, **options))

        return quick(jax.value_and_grad(f, (0, 1)))(x, w)

    want, (dx, dw) = of(x[kept], labels[kept])
    weighted = of(dirty, labels, weights=jnp.array([1.0, 0.0, 1.0, 1.0]))
    ignored = of(dirty, labels.at[1].set(-100), ignore_index=-100)
    for loss, (by_x, by_w) in (weighted, ignored):
        np.testing.assert_allclose(loss, want, rtol=1e-6)
        np.testing.assert_allclose(by_x[kept], dx, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(by_w, dw, rtol=1e-5, atol=1e-8)
        assert not by_x[1].any()


def test_values_at_the_edges():
    x, w = small()
    labels = jnp.array([0, 5, -1, 4])
    where = jnp.arange(5) < 4
    losses = CE(x, w, labels, where=where)
    assert np.isfinite(losses[0]) and np.isnan(losses[1:3]).all() and losses[3] == np.inf
    assert CE(x, w, jnp.zeros(4, int), where=jnp.zeros(5, bool)).tolist() == [0.0] * 4
    assert CE(x[:0], w, labels[:0]).shape == (0,)
    for reduction in ("sum", "mean"):
        assert CE(x[:0], w, labels[:0], reduction=reduction) == 0.0
        assert CE(x, w, labels, weights=jnp.zeros(4), reduction=reduction) == 0.0


def test_reductions():
    x, w = small()
    labels, weights = jnp.array([0, 1, 2, 3]), jnp.array([1.0, 2.0, 0.5, 0.0])
    each = CE(x, w, labels)
    np.testing.assert_allclose(CE(x, w, labels, weights=weights), weights * each, rtol=1e-6)
    total = float(jnp.sum(weights * each))
    got = [
        CE(x, w, labels, weights=weights, reduction="sum"),
        CE(x, w, labels, weights=weights, reduction="mean") * 3.5,
        CE(x, w, labels, weights=weights, reduction="mean", normalizer=10.0) * 10,
        CE(x, w, labels, weights=weights, reduction="sum", base=2) * np.log(2),
    ]
    np.testing.assert_allclose(got, total, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", None])
def test_the_gradient_by_a_weight_of_zero_is_the_loss(reduction):
    x, w = small()
    labels = jnp.array([0, 1, 2, 3])

    def total(weights):
        return jnp.sum(CE(x, w, labels, weights=weights, reduction=reduction))

    slopes = quick(jax.grad(total))(jnp.zeros(4))
    np.testing.assert_allclose(slopes, CE(x, w, labels), rtol=1e-6)


def test_fewer_than_k_labels():
    """Ignored ids and masked classes of a teacher count nothing; ignored ids alone: left out."""
    x, w = small()
    few = jnp.array([[0, -1], [1, 2], [3, 4], [-1, -1]])
    probs, where = jnp.array([[1.0, 0.7], [0.5, 0.5], [1.0, 0.0], [0.5, 0.5]]), jnp.arange(5) < 4

    def losses(probs):
        return CE(x, w, few, label_probs=probs, ignore_index=-1, where=where, chunk_size=3)

    soft = jnp.zeros((4, 5)).at[0, 0].set(1).at[1, 1:3].set(0.5).at[2, 3].set(1)
    np.testing.assert_allclose(losses(probs), DENSE_CE(x @ w, soft, where=where[None]), rtol=1e-5)
    slopes = jax.grad(lambda p: losses(p).sum())(probs)
    ignored = [slopes[0, 1], slopes[2, 1], *slopes[3]]
    assert losses(probs)[3] == 0.0 and ignored == [0.0] * 4 and np.isfinite(slopes).all()


def test_bias_and_weights_may_be_of_another_dtype():
    x, w = small()
    labels = jnp.array([0, 1, 2, 3])
    narrow = jnp.bfloat16
    for got in (
        CE(x, w, labels, b=jnp.zeros(5, narrow), weights=jnp.ones(4, narrow)),
        CE(x.astype(narrow), w.astype(narrow), labels, b=jnp.zeros(5)),
    ):
        np.testing.assert_allclose(got, CE(x, w, labels), rtol=5e-2)
        assert got.dtype == jnp.float32


def test_statistics():
    x, w = small()
    labels = jnp.array([0, 1, 2, 7])
    got = xent_jax.linear_softmax_statistics(x, w, labels, chunk_size=3)
    z = x @ w
    np.testing.assert_array_equal(got.argmax, jnp.argmax(z, 1))
    np.testing.assert_array_equal(got.correct, (jnp.argmax(z, 1) == labels))
    assert np.isnan(got.log_prob[3]) and got.argmax.dtype == jnp.int32
    np.testing.assert_allclose(got.logsumexp, jax.nn.logsumexp(z, 1), rtol=1e-6)
    nowhere = xent_jax.linear_softmax_statistics(x, w, labels, where=jnp.zeros(5, bool))
    assert not nowhere.correct.any()
    alone = xent_jax.linear_softmax_statistics(x, w)
    assert alone.log_prob is None and alone.correct is None
    np.testing.assert_allclose(alone.entropy, xent_jax.softmax_entropy(z), rtol=1e-5)


ERRORS = {
    "features": (lambda x, w: CE(x, w.T, jnp.zeros(4, int)), r"\(4, 3\) and \(5, 3\); pass w\.T"),
    "labels": (lambda x, w: CE(x, w, jnp.zeros(3, int)), r"labels .* \(4,\), got \(3,\)"),
    "several": (lambda x, w: CE(x, w, jnp.zeros((4, 2), int)), "label_probs"),
    "soft": (lambda x, w: CE(x, w, jnp.zeros((4, 5))), "integer class ids, got float32"),
    "weights": (lambda x, w: CE(x, w, jnp.zeros(4, int), weights=jnp.ones(3)), r"weights .*\(3,\)"),
    "reduction": (lambda x, w: CE(x, w, jnp.zeros(4, int), reduction="max"), "got 'max'"),
    "normalizer": (lambda x, w: CE(x, w, jnp.zeros(4, int), normalizer=2.0), 'reduction="mean"'),
    "chunk": (lambda x, w: CE(x, w, jnp.zeros(4, int), chunk_size=0), "chunk_size .* got 0"),
    "bias": (lambda x, w: CE(x, w, jnp.zeros(4, int), b=jnp.ones(3)), r"b must .*\(5,\).*\(3,\)"),
    "where": (lambda x, w: CE(x, w, jnp.zeros(4, int), where=jnp.ones(4, bool)), "one boolean per"),
    "few": (
        lambda x, w: CE(x, w, jnp.zeros((4, 0), int), label_probs=jnp.zeros((4, 0))),
        "give k ids per token",
    ),
    "scalar": (
        lambda x, w: CE(x, w, jnp.zeros(4, int), reduction="mean", normalizer=jnp.ones(4)),
        r"normalizer must be one number, got shape \(4,\)",
    ),
    "z_loss": (lambda x, w: CE(x, w, jnp.zeros(4, int), z_loss=-1.0), "z_loss .* got -1.0"),
    "logits_fn": (
        lambda x, w: CE(x, w, jnp.zeros(4, int), logits_fn=lambda z: z.sum()),
        r"logits_fn must map .* got float32\[\]",
    ),
    "heads": (
        lambda x, w: xent_jax.linear_softmax_kl_divergence(x, w, x, w[:, :4]),
        r"wp and wq must have the same classes",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_both_sides(case):
    call, message = ERRORS[case]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        call(*small())
    assert "linear_softmax" in str(caught.value)


def few_labels(x, w, ids, probs, class_weights, gamma, smoothing, **options):
    return xent_jax.linear_softmax_cross_entropy(
        x, w, ids, label_probs=probs, class_weights=class_weights, focal_gamma=gamma,
        label_smoothing=smoothing, chunk_size=3, **options,
    )  # fmt: skip


FEW = (
    np.random.default_rng(1).normal(size=(4, 3)),
    np.random.default_rng(2).normal(size=(3, 5)),
    np.array([[0, 1], [1, 2], [3, 4], [4, 4]]),
    abs(np.random.default_rng(3).normal(size=(4, 2))),
    abs(np.random.default_rng(4).normal(size=5)),
    2.0,
    0.1,
)


@pytest.mark.parametrize("reduction", ["sum", slow(None)])
def test_few_labels_move_with_weights_gamma_and_smoothing(reduction):
    """Gradients by all that is shared by the tokens, in both modes, as those of the dense form."""
    with jax.enable_x64(True):
        x, w, ids, probs, *shared = map(jnp.asarray, FEW)
        labels = jnp.zeros((4, 5)).at[jnp.arange(4)[:, None], ids].add(probs)

        def ours(*shared):
            return few_labels(x, w, ids, probs, *shared, reduction=reduction).sum()

        def dense(weights, gamma, alpha):
            return xent_jax.softmax_focal_loss(
                x @ w, labels, class_weights=weights, gamma=gamma, label_smoothing=alpha
            ).sum()

        directions = (jnp.arange(5.0), jnp.asarray(0.7), jnp.asarray(-0.3))
        for f in (ours, dense):
            found = quick(
                lambda *s, f=f: (*jax.grad(f, (0, 1, 2))(*s), jax.jvp(f, s, directions)[1])
            )(*shared)
            if f is ours:
                got = found
        for a, b in zip(got, found, strict=True):
            np.testing.assert_allclose(a, b, 1e-10)


@pytest.mark.parametrize("place", usually((3, 5), range(7)))
def test_few_labels_under_vmap_of_one_argument(place):
    with jax.enable_x64(True):
        arguments = [jnp.asarray(x) for x in FEW]
        plain = few_labels(*arguments)
        arguments[place] = jnp.stack([arguments[place]] * 2)
        axes = [0 if i == place else None for i in range(7)]
        got = jax.vmap(few_labels, axes)(*arguments)
    np.testing.assert_allclose(got, jnp.stack([plain] * 2), 1e-12)


def test_a_token_of_weight_0_still_moves_by_its_weight():
    """∂²/∂w∂weight is the gradient of that token's loss, in forward over reverse too."""
    x, w = (jnp.asarray(a, jnp.float32) for a in FEW[:2])
    ids = jnp.array([0, 1, 2, 4])

    def total(w, weights):
        return xent_jax.linear_softmax_cross_entropy(x, w, ids, weights=weights, reduction="sum")

    weights, second = jnp.array([1.0, 0, 1, 1]), jnp.array([0.0, 1, 0, 0])
    got = quick(lambda t: jax.jvp(lambda t: jax.grad(total)(w, t), (t,), (second,))[1])(weights)
    np.testing.assert_allclose(got, jax.grad(total)(w, second), 1e-5, 1e-6)
