"""The monoid of row sums: its merge, its schedules, its shards and its rule, against plain sums."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import xent_jax
from xent_jax._rows import row_sums as module
from xent_jax._rows.row_state import LONE, RowSums, infinity, merge
from xent_jax._rows.row_sums import Asked, Logits, row_sums

from .cases import quick
from .selection import several_devices

INF = np.inf


def state(entries, labels, beside, dtype=np.float64):
    """The state of a part of a row by its definition, in NumPy: of no entries too."""
    far = infinity(np.zeros(1, dtype))
    z = np.clip(np.asarray(entries, dtype), -far, far)
    y, a = np.asarray(labels, dtype), np.clip(np.asarray(beside, dtype), -far, far)
    if not z.size:
        z, y, a, index = np.array([-far]), np.zeros(1), np.array([-far]), 2**31 - 1
    else:
        index = int(np.argmax(z))
    m = z.max()
    u = m - z
    w = np.exp(-u)
    rest = np.delete(w, np.argmax(z)).sum()
    depth = np.where(u >= far / 2, INF, u)
    cost = np.sum(np.where(y > 0, depth, 0.0) * y)
    numbers = (m, rest, np.sum(w * u), cost, y.sum(), y[u > 0].sum())
    m, rest, spread, cost, mass, below = (jnp.asarray(x, dtype) for x in numbers)
    top = jnp.asarray(a[u == 0].max(), dtype)
    return RowSums(m, rest, spread, (cost,), (mass,), (below,), jnp.int32(index), top, None, None)


def same(a, b, tolerance=1e-6):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), tolerance, 1e-30)


def used(sums):
    """Without what is of use only where the maximum outweighs all others together."""
    lone = np.asarray(sums.rest) < LONE - 1

    def where_lone(x):
        return np.where(lone, x, 0.0)

    below = tuple(map(where_lone, sums.below))
    return sums._replace(below=below, beside=where_lone(sums.beside))


# Logits of all sizes, with ties and both infinities; label masses of which some are 0.
logit = st.one_of(
    st.sampled_from([0.0, 1.0, 3.0, -80.0, 1e4, -1e4, INF, -INF]),
    st.floats(-30, 30, width=32),
)
entry = st.tuples(logit, st.sampled_from([0.0, 0.0, 0.25, 1.0]), logit)
part = st.lists(entry, max_size=5)


def columns(entries):
    return tuple(zip(*entries, strict=True)) if entries else ((), (), ())


@hypothesis.given(part, part)
def test_merge_is_the_state_of_the_whole(first, second):
    """In either order, also of parts without entries."""
    hypothesis.assume(first or second)
    with jax.enable_x64(True):
        a, b = (state(*columns(x)) for x in (first, second))
        whole = state(*columns(first + second))
        index = whole.index  # counted from the start of each part
        for got in (merge(a, b), merge(b, a)):
            same(got._replace(index=index), whole._replace(index=index), 1e-12)


@hypothesis.given(part, part, part)
def test_merge_is_associative_and_commutative(first, second, third):
    """To rounding in float32, to fewer digits than any bar in float64."""
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-13)):
        with jax.enable_x64(dtype == np.float64):
            a, b, c = (state(*columns(x), dtype) for x in (first, second, third))
            left, right = merge(merge(a, b), c), merge(a, merge(b, c))
            same(left, right, tolerance)
            same(merge(b, a), merge(a, b), 0)
            assert all(not np.isnan(x).any() for x in jax.tree.leaves(left))


def test_nan_stays():
    with jax.enable_x64(True):
        good, bad = state([1.0, 2.0], [0.5, 0.5], [0, 0]), state([0.0], [1.0], [0])
        bad = bad._replace(maximum=jnp.asarray(np.nan))
        for got in (merge(good, bad), merge(bad, good)):
            assert np.isnan(got.maximum) and np.isnan(got.rest)


def rows(dtype=np.float32, classes=37):
    """Ordinary, tied, huge, masked rows; one without a class; labels and neighbours."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(9, classes)) * 4
    z[1, [3, 8, 20]] = 30
    z[2] += 1e4
    z[3, ::2] = -INF
    z[4, 5] = INF
    z[5] = -INF
    z[6] = 2.5
    z[7, 4] = 90
    z[8, 1:] = -INF
    y = rng.dirichlet(np.ones(classes), 9)
    y[3, ::2] = 0
    y[1:5, 0] = 0
    return z.astype(dtype), y.astype(dtype), rng.normal(size=z.shape).astype(dtype)


