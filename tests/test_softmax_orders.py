"""Orders of softmaxes: entropies of Rényi and Tsallis and the divergence, against 60 digits.

The bar is relative: 1e-6 in float32 and 2e-14 in float64, or as many ulps as the order has, or what
the logits' difference was rounded by; gradients as a fraction of the row's largest entry.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as Spec
from mpmath import mp, mpf

import xent_jax
from xent_jax import softmax_renyi_divergence, softmax_renyi_entropy, softmax_tsallis_entropy

from .cases import quick
from .information import INF, NAN
from .selection import slow, usually

BAR = {np.float32: 1e-6, np.float64: 2e-14}
ORDERS = (0, 1e-3, 0.3, 0.5, 1 - 1e-4, 1, 1 + 1e-6, 1 + 1e-4, 1.5, 2, 50, INF)
NO = -INF
A, B = np.random.default_rng(1).normal(size=(2, 8))
FLAT = 0 * A
SIXTY_FOURTHS = np.round(A * 64) / 64

ONE = {
    "confident": [20, 0, 0, -1, 1, 2, -3, 0],
    "confident by 60": [60.7, *A[1:]],
    "[20, 0, 0, -1]": [20, 0, 0, -1, NO, NO, NO, NO],
    "flat": FLAT,
    "nearly flat": 1e-4 * A,
    "mild": A,
    "wide": 4 * A,
    "tied": [3, 3, *A[2:]],
    "offset": SIXTY_FOURTHS + 1e4,
    "one +inf": [INF, *A[1:]],
    "two +inf": [INF, INF, *A[2:]],
}
TWO = {
    "mild": (A, B),
    "wide": (4 * A, 4 * B),
    "equal": (A, A),
    "equal but for an offset": (SIXTY_FOURTHS, SIXTY_FOURTHS + 1024),
    "flat": (FLAT, B),
    "to flat": (B, FLAT),
    "1e-4 apart": (A, A + 1e-4 * B),
    "1e-4 apart, offsets": (A + 100, A + 1e-4 * B - 50),
    "confident": ([20, *A[1:]], [22, *B[1:]]),
    "confident by 50": ([50, *A[1:]], [45, *B[1:]]),
    "confident, near": ([20, *A[1:]], [20, *(A[1:] + 1e-3 * B[1:])]),
    "confident, of two minds": ([20, *A[1:]], [A[0], 30, *B[2:]]),
    "zeros in p": ([NO, NO, *A[2:]], B),
    "zeros in q": (A, [NO, NO, *B[2:]]),
    "zeros in both": ([NO, NO, *A[2:]], [NO, NO, *B[2:]]),
    "disjoint": ([NO, NO, NO, NO, *A[4:]], [*B[:4], NO, NO, NO, NO]),
    "+inf": ([INF, *A[1:]], B),
    "the tail decides": ([0, -30, *(A[2:] - 40)], [0, -33, *(B[2:] - 40)]),
}
FAMILIES = (softmax_renyi_entropy, softmax_tsallis_entropy, softmax_renyi_divergence)
few_families = pytest.mark.parametrize(
    "function", usually((softmax_renyi_entropy,), FAMILIES), ids=lambda f: f.__name__
)
each_family = pytest.mark.parametrize("function", FAMILIES, ids=lambda f: f.__name__)


# --- the truth


def softmax_of(z):
    z = [mpf(float(x)) for x in z]
    top = max(z)
    w = [mpf(x == top) if top == mp.inf else mp.exp(x - top) for x in z]
    total = mp.fsum(w)
    return [x / total for x in w]


def dot(a, b):
    return mp.fsum(x * y for x, y in zip(a, b, strict=True))


def entropy_truth(z, order, tsallis):
    """The value, ∂/∂z and ∂/∂α."""
    p, order = softmax_of(z), mpf(float(order))
    t, cost = order - 1, [-mp.log(x) if x else mpf(0) for x in p]
    if order == mp.inf:
        ties = p.count(max(p))
        slopes = [x - mpf(x == max(p)) / ties for x in p]
        return (0, [0 * x for x in p], 0) if tsallis else (-mp.log(max(p)), slopes, 0)
    if t == 0:
        h = dot(p, cost)
        mean = 0 if tsallis else h
        change = -dot(p, [(c - mean) ** 2 for c in cost]) / 2
        return h, [x * (c - h) for x, c in zip(p, cost)], change
    power = [mp.exp(-order * c) if x else mpf(0) for x, c in zip(p, cost)]
    total = mp.fsum(power)
    if tsallis:
        s = (1 - total) / t
        slopes = [order * (x * total - w) / t for x, w in zip(p, power)]
        return s, slopes, (dot(power, cost) - s) / t
    escort, h = [w / total for w in power], -mp.log(total) / t
    slopes = [order * (x - e) / t for x, e in zip(p, escort)]
    return h, slopes, (dot(escort, cost) - h) / t


def divergence_truth(zp, zq, order):
    """The value, ∂/∂zp, ∂/∂zq and ∂/∂α; None for slopes of +∞."""
    p, q, order = softmax_of(zp), softmax_of(zq), mpf(float(order))
    t, both = order - 1, [bool(x and y) for x, y in zip(p, q)]
    if not any(both) or (t >= 0 and any(x and not y for x, y in zip(p, q))):
        return INF, None, None, None
    r = [mp.log(x / y) if ok else mpf(0) for x, y, ok in zip(p, q, both)]
    if order == mp.inf:
        d = max(x for x, ok in zip(r, both) if ok)
        escort = [x * (ok and abs(y - d) < 1e-45) for x, y, ok in zip(p, r, both)]
    else:
        escort = [x * mp.exp(t * y) * ok for x, y, ok in zip(p, r, both)]
    total = mp.fsum(escort)
    escort = [e / total for e in escort]
    by_q = [y - e for y, e in zip(q, escort)]
    if order == mp.inf:
        return d, [e - x for x, e in zip(p, escort)], by_q, 0
    if t == 0:
        d = dot(p, r)
        change = dot(p, [(x - d) ** 2 for x in r]) / 2
        return d, [x * (y - d) for x, y in zip(p, r)], by_q, change
    d = mp.log(total) / t
    return d, [order * (e - x) / t for x, e in zip(p, escort)], by_q, (dot(escort, r) - d) / t


def truth(function, row, order):
    if function is softmax_renyi_divergence:
        return divergence_truth(*row, order)
    return entropy_truth(*row, order, function is softmax_tsallis_entropy)


# --- the table


def rows_of(function, dtype):
    two = function is softmax_renyi_divergence
    rows = TWO if two else ONE
    columns = zip(*(row if two else (row,) for row in rows.values()), strict=True)
    return list(rows), [np.array(column, dtype) for column in columns]


def along(*row):
    return *(np.cos(np.arange(x.shape[-1]) + i).astype(x.dtype) for i, x in enumerate(row)), 1.0


@functools.cache
def table(function):
    """Values, gradients and a forward derivative over orders × rows."""

    def one(order, *row):
        value, pull = jax.vjp(function, *row, order)
        directions = *along(*row)[:-1], jnp.ones_like(order)
        return value, *pull(jnp.ones_like(value)), jax.jvp(function, (*row, order), directions)[1]

    rows = 1 + (function is softmax_renyi_divergence)
    return quick(jax.vmap(jax.vmap(one, (None, *[0] * rows)), (0, *[None] * rows)))


@pytest.mark.parametrize("dtype", [np.float32, slow(np.float64)], ids=["float32", "float64"])
@each_family
def test_orders_of_logits(function, dtype):
    names, columns = rows_of(function, dtype)
    orders, eps = np.array(ORDERS, dtype), np.finfo(dtype).eps
    with jax.enable_x64(dtype is np.float64):
        results = [np.asarray(x) for x in table(function)(orders, *columns)]
    assert {x.dtype for x in results} == {np.dtype(dtype)}
    value, *gradients, by_order, forward = (x.astype(float) for x in results)
    for i, j in np.ndindex(value.shape):
        label = f"{function.__name__}, {names[j]!r}, order {orders[i]}"
        row = [x[j] for x in columns]
        want, *slopes, change = truth(function, row, orders[i])
        got = [*(g[i, j] for g in gradients), by_order[i, j], forward[i, j]]
        assert np.isfinite(np.hstack(got)).all(), label
        if want == INF:
            assert value[i, j] == INF, label
            continue
        # Probabilities are raised to the order; logits of two minds differ by 50 when subtracted.
        bar = max(BAR[dtype], 0.5 * eps * min(orders[i], 50), 25 * eps * ("minds" in label))
        assert value[i, j] >= 0, label
        near = 10 * bar if "apart" in label else bar
        np.testing.assert_allclose(value[i, j], float(want), near, 1e-30, err_msg=label)
        slopes, changes = [np.array(s, float) for s in slopes], float(change)
        for g, slope in zip(got, slopes):
            size = np.abs(slope).max()
            np.testing.assert_allclose(g, slope, 0, bar * size + 1e-36, err_msg=label)
        np.testing.assert_allclose(by_order[i, j], changes, 4 * bar, 1e-20, err_msg=label)
        terms = np.hstack([g * t for g, t in zip([*slopes, changes], along(*row), strict=True)])
        allowed = 4 * bar * np.abs(terms).sum() + 1e-20
        np.testing.assert_allclose(forward[i, j], terms.sum(), 0, allowed, err_msg=label)


def test_equal_logits_are_exactly_0_apart():
    _, (z, _) = rows_of(softmax_renyi_divergence, np.float32)
    for x in table(softmax_renyi_divergence)(np.float32(ORDERS), z, z):
        assert not np.any(x)


@pytest.mark.slow
@pytest.mark.parametrize("k", (1, 2, 3, 129, 5003, 32768))
def test_rows_of_any_size(k):
    """Against the probabilities' functions in float64."""
    rng = np.random.default_rng(k)
    zp = rng.normal(size=(3, k)).astype(np.float32) * 3
    zq = zp + np.float32(0.1) * rng.normal(size=(3, k)).astype(np.float32)
    p, q = (np.exp(z.astype(float)) for z in (zp, zq))
    p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
    for order in np.float32([0.25, 0.999, 2, 8]):
        a = float(order)
        total = np.sum(p**a, -1)
        np.testing.assert_allclose(
            softmax_renyi_entropy(zp, order), np.log(total) / (1 - a), 3e-6, 1e-6
        )
        np.testing.assert_allclose(
            softmax_tsallis_entropy(zp, order), (1 - total) / (a - 1), 3e-6, 1e-6
        )
        want = np.log(np.sum(p**a * q ** (1 - a), -1)) / (a - 1)
        np.testing.assert_allclose(
            softmax_renyi_divergence(zp, zq, order), want, 3e-6 * max(1, a), 1e-9
        )


