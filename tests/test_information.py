"""What perplexity, the families of order α and joint distributions have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

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

from .compare import close_in_last_digits, value_and_gradients
from .information import INF, NAN, P, Q
from .selection import usually

JOINT = (conditional_entropy, mutual_information)
ORDER = np.float32(0.7)
ALL = {
    "perplexity": lambda p, q, **o: perplexity(p, **o),
    "perplexity-q": perplexity,
    "renyi_entropy": lambda p, q, **o: renyi_entropy(p, ORDER, **o),
    "renyi_divergence": lambda p, q, **o: renyi_divergence(p, q, ORDER, **o),
    "tsallis_entropy": lambda p, q, **o: tsallis_entropy(p, ORDER, **o),
}
FEW = {"perplexity-q", "renyi_divergence", "tsallis_entropy"}
ROWS = pytest.mark.parametrize("name", ALL)


def test_perplexity():
    np.testing.assert_allclose(perplexity(P), np.exp(xent_jax.entropy(P)), 1e-6)
    np.testing.assert_allclose(perplexity(P, Q), np.exp(xent_jax.cross_entropy(P, Q)), 1e-6)
    np.testing.assert_allclose(perplexity(np.full(64, 1 / 64, np.float32)), 64, 1e-6)
    assert perplexity(P[0], np.eye(6, dtype=np.float32)[0]) == INF
    _, gradient, _ = value_and_gradients(ALL["perplexity"], P, Q)
    np.testing.assert_allclose(
        gradient, np.exp(xent_jax.entropy(P))[:, None] * (-np.log(P) - 1), 1e-5
    )


@pytest.mark.parametrize(
    "name", usually({"perplexity-q", "renyi_divergence", "tsallis_entropy"}, ALL)
)
def test_axis_where_keepdims(name):
    function = ALL[name]
    want = value_and_gradients(function, P, Q)
    cube = [x.T.reshape(2, 3, 4) for x in (P, Q)]
    value, *gradients = value_and_gradients(function, *cube, axis=(0, -2), keepdims=True)
    close_in_last_digits((value[0, 0], *(g.reshape(6, 4).T for g in gradients)), want)
    where = np.array([True, False, True, True, False, True])
    nonsense = [np.where(where, x, np.float32(NAN)) for x in (P, Q)]
    value, *gradients = value_and_gradients(function, *nonsense, where=where)
    few, *slopes = value_and_gradients(function, P * where, Q * where)
    close_in_last_digits(
        (value, *(g[:, where] for g in gradients)), (few, *(g[:, where] for g in slopes))
    )
    assert not any(np.any(g[:, ~where]) for g in gradients)
    value, *gradients = value_and_gradients(function, P, Q, where=np.zeros(6, bool))
    np.testing.assert_array_equal(value, float(name.startswith("perplexity")))
    assert not any(map(np.any, gradients))


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


@pytest.mark.slow
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
    close_in_last_digits((value, *gradients), (want, *(g.astype("bfloat16") for g in slopes)))
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
        close_in_last_digits(value, function(*(x.astype("float32") for x in data)))


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


# The errors.


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
