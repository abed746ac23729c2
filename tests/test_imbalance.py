"""Class frequencies, logit adjustment and class weights, against 60 digits and scikit-learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from mpmath import mp, mpf

import xent_jax
from xent_jax import (
    balanced_class_weights,
    class_frequencies,
    effective_number_weights,
    logit_adjustment,
)

from .cases import quick
from .selection import several_devices, slow, usually

mp.dps = 60
INF, NAN = np.inf, np.nan
IDS = np.array([[0, 3, 3, -1], [-100, 2, 4, 3], [5, 0, -5, 99]])
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, IDS.shape).astype(np.float32)
BETAS = (0.0, 0.1, 0.9, 0.9999, 1 - 1e-9, 1.0)
WEIGHTING = [balanced_class_weights] + [
    functools.partial(effective_number_weights, beta=beta) for beta in BETAS
]
OF_COUNTS = [*WEIGHTING, logit_adjustment]
FEW = (OF_COUNTS[0], OF_COUNTS[3], OF_COUNTS[-1])  # each function once, β = 0.9
# Ordinary, dominated, with a prior within 1e-15 of one, tied, frequencies; one class, none.
ROWS = [
    [100, 42, 5, 2],
    [1e7, 1, 3, 0],
    [1e12, 1e-3, 0, 0],
    [5, 5, 5, 0.25],
    [0.5, 0.125, 0.25, 0.125],
    [0, 7, 0, 0],
    [0, 0, 0, 0],
]


def named(function):
    """The same in every process, as several of them want it."""
    given = "".join(f" {k}={v}" for k, v in getattr(function, "keywords", {}).items())
    return getattr(function, "func", function).__name__ + given


def each(functions):
    return pytest.mark.parametrize("function", functions, ids=named)


def exact(function, counts):
    """The definitions, in 60 digits."""
    n = [mpf(c) for c in counts]
    total, present = sum(n), sum(c > 0 for c in n)
    if function is logit_adjustment:
        return [mp.log(c / total) if c else mpf("-inf") if total else mpf(0) for c in n]
    if function is balanced_class_weights:
        return [total / (present * c) if c else mpf(0) for c in n]
    beta = mpf(function.keywords["beta"])
    each = [mpf(0) if not c else 1 / c if beta == 1 else (1 - beta) / (1 - beta**c) for c in n]
    return [w * present / sum(each) if w else w for w in each]


# Frequencies


def test_ids_out_of_range_are_not_counted():
    counts = class_frequencies(IDS, 5)
    assert counts.dtype == jnp.int32
    np.testing.assert_array_equal(counts, [2, 0, 1, 3, 1])
    weighted = class_frequencies(IDS, 5, weights=WEIGHTS)
    assert weighted.dtype == jnp.float32
    np.testing.assert_allclose(weighted, [WEIGHTS[k == IDS].sum() for k in range(5)], 1e-6)
    nan_at_padding = np.where((IDS < 0) | (IDS >= 5), NAN, WEIGHTS)
    np.testing.assert_array_equal(class_frequencies(IDS, 5, weights=nan_at_padding), weighted)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.uint32, np.int32])
def test_every_integer_dtype(dtype):
    ids = np.array([0, 1, 1, 0, 1]).astype(dtype)
    np.testing.assert_array_equal(class_frequencies(ids, 300)[:3], [2, 3, 0])


def test_no_examples_and_one():
    np.testing.assert_array_equal(class_frequencies(np.zeros(0, int), 3), [0, 0, 0])
    np.testing.assert_array_equal(class_frequencies(np.zeros((0, 3)), 3), [0, 0, 0])
    np.testing.assert_array_equal(class_frequencies(2, 3), [0, 0, 1])
    np.testing.assert_array_equal(class_frequencies(2, 3, weights=0.5), [0, 0, 0.5])


def test_distributions_add_up():
    labels = np.random.default_rng(1).dirichlet(np.ones(5), IDS.shape).astype(np.float32)
    np.testing.assert_allclose(class_frequencies(labels, 5), labels.sum((0, 1)), 1e-6)
    expected = np.einsum("ij,ijk->k", WEIGHTS, labels)
    np.testing.assert_allclose(class_frequencies(labels, 5, weights=WEIGHTS), expected, 1e-6)
    one_hot = np.eye(5, dtype=np.float16)[IDS % 5]
    ids = class_frequencies(IDS % 5, 5)
    np.testing.assert_array_equal(class_frequencies(one_hot, 5), ids.astype(jnp.float32))


def test_a_bad_probability_shows_in_its_class():
    labels = np.array([[0.5, 0.5, 0.0], [NAN, 1.5, -0.5]], np.float32)
    np.testing.assert_array_equal(class_frequencies(labels, 3), [NAN, 2, NAN])


def test_small_weights_after_a_large_one_are_not_lost():
    """2²⁴ + 1 = 2²⁴ in float32: a single running sum would return the first weight."""
    weights = np.ones(2**12, np.float32)
    weights[0] = 2**24
    total = weights.sum(dtype=np.float64)
    found = class_frequencies(np.zeros(2**12, int), 3, weights=weights)
    np.testing.assert_allclose(found, [total, 0, 0], 1e-5)


@pytest.mark.slow
def test_frequencies_differentiate_in_both_modes():
    labels = np.random.default_rng(1).dirichlet(np.ones(5), IDS.shape).astype(np.float32)

    def of_ids(weights):
        return class_frequencies(IDS, 5, weights=weights)

    expected = np.moveaxis(IDS[..., None] == np.arange(5), -1, 0)
    for jacobian in jax.jacfwd, jax.jacrev:
        np.testing.assert_array_equal(jacobian(of_ids)(WEIGHTS), expected)
        by_labels = jacobian(lambda p: class_frequencies(p, 5, weights=WEIGHTS))(labels)
        np.testing.assert_allclose(np.einsum("kijk->kij", by_labels), np.stack([WEIGHTS] * 5))


def test_frequencies_of_a_batch():
    many = jax.vmap(lambda ids, w: class_frequencies(ids, 5, weights=w))(IDS, WEIGHTS)
    alone = [class_frequencies(ids, 5, weights=w) for ids, w in zip(IDS, WEIGHTS)]
    np.testing.assert_allclose(many, np.stack(alone), 1e-6)


@several_devices
@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto], ids=str)
@pytest.mark.parametrize("weights", [None, np.float32(np.arange(64))], ids=["counts", "weights"])
def test_frequencies_of_split_labels(kind, weights):
    ids = np.random.default_rng(2).integers(-1, 6, 64).astype(np.int32)
    expected = class_frequencies(ids, 5, weights=weights)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        placed = jax.device_put((ids, weights), NamedSharding(mesh, P("data")))
        split = jax.jit(lambda ids, w: class_frequencies(ids, 5, weights=w))(*placed)
        np.testing.assert_array_equal(split, expected)
        assert split.dtype == expected.dtype
        np.testing.assert_array_equal(class_frequencies(placed[0], 5, weights=placed[1]), expected)
        soft = jax.device_put(np.eye(5, dtype=np.float32)[ids % 5], NamedSharding(mesh, P("data")))
        np.testing.assert_array_equal(class_frequencies(soft, 5), soft.sum(0))


@several_devices
def test_frequencies_in_a_manual_mesh():
    ids = np.random.default_rng(2).integers(-1, 6, 64).astype(np.int32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=P("data"), out_specs=P())
    def count(ids):
        return jax.lax.psum(class_frequencies(ids, 5), "data")

    np.testing.assert_array_equal(count(ids), class_frequencies(ids, 5))


# Functions of the counts


@each(OF_COUNTS)
def test_values(function):
    rows = np.float32(ROWS)
    expected = np.array([exact(function, row) for row in rows.tolist()], float)
    found = function(rows)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, 1e-6)
    with jax.enable_x64(True):
        found = function(np.float64(rows))
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, 1e-13)


def test_a_single_class():
    found = [float(function(np.float32([7]))[0]) for function in OF_COUNTS]
    np.testing.assert_allclose(found, [1] * 7 + [0], 1e-6)


@pytest.mark.parametrize("dtypes", [(np.int32, jnp.bfloat16), slow((np.uint8, np.float16))],
                         ids=["usual", "others"])  # fmt: skip
@each(usually(FEW, OF_COUNTS))
def test_integer_and_narrow_counts(function, dtypes):
    expected = function(np.float32([6, 2, 0]))
    for dtype in dtypes:
        found = function(np.array([6, 2, 0]).astype(dtype))
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, expected)


@each(usually(FEW, OF_COUNTS))
def test_rows_and_transformations(function):
    rows = np.float32([[6, 2, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [3, NAN, 0, 2]])
    alone = np.stack([function(row) for row in rows])
    for many in function(rows), jax.vmap(function)(rows), jax.jit(function)(rows):
        np.testing.assert_allclose(many, alone, 1e-6)


@each(usually(FEW, OF_COUNTS))
def test_a_bad_count_gives_nan_for_its_row(function):
    checked = quick(checkify.checkify(function, errors=checkify.user_checks))
    good = np.float32([[6, 2, 0], [6, 2, 0]])
    for bad in (-1.0, NAN, INF):
        rows = np.float32([[6, bad, 0], [6, 2, 0]])
        np.testing.assert_array_equal(function(rows), [[NAN] * 3, function(good)[1]])
        with xent_jax.value_checks():
            error, _ = checked(rows)
            assert "counts holds a negative, infinite or NaN number." in error.get()
            assert checked(good)[0].get() is None


@each(usually(FEW, OF_COUNTS))
def test_derivatives(function):
    """Against central differences of the 60 digits; each entry, relatively to its row."""
    both = quick(lambda counts: (jax.jacfwd(function)(counts), jax.jacrev(function)(counts)))

    def difference(counts, k):
        step = np.array([mpf(j == k) for j in range(len(counts))]) / 10**20
        up, down = (np.array(exact(function, counts.tolist() + s)) for s in (step, -step))
        return ((up - down) / (2 * step[k])).astype(float)

    for counts in np.float32([[100, 42, 5, 2], [1e4, 1, 3, 7]]):
        expected = np.stack([difference(counts, k) for k in range(len(counts))], -1)
        scale = np.abs(expected).max(axis=1, keepdims=True) + 1e-30
        for found in both(counts):
            found = np.asarray(found, float)
            np.testing.assert_allclose(found / scale, expected / scale, rtol=1e-5, atol=1e-6)

    # Where a count is 0 they are finite, and 0 by it.
    for counts in np.float32([[6, 2, 0, 1], [0, 0, 0, 0], [0, 7, 0, 0]]):
        for slopes in both(counts):
            assert np.isfinite(slopes).all()
            assert not slopes[counts == 0].any()


@each(WEIGHTING)
def test_what_the_weights_add_to(function):
    counts = np.float32([100, 7, 0, 2, 2])
    if function is balanced_class_weights:
        assert np.average(function(counts), weights=counts) == pytest.approx(1)
    else:
        assert function(counts).sum() == pytest.approx(4)


def test_balanced_weights_of_scikit_learn():
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    y = np.repeat(np.arange(6), [50, 20, 7, 3, 2, 1])
    expected = class_weight.compute_class_weight("balanced", classes=np.arange(6), y=y)
    np.testing.assert_allclose(balanced_class_weights(class_frequencies(y, 6)), expected, 1e-6)
    gone = balanced_class_weights(class_frequencies(y, 8))
    np.testing.assert_allclose(gone, [*expected, 0, 0], 1e-6)


def test_tau():
    counts = np.float32([6, 2, 0])
    whole = logit_adjustment(counts)
    np.testing.assert_allclose(logit_adjustment(counts, tau=0.5)[:2], whole[:2] / 2, 1e-6)
    np.testing.assert_array_equal(logit_adjustment(counts, tau=0), [0, 0, 0])
    np.testing.assert_array_equal(logit_adjustment(counts, tau=-1), -whole)
    assert np.isnan(logit_adjustment(counts, tau=NAN)).all()

    def of_tau(tau):
        return logit_adjustment(counts, tau=tau)

    many = jax.jit(jax.vmap(of_tau))(jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(many, [[0, 0, 0], whole])
    for jacobian in jax.jacfwd, jax.jacrev:
        for tau in 0.0, 1.0:
            slopes = jacobian(of_tau)(tau)
            np.testing.assert_array_equal(slopes, [*whole[:2], 0])
    with jax.enable_x64(True):
        assert logit_adjustment(counts, tau=1.0).dtype == jnp.float32


def test_the_adjusted_loss_is_the_balanced_one():
    """log(1 + Σ_{j ≠ y} (π_j/π_y) e^{z_j − z_y}): Menon et al., the second form of equation 10."""
    rng = np.random.default_rng(3)
    z, y, counts = rng.normal(size=(20, 4)), rng.integers(0, 4, 20), np.float32([9, 4, 2, 1])
    loss = xent_jax.softmax_cross_entropy(z + logit_adjustment(counts)[None], y)
    odds = counts[None] / counts[y][:, None] * np.exp(z - z[np.arange(20), y][:, None])
    np.testing.assert_allclose(loss, np.log(odds.sum(1)), 1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: class_frequencies(IDS, 0),
            ValueError,
            "class_frequencies: num_classes must be a positive int, got 0.",
        ),
        (
            lambda: class_frequencies(IDS, 2.5),
            ValueError,
            "class_frequencies: num_classes must be a positive int, got 2.5.",
        ),
        (
            lambda: class_frequencies(np.ones((2, 3)), 4),
            ValueError,
            "class_frequencies: floating labels must be distributions over num_classes=4 classes, "
            "(..., 4), got shape (2, 3); class ids must have an integer dtype.",
        ),
        (
            lambda: class_frequencies(IDS, 5, weights=WEIGHTS[0]),
            ValueError,
            "class_frequencies: weights must hold one number per label, (3, 4) for these labels, "
            "got (4,); broadcast it with jnp.broadcast_to.",
        ),
        (
            lambda: class_frequencies(IDS * 1j, 5),
            TypeError,
            "class_frequencies: labels must be real, got complex64; pass labels.real.",
        ),
        (
            lambda: balanced_class_weights(3.0),
            ValueError,
            "balanced_class_weights: counts must have a class axis, got a scalar; pass a vector.",
        ),
        (
            lambda: logit_adjustment(np.zeros((2, 0))),
            ValueError,
            "logit_adjustment: counts of shape (2, 0) has no classes along axis -1; "
            "a distribution needs at least one.",
        ),
        (
            lambda: logit_adjustment([1, 2], tau=[1.0, 2.0]),
            ValueError,
            "logit_adjustment: tau must be one number, got shape (2,); use jax.vmap for several.",
        ),
        (
            lambda: effective_number_weights([1, 2], 1.5),
            ValueError,
            "effective_number_weights: beta must lie in [0, 1], got 1.5.",
        ),
        (
            lambda: effective_number_weights([1, 2], NAN),
            ValueError,
            "effective_number_weights: beta must lie in [0, 1], got nan.",
        ),
        (
            lambda: effective_number_weights([1, 2], "much"),
            TypeError,
            "effective_number_weights: beta must be a number in [0, 1], got 'much'.",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