# --- what they equal


@pytest.mark.slow
def test_order_1_is_shannon():
    z, w = np.float32([A, 4 * B]), np.float32([B, 4 * A])
    for f, plain, data in (
        (softmax_renyi_entropy, xent_jax.softmax_entropy, (z,)),
        (softmax_tsallis_entropy, xent_jax.softmax_entropy, (z,)),
        (softmax_renyi_divergence, xent_jax.softmax_kl_divergence, (z, w)),
    ):

        def total(f, *data, order=()):
            return f(*data, *order).sum()

        order, places = (np.float32(1),), tuple(range(len(data)))
        got = quick(jax.value_and_grad(functools.partial(total, f, order=order), places))(*data)
        want = quick(jax.value_and_grad(functools.partial(total, plain), places))(*data)
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(x, y, 1e-6, 1e-6 * np.abs(y).max())


def test_orders_decrease_entropies_and_increase_the_divergence():
    orders = np.float32(ORDERS)
    for function, sign in ((softmax_renyi_entropy, -1), (softmax_renyi_divergence, 1)):
        names, columns = rows_of(function, np.float32)
        value = np.asarray(table(function)(orders, *columns)[0], float)
        value = value[
            :, [i for i, n in enumerate(names) if "zeros in q" not in n and n != "disjoint"]
        ]
        with np.errstate(invalid="ignore"):
            step = np.where(value[1:] == value[:-1], 0, sign * np.diff(value, axis=0))
        assert (step >= -1e-6 * np.abs(value[1:]) - 1e-12).all()


