"""Traced parameters: every function × parameter × labels × nesting of vmap, value and gradients.

Compared with a Python loop of plain calls on single rows, the parameter a Python number there; the
derivative by the parameter with central differences. All in float64: the differences need it.
"""

import functools
import logging
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import QUICK, quick
from .selection import usually

ROWS, CLASSES, FEATURES = 3, 6, 4
RNG = np.random.default_rng(0)
Z = 2 * RNG.normal(size=(ROWS, CLASSES))
IDS = np.array([4, 0, 5], np.int32)
SOFT = RNG.dirichlet(np.ones(CLASSES), ROWS)
BITS, PARTS = (SOFT > 0.2).astype(np.int32), RNG.uniform(size=(ROWS, CLASSES))
X, W = RNG.normal(size=(ROWS, FEATURES)), RNG.normal(size=(FEATURES, CLASSES))
FEW, PROBS = np.stack([IDS, (IDS + 2) % CLASSES], -1), RNG.dirichlet(np.ones(2), ROWS)
COUNTS = RNG.integers(1, 40, (ROWS, CLASSES)).astype(np.float64)

FRACTIONS = np.array([0.05, 0.3, 0.8])
# parameter: values within its range, and values outside it.
PARAMETERS = {
    "label_smoothing": (FRACTIONS, (-0.1, 1.5, np.nan)),
    "z_loss": (np.array([1e-4, 0.01, 1.0]), (-0.1, np.inf, np.nan)),
    "gamma": (np.array([0.5, 1.0, 2.5]), (-0.1, np.nan)),
    "focal_gamma": (np.array([0.5, 1.0, 2.5]), (-0.1, np.nan)),
    "alpha": (FRACTIONS, (-0.1, 1.5, np.nan)),
    "epsilon": (np.array([-1.0, 0.5, 3.0]), (np.nan,)),
    "q": (FRACTIONS, (-0.1, 1.5, np.nan)),
    "beta": (np.array([0.1, 0.9, 0.999]), (-0.1, 1.5, np.nan)),
}
# A Python number out of range raises; of these others it gives NaN as well.
RAISE = {"label_smoothing", "z_loss", "beta"}


@dataclass(frozen=True)
class Sweep:
    """A function of (moving, fixed, rest, parameter): one row, or a batch of rows in `rest`.

    `rows` are (what is differentiated, labels): both have the batch first.
    """

    name: str
    parameter: str
    kind: str
    options: tuple[tuple[str, float], ...] = ()

    def __str__(self):
        return "-".join(
            [self.name, self.parameter, self.kind, *(f"{k}={v}" for k, v in self.options)]
        )

    @property
    def rows(self):
        """The arrays with the batch first; the first is differentiated."""
        if self.name == "effective_number_weights":
            return (COUNTS,)
        if self.name.startswith("linear"):
            return (X, FEW, PROBS) if self.kind == "soft" else (X, IDS)
        if self.name.startswith("sigmoid"):
            return Z, PARTS if self.kind == "soft" else BITS
        return Z, SOFT if self.kind == "soft" else IDS

    @property
    def values(self):
        return PARAMETERS[self.parameter][0]

    def __call__(self, parameter, *rows):
        function = getattr(xent_jax, self.name)
        options = dict(self.options) | {self.parameter: parameter}
        if self.name.startswith("linear"):
            x, labels, *probs = rows
            if probs:
                options["label_probs"] = probs[0]
            return function(x, W, labels, chunk_size=2, **options)
        return function(*rows, **options)


