"""Row functions in blocks, as a process with a single CPU device computes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax
from xent_jax._rows import cpu_blocks

from .cases import quick
from .selection import slow, usually


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few hundred entries are several blocks, the last one ragged."""
    monkeypatch.setattr(cpu_blocks, "_LARGEST", 64)
    monkeypatch.setattr(cpu_blocks, "_SMALLEST", 64)
    jax.clear_caches()


ROWS, CLASSES = 37, 11
RNG = np.random.default_rng(0)
Z, Y = RNG.normal(size=(2, ROWS, CLASSES)).astype(np.float32)
PROBS = np.asarray(jax.nn.softmax(Y))
IDS = RNG.integers(0, CLASSES, ROWS).astype(np.int32)

CALLS = {
    "entropy": (xent_jax.entropy, (PROBS,)),
    "kl": (xent_jax.kl_divergence, (np.asarray(jax.nn.softmax(Z)), PROBS)),
    "softmax entropy": (xent_jax.softmax_entropy, (Z,)),
    "softmax kl": (xent_jax.softmax_kl_divergence, (Z, Y)),
    "softmax js": (xent_jax.softmax_js_divergence, (Z, Y)),
    "renyi": (
        lambda p, q: xent_jax.renyi_divergence(p, q, 1.5),
        (np.asarray(jax.nn.softmax(Z)), PROBS),
    ),
    "smoothed ids": (
        lambda z: xent_jax.softmax_cross_entropy(
            z, np.resize(IDS % 3, len(z)), label_smoothing=0.1
        ),
        (Z,),
    ),
    "focal": (xent_jax.softmax_focal_loss, (Z, PROBS)),
    "soft": (xent_jax.softmax_cross_entropy, (Z, PROBS)),
}


def value_and_gradients(f, arguments):
    value, pull = jax.vjp(f, *arguments)
    return value, *pull(jnp.linspace(0.5, 1.5, value.size).reshape(value.shape))


def is_blocked(f, *arguments):
    return "while" in jax.jit(f).lower(*arguments).compile().as_text()


@pytest.mark.parametrize("name", usually({"kl", "smoothed ids"}, CALLS))
def test_blocks_are_the_whole(name, monkeypatch):
    f, arguments = CALLS[name]
    assert is_blocked(f, *arguments)
    got = quick(lambda *x: value_and_gradients(f, x))(*arguments)
    monkeypatch.setattr(cpu_blocks, "has_one_cpu_device", lambda: False)
    jax.clear_caches()
    assert not is_blocked(f, *arguments)
    want = quick(lambda *x: value_and_gradients(f, x))(*arguments)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, 1e-6, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("in_axes", [(0, None), slow((None, 0)), slow((0, 0))])
def test_vmap_adds_rows_to_the_blocks(in_axes):
    z, y = (np.stack([x, x[::-1], 2 * x]) if a == 0 else x for x, a in zip((Z, Y), in_axes))
    f = xent_jax.softmax_kl_divergence
    batched = jax.vmap(lambda *x: value_and_gradients(f, x), in_axes)
    assert is_blocked(batched, z, y)
    got = quick(batched)(z, y)
    alone = quick(lambda *x: value_and_gradients(f, x))
    for i in range(3):
        row = [x[i] if a == 0 else x for x, a in zip((z, y), in_axes)]
        for a, b in zip(got, alone(*row), strict=True):
            np.testing.assert_allclose(a[i], b, 1e-6, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_nan_is_that_of_its_row(name, monkeypatch):
    """Minima and maxima of XLA:CPU's own kernels, which it takes for many rows, drop a NaN."""
    monkeypatch.undo()
    f, arguments = CALLS[name]
    for place in range(len(arguments)):
        many = [np.tile(x[:, :3], (6_000, 1)) for x in arguments]
        many[place][5, 1] = np.nan
        assert np.flatnonzero(np.isnan(jax.jit(f)(*many))).tolist() == [5]


@pytest.mark.parametrize("shape, axis", [((4,), -1), ((2, 2), (-2, -1))], ids=["one", "two axes"])
@pytest.mark.parametrize("dtype", ["float32", slow("bfloat16")])
@pytest.mark.parametrize("in_axes", [(None, 0), (0, None)], ids=["ids", "logits"])
def test_vmap_over_logits_or_ids_alone(in_axes, dtype, shape, axis):
    """Those that are not batched are shared, with one class axis or more."""
    z = jnp.asarray(np.resize(Z, (3, 5, *shape)), dtype)
    ids = jnp.asarray(np.resize(IDS % 4, (3, 5)))
    given = [x if axis == 0 else x[0] for x, axis in zip((z, ids), in_axes, strict=True)]

    @jax.value_and_grad
    def loss(z, ids):
        return xent_jax.softmax_cross_entropy(z, ids, axis=axis, label_smoothing=0.1).sum()

    found = quick(jax.vmap(loss, in_axes))(*given)
    for i in range(3):
        one = loss(*(x[i] if axis == 0 else x for x, axis in zip(given, in_axes, strict=True)))
        for got, want in zip(found, one, strict=True):
            np.testing.assert_allclose(
                np.float32(got[i]), np.float32(want), 1e-5 if dtype == "float32" else 1e-2, 1e-6
            )
