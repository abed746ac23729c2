"""Values and gradients against the 60-digit oracle, to the bar and not beyond.

The bar is relative: 1e-6 in float32, 1e-14 in float64, or u · 2⁻²⁴ (2⁻⁵³) where that is larger: the
rounding of the logit difference u itself, u the distance from the maximum to the runner-up.
Gradients meet it as a fraction of the row's largest entry; integer-label cross entropy in each one.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from .cases import PAIRS_OF_LOGITS, PAIRS_OF_PROBABILITIES, QUICK, batch

BAR = {np.float32: (1e-6, 2.0**-24), np.float64: (1e-14, 2.0**-53)}


@functools.cache
def truth(function, cases, dtype):
    """The oracle's value and gradients for `batch`, stacked alike."""
    arguments, where = batch(function, cases, dtype)
    masks = [None] * len(cases) if where is None else where
    if not function.elementwise:
        rows = [function.truth(*a, where=w) for *a, w in zip(*arguments, masks, strict=True)]
        return [np.stack(x) for x in zip(*rows, strict=True)][: 1 + len(function.differentiable)]
    shape = arguments[0].shape
    each = [function.truth(*map(float, a)) for a in zip(*(x.ravel() for x in arguments))]
    columns = np.array(each).T.reshape(-1, *shape)[: 1 + len(function.differentiable)]
    return list(columns if where is None else np.where(where, columns, 0))


def margins(function, arguments, where):
    """Per outcome its distance u from the maximum, and per row that of the runner-up."""
    if function.row != "softmax":
        return np.zeros(arguments[0].shape), np.zeros(arguments[0].shape[:1] + (1,))
    logits = [arguments[i].astype(float) for i in function.differentiable]
    logits = logits[: 1 if function.kinds[-1] == "y" else 2]
    if where is not None:
        logits = [np.where(where, z, -np.inf) for z in logits]
    u = [z.max(-1, keepdims=True) - z for z in logits]
    runner_up = np.min([np.sort(x, -1)[:, 1:2] for x in u], 0)
    return u[0], np.where(np.isfinite(runner_up), runner_up, 0)


def gradient_bars(function, arguments, where, true, dtype):
    """The error allowed in every gradient entry."""
    bar, rounding = BAR[dtype]
    u, runner_up = margins(function, arguments, where)
    bars = []
    for i, gradient in enumerate(true[1:]):
        size = np.where(np.isfinite(gradient), np.abs(gradient), 0)
        if function.kinds == ("zp", "id") and not function.elementwise:
            label = np.arange(u.shape[-1]) == arguments[1][:, None]
            u_entry = np.where(label, np.where(u == 0, runner_up, 0), np.where(size > 0, u, 0))
            bars.append(size * np.maximum(bar, u_entry * rounding))
            continue
        if function.kinds[-1] == "y" and i == 0:  # p − y: the label's own rounding is in it
            size = np.maximum(size, arguments[1])
        if not function.elementwise:
            size = size.max(-1, keepdims=True)
        bars.append(np.broadcast_to(size * np.maximum(bar, runner_up * rounding), gradient.shape))
    return [b + np.finfo(dtype).tiny for b in bars]


def check(function, got, want, allowed, cases):
    """Infinities agree, finite values lie within `allowed`; the message names the worst."""
    got = np.asarray(got, float)
    with np.errstate(all="ignore"):
        same = np.isclose(got, want, 0, 0, equal_nan=True)
        excess = np.where(same, 0, np.abs(got - want) / allowed)
    worst = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), got.shape)
    assert excess[worst] <= 1, (
        f"{function}, {cases[worst[0]].name!r}, at {worst[1:]}: got {got[worst]:.17g}, "
        f"want {want[worst]:.17g}, {excess[worst]:.3g} times the error allowed"
    )


@functools.cache
def compiled(function, quick=False):
    """The value, its gradients by reverse mode and, given tangents, one forward derivative."""

    @functools.partial(jax.jit, compiler_options=QUICK if quick else None)
    def run(arguments, where, tangents):
        def of_floats(*floats):
            full = list(arguments)
            for place, x in zip(function.differentiable, floats, strict=True):
                full[place] = x
            return function(*full, where=where)

        floats = [arguments[i] for i in function.differentiable]
        value, pull = jax.vjp(of_floats, *floats)
        gradients = pull(jnp.ones_like(value))
        return value, gradients, tangents and jax.jvp(of_floats, floats, tangents)

    return run


def compare_values(function, cases, dtype, *got):
    arguments, where = batch(function, cases, dtype)
    value = truth(function, cases, dtype)[0]
    bar, rounding = BAR[dtype]
    _, runner_up = margins(function, arguments, where)
    relative = np.maximum(bar, runner_up * rounding)
    allowed = np.abs(value) * (relative if function.elementwise else relative[:, 0])
    allowed = np.where(np.isfinite(value), allowed, 0) + np.finfo(dtype).tiny
    for x in got:
        assert x.dtype == dtype and x.shape == value.shape
        check(function, x, value, allowed, cases)