def _sweeps():
    smoothed = (("label_smoothing", 0.1),)
    of = {
        "softmax_cross_entropy": ("label_smoothing", "z_loss"),
        "softmax_focal_loss": ("gamma", "label_smoothing"),
        "softmax_poly_loss": ("epsilon", "label_smoothing"),
        "softmax_generalized_cross_entropy": ("q", "label_smoothing"),
        "sigmoid_cross_entropy": ("label_smoothing",),
        "sigmoid_focal_loss": ("gamma", "alpha", "label_smoothing"),
        "linear_softmax_cross_entropy": ("focal_gamma", "label_smoothing", "z_loss"),
    }
    for name, parameters in of.items():
        for parameter in parameters:
            for kind in ("ids", "soft"):
                yield Sweep(name, parameter, kind)
            if parameter != "label_smoothing":
                yield Sweep(name, parameter, "ids", smoothed)
                yield Sweep(name, parameter, "soft", smoothed)
    yield Sweep("linear_softmax_cross_entropy", "label_smoothing", "ids", (("focal_gamma", 2.0),))
    yield Sweep("softmax_cross_entropy", "label_smoothing", "ids", (("z_loss", 0.01),))
    yield Sweep("effective_number_weights", "beta", "counts")


SWEEPS = tuple(_sweeps())


def every(sweeps):
    return pytest.mark.parametrize("sweep", sweeps, ids=str)


KINDS = {}  # name and parameter: its sweeps, by labels and smoothing
for sweep in SWEEPS:
    KINDS.setdefault((sweep.name, sweep.parameter), []).append(sweep)
ONE_EACH = tuple(kinds[0] for kinds in KINDS.values())


def in_turns(first, few):
    """One of each, the kinds taking turns from that one on, and the few; all but these are slow."""
    assert few <= set(map(str, SWEEPS))
    chosen = {kinds[i % len(kinds)] for i, kinds in enumerate(KINDS.values(), first)}
    return every(usually(few, [s for s in SWEEPS if s in chosen or str(s) in few]))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def bent_sum(value):
    """Not the plain sum, which for class weights is a constant."""
    return jnp.sum(value + jnp.square(value) / 4)


def slopes(sweep, parameter, *rows):
    """The value, and the gradients of its bent sum by the parameter and by the first array."""

    def total(parameter, first):
        value = sweep(parameter, first, *rows[1:])
        return bent_sum(value), value

    gradients, value = jax.grad(total, (0, 1), has_aux=True)(parameter, rows[0])
    return value, *gradients


def plain(sweep):
    """For each value of the parameter and each row: slopes, the parameter a Python number.

    Its derivative by the parameter is a central difference.
    """
    rows = list(zip(*sweep.rows, strict=True))
    value_of = jax.jit(lambda x, *row: bent_sum(sweep(x, *row)), compiler_options=QUICK)

    def at(x, *row):
        def total(first):
            value = sweep(x, first, *row[1:])
            return bent_sum(value), value

        return jax.grad(total, has_aux=True)(row[0])

    # One program for all of the numbers, which are constants in it.
    values = [*map(float, sweep.values)]
    of_row = quick(lambda *row: [at(x, *row) for x in values])
    found = [of_row(*row) for row in rows]

    def lines():
        for i, x in enumerate(values):
            h = 1e-6 * max(abs(x), 0.1)
            for row, at_values in zip(rows, found, strict=True):
                gradient, value = at_values[i]
                yield value, (value_of(x + h, *row) - value_of(x - h, *row)) / (2 * h), gradient

    shape = (len(values), ROWS)
    return [np.reshape(x, (*shape, *np.shape(x[0]))) for x in zip(*lines(), strict=True)]


def close(got, want):
    """Value and gradient by the first array to rounding, the one by the parameter to 2e-7."""
    sizes = [np.abs(want[0]).max(), max(np.abs(x).max() for x in want[:2]), np.abs(want[2]).max()]
    for a, b, tolerance, size in zip(got, want, (1e-11, 2e-7, 1e-9), sizes, strict=True):
        np.testing.assert_allclose(a, b, tolerance, tolerance * size)