EVERYTHING = Asked(spread=True, index=True)


def sums(schedule, axes, *arrays):
    (z, y, a) = arrays
    given = (module.typed_row((1,), Logits(z, (y,), a)),)
    return schedule(axes, EVERYTHING, given)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_schedules_agree(dtype):
    """One read of states, two passes, and the definition."""
    with jax.enable_x64(dtype == "float64"):
        z, y, a = (jnp.asarray(x, dtype) for x in rows())
        one, two = (
            jax.jit(functools.partial(sums, f, (1,)))(z, y, a)
            for f in (module.one_read, module.two_passes)
        )
        one, two = (jax.tree.map(lambda x: np.delete(np.asarray(x), 5, 0), s) for s in (one, two))
        same(used(one), used(two), 1e-12 if dtype == "float64" else 3e-6)
        wide = [np.asarray(x, np.float64) for x in (z, y, a)]
        with jax.enable_x64(True):
            dtype_of = np.float64 if dtype == "float64" else np.float32  # of what is infinite
            wide = [np.delete(np.asarray(x, dtype_of), 5, 0) for x in wide]
            truth = [state(*(x[i] for x in wide), dtype_of) for i in range(len(z) - 1)]
        got = [jax.tree.map(lambda x, i=i: x[i, 0], two) for i in range(len(z) - 1)]
        for g, t in zip(got, truth, strict=True):
            same(used(g), used(t), 1e-12 if dtype == "float64" else 3e-6)


@pytest.mark.parametrize("function", ["entropy", "cross_entropy", "kl_divergence"])
def test_logits_that_are_computed_twice(function):
    """A program that is hardly optimised computes them for each pass, and rounds differently."""
    rng = np.random.default_rng(0)
    a, b = (3 * rng.normal(size=(64, 37)).astype(np.float32) for _ in range(2))
    second = {"entropy": (), "cross_entropy": (b[:, 0] > 0,), "kl_divergence": (b,)}[function]
    f = getattr(xent_jax, f"softmax_{function}")

    def of(a, c):
        z = a * 1.7 + jnp.broadcast_to(c, a.shape)
        return f(z, *(jnp.asarray(x) if x.ndim == 2 else x.astype(int) for x in second))

    def loss_and_gradient(a, c):
        return jax.value_and_grad(lambda a: jnp.sum(of(a, c)))(a)

    options = {"xla_backend_optimization_level": 0}  # what jax_disable_most_optimizations sets
    got = jax.jit(loss_and_gradient, compiler_options=options)(a, b[:1])
    for x, y in zip(got, jax.jit(loss_and_gradient)(a, b[:1]), strict=True):
        np.testing.assert_allclose(x, y, 2e-5, 2e-5)


@pytest.mark.slow
def test_several_class_axes():
    """The index is flat, in the order in which the axes are named."""
    z = np.delete(rows(classes=24)[0], 5, 0).reshape(8, 4, 6)
    flat = np.swapaxes(z, 1, 2).reshape(8, 24)
    for got in (
        row_sums((2, 1), Logits(z), asked=EVERYTHING)[0],
        module.one_read((2, 1), EVERYTHING, (module.typed_row((2, 1), Logits(z)),))[0],
    ):
        want = row_sums((1,), Logits(flat), asked=EVERYTHING)[0]
        same(jax.tree.map(jnp.ravel, got), jax.tree.map(jnp.ravel, want), 1e-5)


