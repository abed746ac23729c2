"""What is kept between the two passes, and what the forward pass writes on the side."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import FUNCTIONS, LOSSES
from .selection import cpu_program

ROWS, CLASSES = 8192, 4096  # compiled for, never computed
DENSE = ROWS * CLASSES * 4
# Of the losses one value of the parameter each.
MORE = [f for f in LOSSES if f.given[0][1] in (2.0, 0.7)]
ALL = [*FUNCTIONS, MORE[0], *(pytest.param(f, marks=pytest.mark.slow) for f in MORE[1:])]
each = pytest.mark.parametrize("function", ALL, ids=str)


def shapes(function, dtype):
    """The shapes and dtypes of arguments; nothing is computed with them."""
    ids = (ROWS, CLASSES) if function.elementwise else (ROWS,)
    floats, ints = jax.ShapeDtypeStruct((ROWS, CLASSES), dtype), jax.ShapeDtypeStruct(ids, "int32")
    return [ints if kind == "id" else floats for kind in function.kinds]


def nbytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def floating(function, arguments):
    return [arguments[i] for i in function.differentiable]


def along_floats(function, transform):
    """What transform (jax.vjp or jax.linearize) keeps for the floating arguments."""

    def keep(*arguments):
        def f(*floats):
            full = list(arguments)
            for place, x in zip(function.differentiable, floats, strict=True):
                full[place] = x
            return function(*full)

        return transform(f, *floating(function, arguments))[1]

    return keep


@each
@pytest.mark.parametrize("transform", [jax.vjp, jax.linearize], ids=["vjp", "linearize"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_residuals_are_the_inputs_and_some_numbers_per_row(function, transform, dtype):
    arguments = shapes(function, dtype)
    kept = jax.eval_shape(along_floats(function, transform), *arguments)
    inputs = nbytes(arguments)
    if function.row == "sigmoid":
        # Each element is a row of its own: the verdict on it, or the outcomes of both logits.
        assert nbytes(kept) <= 16 * inputs
        return
    numbers = nbytes(kept) - inputs
    assert numbers <= 32 * 4 * ROWS, [x for x in jax.tree.leaves(kept) if x.size > ROWS]


def temporaries(f, *arguments):
    return jax.jit(f).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


@cpu_program
@pytest.mark.parametrize("function", [f for f in (*FUNCTIONS, *MORE) if not f.elementwise], ids=str)
def test_forward_pass_writes_no_array_of_the_size_of_its_input(function):
    assert temporaries(function.__call__, *shapes(function, "float32")) < 0.05 * DENSE


# Of so many arguments, arrays of the size of one.
ELEMENTWISE = {
    "sigmoid_entropy": (1, 1),
    "sigmoid_cross_entropy": (2, 2),
    "sigmoid_kl_divergence": (2, 4.25),
    "sigmoid_js_divergence": (2, 5.5),
    "binary_entropy": (1, 1),
    "binary_cross_entropy": (2, 1),
    "binary_kl_divergence": (2, 1),
    "binary_js_divergence": (2, 1),
}


@cpu_program
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elements_and_their_slopes_are_a_few_loops(name):
    """The sum takes nothing of what makes the values, nor do they share much with the slopes."""
    function = getattr(xent_jax, name)
    count, arrays = ELEMENTWISE[name]
    arguments = [jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.float32)] * count
    f = jax.value_and_grad(lambda *x: function(*x).sum(), tuple(range(count)))
    assert temporaries(f, *arguments) < (arrays + 0.05) * DENSE


@cpu_program
@pytest.mark.parametrize("weights", [None, np.ones(CLASSES)], ids=["plain", "weighted"])
def test_smoothed_ids_are_never_a_one_hot_array(weights):
    logits = jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.float32)
    ids = jax.ShapeDtypeStruct((ROWS,), jnp.int32)

    def smoothed(logits, ids):
        options = {"label_smoothing": 0.1, "class_weights": weights}
        return xent_jax.softmax_cross_entropy(logits, ids, **options)

    assert temporaries(smoothed, logits, ids) < 0.05 * DENSE


@cpu_program
@pytest.mark.parametrize("z_loss", [0.0, 1e-4], ids=["plain", "z_loss"])
def test_ids_and_their_gradient_are_one_array_and_one_exponential(z_loss):
    """The weights of the other classes lie where the gradient is made of them."""
    logits = jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.float32)
    ids = jax.ShapeDtypeStruct((ROWS,), jnp.int32)

    @jax.jit
    @jax.value_and_grad
    def loss(logits, ids):
        return xent_jax.softmax_cross_entropy(logits, ids, z_loss=z_loss).mean()

    program = loss.lower(logits, ids).compile()
    assert program.memory_analysis().temp_size_in_bytes < 0.05 * DENSE
    dense = re.findall(rf"= f32\[{ROWS},{CLASSES}\]\S* exponential\(", program.as_text())
    assert len(dense) == 1


@cpu_program
@pytest.mark.parametrize("name", ["softmax_entropy", "softmax_kl_divergence", "kl_divergence"])
def test_no_wide_copy_of_narrow_inputs_is_written(name):
    """Neither for the blocks of the value nor for what two gradients share."""
    function = getattr(xent_jax, name)
    count = 1 if name == "softmax_entropy" else 2
    arguments = [jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.bfloat16)] * count
    f = jax.value_and_grad(lambda *x: function(*x).mean(), tuple(range(count)))
    assert temporaries(f, *arguments) < 0.1 * DENSE / 2


def test_the_measure_sees_an_array():
    """A dense intermediate is noticed by both measures above."""

    def dense(logits):
        p = jax.nn.softmax(logits)
        return -(jnp.sort(p) * p).sum()

    logits = jax.ShapeDtypeStruct((ROWS, CLASSES), jnp.float32)
    assert temporaries(dense, logits) >= DENSE
    assert nbytes(jax.eval_shape(lambda z: jax.vjp(dense, z)[1], logits)) >= 2 * DENSE