@in_turns(0, few={"softmax_poly_loss-epsilon-soft", "effective_number_weights-beta-counts"})
def test_nested_vmaps_are_loops_of_plain_calls(sweep):
    """Over the parameter of rows, over rows of a parameter, and over the parameter alone."""
    one = functools.partial(slopes, sweep)
    over_rows = (None,) + (0,) * len(sweep.rows)
    over_parameter = (0,) + (None,) * len(sweep.rows)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def nestings(values, *rows):
        alone = jax.vmap(lambda x: one(x, *(row[0] for row in rows)))
        return (
            jax.vmap(jax.vmap(one, over_rows), over_parameter)(values, *rows),
            jax.vmap(jax.vmap(one, over_parameter), over_rows, out_axes=1)(values, *rows),
            [x[:, None] for x in alone(values)],
        )

    want = plain(sweep)
    inner, outer, alone = nestings(sweep.values, *sweep.rows)
    close(inner, want)
    close(outer, want)
    close(alone, [x[:, :1] for x in want])


@in_turns(1, few={"softmax_focal_loss-gamma-soft"})
def test_vmap_over_the_parameter_of_a_batch(sweep):
    """With everything else fixed and not batched: constants of the trace."""

    @functools.partial(jax.jit, compiler_options=QUICK)
    def sweeps(values):
        return jax.vmap(lambda x: slopes(sweep, x, *sweep.rows))(values)

    value, by_parameter, by_first = sweeps(sweep.values)
    want = plain(sweep)
    close((value, by_parameter, by_first), (want[0], want[1].sum(1), want[2]))


@in_turns(2, few={"softmax_cross_entropy-z_loss-ids"})
def test_forward_mode_and_second_derivatives_by_the_parameter(sweep):
    f = functools.partial(sweep)
    rows, x = sweep.rows, jnp.asarray(sweep.values[1])

    @functools.partial(jax.jit, compiler_options=QUICK)
    def derivatives(x):
        by_x = lambda x: bent_sum(f(x, *rows))  # noqa: E731
        forward, reverse = jax.jacfwd(by_x), jax.grad(by_x)
        mixed = jax.jacfwd(jax.grad(lambda first, x: bent_sum(f(x, first, *rows[1:]))), 1)
        return (
            forward(x),
            reverse(x),
            jax.jacfwd(reverse)(x),
            jax.grad(forward)(x),
            mixed(rows[0], x),
        )

    forward, reverse, twice, again, mixed = derivatives(x)
    np.testing.assert_allclose(forward, reverse, 1e-12, 1e-14)
    np.testing.assert_allclose(twice, again, 1e-11, 1e-13)
    h = 1e-5
    _, ahead, by_first_ahead = slopes(sweep, x + h, *rows)
    _, behind, by_first_behind = slopes(sweep, x - h, *rows)
    np.testing.assert_allclose(twice, (ahead - behind) / (2 * h), 1e-6, 1e-8)
    np.testing.assert_allclose(mixed, (by_first_ahead - by_first_behind) / (2 * h), 1e-6, 1e-8)


@functools.cache
def compiled_sweep(sweep):
    """A vmap over the parameter of the whole batch, jitted; and what counts its traces."""
    traced = []

    def run(values):
        traced.append(None)
        return jax.vmap(lambda x: sweep(x, *sweep.rows))(values)

    return jax.jit(run, compiler_options=QUICK), traced


@every(ONE_EACH)
def test_out_of_range(sweep):
    """A traced value gives NaN in every row; a Python number raises where it always did."""
    run, _ = compiled_sweep(sweep)
    for bad in PARAMETERS[sweep.parameter][1]:
        values = np.array([sweep.values[0], bad, sweep.values[1]])
        nan = np.isnan(run(values)).reshape(3, -1)
        assert nan.all(1).tolist() == nan.any(1).tolist() == [False, True, False], bad
        if sweep.parameter in RAISE:
            with pytest.raises(ValueError, match=rf"^{sweep.name}: {sweep.parameter} must .*{bad}"):
                sweep(bad, *sweep.rows)


@in_turns(
    3, few={"softmax_cross_entropy-label_smoothing-ids", "linear_softmax_cross_entropy-z_loss-ids"}
)
def test_a_traced_zero_is_the_python_zero(sweep):
    """Which may choose a shorter program, with the same numbers."""
    got = jax.jit(functools.partial(slopes, sweep), compiler_options=QUICK)(0.0, *sweep.rows)

    def total(first):
        value = sweep(0, first, *sweep.rows[1:])
        return bent_sum(value), value

    gradient, value = jax.jit(jax.grad(total, has_aux=True), compiler_options=QUICK)(sweep.rows[0])
    np.testing.assert_allclose(got[0], value, 1e-12)
    np.testing.assert_allclose(got[2], gradient, 1e-11, 1e-13)


