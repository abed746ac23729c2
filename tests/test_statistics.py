"""softmax_statistics: each field against the oracle, its siblings, and the linear row's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax import softmax_statistics

from . import oracle
from .cases import CASES, MASKED_CASES, NAMED_CASES, QUICK, quick

INF, NAN = np.inf, np.nan
FIELDS = ("log_prob", "logsumexp", "entropy", "argmax", "correct", "rank")
statistics = jax.jit(softmax_statistics, static_argnames=("axis", "base"), compiler_options=QUICK)


def plain_logsumexp(row, where=None):
    """log Σ e^z of one row in float64, 0 where nothing is kept."""
    row = np.asarray(row, np.float64)
    row = row if where is None else row[where]
    if not row.size:
        return 0.0
    top = row.max()
    return top + np.log(np.sum(np.exp(row - top))) if np.isfinite(top) else top


def stacked(cases, dtype=np.float32):
    z = np.stack([case.first for case in cases]).astype(dtype)
    labels = np.array([case.label for case in cases], np.int32)
    where = None if cases[0].where is None else np.stack([case.where for case in cases])
    return z, labels, where


def compare(cases, dtype=np.float32, bar=1e-6):
    """Values against 60 digits, relative to the truth or to the rounding of a difference."""
    z, labels, where = stacked(cases, dtype)
    got = statistics(z, labels, where=where)
    for i, (row, label) in enumerate(zip(z, labels, strict=True)):
        kept = None if where is None else where[i]
        log_prob = -oracle.softmax_cross_entropy(row, label, where=kept)[0]
        entropy = oracle.softmax_entropy(row, where=kept)[0]
        height = plain_logsumexp(row, kept)
        visible = row if kept is None else np.where(kept, row, -INF)
        finite = visible[np.isfinite(visible)]
        ulp = np.finfo(dtype).eps / 2 * float(np.ptp(finite)) if finite.size else 0.0
        # The sum of the maximum and of log1p(s) is rounded to their size.
        top = np.abs(finite).max(initial=0.0)
        np.testing.assert_allclose(got.log_prob[i], log_prob, bar, ulp, err_msg=cases[i].name)
        np.testing.assert_allclose(got.entropy[i], entropy, bar, ulp * 2, err_msg=cases[i].name)
        np.testing.assert_allclose(got.logsumexp[i], height, bar, bar * top)
        first = int(np.argmax(visible.astype(np.float64)))
        assert got.argmax[i] == first
        assert got.correct[i] == (first == label)
        assert int(got.rank[i]) == np.sum(visible > visible[label])


@pytest.mark.parametrize("cases", [NAMED_CASES, MASKED_CASES], ids=["named", "masked"])
def test_against_60_digits(cases):
    compare(cases)


@pytest.mark.parametrize("k", [pytest.param(k, marks=pytest.mark.slow)
                               for k in (2, 3, 127, 1000, 5003, 131072)])  # fmt: skip
def test_against_60_digits_of_many_classes(k):
    compare([case for case in CASES if len(case.first) == k])


@pytest.mark.slow
def test_float64():
    with jax.enable_x64(True):
        compare(NAMED_CASES, np.float64, 1e-14)
        z, labels, _ = stacked(NAMED_CASES, np.float64)
        assert [x.dtype.name for x in statistics(z, labels)] == [
            "float64", "float64", "float64", "int32", "bool", "int32"]  # fmt: skip


def test_is_a_named_tuple():
    z, labels, _ = stacked(NAMED_CASES)
    assert xent_jax.SoftmaxStatistics._fields == FIELDS
    assert issubclass(xent_jax.SoftmaxStatistics, tuple)
    with_labels, without = statistics(z, labels), statistics(z)
    assert type(with_labels) is xent_jax.SoftmaxStatistics
    assert [x.dtype.name for x in with_labels] == ["float32"] * 3 + ["int32", "bool", "int32"]
    assert all(x.shape == (len(z),) for x in with_labels)
    assert without.log_prob is None and without.correct is None and without.rank is None
    for name in ("logsumexp", "entropy", "argmax"):
        np.testing.assert_array_equal(getattr(without, name), getattr(with_labels, name))


def test_is_what_its_siblings_say():
    """To rounding, also in kind: they are epilogues of the same sums of a row.

    The loss of an id alone leaves the rounding of u in its weights, which counts where it is small.
    """
    for cases in (NAMED_CASES, MASKED_CASES):
        z, labels, where = stacked(cases)
        got = statistics(z, labels, where=where)
        loss = xent_jax.softmax_cross_entropy(z, labels, where=where)
        small = np.asarray(loss < 1e-3)
        np.testing.assert_allclose(got.log_prob[small], -loss[small], 1e-6)
        np.testing.assert_allclose(got.log_prob[~small], -loss[~small], 5e-7)
        entropy = xent_jax.softmax_entropy(z, where=where)
        np.testing.assert_allclose(got.entropy, entropy, 5e-7)


# Derivatives.


def summed(f, weights):
    """Σ weights · (log_prob + 2·logsumexp + 3·entropy): every field at once."""

    def total(z, labels, **options):
        found = f(z, labels, **options)
        parts = (found.log_prob, found.logsumexp, found.entropy)
        return sum(jnp.sum(c * weights * x) for c, x in zip((1.0, 2.0, 3.0), parts, strict=True))

    return total


def by_siblings(weights):
    def total(z, labels, **options):
        height = jax.nn.logsumexp(z, -1, where=options.get("where"))
        loss = xent_jax.softmax_cross_entropy(z, labels, **options)
        return jnp.sum(
            weights * (-loss + 2.0 * height + 3.0 * xent_jax.softmax_entropy(z, **options))
        )

    return total


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_gradients_of_both_modes(masked):
    """Reverse, forward, and a Hessian product, against the siblings in float64."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        z, step, weights = 2 * rng.normal(size=(4, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
        z[1, 2:4] = 3.0  # tied
        labels = np.array([0, 2, 4, 1])
        where = rng.random((4, 5)) < 0.7
        where[np.arange(4), labels] = True
        options = {"where": where} if masked else {}

        def derivatives(f):
            g = functools.partial(f, labels=labels, **options)

            def run(z):
                product = jax.jvp(jax.grad(g), (z,), (step,))[1]
                return jax.grad(g)(z), jax.jvp(g, (z,), (step,))[1], product, jax.jacfwd(g)(z)

            return jax.jit(run, compiler_options=QUICK)(z)

        got = derivatives(summed(softmax_statistics, weights))
        want = derivatives(by_siblings(weights))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, 1e-10, 1e-12)
        np.testing.assert_allclose(got[0], got[3], 1e-12, 1e-14)
        if masked:
            assert not got[0][~where].any()


