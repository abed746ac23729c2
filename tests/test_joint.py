"""Conditional entropy and mutual information of joint distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax import conditional_entropy, mutual_information

from .cases import QUICK
from .compare import close_in_last_digits, value_and_gradients
from .information import BAR, NAN, P, joint_truth, softmax
from .selection import usually

both_dtypes = pytest.mark.parametrize("dtype", BAR, ids=lambda d: d.__name__)
SHAPES = ((1, 1), (2, 2), (7, 13), (64, 64))
JOINT = (conditional_entropy, mutual_information)


@functools.cache
def of_joint(function):
    def run(joint):
        value, pull = jax.vjp(function, joint)
        return value, pull(jnp.ones_like(value))[0]

    return jax.jit(run)


def joints(shape):
    """Outer products with a small dependence, and joint distributions nearly on a diagonal."""
    rng = np.random.default_rng(shape[1])
    x, y = (softmax(rng.normal(size=n)) for n in shape)
    noise = rng.normal(size=shape)
    for size in (0, 1e-6, 1e-4, 1e-2, 1):
        yield np.outer(x, y) * np.exp(size * noise)
    yield np.full(shape, 1 / np.prod(shape))
    yield np.outer(x, y) * 1e-3  # not normalised
    yield np.outer(x, y) * 3e5
    near = 1e-6 * softmax(noise.ravel()).reshape(shape)
    near[np.arange(shape[0]), np.arange(shape[0]) % shape[1]] += x
    yield near / near.sum()
    sparse = np.where(noise > 0.5, np.outer(x, y), 0)
    sparse[0, 0] = 0.1
    yield sparse
    yield np.exp(-60 * rng.random(shape))


@pytest.mark.parametrize("shape", usually(((1, 1), (7, 13)), SHAPES), ids=str)
@both_dtypes
def test_joint_distributions(shape, dtype):
    bar, eps = BAR[dtype], np.finfo(dtype).eps
    with jax.enable_x64(dtype is np.float64):
        # The oracle takes its time for the largest: some of the rows.
        for joint in list(joints(shape))[:: 4 if shape == SHAPES[-1] else 1]:
            joint = joint.astype(dtype)
            h, h_slopes, i, i_slopes = joint_truth(joint)
            for function, want, slopes in (
                (conditional_entropy, h, h_slopes),
                (mutual_information, i, i_slopes),
            ):
                value, gradient = map(np.asarray, of_joint(function)(joint))
                assert value.dtype == gradient.dtype == dtype
                assert value >= 0 and np.isfinite(gradient).all()
                floor = eps**3 * joint.sum()
                np.testing.assert_allclose(value, want, bar, floor)
                known, size = joint > 0, np.abs(slopes).max()
                # Twice the digits of the dtype is what they are computed with.
                allowed = bar * size + eps**2
                np.testing.assert_allclose(gradient[known], slopes[known], 0, allowed)


@pytest.mark.slow
def test_independent_variables_share_exactly_nothing():
    for shape in SHAPES:
        rng = np.random.default_rng(shape[0])
        x, y = (rng.integers(1, 64, size=n) / 2.0**11 for n in shape)
        value, gradient = of_joint(mutual_information)(np.outer(x, y).astype(np.float32))
        assert value == 0 and not gradient.any()


def test_a_function_of_x_is_known_exactly():
    joint = np.zeros((5, 3), np.float32)
    joint[np.arange(5), [0, 2, 1, 1, 0]] = [0.1, 0.3, 0.2, 0.25, 0.15]
    assert conditional_entropy(joint) == 0
    np.testing.assert_allclose(mutual_information(joint), xent_jax.entropy(joint.sum(0)), 1e-6)


def test_chain_rules():
    joint = softmax(np.random.default_rng(0).normal(size=91)).reshape(7, 13).astype(np.float32)
    whole = xent_jax.entropy(joint, axis=(0, 1))
    of_x, of_y = xent_jax.entropy(joint.sum(1)), xent_jax.entropy(joint.sum(0))
    information = of_joint(mutual_information)(joint)[0]
    np.testing.assert_allclose(of_joint(conditional_entropy)(joint)[0], whole - of_x, 1e-5)
    np.testing.assert_allclose(conditional_entropy(joint, axis=(1, 0)), whole - of_y, 1e-5)
    np.testing.assert_allclose(information, of_x + of_y - whole, 0, 1e-6)
    product = np.outer(joint.sum(1), joint.sum(0))
    np.testing.assert_allclose(
        information, xent_jax.kl_divergence(joint, product, axis=(0, 1)), 1e-6
    )


@pytest.mark.parametrize("function", JOINT, ids=lambda f: f.__name__)
def test_hessians_of_joint_functions(function):
    def gradient(x):
        return joint_truth(x.reshape(2, 3))[1 + 2 * JOINT.index(function)].ravel()

    hessian = jax.jit(jax.hessian(function), compiler_options=QUICK)
    joint = np.array([[0.1, 0.2, 0.05], [0.3, 0.15, 0.2]], np.float32)
    x, basis = joint.ravel().astype(float), 1e-6 * np.eye(6)
    want = np.stack([(gradient(x + e) - gradient(x - e)) / 2e-6 for e in basis], -1)
    got = hessian(joint).reshape(6, 6)
    np.testing.assert_allclose(got, want, 1e-5, 1e-5 * np.abs(want).max())
    with_zeros = np.array([[0.5, 0, 0], [0.25, 0.25, 0]], np.float32)
    assert np.isfinite(hessian(with_zeros)).all()


@pytest.mark.parametrize("function", JOINT, ids=lambda f: f.__name__)
def test_axis_where_keepdims_of_joint(function):
    joint = P.reshape(4, 2, 3)
    want = value_and_gradients(function, joint)
    moved = np.moveaxis(joint, 2, 0)  # Y, rows, X
    value, gradient = value_and_gradients(function, moved, axis=(2, 0), keepdims=True)
    close_in_last_digits((value[0, :, 0], np.moveaxis(gradient, 0, 2)), want)
    value, gradient = value_and_gradients(vmapped(function), moved)
    close_in_last_digits((value, np.moveaxis(gradient, 0, 2)), want)
    where = np.array([True, False, True])
    nonsense = np.where(where, joint, np.float32(NAN))
    value, gradient = value_and_gradients(function, nonsense, where=where)
    few, slopes = value_and_gradients(function, joint * where)
    close_in_last_digits((value, gradient[..., where]), (few, slopes[..., where]))
    assert not np.any(gradient[..., ~where])


def vmapped(function):
    """Over the middle axis of Y, rows, X."""
    return jax.vmap(functools.partial(function, axis=(1, 0)), in_axes=1)