# --- edges


@few_families
def test_where_is_a_row_without_the_outcome(function):
    z = np.float32([[20, 0, 0, -1, 40], A[:5]])
    w = np.float32([[20, 1, 0, -1, 40], B[:5]])
    where = np.array([True, True, True, True, False])
    data = (z, w) if function is softmax_renyi_divergence else (z,)
    places = tuple(range(len(data)))

    def run(order, where, *data):
        value, pull = jax.vjp(lambda *x: function(*x, order, where=where), *data)
        return value, pull(jnp.ones_like(value))

    for order in np.float32([0, 0.5, 1, 3, INF]):
        got, slopes = quick(run)(order, where, *data)
        want, true = quick(run)(order, where[:4], *(x[:, :4] for x in data))
        np.testing.assert_allclose(got, want, 1e-6)
        for i in places:
            np.testing.assert_allclose(slopes[i][:, :4], true[i], 1e-6, 1e-12)
            assert not np.any(slopes[i][:, 4])
        nothing, slopes = quick(run)(order, where & ~where, *data)
        assert not np.any(nothing) and not any(np.any(s) for s in slopes)


@each_family
def test_bad_orders_and_logits_give_nan(function):
    # Of the shapes of the table, which is compiled once.
    names, _ = rows_of(function, np.float32)
    z = np.float32([A] * len(names))
    z[1, 2], z[2] = NAN, NO
    rows = (z, np.zeros_like(z)) if function is softmax_renyi_divergence else (z,)
    orders = np.resize(np.float32([0.5, 1, 2, -1e-6, -2, NAN, NO]), len(ORDERS))
    value, *gradients = table(function)(orders, *rows)[: len(rows) + 1]
    want = np.resize([False, True, True] + [False] * 99, len(names)) | ~(orders >= 0)[:, None]
    for x in (value, *(g.sum(-1) for g in gradients)):
        np.testing.assert_array_equal(np.isnan(x), want)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=["float16", "bfloat16"])