def test_gradient_of_a_sure_row():
    """Each field keeps its digits where 1 − p is far below rounding."""
    z = jnp.array([20.0, 0.0, 0.0, -1.0])
    by_field = quick(jax.jacrev(lambda z: softmax_statistics(z, 0)[:3]))(z)
    log_prob, height, entropy = by_field
    np.testing.assert_allclose(log_prob[0], 4.880564755e-09, 1e-5)
    np.testing.assert_allclose(height, jax.nn.softmax(z), 1e-6)
    np.testing.assert_allclose(entropy, jax.grad(xent_jax.softmax_entropy)(z), 1e-6)


def test_argmax_and_correct_have_no_gradient():
    """Neither stops a gradient of the others, nor has one: integers and booleans."""

    def f(z):
        found = softmax_statistics(z, 1)
        return jnp.where(found.correct, found.log_prob, found.entropy) * found.argmax.astype(
            "float32"
        )

    z = jnp.array([0.0, 2.0, 1.0])
    got = quick(jax.grad(f))(z)
    np.testing.assert_allclose(got, -jax.grad(xent_jax.softmax_cross_entropy)(z, 1), 1e-6)
    tangents = jax.jvp(lambda z: softmax_statistics(z, 1), (z,), (z,))[1]
    assert tangents.argmax.dtype == tangents.correct.dtype == jax.dtypes.float0


