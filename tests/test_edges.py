"""Values at the edges, each in value, reverse mode and forward mode: tests/edge_rows.py."""

import jax
import numpy as np
import pytest

import xent_jax

from .cases import FUNCTIONS, select
from .edge_rows import P, Q, run
from .selection import each

INF, NAN = np.inf, np.nan
PROBABILITY, SOFTMAX, SIGMOID = (select(row=r) for r in ("probability", "softmax", "sigmoid"))
DIVERGENCES = select(name="_divergence")
OF_IDS = select(option="ignore_index", kinds=("zp", "id"))
LABELLED = select(option="label_smoothing")


def all_zero(result):
    return not any(np.any(x) for x in jax.tree.leaves(result))


@each(PROBABILITY)
def test_zero_times_log_zero_is_zero(function):
    for second in (Q, [0.5, 0.25, 0, 0.25], [0.5, 0.5, 1 + 2**-23, 3]):
        value, _ = run(function, [0.5, 0.5, 0, 0], second)
        assert np.isfinite(value)


@each(select(kinds=("p", "q")))
def test_mass_where_q_is_zero(function):
    value, _ = run(function, [0.5, 0.5, 0, 0], [1, 0, 0, 0])
    assert value == INF or function.name == "js_divergence"


@each(select(name="js_divergence"))
def test_jensen_shannon_of_disjoint_distributions_is_log_2(function):
    zero, one = {"probability": (0, 0.5), "softmax": (-INF, 0), "sigmoid": (-INF, INF)}[
        function.row
    ]
    value, _ = run(function, [one, one, zero, zero], [zero, zero, one, one])
    np.testing.assert_allclose(value, np.log(2), 1e-6)


@each(DIVERGENCES)
def test_equal_distributions_are_exactly_0_apart(function):
    for row in (P, Q, [1, 0, 0, 0], [0.1, 0.2, 0.3, 1e-30]):
        assert all_zero(run(function, row, row))


@each(SOFTMAX)
def test_minus_infinite_logit_is_a_class_of_probability_0(function):
    second = [0.5, 0.25, 0, 0.25] if function.kinds[-1] == "y" else Q
    value, (by_first, *_) = run(function, [1, 2, -INF, 0], second, label=1)
    assert np.isfinite(value) and by_first[2] == 0


@each(select(row="softmax", name="_divergence"))
def test_both_minus_infinite_contribute_nothing(function):
    value, gradients = run(function, [1, 2, -INF, 0], [2, 1, -INF, 1])
    assert np.isfinite(value) and all(g[2] == 0 for g in gradients)


def test_q_logit_minus_infinite_where_p_has_mass():
    (function,) = select(name="softmax_kl_divergence")
    value, _ = run(function, P, [1, -INF, 2, 0])
    assert value == INF


def test_both_logits_minus_infinite_beside_plus_infinity():
    """A class that neither has costs nothing, however far the rows are apart."""
    (function,) = select(name="softmax_kl_divergence")
    for first, second, want in (
        ([-INF, -INF, 0, 0], [-INF, -INF, INF, INF], 0),
        ([-INF, -INF, 0, -INF], [-INF, 0, INF, -INF], 0),
        ([-INF, 0, 0, -INF], [-INF, 0, INF, -INF], INF),
    ):
        value, _ = run(function, first, second)
        assert value == want


@each(select(row="softmax", option="label_smoothing"))
def test_label_of_probability_0(function):
    value, _ = run(function, [1, -INF, 2, 0], label=1)
    assert value == INF


@each(SOFTMAX)
def test_plus_infinite_logit_has_probability_1(function):
    for second, label in (([0, 1, 0, 0], 1), (Q, 2)):
        run(function, [0, INF, -INF, 3], second, label)
    if function.kinds[-1] == "zq":
        run(function, P, [0, INF, 0, 3])
        assert all_zero(run(function, [0, INF, 1, 3], [5, INF, 1, 2]))


def test_a_label_at_the_lowest_number_keeps_its_loss():
    """The lowest number of a dtype is a usual mask, and finite."""
    lowest = np.finfo(np.float32).min
    logits = np.float32([0.0, lowest])
    assert xent_jax.softmax_cross_entropy(logits, 1) == -lowest


@each(SOFTMAX)
def test_several_plus_infinite_logits_share_the_mass(function):
    second = [0, 0.5, 0, 0.5] if function.kinds[-1] == "y" else [1, INF, INF, INF]
    run(function, [0, INF, -INF, INF], second, label=1)