@several_devices
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_entry_of_a_class_is_as_it_was_given(dtype):
    """Also where it is infinite; of no shard that does not hold it; with its derivative."""
    z = jnp.asarray(rows(classes=36)[0], dtype)
    ids = jnp.asarray([[0], [3], [35], [2], [5], [1], [7], [4], [20]])
    want = np.take_along_axis(np.asarray(z, np.float32), np.asarray(ids), 1)
    given = (module.typed_row((1,), Logits(z, id=ids)),)
    for schedule in (module.one_read, module.two_passes):
        (found,) = jax.jit(schedule, static_argnums=(0, 1))((1,), Asked(), given)
        np.testing.assert_array_equal(found.at_id, want)
        assert found.at_id.dtype == jnp.float32
    mesh = jax.sharding.Mesh(jax.devices()[:4], "k")
    split = jax.shard_map(
        lambda z, ids: row_sums((1, "k"), Logits(z, id=ids))[0].at_id,
        mesh=mesh,
        in_specs=(P(None, "k"), P()),
        out_specs=P(),
    )
    np.testing.assert_array_equal(quick(split)(z, ids), want)
    slope = quick(jax.grad(lambda z: jnp.sum(row_sums((1,), Logits(z, id=ids))[0].at_id)))(z)
    np.testing.assert_array_equal(slope, np.arange(36) == np.asarray(ids))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_sums_for_the_loss_of_an_id_alone(dtype):
    """s to a rounding of T, and with all its digits where the id is that of the maximum."""
    with jax.enable_x64(dtype == "float64"):
        z = jnp.asarray(rows(classes=37)[0], dtype).at[5].set(0.0)
        exact = jax.jit(functools.partial(module.two_passes, (1,), Asked()))
        alone = jax.jit(functools.partial(module.two_passes, (1,), Asked(exact=False)))
        for k in (0, 4, 5, 36):
            row = (module.typed_row((1,), Logits(z, id=jnp.full((9, 1), k))),)
            (want,), (got,) = exact(row), alone(row)
            likely = np.asarray(z[:, [k]].astype(want.maximum.dtype) == want.maximum)
            ulp = np.finfo(want.rest.dtype).eps
            np.testing.assert_allclose(got.rest[likely], want.rest[likely], 90 * ulp)  # of u = 90
            np.testing.assert_allclose(got.total, want.total, 4 * ulp)
        row = (module.typed_row((1,), Logits(z.at[4, 6].set(jnp.nan), id=jnp.full((9, 1), 5))),)
        assert np.isnan(alone(row)[0].rest).ravel().tolist() == [i == 4 for i in range(9)]


def test_a_row_without_a_class_has_no_sums():
    (found,) = row_sums((1,), Logits(rows()[0]), asked=Asked(index=True))
    assert np.isnan(found.rest).ravel().tolist() == [i == 5 for i in range(9)]
    assert np.all((found.index >= 0) & (found.index < 37))


def test_rule_is_the_derivative_of_plain_sums():
    """What is made of the state does not depend on m: log Σ e^z, Σ y c and the entropy."""
    with jax.enable_x64(True):
        z, y, _ = (x.astype(np.float64)[[0, 1, 2, 6, 7]] for x in rows())

        def ours(z, y):
            (s,) = row_sums((1,), Logits(z, (y,)), asked=Asked(spread=True))
            log_total = jnp.log1p(s.rest)
            return (
                s.maximum + log_total,
                s.costs[0] + s.masses[0] * log_total,
                log_total + (s.spread / s.total),
            )

        def plain(z, y):
            log_p = jax.nn.log_softmax(z)
            entropy = -jnp.sum(jnp.exp(log_p) * log_p, 1, keepdims=True)
            cost = -jnp.sum(y * log_p, 1, keepdims=True)
            return jax.nn.logsumexp(z, 1, keepdims=True), cost, entropy

        rng = np.random.default_rng(1)
        v = tuple(rng.normal(size=(2, *z.shape)))

        def derivatives(f, gradient, *x):
            return (*jax.jvp(f, x, v)[1], *gradient(*x), *jax.jvp(gradient, x, v)[1])

        for f in (ours, plain):
            gradient = jax.grad(lambda *x, f=f: sum(jnp.sum(part) for part in f(*x)), (0, 1))
            found = quick(functools.partial(derivatives, f, gradient))(z, y)
            if f is ours:
                got = found
        for a, b in zip(got, found, strict=True):
            np.testing.assert_allclose(a, b, 1e-12, 1e-14)


@several_devices
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_shards_merge(order):
    """Maxima tied over shards, a shard without a class, the first index of all."""
    z, y, a = (np.array(x[:, :36]) for x in rows())
    z[0, [2, 11, 30]] = 50
    z[1, 9:18] = -INF
    y[1, 9:18] = 0
    z, y, a = (np.concatenate([np.split(x, 4, 1)[i] for i in order], 1) for x in (z, y, a))
    mesh = jax.sharding.Mesh(jax.devices()[:4], "k")

    def part(z, y, a):
        (found,) = row_sums((1, "k"), Logits(z, (y,), a), asked=EVERYTHING)
        return found

    split = jax.shard_map(part, mesh=mesh, in_specs=P(None, "k"), out_specs=P())
    (whole,) = row_sums((1,), Logits(z, (y,), a), asked=EVERYTHING)
    split, whole = (
        jax.tree.map(lambda x: np.delete(np.asarray(x), 5, 0), s)
        for s in (jax.jit(split)(z, y, a), whole)
    )
    same(used(split), used(whole), 3e-6)