# The maximum.

BEYOND = 2**24 + 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("at", [2**24 + 1, pytest.param(BEYOND - 1, marks=pytest.mark.slow)])
def test_argmax_beyond_what_float32_can_hold(at, dtype):
    """2²⁴ + 1 is the first index that float32 rounds to another."""
    z = jnp.zeros(BEYOND, dtype).at[at].set(9)
    found = jax.jit(softmax_statistics)(z, jnp.int32(at))
    assert found.argmax == at and found.argmax.dtype == jnp.int32 and found.correct
    others = BEYOND - 1
    np.testing.assert_allclose(found.logsumexp, 9 + np.log1p(others * np.exp(-9.0)), 1e-5)
    np.testing.assert_allclose(found.log_prob, -np.log1p(others * np.exp(-9.0)), 1e-5)
    neighbour = jax.jit(softmax_statistics)(z, jnp.int32(at - 1))
    assert not neighbour.correct and neighbour.argmax == at


def test_argmax_is_the_first_of_ties():
    z = np.array(
        [[1, 3, 0, 3], [0, 0, 0, 0], [-INF, 2, 2, -INF], [INF, 1, INF, 0], [-0.0, 0, 0, 0]]
    )
    found = statistics(z.astype(np.float32), np.array([3, 0, 1, 0, 0]))
    assert found.argmax.tolist() == [1, 0, 1, 0, 0]
    assert found.correct.tolist() == [False, True, True, True, True]
    big = jnp.zeros((2, 40_000), jnp.bfloat16).at[1, 33_000:].set(1)
    assert statistics(big).argmax.tolist() == [0, 33_000]


def test_argmax_sees_only_what_exists():
    z = np.array([[9.0, 1.0, 2.0], [-INF, -INF, 5.0], [0.0, 0.0, 0.0]], np.float32)
    where = np.array([[False, True, True], [False, True, False], [False, True, True]])
    found = statistics(z, np.array([2, 1, 1]), where=where)
    assert np.asarray(found.argmax)[[0, 2]].tolist() == [2, 1]
    assert np.asarray(found.correct)[[0, 2]].tolist() == [True, True]
    assert np.isnan(found.logsumexp[1]) and not found.correct[1]  # −inf is all that is left


# Edges.


def test_ids_out_of_range():
    z = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = statistics(z, np.array([-1, 3, 2, -100]))
    assert np.isnan(found.log_prob).tolist() == [True, True, False, True]
    assert found.correct.tolist() == [False, False, True, False]
    assert np.isfinite(found.logsumexp).all() and np.isfinite(found.entropy).all()
    assert found.argmax.tolist() == [2] * 4
    # Ids of a narrow dtype are compared with ids beyond its range, and do not wrap.
    z = np.zeros((1, 300), np.float32)
    z[0, 200] = 1
    for dtype, label, right in ((np.int8, -56, False), (np.uint8, 200, True), (bool, 1, False)):
        found = statistics(z, np.array([label], dtype))
        assert found.correct.tolist() == [right] and found.argmax.tolist() == [200]
        assert np.isnan(found.log_prob[0]) == (label < 0)


def test_rows_without_a_possible_class():
    z = np.array([[-INF, -INF, -INF], [NAN, 0, 1], [0, 1, 2]], np.float32)
    found = statistics(z, np.array([0, 1, 2]))
    for x in found[:3]:
        assert np.isnan(x).tolist() == [True, True, False]
    assert found.correct.tolist() == [False, False, True]
    assert found.argmax.dtype == jnp.int32 and 0 <= found.argmax.min() <= found.argmax.max() < 3