@every(ONE_EACH)
def test_arrays_are_refused(sweep):
    says = rf"^{sweep.name}: {sweep.parameter} must be one number, got shape \(2,\); use jax\.vmap"
    with pytest.raises(ValueError, match=says):
        sweep(jnp.full(2, 0.5), *sweep.rows)


# What is compiled.


@every(ONE_EACH)
def test_a_sweep_is_traced_once(sweep):
    run, traced = compiled_sweep(sweep)
    for factor in (1.0, 0.5, 0.25):
        run(sweep.values * factor)
    assert len(traced) == 1


def compilations(caplog, f):
    """How often something is compiled while f() runs."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.DEBUG):
        jax.block_until_ready(f())
    return sum("Compiling" in record.getMessage() for record in caplog.records)


@in_turns(0, few={"softmax_cross_entropy-label_smoothing-ids", "softmax_focal_loss-gamma-soft",
          "linear_softmax_cross_entropy-z_loss-ids"})  # fmt: skip
def test_a_schedule_outside_jit_compiles_nothing(sweep, caplog):
    """Arrays as they come out of a schedule: the second value runs what the first compiled."""
    values = [jnp.asarray(x) for x in sweep.values]
    rows = [x[:2] for x in sweep.rows]  # a shape that no other test has compiled
    assert compilations(caplog, lambda: sweep(values[0], *rows)) > 0
    assert compilations(caplog, lambda: [sweep(x, *rows) for x in values[1:]]) == 0


@in_turns(1, few={"softmax_cross_entropy-z_loss-ids"})
def test_a_python_number_is_the_array(sweep):
    x = float(sweep.values[0])
    np.testing.assert_allclose(sweep(x, *sweep.rows), sweep(jnp.asarray(x), *sweep.rows), 1e-12)


@pytest.mark.slow
def test_several_parameters_at_once():
    """A grid over smoothing, γ and class weights: one vmap over all three."""
    z, weights = Z.astype(np.float32), jnp.asarray(RNG.uniform(1, 2, (3, CLASSES)), jnp.float32)
    gammas, amounts = jnp.array([0.0, 1.0, 2.5], "float32"), jnp.array([0.0, 0.1, 0.3], "float32")

    def loss(z, gamma, amount, weights):
        given = {"gamma": gamma, "label_smoothing": amount, "class_weights": weights}
        return jnp.sum(xent_jax.softmax_focal_loss(z, IDS, **given))

    together = jax.jit(jax.vmap(jax.value_and_grad(loss), (None, 0, 0, 0)))(
        z, gammas, amounts, weights
    )
    for i, given in enumerate(zip(gammas, amounts, weights, strict=True)):
        want = jax.value_and_grad(loss)(z, *given)
        np.testing.assert_allclose(together[0][i], want[0], 1e-5)
        np.testing.assert_allclose(together[1][i], want[1], 1e-4, 1e-6)


@pytest.mark.slow
def test_narrow_parameters_do_not_change_the_dtype():
    """Under strict promotion: a bfloat16 or float64 parameter of float32 logits."""
    z = Z.astype(np.float32)
    for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
        x = jnp.asarray(0.5, dtype)
        for loss in (
            xent_jax.softmax_cross_entropy(z, IDS, label_smoothing=x, z_loss=x),
            xent_jax.softmax_focal_loss(z, SOFT.astype(np.float32), gamma=x, label_smoothing=x),
            xent_jax.sigmoid_focal_loss(z, BITS, gamma=x, label_smoothing=x),
            xent_jax.linear_softmax_cross_entropy(
                X.astype(np.float32), W.astype(np.float32), IDS, label_smoothing=x, z_loss=x,
                focal_gamma=x,
            ),
        ):  # fmt: skip
            assert loss.dtype == jnp.float32
