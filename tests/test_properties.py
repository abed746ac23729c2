"""Laws that hold for every input, on inputs that hypothesis chooses."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import xent_jax

from .cases import FUNCTIONS, quick, select
from .selection import each, slow

N, K = 2, 5
OVER_CLASSES = select(option="axis")
FEW = ("entropy", "kl_divergence", "softmax_cross_entropy-ids", "sigmoid_entropy")


def normal(low, high):
    # XLA on the CPU takes subnormal numbers for 0, where NumPy does not.
    return st.floats(low, high, width=32, allow_subnormal=False)


def arrays(shape, low, high):
    return hnp.arrays(np.float32, shape, elements=normal(low, high))


LOGITS = arrays((N, K), -30, 30)
SINGLE = arrays((K,), -30, 30)
BITS = hnp.arrays(np.int32, (N, K), elements=st.integers(0, 1))
IDS = hnp.arrays(np.int32, (N,), elements=st.integers(0, K - 1))


@st.composite
def distributions(draw, shape=(N, K)):
    """Probabilities of which some are 0; never all."""
    x = draw(arrays(shape, 0, 1)) * draw(hnp.arrays(np.bool_, shape))
    assume(np.all(x.sum(-1) > 1e-3))
    return x / x.sum(-1, keepdims=True)


def argument(kind, first, second, labels):
    """One argument: `first` and `second` are logits, made probabilities where these are due."""
    if kind == "id":
        return labels
    x = first if kind in ("p", "zp") else second
    return x if kind[0] == "z" else np.asarray(jax.nn.softmax(x))


@functools.cache
def compiled(function, options=(), gradients=True):
    """The value and the gradients of its sum, with static options; further ones are arrays."""

    @quick
    def run(*arguments, **arrays):
        def total(*floats):
            full = list(arguments)
            for place, x in zip(function.differentiable, floats, strict=True):
                full[place] = x
            value = function(*full, **dict(options), **arrays)
            return value.sum(), value

        floats = [arguments[i] for i in function.differentiable]
        if not gradients:
            return total(*floats)[1]
        places = tuple(range(len(floats)))
        grads, value = jax.grad(total, places, has_aux=True)(*floats)
        return value, *grads

    return run


def named(name, kinds=None):
    return next(f for f in FUNCTIONS if f.name == name and kinds in (None, f.kinds))


def value(name, *arguments, kinds=None, **options):
    return np.asarray(
        compiled(named(name, kinds), tuple(options.items()), gradients=False)(*arguments)
    )


def close(got, want, relative=3e-6, absolute=1e-30):
    np.testing.assert_allclose(got, want, relative, absolute)


# Between functions


@given(distributions(), distributions())
def test_cross_entropy_is_entropy_plus_kl(p, q):
    h, ce, d = value("entropy", p), value("cross_entropy", p, q), value("kl_divergence", p, q)
    # The KL is the generalised one: rounding leaves the sums a few units of 2⁻²⁴ from 1.
    close(ce, h + d, absolute=1e-6)


@pytest.mark.slow
@given(distributions(), distributions())
def test_kl_is_0_for_equal_distributions_only(p, q):
    np.testing.assert_array_equal(value("kl_divergence", p, p), np.zeros(N))
    d = value("kl_divergence", p, q)
    assert np.all(d >= 0)
    far = np.abs(p - q).max(-1) > 1e-3
    assert np.all(d[far] > 0)


@pytest.mark.slow
@given(LOGITS, LOGITS)
def test_kl_of_logits_is_0_for_equal_rows_only(a, b):
    np.testing.assert_array_equal(value("softmax_kl_divergence", a, a), np.zeros(N))
    np.testing.assert_array_equal(value("sigmoid_kl_divergence", a, a), np.zeros((N, K)))
    assert np.all(value("softmax_kl_divergence", a, b) >= 0)
    assert np.all(value("sigmoid_kl_divergence", a, b) >= 0)


@pytest.mark.slow
@given(distributions())
def test_entropy_is_at_most_log_k(p):
    h = value("entropy", p)
    assert np.all(h >= -1e-7)  # p may exceed 1 by its rounding
    assert np.all(h <= math.log(K) * (1 + 1e-6))
    assert np.all(h <= np.log((p > 0).sum(-1)) + 1e-6)


@pytest.mark.slow
@given(LOGITS)
def test_entropy_of_logits_is_at_most_log_k(z):
    h = value("softmax_entropy", z)
    assert np.all(h >= 0) and np.all(h <= math.log(K) * (1 + 1e-6))
    assert np.all(value("sigmoid_entropy", z) <= math.log(2) * (1 + 1e-6))


@pytest.mark.slow
@each([f for f in FUNCTIONS if f.name.endswith("js_divergence")])
@given(a=LOGITS, b=LOGITS)
def test_js_is_symmetric_and_at_most_log_2(function, a, b):
    p, q = (argument(kind, a, b, None) for kind in function.kinds)
    run = compiled(function, gradients=False)
    js = np.asarray(run(p, q))
    close(js, run(q, p))
    assert np.all(js >= 0) and np.all(js <= math.log(2) * (1 + 1e-6))
    np.testing.assert_array_equal(run(p, p), np.zeros_like(js))


@pytest.mark.slow
@given(distributions(), distributions())
def test_softmax_row_of_log_p_is_the_probability_row(p, q):
    p, q = (np.where(x < np.finfo(np.float32).tiny, 0, x) for x in (p, q))  # as XLA on the CPU does
    with np.errstate(divide="ignore"):
        log_p, log_q = np.log(p), np.log(q)
    for quantity in ("entropy", "kl_divergence", "js_divergence"):
        arguments = [(p, log_p), (q, log_q)][: len(named(quantity).kinds)]
        plain, logs = zip(*arguments)
        # log p is rounded, and p sums to 1 but for rounding.
        close(value(f"softmax_{quantity}", *logs), value(quantity, *plain), 1e-5, 1e-6)
    soft = value("softmax_cross_entropy", log_q, p, kinds=("zp", "y"))
    close(soft, value("cross_entropy", p, q), 1e-5, 1e-6)


@pytest.mark.slow
@given(LOGITS, LOGITS, arrays((N, K), 0, 1), BITS)
def test_sigmoid_row_is_the_softmax_row_of_two_outcomes(a, b, y, ids):
    two = [np.stack([z, np.zeros_like(z)], -1) for z in (a, b)]
    close(value("sigmoid_entropy", a), value("softmax_entropy", two[0]))
    for quantity in ("kl_divergence", "js_divergence"):
        close(value(f"sigmoid_{quantity}", a, b), value(f"softmax_{quantity}", *two))
    both = np.stack([y, 1 - y], -1)
    for labels, pair, kinds in ((y, both, ("zp", "y")), (ids, 1 - ids, ("zp", "id"))):
        sigmoid = value("sigmoid_cross_entropy", a, labels, kinds=kinds)
        softmax = value("softmax_cross_entropy", two[0], pair, kinds=kinds)
        close(sigmoid, softmax, absolute=1e-6 * (kinds[1] == "y"))


# Within one


@pytest.mark.slow
@each(select(row="softmax"))
@given(a=LOGITS, b=LOGITS, labels=IDS, shift=st.integers(-64, 64))
def test_softmax_row_ignores_a_shift_of_the_logits(function, a, b, labels, shift):
    """Exactly so: the logits are multiples of 1/64, which a shift does not round."""
    a, b = (np.round(z * 64) / 64 for z in (a, b))
    given_, shifted = (
        [argument(kind, a + s, b if kind == "y" else b - s, labels) for kind in function.kinds]
        for s in (0, np.float32(shift))
    )
    for got, want in zip(compiled(function)(*shifted), compiled(function)(*given_), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
@each(select(row="softmax"))
@given(a=LOGITS, b=LOGITS, labels=IDS)
def test_gradient_of_a_softmax_row_sums_to_0(function, a, b, labels):
    arguments = [argument(kind, a, b, labels) for kind in function.kinds]
    _, *gradients = compiled(function)(*arguments)
    for place, gradient in zip(function.differentiable, gradients, strict=True):
        if function.kinds[place] in ("zp", "zq"):
            gradient = np.asarray(gradient, float)
            # Soft labels y = softmax(z) leave p·Σy − y: the rounding of numbers up to 1.
            floor = 4e-7 if function.kinds[-1] == "y" else 1e-30
            size = np.abs(gradient).max(-1)
            assert np.all(np.abs(gradient.sum(-1)) <= 2e-6 * size + floor)


@given(LOGITS, IDS, st.sampled_from([0.0, 0.1, 1.0]))
def test_ids_are_one_hot_labels(logits, labels, amount):
    soft, ids = (named("softmax_cross_entropy", ("zp", kind)) for kind in ("y", "id"))
    options = (("label_smoothing", amount),)
    one_hot = np.eye(K, dtype=np.float32)[labels]
    want_value, want, _ = compiled(soft, options)(logits, one_hot)
    got_value, got = compiled(ids, options)(logits, labels)
    close(got_value, want_value)
    close(got, want, absolute=2e-6 * np.abs(want).max())
    if amount == 0:  # no option at all is the same
        np.testing.assert_array_equal(compiled(ids)(logits, labels)[0], got_value)


@pytest.mark.slow
@given(LOGITS, distributions())
def test_smoothing_mixes_labels_with_the_uniform_distribution(logits, labels):
    function = named("softmax_cross_entropy", ("zp", "y"))
    got = compiled(function, (("label_smoothing", 0.25),))(logits, labels)[:2]
    mixed = (0.75 * labels + 0.25 / K).astype(np.float32)
    for a, b in zip(got, compiled(function)(logits, mixed)[:2], strict=True):
        close(a, b, absolute=1e-6)


@pytest.mark.slow
@each(FUNCTIONS, few=FEW)
@given(a=LOGITS, b=LOGITS, labels=IDS)
def test_base_2_is_nats_over_log_2(function, a, b, labels):
    if function.elementwise:
        labels = (b > 0).astype(np.int32)
    arguments = [argument(kind, a, b, labels) for kind in function.kinds]
    bits = compiled(function, (("base", 2),), gradients=False)(*arguments)
    nats = compiled(function, gradients=False)(*arguments)
    close(bits, nats / np.float32(math.log(2)), 1e-6)


SIZES = (2, 3, 4)


@pytest.mark.slow
@each(OVER_CLASSES, few=OVER_CLASSES[2:7])
@pytest.mark.parametrize("axis", [(2, 0), *map(slow, [0, -2, (0, 2), (1, -3, 2)])], ids=str)
def test_axis_is_moveaxis(function, axis):
    """And for a tuple, one flat axis in the order in which the tuple names them."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, *SIZES)).astype(np.float32)
    axes = axis if isinstance(axis, tuple) else (axis,)
    moved = [np.moveaxis(z, axes, range(-len(axes), 0)) for z in (a, b)]
    rest = moved[0].shape[: -len(axes)]
    flat = [z.reshape(*rest, -1) for z in moved]
    labels = rng.integers(flat[0].shape[-1], size=rest, dtype=np.int32)
    where = rng.random(SIZES) < 0.7
    flat_where = np.moveaxis(where, axes, range(-len(axes), 0)).reshape(*rest, -1)

    def arguments(a, b, axis):
        rows = {"p": jax.nn.softmax(a, axis), "q": jax.nn.softmax(b, axis), "zp": a, "zq": b}
        return [labels if k == "id" else rows["q" if k == "y" else k] for k in function.kinds]

    value = function(*arguments(a, b, axis), axis=axis, where=where)
    close(value, function(*arguments(*flat, -1), where=flat_where), 1e-5)
    keep = functools.partial(function, axis=axis, where=where, keepdims=True)
    places = {i % 3 for i in axes}
    kept = tuple(1 if i in places else n for i, n in enumerate(SIZES))
    assert jax.eval_shape(keep, *arguments(a, b, axis)).shape == kept