def test_where_keeps_nothing():
    """0 for each field, with gradient 0, whatever the logits; not correct."""
    z, where = np.array([[NAN, 1, 2], [0, 1, 2]], np.float32), np.zeros((2, 3), bool)
    found = statistics(z, np.array([0, 2]), where=where)
    for x in found[:4]:
        assert x.tolist() == [0, 0]
    assert not found.correct.any()
    total = lambda z: summed(softmax_statistics, 1.0)(z, jnp.array([0, 2]), where=where)  # noqa: E731
    assert not quick(jax.grad(total))(z).any()


def test_masked_label():
    """The model gave it probability 0: −inf, never correct, also on the greatest of all logits."""
    z = np.array([[9.0, 1.0, 2.0], [-INF, 1.0, 0.0]], np.float32)
    where = np.array([[False, True, True], [True, True, True]])
    found = statistics(z, np.array([0, 0]), where=where)
    assert found.log_prob.tolist() == [-INF, -INF] and not found.correct.any()
    assert found.argmax.tolist() == [2, 1]


def test_infinite_logits():
    z = np.array([[INF, 0, 1], [INF, INF, 0], [-INF, 3, -INF]], np.float32)
    found = statistics(z, np.array([0, 1, 1]))
    np.testing.assert_allclose(found.log_prob, [0, -np.log(2), 0], 1e-6)
    np.testing.assert_allclose(found.entropy, [0, np.log(2), 0], 1e-6)
    np.testing.assert_allclose(found.logsumexp, [INF, INF, 3], 1e-6)
    assert found.argmax.tolist() == [0, 0, 1] and found.correct.tolist() == [True, False, True]


def test_floating_labels_are_refused():
    z = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"^softmax_statistics: labels must be integer .*float32"):
        softmax_statistics(z, np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"^softmax_statistics: integer labels .* got \(2, 1\)"):
        softmax_statistics(z, np.zeros((2, 1), np.int32))


# Axes, units, dtypes.


