"""The families of order α: Rényi, Tsallis and Rényi divergence, over orders and rows.

The bar is relative: 1e-6 in float32, 1e-14 in float64; gradients meet it as a fraction of the row's
largest entry.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax import renyi_divergence, renyi_entropy, tsallis_entropy

from .cases import QUICK
from .compare import value_and_gradients
from .information import (
    BAR,
    INF,
    NAN,
    ORDERS,
    P,
    Q,
    divergence_truth,
    renyi_truth,
    repeated,
    rows_of_one,
    rows_of_two,
    stacked,
    tsallis_truth,
)
from .selection import slow, usually

FAMILIES = {
    tsallis_entropy: tsallis_truth,
    renyi_entropy: renyi_truth,
    renyi_divergence: divergence_truth,
}


def of_families(few=FAMILIES):
    functions = usually(few, FAMILIES)
    return pytest.mark.parametrize("function", functions, ids=lambda f: f.__name__)


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


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, slow(np.float64)], ids=["float32", "float64"])
@of_families()
def test_families_over_the_orders(function, dtype):
    rows = rows_of_two() if function is renyi_divergence else rows_of_one()
    with jax.enable_x64(dtype is np.float64):
        check_table(function, rows, ORDERS, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("k", usually((5003,), (2, 129, 5003, 32768)))
@pytest.mark.parametrize(
    "function", usually((renyi_divergence,), FAMILIES), ids=lambda f: f.__name__
)
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


@pytest.mark.slow
@of_families(few=(renyi_divergence,))
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


@pytest.mark.parametrize(
    "function", usually((tsallis_entropy,), FAMILIES), ids=lambda f: f.__name__
)
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
