"""What other libraries get wrong, each under its own name, with the right answer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import xent_jax

from . import oracle
from .cases import quick, select

INF = np.inf
CONFIDENT = np.array([20, 0, 0, -1], np.float32)
DIVERGENCES = pytest.mark.parametrize("function", select(name="_divergence"), ids=str)


def close(got, want):
    """Within 1e-6 of the truth, a gradient within 1e-6 of its largest entry."""
    np.testing.assert_allclose(got, want, 1e-6, 1e-6 * np.abs(want).max() * (np.ndim(want) > 0))


def both_modes(f, x):
    """The gradient of a scalar function, the same by forward mode."""
    forward, reverse = quick(lambda x: (jax.jacfwd(f)(x), jax.grad(f)(x)))(x)
    np.testing.assert_allclose(forward, reverse, 1e-6, 1e-12)
    return reverse


@pytest.mark.slow
def test_loss_of_a_confident_row_is_not_0():
    loss, gradient = jax.value_and_grad(xent_jax.softmax_cross_entropy)(CONFIDENT, 0)
    true_loss, true_gradient = oracle.softmax_cross_entropy(CONFIDENT, 0)
    close(loss, true_loss)
    np.testing.assert_allclose(gradient, true_gradient, 2e-6)  # 20 · 2⁻²⁴ is 1.2e-6
    assert loss == pytest.approx(4.8806e-9, rel=1e-4)
    assert gradient[0] == pytest.approx(-4.8806e-9, rel=1e-4)


@pytest.mark.slow
def test_entropy_of_a_confident_row():
    value, gradient = jax.value_and_grad(xent_jax.softmax_entropy)(CONFIDENT)
    true_value, true_gradient = oracle.softmax_entropy(CONFIDENT)
    assert value == pytest.approx(1.0325e-7, rel=1e-4)
    np.testing.assert_allclose(value, true_value, 1.2e-6)
    np.testing.assert_allclose(gradient, true_gradient, 2e-6)


@pytest.mark.slow
def test_confident_binary_loss_is_not_0():
    loss, gradient = jax.value_and_grad(xent_jax.sigmoid_cross_entropy)(jnp.float32(30), 1)
    close([loss, gradient], oracle.sigmoid_cross_entropy(30, 1)[:2])


@pytest.mark.slow
def test_integer_cross_entropy_of_logits_near_1e4():
    logits = (1e4 + np.random.default_rng(0).normal(size=(64, 10))).astype(np.float32)
    label = np.argmax(logits, -1)
    truth = [oracle.softmax_cross_entropy(*row)[0] for row in zip(logits, label, strict=True)]
    close(xent_jax.softmax_cross_entropy(logits, label), np.array(truth))
    peer = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    assert np.max(np.abs(peer / np.array(truth) - 1)) > 1e-5


@pytest.mark.slow
def test_kl_of_two_softmaxes_1e_4_apart():
    p = np.array([0.3, -1.2, 0.8, 0.1], np.float32)
    q = p + np.array([1e-4, -1e-4, 0, 1e-4], np.float32)
    truth = oracle.softmax_kl_divergence(p, q)
    close(xent_jax.softmax_kl_divergence(p, q), truth[0])
    gradients = jax.grad(xent_jax.softmax_kl_divergence, (0, 1))(p, q)
    for got, want in zip(gradients, truth[1:], strict=True):
        close(got, want)


@pytest.mark.slow
@DIVERGENCES
def test_divergence_of_close_vectors_has_a_square_root(function):
    first = np.random.default_rng(1).normal(size=(512, 8))
    second = first * (1 + 1e-7)
    got = np.asarray(function(*function.arguments(first, second, None)))
    assert np.all(got >= 0) and np.all(np.isfinite(np.sqrt(got)))


@pytest.mark.slow
@pytest.mark.parametrize("label", [-1, -100, 4])
def test_label_out_of_range_neither_wraps_nor_clips_nor_has_probability_1(label):
    labels = np.array([label, 0])
    logits = np.stack([CONFIDENT, CONFIDENT])
    loss = xent_jax.softmax_cross_entropy(logits, labels)
    assert np.isnan(loss[0]) and loss[1] > 0


@pytest.mark.slow
def test_ignored_label_scores_no_class_in_loss_and_gradient():
    def total(logits):
        return xent_jax.softmax_cross_entropy(logits, -100, ignore_index=-100)

    assert total(CONFIDENT) == 0
    np.testing.assert_array_equal(both_modes(total, CONFIDENT), np.zeros(4))


@pytest.mark.slow
def test_every_label_ignored_is_0_and_not_nan():
    labels = np.full(3, -100)
    loss = xent_jax.softmax_cross_entropy(np.stack([CONFIDENT] * 3), labels, ignore_index=-100)
    np.testing.assert_array_equal(loss, np.zeros(3))


@pytest.mark.slow
def test_label_hidden_by_where_is_never_a_negative_loss():
    where = np.array([False, True, True, True])
    assert xent_jax.softmax_cross_entropy(CONFIDENT, 0, where=where) == INF


@pytest.mark.slow
def test_kl_with_both_logits_minus_infinite():
    p, q = (np.array(z, np.float32) for z in ([0, -INF, 1], [1, -INF, 0]))
    truth = oracle.softmax_kl_divergence(p, q)
    close(xent_jax.softmax_kl_divergence(p, q), truth[0])
    close(both_modes(lambda z: xent_jax.softmax_kl_divergence(z, q), p), truth[1])
    close(both_modes(lambda z: xent_jax.softmax_kl_divergence(p, z), q), truth[2])


@pytest.mark.slow
def test_kl_with_both_probabilities_zero():
    p, q = (np.array(x, np.float32) for x in ([0, 0.25, 0.75], [0, 0.5, 0.5]))
    close(xent_jax.kl_divergence(p, q), oracle.kl_divergence(p, q)[0])
    assert np.all(np.isfinite(both_modes(lambda x: xent_jax.kl_divergence(x, q), p)))
    assert np.all(np.isfinite(both_modes(lambda x: xent_jax.kl_divergence(p, x), q)))


@pytest.mark.slow
@pytest.mark.parametrize("label", [0, np.array([0.5, 0, 0.5, 0], np.float32)], ids=["id", "soft"])
def test_forward_mode_at_a_logit_of_minus_infinity(label):
    logits = np.array([2, -INF, 1, 0], np.float32)
    _, truth, *_ = oracle.softmax_cross_entropy(logits, label)
    close(both_modes(lambda z: xent_jax.softmax_cross_entropy(z, label), logits), truth)


@pytest.mark.slow
@pytest.mark.parametrize("logit, label, truth", [(INF, 1, 0), (-INF, 0, 0), (INF, 0, INF)])
def test_binary_cross_entropy_at_infinite_logits(logit, label, truth):
    for y in (label, np.float32(label)):
        assert xent_jax.sigmoid_cross_entropy(np.float32(logit), y) == truth


@pytest.mark.slow
def test_gradient_of_entropy_where_p_is_0():
    p = np.array([0.5, 0.5, 0], np.float32)
    gradient = both_modes(xent_jax.entropy, p)
    assert not np.isnan(gradient).any()
    close(gradient[:2], oracle.entropy(p)[1][:2])
    along = jax.jvp(xent_jax.entropy, (p,), (np.array([1, -1, 0], np.float32),))[1]
    assert along == 0


@pytest.mark.slow
def test_shapes_are_not_broadcast_in_silence():
    with pytest.raises(ValueError, match="sigmoid_cross_entropy"):
        xent_jax.sigmoid_cross_entropy(np.zeros((3, 1), np.float32), np.zeros(3, np.float32))


@pytest.mark.slow
def test_bfloat16_logits_give_a_float32_loss():
    logits = np.random.default_rng(0).normal(size=(8, 50)) * 4
    logits = jnp.asarray(logits, jnp.bfloat16)
    label = np.arange(8)
    loss = xent_jax.softmax_cross_entropy(logits, label)
    exact = np.asarray(logits, np.float32)
    truth = [oracle.softmax_cross_entropy(*row)[0] for row in zip(exact, label, strict=True)]
    assert loss.dtype == jnp.float32
    close(loss, np.array(truth))


@pytest.mark.slow
@pytest.mark.parametrize("soft", [False, True], ids=["ids", "soft"])
def test_classes_sharded_under_an_explicit_mesh(soft):
    mesh = jax.make_mesh((jax.device_count(),), ("classes",), axis_types=(AxisType.Explicit,))
    sharding = NamedSharding(mesh, PartitionSpec(None, "classes"))
    logits = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    labels = np.array([3, 60])
    truth = [oracle.softmax_cross_entropy(*row) for row in zip(logits, labels, strict=True)]
    if soft:
        labels = jax.device_put(np.eye(64, dtype=np.float32)[labels], sharding)

    def total(logits):
        return xent_jax.softmax_cross_entropy(logits, labels).sum()

    with jax.set_mesh(mesh):
        loss, gradient = jax.value_and_grad(total)(jax.device_put(logits, sharding))
    close(loss, sum(value for value, _ in truth))
    close(np.asarray(gradient), np.stack([g for _, g in truth]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy", "softmax_entropy"])
def test_row_of_nothing_has_gradient_0(name):
    def entropy(row):
        return getattr(xent_jax, name)(row, where=np.zeros(4, bool))

    for row in (np.zeros(4, np.float32), np.full(4, -INF, np.float32)):
        assert entropy(row) == 0
        np.testing.assert_array_equal(both_modes(entropy, row), np.zeros(4))


@pytest.mark.slow
def test_float16_row_of_2_17_classes():
    z = np.random.default_rng(0).integers(-8, 8, 2**17).astype(np.float16)
    loss, gradient = jax.value_and_grad(xent_jax.softmax_cross_entropy)(z, 5)
    true_loss, true_gradient = oracle.softmax_cross_entropy(z.astype(float), 5)
    close(loss, true_loss)
    np.testing.assert_allclose(gradient, true_gradient.astype(np.float16), 1e-3, 6e-8)
    entropy, gradient = jax.value_and_grad(xent_jax.softmax_entropy)(z)
    close(entropy, oracle.softmax_entropy(z.astype(float))[0])
    assert np.all(np.isfinite(gradient))


@pytest.mark.slow
def test_smoothed_integer_labels_are_smoothed_one_hot_labels():
    logits = np.random.default_rng(0).normal(size=5).astype(np.float32)
    truth, true_gradient = oracle.softmax_cross_entropy(logits, 2, label_smoothing=0.1)
    for label in (2, np.eye(5, dtype=np.float32)[2]):
        loss, gradient = jax.value_and_grad(xent_jax.softmax_cross_entropy)(
            logits, label, label_smoothing=0.1
        )
        close(loss, truth)
        close(gradient, true_gradient)


@pytest.mark.slow
def test_kl_takes_the_truth_first():
    p, q = np.array([0.6, 0.2, 0.2], np.float32), np.array([0.5, 0.3, 0.2], np.float32)
    np.testing.assert_allclose(xent_jax.entropy(p), 0.950271, 1e-6)
    np.testing.assert_allclose(xent_jax.kl_divergence(p, q), 0.028300, 1e-5)
    np.testing.assert_allclose(xent_jax.cross_entropy(p, q), 0.9785704517, 1e-6)
    np.testing.assert_allclose(xent_jax.cross_entropy(p, q, base=2), 1.411779, 1e-6)
    close(xent_jax.kl_divergence(q, p), oracle.kl_divergence(q, p)[0])


@pytest.mark.slow
def test_second_derivatives_are_not_0():
    def hessian(z):
        p = jax.nn.softmax(z)
        return jnp.diag(p) - jnp.outer(p, p)

    z = np.array([0.3, -1.2, 0.8, 0.1], np.float32)
    for second in (jax.hessian, lambda f: jax.jacrev(jax.jacrev(f))):
        got = quick(second(lambda z: xent_jax.softmax_cross_entropy(z, 2)))(z)
        np.testing.assert_allclose(got, hessian(z), 1e-5, 1e-7)
