"""PyTorch's numbers, in float64, where it has the function: every combination of its options."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

torch = pytest.importorskip("torch")
F = torch.nn.functional

ROWS, CLASSES = 13, 7
RNG = np.random.default_rng(0)
Z = (3 * RNG.normal(size=(ROWS, CLASSES))).astype(np.float32)
WEIGHTS = RNG.uniform(0.1, 4, CLASSES).astype(np.float32)
IDS = RNG.integers(0, CLASSES, ROWS)
SOFT = RNG.dirichlet(np.ones(CLASSES), ROWS).astype(np.float32)
GIVEN = list(itertools.product(["ids", "ignored", "soft"], [False, True], [0.0, 0.1, 1.0]))


def double(x):
    return torch.tensor(x, dtype=torch.float64)


def labels_of(kind):
    if kind == "soft":
        return SOFT
    return np.where(np.arange(ROWS) % 4 == 1, -100, IDS) if kind == "ignored" else IDS


def both(kind, weighted, smoothing, reduction):
    """Loss and gradient of PyTorch."""
    z = double(Z).requires_grad_()
    weight = double(WEIGHTS) if weighted else None
    loss = F.cross_entropy(
        z,
        double(SOFT) if kind == "soft" else torch.tensor(labels_of(kind)),
        weight=weight,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    loss.sum().backward()
    return loss.detach().numpy(), z.grad.numpy()


@pytest.mark.parametrize(("kind", "weighted", "smoothing"), GIVEN)
def test_cross_entropy(kind, weighted, smoothing):
    given = {"label_smoothing": smoothing, "class_weights": WEIGHTS if weighted else None}
    if kind == "ignored":
        given["ignore_index"] = -100

    def f(z):
        return xent_jax.softmax_cross_entropy(z, labels_of(kind), **given)

    loss, slope = both(kind, weighted, smoothing, "none")
    np.testing.assert_allclose(f(Z), loss, 1e-5, 1e-6)
    np.testing.assert_allclose(jax.grad(lambda z: jnp.sum(f(z)))(Z), slope, 1e-5, 1e-6)


@pytest.mark.parametrize(("kind", "weighted", "smoothing"), [g for g in GIVEN if g[0] != "soft"])
def test_mean_of_the_linear_row(kind, weighted, smoothing):
    """reduction="mean" divides by the weights of the labels, as PyTorch does."""
    given = {"label_smoothing": smoothing, "class_weights": WEIGHTS if weighted else None}

    def f(z):
        return xent_jax.linear_softmax_cross_entropy(
            z, np.eye(CLASSES, dtype=np.float32), labels_of(kind), ignore_index=-100,
            reduction="mean", chunk_size=4, **given,
        )  # fmt: skip

    loss, slope = both(kind, weighted, smoothing, "mean")
    value, ours = jax.value_and_grad(f)(Z)
    np.testing.assert_allclose(value, loss, 1e-5)
    np.testing.assert_allclose(ours, slope, 1e-5, 1e-7)


@pytest.mark.parametrize("pos_weight", [None, 3.0, WEIGHTS], ids=["none", "one", "per label"])
@pytest.mark.parametrize("labels", [SOFT, np.round(SOFT * 1.5)], ids=["soft", "hard"])
def test_binary_cross_entropy(labels, pos_weight):
    z = double(Z).requires_grad_()
    weight = None if pos_weight is None else double(pos_weight)
    loss = F.binary_cross_entropy_with_logits(
        z, double(labels), pos_weight=weight, reduction="none"
    )
    loss.sum().backward()

    def f(z):
        return xent_jax.sigmoid_cross_entropy(z, labels, pos_weight=pos_weight)

    np.testing.assert_allclose(f(Z), loss.detach().numpy(), 1e-5, 1e-7)
    slope = jax.grad(lambda z: jnp.sum(f(z)))(Z)
    np.testing.assert_allclose(slope, z.grad.numpy(), 1e-5, 1e-7)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (None, 2.0), (0.6, 0.5), (0.25, 0.0)])
def test_focal_loss(alpha, gamma):
    """The formula of torchvision's sigmoid_focal_loss, with α_t, p_t and the binary loss."""
    labels = np.round(SOFT * 1.5)
    z, y = double(Z).requires_grad_(), double(labels)
    p = torch.sigmoid(z)
    p_t = p * y + (1 - p) * (1 - y)
    loss = (1 - p_t) ** gamma * F.binary_cross_entropy_with_logits(z, y, reduction="none")
    if alpha is not None:
        loss = (alpha * y + (1 - alpha) * (1 - y)) * loss
    loss.sum().backward()

    def f(z):
        return xent_jax.sigmoid_focal_loss(z, labels, gamma=gamma, alpha=alpha)

    np.testing.assert_allclose(f(Z), loss.detach().numpy(), 1e-5, 1e-7)
    slope = jax.grad(lambda z: jnp.sum(f(z)))(Z)
    np.testing.assert_allclose(slope, z.grad.numpy(), 1e-5, 1e-7)
