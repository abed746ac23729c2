"""Perplexity, joint distributions, the families of order α, and estimates from samples.

The truth is in 60 digits, from the definitions, in this file. The bar is relative: 1e-6 in float32,
1e-14 in float64; gradients meet it as a fraction of the row's largest entry.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from mpmath import mp, mpf

import xent_jax
from xent_jax import (
    conditional_entropy,
    kl_estimate,
    mutual_information,
    perplexity,
    renyi_divergence,
    renyi_entropy,
    tsallis_entropy,
)

from .cases import QUICK, quick
from .selection import usually

mp.dps = 60
INF, NAN = np.inf, np.nan
BAR = {np.float32: 1e-6, np.float64: 1e-14}
P, Q = (np.random.default_rng(i).dirichlet(np.ones(6), size=4).astype(np.float32) for i in (5, 6))
both_dtypes = pytest.mark.parametrize("dtype", BAR, ids=lambda d: d.__name__)

# --- the truth, from the definitions


def _of_row(quantity):
    """Gives `quantity` the distinct outcomes with their counts; spreads its gradients back.

    A gradient of None has no finite truth: NaN. The last number returned is that by the order.
    """

    def function(*columns, order):
        row = np.stack([np.asarray(column, float) for column in columns], -1)
        distinct, place, count = np.unique(row, axis=0, return_inverse=True, return_counts=True)
        *gradients, by_order = quantity(
            count.tolist(), *([*map(mpf, x)] for x in distinct.T.tolist()), mpf(float(order))
        )
        value, *gradients = gradients
        known = [[NAN if g is None else float(g) for g in column] for column in gradients]
        return float(value), *(np.array(g)[place.ravel()] for g in known), float(by_order)

    return function


def _sum(count, terms):
    return mp.fsum(n * x for n, x in zip(count, terms, strict=True))


def _log(x):
    return mp.log(x) if x else mpf(0)


@_of_row
def tsallis_truth(count, p, order):
    """Σ (p − p^q)/(q − 1), of the possible outcomes."""
    t = order - 1
    if order == mp.inf:
        return 0, [0 for _ in p], 0
    if t == 0:
        by_order = -_sum(count, [x * _log(x) ** 2 for x in p]) / 2
        slopes = [-_log(x) - 1 if x else None for x in p]
        return -_sum(count, [x * _log(x) for x in p]), slopes, by_order
    power = [x**order if x else mpf(0) for x in p]
    slopes = [(1 - order * x**t) / t if x else None for x in p]
    change = [-(x - w) / t**2 - w * _log(x) / t for x, w in zip(p, power)]
    return _sum(count, [(x - w) / t for x, w in zip(p, power)]), slopes, _sum(count, change)


@_of_row
def renyi_truth(count, p, order):
    """W·log(Σ p^α/W)/(1 − α), W = Σ p, and its limits."""
    t, mass = order - 1, _sum(count, p)
    if order == mp.inf:
        top = max(p)
        h, ties = -mp.log(top), sum(n for n, x in zip(count, p) if x == top)
        slopes = [None if not x else h - (x == top) * mass / (top * ties) for x in p]
        return mass * h, slopes, 0
    if t == 0:
        value = -_sum(count, [x * _log(x) for x in p])
        spread = _sum(count, [x * (_log(x) + value / mass) ** 2 for x in p])
        return value, [-_log(x) - 1 if x else None for x in p], -spread / 2
    power = [x**order if x else mpf(0) for x in p]
    total = _sum(count, power)
    h = -mp.log(total / mass) / t
    slopes = [h + (1 - order * x**t * mass / total) / t if x else None for x in p]
    escort = _sum(count, [w / total * _log(x) for w, x in zip(power, p)])
    return mass * h, slopes, mass * (-h - escort) / t


@_of_row
def divergence_truth(count, p, q, order):
    """W·log(Σ p^α q^{1−α}/W)/(α − 1) − W + V, W = Σ p and V = Σ q, and its limits."""
    t, mass, other = order - 1, _sum(count, p), _sum(count, q)
    both = [x and y for x, y in zip(p, q)]
    unknown = [None for _ in p]
    if not any(both) or (t >= 0 and any(x and not y for x, y in zip(p, q))):
        return mp.inf, unknown, unknown, mp.nan
    log_ratio = [mp.log(x / y) if x and y else mpf(0) for x, y in zip(p, q)]
    if order == mp.inf:
        rate = max(r for r, ok in zip(log_ratio, both) if ok)
        at_top = [bool(ok) and r == rate for r, ok in zip(log_ratio, both)]
        top_p = _sum(count, [x * top for x, top in zip(p, at_top)])
        by_p = [rate - 1 + top * mass / top_p if x else None for x, top in zip(p, at_top)]
        by_q = [1 - top * mass / top_p * x / y if y else None for x, y, top in zip(p, q, at_top)]
        return mass * rate - mass + other, by_p, by_q, 0
    if t == 0:
        value = _sum(count, [x * r for x, r in zip(p, log_ratio)])
        spread = _sum(count, [x * (r - value / mass) ** 2 for x, r in zip(p, log_ratio)])
        by_p = [r if x else None for x, r in zip(p, log_ratio)]
        return (
            value - mass + other,
            by_p,
            [1 - x / y if y else None for x, y in zip(p, q)],
            spread / 2,
        )
    power = [x * mp.exp(t * r) if ok else mpf(0) for x, r, ok in zip(p, log_ratio, both)]
    total = _sum(count, power)
    rate = mp.log(total / mass) / t
    by_p = [
        rate - 1 + (order * w / x * mass / total - 1) / t if x else None for x, w in zip(p, power)
    ]
    by_q = [1 - mass * w / y / total if y else None for y, w in zip(q, power)]
    escort = _sum(count, [w / total * r for w, r in zip(power, log_ratio)])
    return mass * rate - mass + other, by_p, by_q, mass * (escort - rate) / t


def joint_truth(joint):
    """H(Y|X), I(X; Y) and their gradients, 0 where the outcome has no mass."""
    p = [[mpf(float(v)) for v in row] for row in joint]
    of_x, of_y = [mp.fsum(row) for row in p], [mp.fsum(column) for column in zip(*p)]
    mass = mp.fsum(of_x)
    cost = [[_log(of_x[i] / v) if v else mpf(0) for v in row] for i, row in enumerate(p)]
    ratio = [
        [_log(v * mass / (of_x[i] * of_y[j])) if v else mpf(0) for j, v in enumerate(row)]
        for i, row in enumerate(p)
    ]
    results = []
    for slopes in (cost, ratio):
        value = mp.fsum(v * s for row, line in zip(p, slopes) for v, s in zip(row, line))
        results += [float(value), np.array([[float(s) for s in line] for line in slopes])]
    return results


# --- the rows

ORDERS = (0, 1e-3, 3e-3, 0.25, 0.5, 0.999, 1 - 1e-6, 1, 1 + 1e-6, 1.001, 2, 5, 50, INF)


def softmax(z):
    w = np.exp(z - np.max(z))
    return w / w.sum()


def rows_of_one(k=8):
    z = np.random.default_rng(0).normal(size=k)
    yield from {
        "flat": np.full(k, 1 / k),
        "nearly flat": softmax(1e-4 * z),
        "mild": softmax(z),
        "wide": softmax(4 * z),
        "tied": softmax(np.r_[3, 3, z[2:]]),
        "zeros": np.r_[0, 0, softmax(z[2:])],
        "one": np.eye(k)[2],
        "nearly one": np.r_[1 - 2e-7, np.full(k - 1, 1e-30)],
        "incomplete": softmax(z) * 0.3,
        **{f"peaked by {m}": softmax(np.r_[m + 2, z[1:]]) for m in (5, 12, 20, 60)},
    }.items()


def rows_of_two(k=8):
    a, b = np.random.default_rng(1).normal(size=(2, k))
    flat, half = np.full(k, 1 / k), np.repeat([1.0, 0.0], k // 2) * 2 / k
    peaked = np.r_[9, a[1:]]
    yield from {
        "mild": (softmax(a), softmax(b)),
        "wide": (softmax(4 * a), softmax(4 * b)),
        "equal": (softmax(a), softmax(a)),
        "zeros in p": (np.r_[0, 0, softmax(a[2:])], softmax(b)),
        "zeros in q": (softmax(a), np.r_[0, 0, softmax(b[2:])]),
        "zeros in both": (np.r_[0, 0, softmax(a[2:])], np.r_[0, 0, softmax(b[2:])]),
        "disjoint": (half, half[::-1]),
        "nearly disjoint": (half + 1e-30, half[::-1] + 1e-30),
        "incomplete": (softmax(a) * 0.5, softmax(b) * 2),
        "tiny in p": (np.r_[1 - 7e-7, np.full(k - 1, 1e-35)], np.r_[0.5, np.full(k - 1, 0.5 / 7)]),
    }.items()
    for d in (1e-12, 1e-9, 1e-6, 1e-3, 0.1):
        step = b * np.sqrt(2 * d)
        yield f"near, D about {d}", (softmax(a), softmax(a + step))
        yield f"near a peak, {d}", (softmax(peaked), softmax(peaked + step))
    for d in (10, 40):
        far = softmax(np.r_[0, d, b[2:]])
        yield f"far, {d}", (softmax(np.r_[5, a[1:]]), far)
        yield f"flat to far, {d}", (flat, far)
        yield f"far to flat, {d}", (far, flat)


def repeated(k):
    """Rows of any size; the oracle counts their 40 distinct outcomes."""
    rng = np.random.default_rng(k)
    a, b = rng.normal(size=(2, min(k, 40)))
    pick = rng.integers(len(a), size=k) if k > len(a) else np.arange(k)
    yield "mild", (softmax(a[pick]), softmax(b[pick]))
    yield "wide, near", (softmax(3 * a[pick]), softmax(3 * a[pick] + 1e-5 * b[pick]))
    one = np.r_[np.log(6), np.zeros(k - 1)]
    yield "one above the others", (softmax(one), softmax(-one))


def stacked(rows, dtype):
    """The columns of the rows, each (rows, K), without subnormal numbers."""
    names, values = zip(*rows)
    columns = [
        np.array(column, dtype)
        for column in zip(*(v if isinstance(v, tuple) else (v,) for v in values))
    ]
    return names, [np.where(x < np.finfo(dtype).tiny, dtype(0), x) for x in columns]


FAMILIES = {
    tsallis_entropy: tsallis_truth,
    renyi_entropy: renyi_truth,
    renyi_divergence: divergence_truth,
}
families = pytest.mark.parametrize("function", FAMILIES, ids=lambda f: f.__name__)


@functools.cache
def table(function):
    """Values, gradients and a forward derivative over orders × rows: compiled once per shape."""

    def one(order, *row):
        value, pull = jax.vjp(function, *row, order)
        return value, *pull(jnp.ones_like(value)), jax.jvp(function, (*row, order), along(*row))[1]

    rows = 1 + (function is renyi_divergence)
    each_row = jax.vmap(one, (None, *[0] * rows))
    return jax.jit(jax.vmap(each_row, (0, *[None] * rows)))


def along(*row):
    """The direction of the forward derivative, by the rows and the order."""
    direction = [np.cos(np.arange(x.shape[-1]) + i).astype(x.dtype) for i, x in enumerate(row)]
    return *direction, np.ones((), row[0].dtype)


def check_table(function, rows, orders, dtype):
    names, columns = stacked(rows, dtype)
    orders = np.array(orders, dtype)
    results = [np.asarray(x) for x in table(function)(orders, *columns)]
    assert {x.dtype for x in results} == {np.dtype(dtype)}
    value, *gradients, by_order, forward = (x.astype(float) for x in results)
    eps = np.finfo(dtype).eps
    for place in np.ndindex(value.shape):
        i, j = place
        # A ratio of probabilities is rounded before it is raised to the order.
        bar = max(BAR[dtype], eps * orders[i] if orders[i] < INF else 0)
        label = f"{function.__name__}, {names[j]!r}, order {orders[i]}"
        want, *slopes, change = FAMILIES[function](*(x[j] for x in columns), order=orders[i])
        got = [*(g[place] for g in gradients), by_order[place]]
        assert np.isfinite(np.hstack(got)).all(), label
        if want == INF:
            assert value[place] == INF, label
            continue
        # What normalised rows were rounded to is a divergence of eps² by itself.
        assert value[place] >= 0 or want < 0, label
        np.testing.assert_allclose(value[place], want, bar, eps**2, err_msg=label)
        for g, slope in zip(got, slopes):
            size = np.nanmax(np.abs(slope), initial=0)
            allowed = bar * size + eps * (orders[i] == 0)
            known = ~np.isnan(slope)
            np.testing.assert_allclose(g[known], slope[known], 0, allowed, err_msg=label)
        floor = (eps * (1 + abs(want))) ** 2
        np.testing.assert_allclose(by_order[place], change, 2 * bar, floor, err_msg=label)
        terms = np.hstack([g * t for g, t in zip(got, along(*columns), strict=True)])
        if np.abs(terms).max() < 0.01 * np.finfo(dtype).max:
            scale = np.abs(terms).sum()
            np.testing.assert_allclose(forward[place], terms.sum(), 0, bar * scale, err_msg=label)


@both_dtypes
@families
def test_families_over_the_orders(function, dtype):
    rows = rows_of_two() if function is renyi_divergence else rows_of_one()
    with jax.enable_x64(dtype is np.float64):
        check_table(function, rows, ORDERS, dtype)


@pytest.mark.parametrize(
    "k", [*(pytest.param(k, marks=pytest.mark.slow) for k in (2, 129, 32768)), 5003]
)
@families
def test_families_of_any_size(function, k):
    rows = [(n, v if function is renyi_divergence else v[0]) for n, v in repeated(k)]
    check_table(function, rows, (0.25, 0.999, 1, 2, 8, 50), np.float32)


def test_proportional_measures_lose_as_many_digits_as_the_order_has():
    """Off the simplex alone: W·R and W − V cancel."""
    p = P[0]
    for order in np.float32([0.5, 1, 5, 50]):
        want = divergence_truth(p, p * np.float32(1.01), order=order)[0]
        got = renyi_divergence(p, p * np.float32(1.01), order)
        np.testing.assert_allclose(got, want, 1e-6 * max(1, order / 2))


# --- what they equal


def measures(seed=3, k=6, rows=4):
    """Rows that add to anything, some with zeros."""
    rng = np.random.default_rng(seed)
    p, q = rng.exponential(size=(2, rows, k)).astype(np.float32) / k
    p[1, :2] = q[2, :3] = p[2, :3] = 0
    return p, q


@pytest.mark.parametrize("of_order, plain", [
    (tsallis_entropy, xent_jax.entropy),
    (renyi_entropy, xent_jax.entropy),
    (renyi_divergence, xent_jax.kl_divergence),
], ids=["tsallis", "renyi", "divergence"])  # fmt: skip
def test_order_1_is_shannon_in_value_and_raw_gradient(of_order, plain):
    data = measures()[: 2 if plain is xent_jax.kl_divergence else 1]

    def sides(*data):
        one = jnp.ones(())
        return [jax.vjp(f, *data)[0] for f in (lambda *x: of_order(*x, one), plain)], [
            jax.vjp(f, *data)[1](jnp.ones(4)) for f in (lambda *x: of_order(*x, one), plain)
        ]

    (value, want), (gradients, wanted) = jax.jit(sides)(*data)
    np.testing.assert_allclose(value, want, 1e-6, 1e-7)
    for got, true in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(got, true, 1e-6, 1e-6 * np.abs(true).max())


@families
def test_smooth_across_order_1(function):
    """Third differences of value, slopes and the derivative by the order show no seam."""
    rows = rows_of_two() if function is renyi_divergence else rows_of_one()
    _, columns = stacked(rows, np.float64)
    with jax.enable_x64(True):
        orders = 1 + 1e-4 * np.arange(-6, 8)
        for x in table(function)(orders, *(np.maximum(x, 0.01) for x in columns)):
            assert np.abs(np.diff(np.asarray(x), 3, axis=0)).max() < 1e-9


@pytest.mark.parametrize("function", [renyi_entropy, renyi_divergence], ids=lambda f: f.__name__)
def test_monotone_in_the_order(function):
    rows = rows_of_two() if function is renyi_divergence else rows_of_one()
    _, columns = stacked(rows, np.float32)
    columns = [x / x.sum(-1, keepdims=True) for x in columns]
    orders = np.array(
        [0, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999, 1, 1.001, 1.5, 2, 10, 100, INF], np.float32
    )
    value = np.asarray(table(function)(orders, *columns)[0], float)
    less, more = (
        (value[:-1], value[1:]) if function is renyi_divergence else (value[1:], value[:-1])
    )
    assert (less <= more * (1 + 1e-6) + 1e-12).all()


def test_special_orders():
    p = np.array([0.5, 0.25, 0.25, 0, 0, 0], np.float32)
    q = np.array([0.125, 0.125, 0.5, 0.25, 0, 0], np.float32)
    infinity, affinity = np.float32(INF), np.sqrt(p * q).sum()
    for order, h, s, d in (
        (0, np.log(3), 2, -np.log(0.75)),
        (0.5, None, None, -2 * np.log(affinity)),
        (2, -np.log(0.375), 0.625, np.log(2 + 0.5 + 0.125)),
        (infinity, np.log(2), 0, np.log(4)),
    ):
        order = np.float32(order)
        np.testing.assert_allclose(renyi_divergence(p, q, order), d, 1e-6)
        if h is not None:
            np.testing.assert_allclose(renyi_entropy(p, order), h, 1e-6)
            np.testing.assert_allclose(tsallis_entropy(p, order), s, 1e-6)
    largest = np.finfo(np.float32).max
    for order in np.float32([1, 2, INF]):
        value, by_p, by_q = value_and_gradients(renyi_divergence, q, p, order)[:3]
        assert value == INF and by_p[3] == largest and by_q[3] == -largest
        assert (np.abs(np.delete(by_p, 3)) < 100).all() and (np.abs(np.delete(by_q, 3)) < 100).all()
    np.testing.assert_allclose(renyi_divergence(q, p, np.float32(0.5)), -2 * np.log(affinity), 1e-6)


def test_equal_distributions_are_exactly_0_apart():
    orders = np.float32(ORDERS)
    _, (p, q) = stacked(rows_of_two(), np.float32)
    for row in (p, q):
        value, by_p, by_q, by_order, forward = table(renyi_divergence)(orders, row, row)
        assert not any(np.any(x) for x in (value, by_p, by_q, by_order, forward))


def test_negative_and_nan_orders_and_data_give_nan():
    p, bad = P.copy(), [False, True, True, False]
    p[1, 0], p[2, 3] = -0.5, NAN
    for order in np.float32([0, 0.3, 1, 2, INF]):
        for value in (
            renyi_entropy(p, order),
            tsallis_entropy(p, order),
            renyi_divergence(p, Q, order),
            renyi_divergence(Q, p, order),
        ):
            np.testing.assert_array_equal(np.isnan(value), bad)
    for order in np.float32([-1e-6, -2, NAN, -INF]):
        assert np.isnan(renyi_entropy(P, order)).all()
        assert np.isnan(tsallis_entropy(P, order)).all()
        assert np.isnan(renyi_divergence(P, P, order)).all()


@families
def test_hessians(function):
    """Forward over reverse, by the probabilities and the order: differences of the true gradient.

    Finite where an outcome has no probability too.
    """
    rows = 1 + (function is renyi_divergence)

    def parts(x):
        return *(x[4 * i : 4 * i + 4] for i in range(rows)), x[-1]

    def gradient(x):
        *row, order = parts(x)
        return np.concatenate(list(map(np.atleast_1d, FAMILIES[function](*row, order=order)[1:])))

    hessian = jax.jit(jax.hessian(lambda x: function(*parts(x))), compiler_options=QUICK)
    ordinary = np.concatenate([[0.1, 0.2, 0.3, 0.35], [0.3, 0.25, 0.25, 0.1]][:rows])
    for order in (0.5, 1, 2):
        x = np.append(ordinary, order).astype(np.float32)
        basis = 1e-6 * np.eye(len(x))
        want = np.stack([(gradient(x + e) - gradient(x - e)) / 2e-6 for e in basis], -1)
        np.testing.assert_allclose(hessian(x), want, 1e-5, 1e-5 * np.abs(want).max())
    edge = np.array([[0.5, 0.5, 0, 0], [0.5, 0.25, 0.25, 0]], np.float32)
    for order in (0.5, 1, 2, INF):
        for data in (edge, edge[::-1]):
            x = np.append(data[:rows].ravel(), np.float32(order))
            assert not np.isnan(hessian(x)).any(), order


def test_a_sweep_over_orders_compiles_once_and_is_a_loop():
    traces = []

    def all_three(p, q, a):
        return renyi_entropy(p, a), tsallis_entropy(p, a), renyi_divergence(p, q, a)

    @jax.jit
    def sweep(p, q, orders):
        traces.append(orders)
        return jax.vmap(all_three, (None, None, 0))(p, q, orders)

    for orders in np.float32([[0.5, 1, 2], [1, 0, INF]]):
        swept = sweep(P, Q, orders)
        for i, order in enumerate(orders):
            for x, want in zip(swept, all_three(P, Q, order), strict=True):
                np.testing.assert_allclose(x[i], want, 1e-6)
    assert len(traces) == 1


def test_order_may_be_any_number():
    want = tsallis_entropy(P, np.float32(2))
    for order in (2, np.int32(2), jnp.bfloat16(2)):
        # Compiled with the order as a constant, or not: the sums may be of another order.
        np.testing.assert_array_max_ulp(np.asarray(tsallis_entropy(P, order)), want, 2)
    for function in (tsallis_entropy, renyi_entropy):
        slope = jax.grad(lambda a, function=function: function(P, a).sum())
        assert jax.eval_shape(slope, jnp.bfloat16(2)).dtype == jnp.bfloat16


# --- joint distributions

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


# --- the estimates


@functools.cache
def estimate(kind):
    def run(log_p, log_q):
        value, pull = jax.vjp(functools.partial(kl_estimate, kind=kind), log_p, log_q)
        return value, *pull(jnp.ones_like(value))

    return jax.jit(run)


@both_dtypes
def test_estimates(dtype):
    ratios = np.array([0, 1e-15, 1e-12, 1e-6, -1e-6, 1e-3, -0.5, 0.9, 1, 1.1, -3, 30, 80, -80])
    with jax.enable_x64(dtype is np.float64):
        log_p, log_q = np.zeros_like(ratios, dtype), (-ratios).astype(dtype)
        exact = [-mpf(float(x)) for x in log_q]
        for kind, want in (
            ("k1", [(x, 1) for x in exact]),
            ("k2", [(x * x / 2, x) for x in exact]),
            ("k3", [(mp.expm1(-x) + x, -mp.expm1(-x)) for x in exact]),
        ):
            value, by_p, by_q = estimate(kind)(log_p, log_q)
            values, slopes = np.array(want, float).T
            np.testing.assert_allclose(value, values, BAR[dtype])
            np.testing.assert_allclose(by_p, slopes, BAR[dtype])
            np.testing.assert_allclose(by_q, -slopes, BAR[dtype])


def test_which_estimates_are_unbiased():
    """The exact expectation over samples of p, and of the gradient by what gives log_q."""
    p, z = softmax(np.arange(4.0)).astype(np.float32), np.float32([1, 0.5, -1, 2])
    log_p, exact = np.log(p), lambda z: xent_jax.kl_divergence(p, jax.nn.softmax(z))

    def mean(z, kind):
        return jnp.sum(p * kl_estimate(log_p, jax.nn.log_softmax(z), kind=kind))

    for kind, unbiased in (("k1", True), ("k3", True), ("k2", False)):
        value, gradient = quick(jax.value_and_grad(functools.partial(mean, kind=kind)))(z)
        want, slope = quick(jax.value_and_grad(exact))(z)
        assert np.isclose(value, want, 1e-5) == unbiased
        assert np.allclose(gradient, slope, 1e-5, 1e-6) == unbiased


def test_estimates_at_the_edges():
    log_p = np.float32([-1, -INF, -INF, NAN, -1, -1])
    log_q = np.float32([-INF, -1, -INF, -1, NAN, -1])
    for kind, want in (
        ("k1", [INF, -INF, NAN, NAN, NAN, 0]),
        ("k2", [INF, INF, NAN, NAN, NAN, 0]),
        ("k3", [INF, INF, NAN, NAN, NAN, 0]),
    ):
        value, by_p, by_q = estimate(kind)(log_p, log_q)
        np.testing.assert_array_equal(value, want)
        for slope in (by_p, by_q):
            np.testing.assert_array_equal(np.isnan(slope), np.isnan(want))
            assert not np.isinf(slope).any()


def test_estimates_that_do_not_exist_are_0_with_gradient_0():
    log_p, log_q = np.float32([-1, NAN, -2]), np.float32([-1.5, -INF, NAN])
    where = np.array([True, False, False])
    for kind in ("k1", "k2", "k3"):

        def total(*logs, kind=kind):
            return kl_estimate(*logs, kind=kind, where=where).sum()

        value, slopes = quick(jax.value_and_grad(total, (0, 1)))(log_p, log_q)
        np.testing.assert_allclose(value, kl_estimate(log_p[0], log_q[0], kind=kind), 1e-6)
        assert not any(np.any(slope[1:]) for slope in slopes) and all(s[0] for s in slopes)


# --- what all of them have in common

ORDER = np.float32(0.7)
ALL = {
    "perplexity": lambda p, q, **o: perplexity(p, **o),
    "perplexity-q": perplexity,
    "renyi_entropy": lambda p, q, **o: renyi_entropy(p, ORDER, **o),
    "renyi_divergence": lambda p, q, **o: renyi_divergence(p, q, ORDER, **o),
    "tsallis_entropy": lambda p, q, **o: tsallis_entropy(p, ORDER, **o),
}
ROWS = pytest.mark.parametrize("name", ALL)


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def _compiled(function, options, where, *data):
    masked = {} if where is None else {"where": where}
    value, pull = jax.vjp(functools.partial(function, **dict(options), **masked), *data)
    return value, *pull(jnp.ones_like(value))


def value_and_gradients(function, *data, where=None, **options):
    return _compiled(function, tuple(options.items()), where, *data)


def same(got, want):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, 2e-6, 1e-7)


def test_perplexity():
    np.testing.assert_allclose(perplexity(P), np.exp(xent_jax.entropy(P)), 1e-6)
    np.testing.assert_allclose(perplexity(P, Q), np.exp(xent_jax.cross_entropy(P, Q)), 1e-6)
    np.testing.assert_allclose(perplexity(np.full(64, 1 / 64, np.float32)), 64, 1e-6)
    assert perplexity(P[0], np.eye(6, dtype=np.float32)[0]) == INF
    _, gradient, _ = value_and_gradients(ALL["perplexity"], P, Q)
    np.testing.assert_allclose(
        gradient, np.exp(xent_jax.entropy(P))[:, None] * (-np.log(P) - 1), 1e-5
    )


@ROWS
def test_axis_where_keepdims(name):
    function = ALL[name]
    want = value_and_gradients(function, P, Q)
    cube = [x.T.reshape(2, 3, 4) for x in (P, Q)]
    value, *gradients = value_and_gradients(function, *cube, axis=(0, -2), keepdims=True)
    same((value[0, 0], *(g.reshape(6, 4).T for g in gradients)), want)
    where = np.array([True, False, True, True, False, True])
    nonsense = [np.where(where, x, np.float32(NAN)) for x in (P, Q)]
    value, *gradients = value_and_gradients(function, *nonsense, where=where)
    few, *slopes = value_and_gradients(function, P * where, Q * where)
    same((value, *(g[:, where] for g in gradients)), (few, *(g[:, where] for g in slopes)))
    assert not any(np.any(g[:, ~where]) for g in gradients)
    value, *gradients = value_and_gradients(function, P, Q, where=np.zeros(6, bool))
    np.testing.assert_array_equal(value, float(name.startswith("perplexity")))
    assert not any(map(np.any, gradients))


@pytest.mark.parametrize("function", JOINT, ids=lambda f: f.__name__)
def test_axis_where_keepdims_of_joint(function):
    joint = P.reshape(4, 2, 3)
    want = value_and_gradients(function, joint)
    moved = np.moveaxis(joint, 2, 0)  # Y, rows, X
    value, gradient = value_and_gradients(function, moved, axis=(2, 0), keepdims=True)
    same((value[0, :, 0], np.moveaxis(gradient, 0, 2)), want)
    value, gradient = value_and_gradients(vmapped(function), moved)
    same((value, np.moveaxis(gradient, 0, 2)), want)
    where = np.array([True, False, True])
    nonsense = np.where(where, joint, np.float32(NAN))
    value, gradient = value_and_gradients(function, nonsense, where=where)
    few, slopes = value_and_gradients(function, joint * where)
    same((value, gradient[..., where]), (few, slopes[..., where]))
    assert not np.any(gradient[..., ~where])


def vmapped(function):
    """Over the middle axis of Y, rows, X."""
    return jax.vmap(functools.partial(function, axis=(1, 0)), in_axes=1)


@pytest.mark.parametrize("name", [*ALL, *JOINT], ids=lambda f: getattr(f, "__name__", str(f)))
def test_slopes_at_0_are_those_of_the_smallest_normal_number(name):
    results = []
    for least in (0, np.finfo(np.float32).tiny):
        p = np.concatenate([np.full((4, 1), least, np.float32), P[:, 1:]], -1)
        data = (p, Q) if name in ALL else (p.reshape(4, 2, 3),)
        results.append(value_and_gradients(ALL.get(name, name), *data))
    for zero, small in zip(*results, strict=True):
        assert np.isfinite(zero).all()
        np.testing.assert_allclose(zero, small, 1e-5, 1e-6)


def test_base():
    joint = P.reshape(4, 2, 3)
    for function in JOINT:
        np.testing.assert_allclose(function(joint, base=2), function(joint) / np.log(2), 1e-6)
    for function, data in ((renyi_entropy, (P,)), (renyi_divergence, (P, Q))):
        in_nats = function(*data, ORDER)
        np.testing.assert_allclose(function(*data, ORDER, base=2), in_nats / np.log(2), 1e-6)


@ROWS
def test_dtypes(name):
    function, narrow = ALL[name], [jnp.asarray(x, "bfloat16") for x in (P, Q)]
    value, *gradients = value_and_gradients(function, *narrow)
    wide = [x.astype("float32") for x in narrow]
    want, *slopes = value_and_gradients(function, *wide)
    same((value, *gradients), (want, *(g.astype("bfloat16") for g in slopes)))
    with jax.enable_x64(True):
        exact = function(*(np.asarray(x, np.float64) for x in wide))
        assert exact.dtype == np.float64
        assert jax.eval_shape(function, *wide).dtype == np.float32
    np.testing.assert_allclose(want, exact, 1e-6)


def test_dtypes_of_the_others():
    joint, logs = jnp.asarray(P.reshape(4, 2, 3), "bfloat16"), jnp.asarray(-P, "bfloat16")
    for function, data in (
        (conditional_entropy, (joint,)),
        (mutual_information, (joint,)),
        (kl_estimate, (logs, logs * 2)),
    ):
        value, *gradients = value_and_gradients(function, *data)
        assert value.dtype == np.float32 and {g.dtype.name for g in gradients} == {"bfloat16"}
        same(value, function(*(x.astype("float32") for x in data)))


def test_against_scipy():
    stats, special = pytest.importorskip("scipy.stats"), pytest.importorskip("scipy.special")
    np.testing.assert_allclose(renyi_entropy(P, np.float32(1)), stats.entropy(P, axis=-1), 1e-5)
    np.testing.assert_allclose(
        renyi_divergence(P, Q, np.float32(1)), stats.entropy(P, Q, axis=-1), 1e-5
    )
    np.testing.assert_allclose(
        renyi_divergence(P, Q, np.float32(1)), special.rel_entr(P, Q).sum(-1), 1e-5
    )
    joint = P.reshape(4, 2, 3)
    product = joint.sum(1, keepdims=True) * joint.sum(2, keepdims=True)
    want = special.rel_entr(joint, product).sum((1, 2))
    np.testing.assert_allclose(mutual_information(joint), want, 1e-5)


# --- the errors


@pytest.mark.parametrize("call, message", [
    (lambda: renyi_entropy(P, [0.5, 2]), "renyi_entropy: alpha must be one number, got shape (2,)"),
    (lambda: tsallis_entropy(P, P), "tsallis_entropy: alpha must be one number, got shape (4, 6)"),
    (lambda: renyi_divergence(P, Q, P[0]), "renyi_divergence: alpha must be one number"),
    (lambda: renyi_divergence(P, Q[:2], 2), "renyi_divergence: p and q must have the same shape"),
    (lambda: renyi_entropy(P, 2, axis=2), "renyi_entropy: axis 2 is out of range for p"),
    (lambda: perplexity(P, Q[:2]), "perplexity: p and q must have the same shape"),
    (lambda: mutual_information(P, axis=-1), "mutual_information: axis must name two axes"),
    (lambda: conditional_entropy(P, axis=(0, 1, 1)), "conditional_entropy: axis must name two"),
    (lambda: conditional_entropy(P, axis=(1, 1)), "conditional_entropy: axis (1, 1) names an axis"),
    (lambda: mutual_information(P[0]), "mutual_information: joint must be a table p(x, y) of two"),
    (lambda: kl_estimate(P, Q[0]), "kl_estimate: log_p and log_q must have the same shape"),
    (lambda: kl_estimate(P, Q, kind="k4"), 'kl_estimate: kind must be "k1", "k2" or "k3", got '),
    (lambda: kl_estimate(P, Q, where=np.ones(5, bool)), "kl_estimate: where of shape (5,) does"),
    (lambda: renyi_entropy(P, 2, base=1), "renyi_entropy: base must be positive"),
])  # fmt: skip
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_types():
    with pytest.raises(TypeError, match="renyi_entropy: alpha must be real"):
        renyi_entropy(P, 2j)
    with pytest.raises(TypeError, match="kl_estimate: log_q must be real"):
        kl_estimate(P, P * 1j)


@pytest.mark.parametrize("call, message", [
    (lambda: renyi_entropy(P, -1), "renyi_entropy: alpha is negative or NaN"),
    (lambda: tsallis_entropy(P, NAN), "tsallis_entropy: alpha is negative or NaN"),
    (lambda: renyi_divergence(P, -Q, 2), "renyi_divergence: q holds a negative or NaN"),
    (lambda: perplexity(-P), "perplexity: p holds a negative or NaN"),
    (lambda: mutual_information(-P), "mutual_information: joint holds a negative or NaN"),
    (lambda: kl_estimate(P, P * NAN), "kl_estimate: log_q holds NaN"),
])  # fmt: skip
def test_value_conditions_under_checkify(call, message):
    with xent_jax.value_checks():
        error, _ = checkify.checkify(call, errors=checkify.user_checks)()
    assert message in error.get()
