"""The grid under every transform at its hardest rows, each compared with calls of single rows.

Rows have one shape: a function of a row is compiled once and called for each.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import xent_jax

from .cases import FUNCTIONS, QUICK, select
from .selection import each, several_devices

INF = np.inf
SOFTMAX = select(row="softmax")
K = 4
# Ordinary rows first, then rows with outcomes of probability 0 (alone, on both sides, all but one).
FIRST = np.array([
    [0.3, -1.2, 0.8, 0.1], [2, 0.5, -1, 0], [9, 0, -2, 1], [1.5, 1.5, -1, 0],
    [0.5, -INF, 1, 0], [-INF, 0, -INF, 1], [-INF, 2, -INF, -INF], [0.5, 1, 2, 3],
])  # fmt: skip
SECOND = np.array([
    [0.1, 0.4, -0.3, -1], [2, 0.5, -1, 0], [8, 1, -1, 0], [-1, 0.25, 0.25, 2],
    [0.25, -INF, -1, 2], [0, 0, 1, 1], [-INF, 1, -INF, -INF], [-INF, 0, 0, 1],
])  # fmt: skip
LABEL = np.array([2, 0, 0, 1, 0, 3, 1, 2], np.int32)
EASY = slice(4)  # the ordinary rows

jit = functools.partial(jax.jit, compiler_options=QUICK)
# tests/test_transforms.py has every function under every transform: here are few by default.
one = each(FUNCTIONS, few={"softmax_cross_entropy-ids"})
few = each(FUNCTIONS, few={"kl_divergence", "softmax_cross_entropy-ids", "softmax_kl_divergence"})


def data(function, rows=slice(None), dtype=np.float32):
    return function.arguments(FIRST[rows], SECOND[rows], LABEL[rows], dtype=dtype)


def of_floats(function, arguments, evaluate=None):
    """The function (or `evaluate`, which calls it) of its floating arguments alone, and these."""
    floats = [arguments[i] for i in function.differentiable]

    def of(*floats):
        full = list(arguments)
        for place, x in zip(function.differentiable, floats, strict=True):
            full[place] = x
        return (evaluate or function)(*full)

    return of, floats


def value_and_gradients(function, *arguments, evaluate=None):
    """The value, and the gradients of its sum."""
    f, floats = of_floats(function, arguments, evaluate)
    value, pull = jax.vjp(f, *floats)
    return value, *pull(jnp.ones_like(value))


@functools.cache
def plain(function):
    """The value and gradients of every row by itself."""
    run = jit(functools.partial(value_and_gradients, function))
    rows = [run(*row) for row in zip(*data(function), strict=True)]
    return [np.stack(x) for x in zip(*rows, strict=True)]


def derivatives_of(function, f):
    """Compiled: f(g, floats, *more) of the function g of the floating arguments of a row."""

    @jit
    def run(row, *more):
        g, floats = of_floats(function, row)
        return f(g, tuple(floats), *more)

    return run


def close(got, want, tolerance=1e-5):
    """The same in kind, and finite numbers within `tolerance` of the largest."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        size = np.abs(b[np.isfinite(b)]).clip(max=1e30).max(initial=0)
        np.testing.assert_allclose(a, b, tolerance, tolerance * size)


@one
def test_exported_vmap_of_gradient_is_a_loop_of_plain_calls(function):
    """vmap along the last axis, and its gradient, in a module made for every platform."""
    arguments = [np.moveaxis(x, 0, -1) for x in data(function)]
    batched = jax.vmap(functools.partial(value_and_gradients, function), in_axes=-1)
    platforms = ["cpu", "cuda", "tpu"]
    exported = jax.export.export(jax.jit(batched), platforms=platforms)(*arguments)
    assert list(exported.platforms) == platforms
    close(jit(exported.call)(*arguments), plain(function))