def compare(function, cases, dtype, forward=True):
    arguments, where = batch(function, cases, dtype)
    value, *gradients = true = truth(function, cases, dtype)
    per_row = (lambda x: x) if function.elementwise else (lambda x: x.sum(-1))
    # Where the true derivative is infinite (log p at p = 0), tests/test_edges.py says what holds.
    finite = [np.isfinite(g) for g in gradients]
    known = [ok & np.isfinite(value if function.elementwise else value[:, None]) for ok in finite]
    rng = np.random.default_rng(0)
    tangents = [np.where(ok, rng.normal(size=ok.shape), 0).astype(dtype) for ok in finite]
    got = compiled(function)(arguments, where, tangents if forward else None)
    compare_values(function, cases, dtype, got[0])

    bars = gradient_bars(function, arguments, where, true, dtype)
    for g, want, error, ok in zip(got[1], gradients, bars, known, strict=True):
        assert g.dtype == dtype
        check(function, np.where(ok, g, 0), np.where(ok, want, 0), error, cases)

    if forward:
        primal, tangent = got[2]
        compare_values(function, cases, dtype, primal)
        along = zip(gradients, bars, known, tangents, strict=True)
        along = [(np.where(ok, g, 0) * t, error * np.abs(t)) for g, error, ok, t in along]
        want, error = (sum(per_row(x) for x in terms) for terms in zip(*along, strict=True))
        ok = np.isfinite(value)
        error = error + np.finfo(dtype).tiny
        check(function, np.where(ok, tangent, 0), np.where(ok, want, 0), error, cases)


def curvature(function, arguments, directions):
    """The oracle's H·v of one row, by central differences of its gradients along v."""
    places, ends = function.differentiable, []
    for step in (1e-4, -1e-4):
        row = list(arguments)
        for i, v in zip(places, directions, strict=True):
            row[i] = np.asarray(row[i], float) + step * v
        gradients = function.truth(*row)[1 : 1 + len(places)]
        ends.append([np.asarray(g, float) for g in gradients])
    with np.errstate(invalid="ignore"):
        return [(a - b) / 2e-4 for a, b in zip(*ends, strict=True)]


def compare_second_derivatives(function, over):
    """H·v, one mode over reverse mode; v moves no probability that is 0."""
    simplex = function.row == "probability"
    rows = np.array(PAIRS_OF_PROBABILITIES if simplex else PAIRS_OF_LOGITS, np.float32)
    first, second = rows[:, 0], rows[:, 1]
    labels = np.exp(second) / (1 + np.exp(second))
    ids = (second > 0).astype(np.int32) if function.elementwise else first.argmax(-1)
    made = {"p": first, "zp": first, "q": second, "zq": second, "y": labels, "id": ids}
    arguments = [made[kind] for kind in function.kinds]
    places = function.differentiable
    floats = [arguments[i] for i in places]
    rng = np.random.default_rng(0)
    size = 0.1 if simplex else 1
    v = [size * rng.normal(size=x.shape) for x in floats]
    v = [np.where((x == 0) & simplex, 0, d).astype(np.float32) for x, d in zip(floats, v)]

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(floats, v):
        def slope(*floats):
            full = list(arguments)
            for i, x in zip(places, floats, strict=True):
                full[i] = x
            return jax.grad(lambda *a: function(*a).sum(), places)(*full)

        if over == "forward":
            return jax.jvp(slope, floats, v)[1]
        return jax.vjp(slope, *floats)[1](tuple(v))

    for i, got in enumerate(zip(*run(floats, v), strict=True)):
        row, along = [a[i] for a in arguments], [d[i] for d in v]
        if function.elementwise:
            each = [curvature(function, r, d) for *r, d in zip(*row, zip(*along, strict=True))]
            want = np.array(each).T
        else:
            want = curvature(function, row, along)
        for g, w in zip(got, want, strict=True):
            known = np.isfinite(w)
            bar = 1e-4 * np.abs(w[known]).max(initial=1e-3)
            np.testing.assert_allclose(g[known], w[known], 0, bar, err_msg=f"{row}")


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def _value_and_gradients(function, options, where, *data):
    masked = {} if where is None else {"where": where}
    value, pull = jax.vjp(functools.partial(function, **dict(options), **masked), *data)
    return value, *pull(jnp.ones_like(value))


def value_and_gradients(function, *data, where=None, **options):
    return _value_and_gradients(function, tuple(options.items()), where, *data)


def close_in_last_digits(got, want):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, 2e-6, 1e-7)