@pytest.mark.parametrize(
    "axis", [0, (2, 0), *(pytest.param(a, marks=pytest.mark.slow) for a in (1, (0, 2), (2, 1, 0)))]
)
def test_axes(axis):
    """A label and the argmax are flat over the axes, in the order in which `axis` names them."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3, 4, 5)).astype(np.float32)
    axes = [a % 3 for a in (axis if isinstance(axis, tuple) else (axis,))]
    rows = [a for a in range(3) if a not in axes]
    flat = np.transpose(z, (*rows, *axes)).reshape(*(z.shape[a] for a in rows), -1)
    where = rng.random(z.shape) < 0.8
    kept = np.transpose(where, (*rows, *axes)).reshape(flat.shape)
    labels = np.asarray(rng.integers(0, flat.shape[-1], flat.shape[:-1]), np.int32)
    got = statistics(z, labels, axis=axis, where=where)
    want = statistics(flat, labels, where=kept)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, 1e-6, 1e-6)
    np.testing.assert_array_equal(got.argmax, np.argmax(np.where(kept, flat, -INF), -1))


def test_bits():
    z, labels, _ = stacked(NAMED_CASES)
    nats, bits = statistics(z, labels), statistics(z, labels, base=2)
    for a, b in zip(nats[:3], bits[:3], strict=True):
        np.testing.assert_allclose(b, a / np.log(2).astype(np.float32), 1e-6)
    np.testing.assert_array_equal(nats.argmax, bits.argmax)
    np.testing.assert_array_equal(nats.correct, bits.correct)


@pytest.mark.parametrize(
    "dtype", ["bfloat16", *(pytest.param(d, marks=pytest.mark.slow) for d in ("float16", "int8"))]
)
def test_narrow_dtypes_are_computed_in_float32(dtype):
    z = (4 * np.random.default_rng(0).normal(size=(5, 9))).astype(np.float32)
    low = jnp.asarray(z).astype(dtype)
    labels = np.arange(5)
    for a, b in zip(
        statistics(low, labels), statistics(low.astype("float32"), labels), strict=True
    ):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, 2.0**-22, 2.0**-22)
    if dtype != "int8":
        slope = jax.grad(lambda z: softmax_statistics(z, 0).log_prob)(low[0])
        assert slope.dtype == dtype


def test_no_rows():
    found = statistics(np.zeros((0, 3), np.float32), np.zeros(0, np.int32))
    assert all(x.shape == (0,) for x in found)


def test_under_vmap_and_scan():
    z, labels, _ = stacked(NAMED_CASES)
    want = statistics(z, labels)
    mapped = quick(jax.vmap(softmax_statistics))(z, labels)
    scanned = quick(lambda *a: jax.lax.map(lambda row: softmax_statistics(*row), a))(z, labels)
    along = quick(jax.vmap(softmax_statistics, (1, 0)))(z.T, labels)
    for got in (mapped, scanned, along):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, 1e-6, 1e-30)


# The linear row.


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_of_a_linear_head(chunk):
    """The same statistics of x @ w + b, with a mask, ids out of range, and units."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, w, b = rng.normal(size=(7, 4)), rng.normal(size=(4, 11)), rng.normal(size=11)
        labels, where = np.array([0, 3, 10, -1, 11, 5, 9]), np.arange(11) < 10
        x[5] = 0
        for options in ({}, {"base": 2}, {"where": where}, {"ignore_index": -1}):
            got = xent_jax.linear_softmax_statistics(x, w, labels, b=b, chunk_size=chunk, **options)
            dense = dict(options)
            if "where" in dense:
                dense["where"] = where[None]
            want = softmax_statistics(x @ w + b[None], labels, **dense)
            assert got._fields == want._fields == FIELDS
            for ours, theirs in zip(got, want, strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_allclose(ours, theirs, 1e-11)


def test_of_a_linear_head_beyond_what_float32_can_hold():
    """An argmax is no floating number on its way through the chunks."""
    x, w = jnp.ones((1, 1), jnp.bfloat16), jnp.zeros((1, BEYOND), jnp.bfloat16)
    w = w.at[0, 2**24 + 1].set(9)
    found = xent_jax.linear_softmax_statistics(x, w, jnp.array([2**24 + 1]))
    assert found.argmax[0] == 2**24 + 1 and found.correct[0]


def test_rank_of_the_label():
    """The number of logits above its own: ties are not above; without a valid label that of all."""
    z = np.array([[1, 3, 3, 2], [INF, 0, INF, -INF], [1, 2, np.nan, 0], [1, 2, 3, 4]], "float32")
    found = softmax_statistics(z, np.array([2, 3, 1, 4]))
    assert found.rank.tolist() == [0, 3, 4, 4] and found.rank.dtype == jnp.int32
    assert found.correct.tolist() == [False] * 4  # the first of tied classes is another
    ignored = softmax_statistics(z, np.array([3, -1, -1, 0]), ignore_index=-1)
    assert ignored.rank.tolist() == [2, 4, 4, 3]
    masked = softmax_statistics(z[3], 3, where=np.array([True, True, True, False]))
    assert masked.rank == 3
    alone = softmax_statistics(z[3], 1, where=np.zeros(4, bool))
    assert alone.rank == 4


def test_rank_gives_the_accuracy_of_every_k_and_the_mean_reciprocal_rank():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(64, 10)).astype("float32"), rng.integers(0, 10, 64)
    rank = softmax_statistics(z, labels).rank
    best_first = np.argsort(-z, -1)
    for k in (1, 3, 10):
        hits = (best_first[:, :k] == labels[:, None]).any(-1)
        np.testing.assert_array_equal(rank < k, hits)
    places = 1 + np.argmax(best_first == labels[:, None], -1)
    np.testing.assert_allclose(jnp.mean(1 / (1 + rank)), np.mean(1 / places), 1e-6)
    narrow = softmax_statistics(z.astype(jnp.bfloat16), labels).rank
    wide = z.astype(jnp.bfloat16).astype("float32")
    np.testing.assert_array_equal(narrow, (wide > wide[np.arange(64), labels][:, None]).sum(-1))