@each(SIGMOID)
def test_infinite_logits_of_independent_outcomes(function):
    for second in ([1, 0, 0, 1], [0, 0.5, 1, 0.25]):
        run(function, [INF, -INF, INF, -INF], second, label=[1, 0, 0, 1])
    if function.kinds[-1] == "zq":
        assert all_zero(run(function, [INF, -INF, INF, -INF], [INF, -INF, INF, -INF]))
        run(function, [INF, -INF, INF, 1], [-INF, INF, 2, INF])


@each(SOFTMAX)
def test_row_of_minus_infinite_logits_is_nan(function):
    value, _ = run(function, np.full(4, -INF))
    assert np.isnan(value)


@each(FUNCTIONS)
def test_where_all_false_is_zero(function):
    for row in (P, np.full(4, -INF), np.full(4, NAN)):
        assert all_zero(run(function, row, row, where=np.full(4, False)))


@each(FUNCTIONS)
def test_nothing_leaks_from_under_where(function):
    where = np.array([True, True, False, False])
    for hidden in ([NAN, NAN], [INF, -INF], [-1, 1e30], [0, 0]):
        first, second = np.append(P[:2], hidden), np.append(Q[:2], hidden)
        value, gradients = run(function, first, second, where=where)
        assert np.all(np.isfinite(value)) and all(not g[2:].any() for g in gradients)


@each(select(row="softmax", kinds=("zp", "id")))
def test_label_hidden_by_where_is_infinite(function):
    where = np.array([True, False, True, True])
    for logit in (0.3, 100, -INF):
        value, _ = run(function, [0.4, logit, 0.2, 0.1], label=1, where=where)
        assert value == INF


@each(OF_IDS)
def test_ignored_label_is_zero(function):
    for ignored in (-100, 1):
        for row in (P, np.full(4, -INF), np.full(4, NAN)):
            assert all_zero(run(function, row, label=ignored, ignore_index=ignored))
        run(function, P, label=0, ignore_index=ignored)


@each(OF_IDS)
def test_label_out_of_range_is_nan(function):
    for label in (-1, 4, -99, 2**31 - 1, -(2**31)):
        for options in ({}, {"ignore_index": -100}, {"label_smoothing": 0.1}):
            assert np.isnan(run(function, label=label, **options)[0]).all()


@each(PROBABILITY)
def test_bad_probability_is_nan(function):
    for bad in (-0.1, -1e-30, -INF, NAN):
        for place in range(len(function.kinds)):
            rows = [P, Q]
            rows[place] = [bad, 0.5, 0.25, 0.25]
            assert np.isnan(run(function, *rows)[0])


@each(select(kinds=("zp", "y")))
def test_bad_label_probability_is_nan(function):
    for bad in (-0.1, NAN):
        assert np.isnan(run(function, P, [bad, 0.5, 0.25, 0.25])[0]).any()


@each(SOFTMAX + SIGMOID)
def test_nan_logit_is_nan(function):
    assert np.isnan(run(function, [NAN, 1, 2, 3])[0]).any()
    assert np.isnan(run(function, [NAN, INF, -INF, 3])[0]).any()
    if function.kinds[-1] == "zq":
        assert np.isnan(run(function, P, [1, 2, NAN, 3])[0]).any()


@each(LABELLED)
def test_label_smoothing(function):
    run(function, label_smoothing=0.1)
    run(function, where=np.array([True, True, False, True]), label_smoothing=0.1)
    value, _ = run(function, [0, -INF, 1, 2], label_smoothing=0.1)
    assert np.any(value == INF)  # an outcome that exists gets its share


def _shaped(function, shape):
    ids = np.zeros(shape if function.elementwise else shape[:-1], np.int32)
    return [ids if k == "id" else np.full(shape, 0.25, np.float32) for k in function.kinds]


@each(FUNCTIONS)
def test_empty_batch_is_empty(function):
    arguments = _shaped(function, (0, 4))
    out = function(*arguments)
    assert out.shape == ((0, 4) if function.elementwise else (0,)) and out.dtype == np.float32
    argnums = function.differentiable
    gradients = jax.grad(lambda *a: function(*a).sum(), argnums)(*arguments)
    assert all(g.shape == (0, 4) for g in gradients)


@each(PROBABILITY + SOFTMAX)
def test_empty_class_axis_raises(function):
    with pytest.raises(ValueError, match=function.name):
        function(*_shaped(function, (2, 0)))


@each([f for f in FUNCTIONS if len(f.kinds) == 2])
def test_unequal_shapes_raise(function):
    first, second = _shaped(function, (3, 3))
    for a, b in ((first, second[:1]), (first[:1], second), (first, second[..., None])):
        with pytest.raises(ValueError, match=function.name):
            function(a, b)


@each(FUNCTIONS)
def test_complex_input_raises(function):
    first, *rest = _shaped(function, (2, 4))
    with pytest.raises(TypeError, match=function.name):
        function(first.astype(np.complex64), *rest)
