"""The linear row at its edges: what is left out, reductions, few labels, and its messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import quick
from .selection import slow, usually
from .tokens import draw

CE, DENSE_CE = xent_jax.linear_softmax_cross_entropy, xent_jax.softmax_cross_entropy


def small():
    return jnp.asarray(draw(1, 4, 3), jnp.float32), jnp.asarray(draw(2, 3, 5), jnp.float32)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