@several_devices
@one
def test_checkpointed_scan_in_shard_map_is_a_loop(function):
    arguments = data(function)
    mesh = jax.sharding.Mesh(jax.devices()[:2], "batch")

    def over_rows(*arguments):
        def body(_, row):
            return None, jax.checkpoint(function.__call__)(*row)

        return jax.lax.scan(body, None, arguments)[1]

    def shard(*arguments):
        return value_and_gradients(function, *arguments, evaluate=over_rows)

    sharded = jax.shard_map(shard, mesh=mesh, in_specs=P("batch"), out_specs=P("batch"))
    close(jit(sharded)(*arguments), plain(function))


def on_mesh(function, kind):
    """The value and gradients of arguments of which both axes are sharded."""
    shape, axes = (2, 2), ("batch", "classes")
    mesh = jax.make_mesh(shape, axes, axis_types=(kind,) * 2, devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        arguments = [
            jax.device_put(x, NamedSharding(mesh, P(*axes[: x.ndim]))) for x in data(function)
        ]
        return jit(functools.partial(value_and_gradients, function))(*arguments)


@several_devices
@one
def test_explicitly_sharded_batch_and_classes(function):
    got = on_mesh(function, AxisType.Explicit)
    close(got, plain(function))
    value, *gradients = (jax.typeof(x).sharding.spec for x in got)
    assert set(gradients) == {P("batch", "classes")}
    assert value == (P("batch", "classes") if function.elementwise else P("batch"))


@several_devices
@one
def test_automatically_sharded_batch_and_classes(function):
    close(on_mesh(function, AxisType.Auto), plain(function))


def first_derivatives(f, floats, directions):
    linear_primal, linear = jax.linearize(f, *floats)
    return jax.jvp(f, floats, directions), (linear_primal, linear(*directions)), f(*floats)


@few
def test_first_derivatives_agree(function):
    """jvp, linearize and vjp, each with a primal that is the plain value, edges included."""
    rng = np.random.default_rng(0)
    run = derivatives_of(function, first_derivatives)
    for i, row in enumerate(zip(*data(function), strict=True)):
        value, *gradients = (x[i] for x in plain(function))
        # An infinite slope is not followed.
        directions = tuple(
            np.where(np.abs(g) < 1e30, rng.normal(size=K), 0).astype(np.float32) for g in gradients
        )
        (primal, tangent), (linear_primal, along_linear), alone = run(row, directions)
        close([primal, linear_primal, value], [alone] * 3, 1e-6)
        close(along_linear, tangent)
        if np.all(np.isfinite(value)):
            along = sum(g.astype(float) * d for g, d in zip(gradients, directions, strict=True))
            size = sum(np.abs(g * d).sum() for g, d in zip(gradients, directions, strict=True))
            along = along if function.elementwise else along.sum()
            np.testing.assert_allclose(tangent, along, 0, 1e-5 * size + 1e-30)


@one
def test_jacobians_agree(function):
    def both(f, floats):
        places = tuple(range(len(floats)))
        return [mode(f, places)(*floats) for mode in (jax.jacfwd, jax.jacrev)]

    forward, reverse = derivatives_of(function, both)([x[0] for x in data(function)])
    gradients = [x[0] for x in plain(function)[1:]]
    close(forward, reverse)
    close(forward, [np.diag(g) for g in gradients] if function.elementwise else gradients)


def second_derivatives(f, floats, v, w):
    """w·H·v three ways, and by central differences of the gradient."""

    def total(*x):
        return f(*x).sum()

    def dot(a, b):
        return sum(jnp.vdot(x, y) for x, y in zip(a, b, strict=True))

    places = tuple(range(len(floats)))
    gradient = jax.grad(total, places)

    def slope(*x):
        return jax.jvp(total, x, v)[1]

    h = 1e-5
    ahead, behind = (
        gradient(*(x + s * d for x, d in zip(floats, v, strict=True))) for s in (h, -h)
    )
    return (
        dot(w, jax.jvp(gradient, floats, v)[1]),
        dot(w, jax.grad(lambda *x: dot(gradient(*x), v), places)(*floats)),
        jax.jvp(slope, floats, w)[1],
        dot(w, [(a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True)]),
    )


@one
def test_hessian(function):
    """At an ordinary row, at p = q, with the label on the peak, and at tied logits."""
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        run = derivatives_of(function, second_derivatives)
        for row in zip(*data(function, EASY, np.float64), strict=True):
            floats = [row[i] for i in function.differentiable]
            v, w = (tuple(rng.normal(size=(len(floats), K))) for _ in range(2))
            if function.row == "probability":  # a step must be small beside the probability
                v = tuple(d * x for d, x in zip(v, floats, strict=True))
            *ways, differences = run(row, v, w)
            np.testing.assert_allclose(ways, [ways[0]] * 3, 1e-11, 1e-12)
            np.testing.assert_allclose(ways[0], differences, 1e-6, 1e-7)


def curvature(f, floats, v):
    return jax.jvp(jax.grad(lambda *x: f(*x).sum(), tuple(range(len(v)))), floats, v)[1]


@each(FUNCTIONS)
def test_hessian_is_never_nan(function):
    """Where outcomes have probability 0, in directions within those that have some."""
    rng = np.random.default_rng(2)
    run = derivatives_of(function, curvature)
    for i, row in enumerate(zip(*data(function), strict=True)):
        floats = [row[place] for place in function.differentiable]
        value, *gradients = (x[i] for x in plain(function))
        if not np.all(np.isfinite(value)):
            continue
        inside = [
            np.isfinite(x) & (np.abs(g) < 1e30) for x, g in zip(floats, gradients, strict=True)
        ]
        if function.row == "probability":
            inside = [x > 0 for x in floats]
        v = tuple(np.where(ok, rng.normal(size=K), 0).astype(np.float32) for ok in inside)
        found = run(row, v)
        if function.row == "probability":  # at p = q = 0 it is p/q², which has no value
            found = [x[ok] for x, ok in zip(found, inside, strict=True)]
        assert all(np.all(np.isfinite(x)) for x in found), row


def test_hessian_compiled():
    """jax.hessian of cross entropy is diag p − p pᵀ, of KL at p = q too, on both sides."""
    z = FIRST[0].astype(np.float32)
    p = np.asarray(jax.nn.softmax(z))
    truth = np.diag(p) - np.outer(p, p)
    close(jit(jax.hessian(xent_jax.softmax_cross_entropy))(z, 2), truth)
    (pp, pq), (qp, qq) = jit(jax.hessian(xent_jax.softmax_kl_divergence, (0, 1)))(z, z)
    close([pp, pq, qp, qq], [truth, -truth, -truth, truth])


def test_what_does_not_move_has_no_part_in_a_hessian():
    """By p alone an infinite cross entropy is linear too: the slope by q times 0 would be NaN."""
    p, q = np.float32([0.5, 0.5]), np.float32([1, 0])
    hessian = jit(jax.hessian(xent_jax.cross_entropy))(p, q)
    np.testing.assert_array_equal(hessian, np.zeros((2, 2)))


@each(SOFTMAX, few={"softmax_entropy"})
def test_third_derivative(function):
    """Finite, and the central difference of the second."""
    with jax.enable_x64(True):
        f, floats = of_floats(function, [x[0] for x in data(function, EASY, np.float64)])

        def along(t):
            return f(floats[0] + t * np.array([0.3, -1, 0.5, 0.2]), *floats[1:])

        def derivative(f):
            return lambda t: jax.jvp(f, (t,), (1.0,))[1]

        second = derivative(derivative(along))
        third, ahead, behind = jit(lambda h: (derivative(second)(0.0), second(h), second(-h)))(1e-5)
        np.testing.assert_allclose(third, (ahead - behind) / 2e-5, 1e-6, 1e-7)
        assert abs(third) > 1e-3
