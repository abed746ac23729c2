"""Which dtype comes out for which goes in, under strict promotion; and what counts as an array."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import FUNCTIONS, select
from .selection import slow

# Exact in every dtype below, as probabilities, as logits and as labels.
FIRST = np.array([[0.5, 0.25, 0.25], [0.25, 0, 0.75]])
SECOND = np.array([[0.125, 0.375, 0.5], [0.25, 0.5, 0.25]])
IDS = np.array([2, 0])
PAIRS = [f for f in FUNCTIONS if len(f.differentiable) == 2]
each = pytest.mark.parametrize("function", FUNCTIONS, ids=str)
FEW = ("entropy", "kl_divergence", "softmax_cross_entropy-ids", "sigmoid_entropy")
few = pytest.mark.parametrize("function", [f for f in FUNCTIONS if str(f) in FEW], ids=str)


def arguments(function, *dtypes):
    """The arguments, the floating ones in the given dtypes (the last for all that follow)."""
    ids = IDS if not function.elementwise else np.array([[0, 1, 1], [1, 0, 0]])
    floats = {"p": FIRST, "zp": FIRST, "q": SECOND, "zq": SECOND, "y": SECOND}
    made = []
    for kind, dtype in zip(function.kinds, [*dtypes, dtypes[-1]]):
        made.append(jnp.asarray(ids) if kind == "id" else jnp.asarray(floats[kind], dtype))
    return made


@functools.cache
def gradient(function):
    def total(*arguments):
        return function(*arguments).sum()

    return jax.jit(jax.grad(total, function.differentiable))


@functools.cache
def in_float32(function):
    args = arguments(function, "float32")
    return function(*args), gradient(function)(*args)


def results(function, arguments):
    """The dtypes of the value and of the gradients; nothing is computed."""
    value = jax.eval_shape(function.__call__, *arguments)
    return value.dtype.name, [g.dtype.name for g in jax.eval_shape(gradient(function), *arguments)]


@each
@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fn"])
def test_value_is_float32_and_gradient_as_its_input(function, dtype):
    count = len(function.differentiable)
    assert results(function, arguments(function, dtype)) == ("float32", [dtype] * count)


@few
def test_value_of_float8_is_that_of_float32(function):
    got = function(*arguments(function, "float8_e4m3fn"))
    np.testing.assert_array_equal(got, in_float32(function)[0])


@pytest.mark.parametrize("function", PAIRS, ids=str)
@pytest.mark.parametrize(
    "dtypes",
    [("float32", "bfloat16"), ("float8_e4m3fn", "float16")],
    ids="-".join,
)
def test_mixed_floats(function, dtypes):
    assert results(function, arguments(function, *dtypes)) == ("float32", [*dtypes])


def test_value_of_mixed_floats():
    (function,) = select(row="probability", name="kl_divergence")
    want, gradients = in_float32(function)
    args = arguments(function, "float32", "bfloat16")
    np.testing.assert_array_equal(function(*args), want)
    for got, true in zip(gradient(function)(*args), gradients, strict=True):
        np.testing.assert_array_equal(got, true.astype(got.dtype))


@each
def test_float64(function):
    count = len(function.differentiable)
    with jax.enable_x64(True):
        for dtype in ("float64", "float32"):  # float32 stays so, whatever the default
            assert results(function, arguments(function, dtype)) == (dtype, [dtype] * count)


@pytest.mark.parametrize("dtypes", [("float64", "bfloat16"), slow(("float32", "float64"))],
                         ids="-".join)  # fmt: skip
@pytest.mark.parametrize("function", PAIRS, ids=str)
def test_float64_beside_a_narrower_one_is_float64(function, dtypes):
    with jax.enable_x64(True):
        assert results(function, arguments(function, *dtypes)) == ("float64", [*dtypes])


def test_value_of_float64_beside_float32():
    (function,) = select(row="softmax", name="kl_divergence")
    with jax.enable_x64(True):
        exact = function(*arguments(function, "float64"))
        mixed = function(*arguments(function, "float32", "float64"))
        np.testing.assert_array_equal(mixed, exact)
    np.testing.assert_allclose(exact, in_float32(function)[0], 1e-6)
    exact = np.asarray(exact)
    assert np.any(exact.astype(np.float32) != exact)


@few
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_integers_and_booleans_are_numbers(function, dtype):
    """0 and 1 as probabilities and as logits, in any dtype that holds them."""
    bits, ids = np.array([[1, 0, 0], [0, 0, 1]]), jnp.array([1, 0])
    given, floats = (
        [ids if kind == "id" else jnp.asarray(bits, t) for kind in function.kinds]
        for t in (dtype, "float32")
    )
    got = function(*given)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, function(*floats))


@few
def test_numpy_and_lists(function):
    args = arguments(function, "float32")
    for given in ([np.asarray(x) for x in args], [x.tolist() for x in args]):
        got = function(*given)
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, in_float32(function)[0])


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f.elementwise], ids=str)
def test_python_scalars(function):
    given = [1 if kind == "id" else x for kind, x in zip(function.kinds, (0.5, 0.25))]
    shape = jax.eval_shape(function.__call__, *given)
    assert (shape.shape, shape.dtype.name) == ((), "float32")
    gradient = jax.eval_shape(jax.grad(function.__call__), *given)
    assert gradient.dtype == jnp.float32


def test_value_of_python_scalars():
    np.testing.assert_allclose(xent_jax.sigmoid_cross_entropy(0.0, 1), np.log(2), 1e-6)
    np.testing.assert_allclose(xent_jax.sigmoid_entropy(0), np.log(2), 1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "int64"])
def test_any_integer_dtype_is_a_label(dtype):
    logits = np.zeros((3, 300), np.float32)
    labels = np.array([0, 100, 127]).astype(dtype)
    want = np.full(3, np.log(300), np.float32)
    np.testing.assert_allclose(xent_jax.softmax_cross_entropy(logits, labels), want, 1e-6)


def test_small_ids_neither_wrap_nor_clip():
    """300 classes, ids that fill their dtype; nothing is out of range and nothing is ignored."""
    logits = np.zeros((2, 300), np.float32)
    for labels, options in (
        (np.array([255, 44], np.uint8), {}),
        (np.array([156, 255], np.uint8), {"ignore_index": -100}),
        (np.array([156, 255], np.uint8), {"ignore_index": -1}),
        (np.array([44, 0], np.int8), {"ignore_index": 300}),
    ):
        loss = xent_jax.softmax_cross_entropy(logits, labels, **options)
        np.testing.assert_allclose(loss, [np.log(300)] * 2, 1e-6)
    wrapped = np.array([-1, -100], np.int8)
    assert np.isnan(xent_jax.softmax_cross_entropy(logits, wrapped, ignore_index=255)).all()


def test_booleans_are_class_ids():
    logits = np.array([[0.5, -1], [2, 0]], np.float32)
    for labels in (np.array([True, False]), [True, False]):
        np.testing.assert_array_equal(
            xent_jax.softmax_cross_entropy(logits, labels),
            xent_jax.softmax_cross_entropy(logits, np.array([1, 0])),
        )
        np.testing.assert_array_equal(
            xent_jax.sigmoid_cross_entropy(logits[0], labels),
            xent_jax.sigmoid_cross_entropy(logits[0], np.array([1, 0])),
        )