@each_family
def test_narrow_logits(function, dtype):
    data = [jnp.asarray(x, dtype) for x in ([A, 2 * B], [B, A])]
    data = data if function is softmax_renyi_divergence else data[:1]

    def total(*data):
        return function(*data, 1.5).sum()

    value, gradients = quick(jax.value_and_grad(total, tuple(range(len(data)))))(*data)
    wide, true = quick(jax.value_and_grad(total, tuple(range(len(data)))))(
        *(x.astype(jnp.float32) for x in data)
    )
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, wide, 1e-6)
    for g, want in zip(gradients, true, strict=True):
        assert g.dtype == dtype
        np.testing.assert_allclose(g.astype(jnp.float32), want, 1e-2, 1e-3)


@pytest.mark.slow
@each_family
def test_hessians(function):
    """By the logits and the order: differences of the true gradient; finite at the edges."""
    rows = 1 + (function is softmax_renyi_divergence)

    def parts(x):
        return [x[4 * i : 4 * i + 4] for i in range(rows)], x[-1]

    def gradient(x):
        row, order = parts(x)
        return np.hstack([np.array(s, float) for s in truth(function, row, order)[1:]])

    with jax.enable_x64(True):

        def of_vector(x):
            row, order = parts(x)
            return function(*row, order)

        hessian = quick(jax.hessian(of_vector))
        reverse = quick(jax.jacrev(jax.jacrev(of_vector)))
        for order in (0.5, 1, 2.5):
            x = np.hstack([[0.3, -1.2, 0.8, 0.1], [1.1, 0.4, -0.7, 0.2]][:rows] + [order])
            basis = 1e-6 * np.eye(len(x))
            want = np.stack([(gradient(x + e) - gradient(x - e)) / 2e-6 for e in basis], -1)
            for second in (hessian, reverse):
                np.testing.assert_allclose(second(x), want, 1e-6, 1e-8)
        for order in (0, 0.5, 1, 2, 50, INF):
            for row in ([20, 0, 0, NO], [0, 0, 0, 0], [90, 3, -50, -800]):
                x = np.hstack([row] * rows + [order]).astype(float)
                assert np.isfinite(hessian(x)).all(), (row, order)


# --- transformations


@pytest.mark.slow
def test_a_sweep_over_orders_compiles_once():
    traces = []

    def all_three(z, w, a):
        traces.append(a)
        return (
            softmax_renyi_entropy(z, a),
            softmax_tsallis_entropy(z, a),
            softmax_renyi_divergence(z, w, a),
        )

    sweep = jax.jit(jax.vmap(all_three, (None, None, 0)))
    z, w = np.float32([A, B]), np.float32([B, A])
    for orders in np.float32([[0.5, 1, 2], [1, 0, INF]]):
        swept = sweep(z, w, orders)
        for i, order in enumerate(orders):
            one = (f(z, order) for f in FAMILIES[:2])
            for x, want in zip(swept, (*one, softmax_renyi_divergence(z, w, order)), strict=True):
                np.testing.assert_allclose(x[i], want, 1e-6)
    assert len(traces) == 1


@pytest.mark.slow
@each_family
def test_classes_split_by_hand(function):
    """`axis_name` inside shard_map, on a mesh of one device; tests/test_axis_names.py has more."""
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    data = np.float32([A, B]), np.float32([B, A])
    data = data if function is softmax_renyi_divergence else data[:1]

    def total(split, *data):
        f = functools.partial(function, axis_name="model") if split else function
        specs = (Spec(None, "model"),) * len(data)
        run = lambda *z: f(*z, np.float32(1.7))  # noqa: E731
        run = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=Spec()) if split else run
        return run(*data).sum()

    places = tuple(range(len(data)))
    got, want = (
        quick(jax.value_and_grad(functools.partial(total, split), places))(*data)
        for split in (True, False)
    )
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, 1e-6, 1e-7)


@each_family
def test_messages(function):
    z = np.zeros((2, 3), np.float32)
    data = (z, z) if function is softmax_renyi_divergence else (z,)
    name = function.__name__
    with pytest.raises(ValueError, match=rf"^{name}: alpha must be one number, got shape \(2,\)"):
        function(*data, [0.5, 2])
    with pytest.raises(ValueError, match=rf"^{name}: axis 2 is out of range for "):
        function(*data, 2, axis=2)
    with pytest.raises(TypeError, match=f"^{name}: alpha must be real"):
        function(*data, 2j)