@pytest.mark.slow
@each(OVER_CLASSES, few=FEW)
@given(a=SINGLE, b=SINGLE, hidden=SINGLE, place=st.integers(0, K), label=st.integers(0, K - 1))
def test_mask_is_deletion(function, a, b, hidden, place, label):
    """An outcome inserted under a False `where` changes no value and no other gradient."""
    where = np.insert(np.full(K, True), place, False)
    label += label >= place
    without = [argument(kind, a, b, np.int32(label - (label > place))) for kind in function.kinds]
    full = [
        np.int32(label) if kind == "id" else np.insert(x, place, junk)
        for kind, x, junk in zip(function.kinds, without, hidden)
    ]
    got, *gradients = compiled(function)(*full, where=where)
    want, *true = compiled(function)(*without)
    close(got, want)
    for gradient, expected in zip(gradients, true, strict=True):
        assert gradient[place] == 0
        size = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        if function.kinds == ("zp", "y"):  # p − y: the rounding of y is in it
            size = max(size, without[1].max())
        close(np.delete(gradient, place), expected, absolute=2e-6 * size + 1e-30)


@pytest.mark.slow
@each(select(row="sigmoid", name="entropy"))
@given(a=SINGLE, b=SINGLE, where=hnp.arrays(np.bool_, K))
def test_mask_of_elements(function, a, b, where):
    arguments = [argument(kind, a, b, (b > 0).astype(np.int32)) for kind in function.kinds]
    got, want = compiled(function)(*arguments, where=where), compiled(function)(*arguments)
    for x, y in zip(got, want, strict=True):
        close(x, np.where(where, y, 0))


@pytest.mark.slow
def test_flat_label_counts_in_the_order_of_the_axes():
    """Of axes (1, 0), class 5 of shape (2, 3) is row 1, column 2; class 2 is row 0, column 1."""
    logits = jnp.arange(6.0).reshape(2, 3)
    loss = [
        [xent_jax.softmax_cross_entropy(logits, y, axis=axis) for y in range(6)]
        for axis in ((0, 1), (1, 0))
    ]
    np.testing.assert_array_equal(np.array(loss[1]), np.array(loss[0])[[0, 3, 1, 4, 2, 5]])
