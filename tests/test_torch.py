"""PyTorch's numbers, in float64, where it has the function: every combination of its options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from . import torch_figures
from .cases import QUICK
from .selection import slow
from .torch_figures import BINARY, CLASSES, CROSS_ENTROPIES, FIGURES, FOCAL, IGNORED

with np.load(FIGURES) as _stored:
    KEPT = dict(_stored)
Z, WEIGHTS = KEPT["logits"], KEPT["weights"]
HARD_AND_IDS = [case for case in CROSS_ENTROPIES if case[0] != "soft"]


def usually_of(cases):
    """Weighted and smoothed ones, and a plain one."""
    return [c if c in {("ids", False, 0.0)} or c[1:] == (True, 0.1) else slow(*c) for c in cases]


def compare(key, f, of_loss, of_slope):
    """The losses and the gradient of their sum, against those that are kept."""

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(z):
        loss, pull = jax.vjp(f, z)
        return loss, *pull(jnp.ones_like(loss))

    loss, slope = run(Z)
    np.testing.assert_allclose(loss, KEPT[f"{key} loss"], 1e-5, of_loss)
    np.testing.assert_allclose(slope, KEPT[f"{key} slope"], 1e-5, of_slope)


@pytest.mark.parametrize(("kind", "weighted", "smoothing"), usually_of(CROSS_ENTROPIES))
def test_cross_entropy(kind, weighted, smoothing):
    given = {"label_smoothing": smoothing, "class_weights": WEIGHTS if weighted else None}
    if kind == "ignored":
        given["ignore_index"] = IGNORED

    def f(z):
        return xent_jax.softmax_cross_entropy(z, KEPT[kind], **given)

    compare(f"cross entropy {kind} {weighted} {smoothing} none", f, 1e-6, 1e-6)


@pytest.mark.parametrize(("kind", "weighted", "smoothing"), usually_of(HARD_AND_IDS))
def test_mean_of_the_linear_row(kind, weighted, smoothing):
    """reduction="mean" divides by the weights of the labels, as PyTorch does."""
    given = {"label_smoothing": smoothing, "class_weights": WEIGHTS if weighted else None}

    def f(z):
        return xent_jax.linear_softmax_cross_entropy(
            z, np.eye(CLASSES, dtype=np.float32), KEPT[kind], ignore_index=IGNORED,
            reduction="mean", chunk_size=4, **given,
        )  # fmt: skip

    compare(f"cross entropy {kind} {weighted} {smoothing} mean", f, 0, 1e-7)


@pytest.mark.parametrize(("kind", "weight"), BINARY)
def test_binary_cross_entropy(kind, weight):
    pos_weight = {"none": None, "one": 3.0, "per label": WEIGHTS}[weight]

    def f(z):
        return xent_jax.sigmoid_cross_entropy(z, KEPT[kind], pos_weight=pos_weight)

    compare(f"binary {kind} {weight}", f, 1e-7, 1e-7)


@pytest.mark.parametrize(("alpha", "gamma"), FOCAL)
def test_focal_loss(alpha, gamma):
    def f(z):
        return xent_jax.sigmoid_focal_loss(z, KEPT["hard"], gamma=gamma, alpha=alpha)

    compare(f"focal {alpha} {gamma}", f, 1e-7, 1e-7)


@pytest.mark.slow
def test_figures_are_those_of_the_torch_that_is_here():
    pytest.importorskip("torch")
    found = torch_figures.figures()
    assert found.keys() == KEPT.keys()
    for key, x in found.items():
        np.testing.assert_allclose(x, KEPT[key], 1e-13, 1e-15, err_msg=key)
