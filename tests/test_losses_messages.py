"""What the losses say of bad parameters, and their mixed second derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

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

from .cases import quick
from .selection import slow

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z, x: softmax_focal_loss(z, 0, gamma=x),
            "softmax_focal_loss: gamma is negative or NaN.",
        ),
        (
            lambda z, x: sigmoid_focal_loss(z, z > 0, alpha=x),
            "sigmoid_focal_loss: alpha lies outside [0, 1].",
        ),
        (
            lambda z, x: softmax_generalized_cross_entropy(z, 0, q=x),
            "softmax_generalized_cross_entropy: q lies outside [0, 1].",
        ),
        (
            lambda z, x: softmax_cross_entropy(z, 0, class_weights=x * z),
            "softmax_cross_entropy: class_weights holds a negative or NaN weight.",
        ),
        (
            lambda z, x: sigmoid_cross_entropy(z, z > 0, pos_weight=x),
            "sigmoid_cross_entropy: pos_weight holds a negative or NaN weight.",
        ),
    ],
)
def test_checkify_names_the_culprit(call, message):
    run = jax.jit(checkify.checkify(call, errors=checkify.user_checks))
    z = jnp.arange(3.0)
    with xent_jax.value_checks():
        assert run(z, 0.5)[0].get() is None
        for bad in (-0.5, NAN):
            assert run(z, bad)[0].get().startswith(message)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda z: softmax_focal_loss(z, 0, gamma=jnp.ones(2)),
            ValueError,
            "softmax_focal_loss: gamma must be one number, got shape (2,); use jax.vmap for "
            "several.",
        ),
        (
            lambda z: softmax_cross_entropy(z, 0, class_weights=jnp.ones(4)),
            ValueError,
            "softmax_cross_entropy: class_weights must hold one number per class, (3,) for these "
            "logits, got (4,); for several class axes they are flat, as the ids are.",
        ),
        (
            lambda z: linear_softmax_cross_entropy(z[None], z[:, None], [0], class_weights=z),
            ValueError,
            "linear_softmax_cross_entropy: class_weights must hold one number per class, (1,) for "
            "these logits, got (3,); for several class axes they are flat, as the ids are.",
        ),
        (
            lambda z: sigmoid_cross_entropy(z, z > 0, pos_weight=jnp.ones(2)),
            ValueError,
            "sigmoid_cross_entropy: pos_weight of shape (2,) does not broadcast to logits of shape "
            "(3,); give one number, or one per label.",
        ),
        (
            lambda z: softmax_cross_entropy(z, 0, z_loss=-1),
            ValueError,
            "softmax_cross_entropy: z_loss must be a finite number ≥ 0, got -1; 1e-4 is usual, "
            "0 is none.",
        ),
        (
            lambda z: softmax_cross_entropy(z, 0, label_smoothing=jnp.ones(2)),
            ValueError,
            "softmax_cross_entropy: label_smoothing must be one number, got shape (2,); use "
            "jax.vmap for several.",
        ),
        (
            lambda z: softmax_poly_loss(z, 0, epsilon="two"),
            TypeError,
            "softmax_poly_loss: epsilon must be an array of numbers, got str; "
            "pass a JAX or NumPy array.",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(jnp.zeros(3))
    assert str(caught.value) == message


def both_orders(f):
    """∂²f/∂x∂y, forward over reverse, and ∂²f/∂y∂x, reverse over reverse."""
    one, other = jax.jacfwd(jax.grad(f), 1), jax.jacrev(jax.grad(f, 1), 0)
    return quick(lambda x, y: (one(x, y), other(x, y)))


@pytest.mark.parametrize(
    ("loss", "given"), [slow(softmax_cross_entropy, {}), slow(softmax_focal_loss, {"gamma": 1.5})]
)
def test_mixed_second_derivatives_at_label_0(loss, given):
    """∂²/∂z∂y in both orders, at labels that are 0 and at a class weight of 0."""
    z, y, w = jnp.array([1.0, 0, -1]), jnp.array([1.0, 0, 0]), jnp.array([1.0, 0, 2])
    f = functools.partial(loss, **given)
    one, other = both_orders(f)(z, y)
    np.testing.assert_allclose(one, other.T, 1e-5, 1e-6)
    assert np.all(np.abs(one[:, 1:]) > 1e-3)
    g = lambda z, w: f(z, 0, class_weights=w, label_smoothing=0.3)  # noqa: E731
    one, other = both_orders(g)(z, w)
    np.testing.assert_allclose(one, other.T, 1e-5, 1e-6)
    assert np.all(np.abs(one[:, 1]) > 1e-3)
