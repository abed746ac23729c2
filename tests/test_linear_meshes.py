"""The linear row under automatic and explicit meshes: split tokens, classes and features, vmap.

Tokens have two axes, of which batch, sequence or both are split; chunks are many.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import xent_jax

from .benchmarks import hlo
from .selection import slow
from .tokens import draw32 as draw

SEVERAL_DEVICES = True

BATCH, LENGTH, FEATURES, CLASSES = 4, 64, 8, 32
CHUNK = 4  # tokens on each device
KINDS = {"automatic": AxisType.Auto, "explicit": AxisType.Explicit}


RNG = np.random.default_rng(0)
ARGUMENTS = {
    "x": draw(1, BATCH, LENGTH, FEATURES),
    "w": draw(2, FEATURES, CLASSES),
    "b": draw(3, CLASSES),
    "labels": RNG.integers(0, 30, (BATCH, LENGTH)).astype(np.int32),
    "weights": (RNG.random((BATCH, LENGTH)) < 0.3).astype(np.float32),
    "data": draw(4, BATCH, LENGTH),
    "few": RNG.integers(0, CLASSES, (BATCH, LENGTH, 3)).astype(np.int32),
    "probs": abs(draw(5, BATCH, LENGTH, 3)),
    "where": np.arange(CLASSES) < 30,
    "class_weights": abs(draw(6, CLASSES)),
    "number": np.float32(0.2),
}
OF_TOKENS, OF_CLASSES = ("x", "labels", "weights", "data", "few", "probs"), (
    "b", "where", "class_weights")  # fmt: skip


def cross_entropy(x, w, b, labels, weights, where, class_weights, number):
    return xent_jax.linear_softmax_cross_entropy(
        x, w, labels, b=b, weights=weights, where=where, class_weights=class_weights,
        label_smoothing=number, z_loss=number, focal_gamma=number, reduction="mean",
        chunk_size=CHUNK, return_statistics=True,
    )  # fmt: skip


def per_token(x, w, labels, where):
    labels = jnp.where(labels == 3, -1, labels)
    return xent_jax.linear_softmax_cross_entropy(
        x, w, labels, where=where, ignore_index=-1, chunk_size=CHUNK
    )


def few_labels(x, w, few, probs, where):
    return xent_jax.linear_softmax_cross_entropy(
        x, w, few, label_probs=probs, where=where, reduction="sum", chunk_size=CHUNK
    )


def entropy(x, w, weights, number):
    return xent_jax.linear_softmax_entropy(
        x, w, weights=weights, temperature=1 + number, reduction="sum", chunk_size=CHUNK
    )


def kl(x, w, b, where):
    return xent_jax.linear_softmax_kl_divergence(
        x, w, x * 0.5, w, bp=b, where=where, reduction="mean", chunk_size=CHUNK
    )


def js(x, w, b):
    return xent_jax.linear_softmax_js_divergence(x, w, x * 0.5, w, bq=b, chunk_size=CHUNK)


def statistics(x, w, labels):
    return xent_jax.linear_softmax_statistics(x, w, labels, ignore_index=3, chunk_size=CHUNK)


def given_loss(x, w, labels, data, number):
    def loss(s, a):  # with a function that has a rule of its own, and a closed-over value
        return jax.nn.relu(s.entropy - a) * number - jnp.exp(s.log_prob) * a

    return xent_jax.linear_softmax_loss(
        loss, x, w, labels, data, softcap=5.0, reduction="mean", chunk_size=CHUNK
    )


def sigmoid(x, w, few, weights, class_weights, number):
    return xent_jax.linear_sigmoid_cross_entropy(
        x, w, few, b=-number, weights=weights, pos_weight=class_weights, reduction="sum",
        chunk_size=CHUNK,
    )  # fmt: skip


FUNCTIONS = (cross_entropy, per_token, few_labels, entropy, kl, js, statistics, given_loss, sigmoid)
TOKENS = {"batch": ("data", None), "sequence": (None, "data"), "both": ("data", "seq")}
HEADS = {"whole": (None, None), "classes": (None, "model"), "FSDP × TP": ("data", "model")}
USUAL = {
    ("cross_entropy", "both", "FSDP × TP", "automatic"),
    ("few_labels", "sequence", "classes", "explicit"),
    ("given_loss", "batch", "FSDP × TP", "explicit"),
}


def names_of(f):
    return f.__code__.co_varnames[: f.__code__.co_argcount]


def places_of_floats(f):
    floats = ("x", "w", "b", "data", "probs", "class_weights", "number")
    return tuple(i for i, n in enumerate(names_of(f)) if n in floats)


def _slope_of(v):
    return jnp.linspace(0.5, 1.5, v.size).reshape(v.shape)


def values_and_gradients(f, *given):
    def total(*given):
        out = f(*given)
        parts = [v for v in jax.tree.leaves(out) if jnp.issubdtype(v.dtype, jnp.floating)]
        return sum(jnp.sum(v * _slope_of(v)) for v in parts), out

    return jax.value_and_grad(total, places_of_floats(f), has_aux=True)(*given)


def assert_same(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = np.max(np.abs(b), initial=0.0)
        np.testing.assert_allclose(a, b, 2e-5, 1e-5 * scale)


@functools.cache
def unsplit(f):
    given = [jnp.asarray(ARGUMENTS[n]) for n in names_of(f)]
    return jax.jit(functools.partial(values_and_gradients, f))(*given)


def specs(f, tokens, head):
    for name in names_of(f):
        if name in OF_TOKENS:
            yield P(*TOKENS[tokens])
        elif name == "w":
            yield P(*HEADS[head])
        else:
            yield P(HEADS[head][1]) if name in OF_CLASSES else P()


def placed(mesh, arrays, specs):
    return [jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip(arrays, specs, strict=True)]


def _cases():
    """Of every function each split of tokens, the kinds of mesh and the splits of w in turn."""
    for i, f in enumerate(FUNCTIONS):
        for j, tokens in enumerate(TOKENS):
            for k, kind in enumerate(KINDS):
                head = list(HEADS)[(i + j + k) % len(HEADS)]
                case = (f.__name__, tokens, head, kind)
                if (i + j + k) % 2 and case not in USUAL:
                    continue
                marks = () if case in USUAL else pytest.mark.slow
                yield pytest.param(f, tokens, head, kind, id="-".join(case), marks=marks)


CASES = list(_cases())


@pytest.mark.parametrize("f, tokens, head, kind", CASES)
def test_split_arrays_give_the_numbers_of_one_device(f, tokens, head, kind):
    mesh = jax.make_mesh((2, 2, 2), ("data", "seq", "model"), axis_types=(KINDS[kind],) * 3)
    with jax.set_mesh(mesh):
        given = placed(mesh, [ARGUMENTS[n] for n in names_of(f)], specs(f, tokens, head))
        assert_same(jax.jit(functools.partial(values_and_gradients, f))(*given), unsplit(f))


def _mapped():
    """Each argument of every function, on one device and on a mesh in turn."""
    for i, f in enumerate(FUNCTIONS):
        for j, name in enumerate(names_of(f)):
            default = (f.__name__, name) == ("given_loss", "number")
            for meshed in (False, True) if default else ((i + j) % 2 == 0,):
                case = f"{f.__name__}-{name}-{'mesh' if meshed else 'device'}"
                marks = () if default and not meshed else pytest.mark.slow
                yield pytest.param(f, name, meshed, id=case, marks=marks)


MAPPED = list(_mapped())


@pytest.mark.parametrize("f, name, meshed", MAPPED)
def test_vmap_over_one_argument(f, name, meshed):
    """Also under an explicit mesh that splits tokens and classes."""
    place = names_of(f).index(name)
    arrays = [ARGUMENTS[n] for n in names_of(f)]
    other = arrays[place][..., ::-1] if np.ndim(arrays[place]) else np.float32(0.3)
    pair = np.stack([arrays[place], other])
    axes = [0 if i == place else None for i in range(len(arrays))]
    mapped = jax.jit(jax.vmap(functools.partial(values_and_gradients, f), axes))
    want = unsplit(f)
    if not meshed:
        got = mapped(*arrays[:place], pair, *arrays[place + 1 :])
    else:
        kinds = (AxisType.Explicit,) * 3
        mesh = jax.make_mesh((2, 2, 2), ("data", "seq", "model"), axis_types=kinds)
        split = list(specs(f, "both", "classes"))
        split[place] = P(None, *split[place])
        with jax.set_mesh(mesh):
            got = mapped(*placed(mesh, [*arrays[:place], pair, *arrays[place + 1 :]], split))
    assert_same(jax.tree.map(lambda v: v[0], got), want)


def head_loss(x, w, labels):
    return xent_jax.linear_softmax_cross_entropy(x, w, labels, reduction="mean", chunk_size=32)


def by_hand(mesh):
    def part(x, w, labels):
        w = jax.lax.all_gather(w, "data", axis=0, tiled=True)
        loss = xent_jax.linear_softmax_cross_entropy(
            x, w, labels, reduction="mean", normalizer=256.0, axis_name="model", chunk_size=32
        )
        return jax.lax.psum(loss, "data")

    return jax.shard_map(
        part, mesh=mesh, in_specs=(P("data"), P("data", "model"), P("data")), out_specs=P()
    )


@pytest.mark.parametrize("how", [slow("automatic"), "explicit", "by hand"])
def test_features_are_gathered_and_their_gradient_scattered_once(how):
    """FSDP × TP: w before the loop, dw after it; in the loop nothing larger than dx of a chunk."""
    kind = AxisType.Explicit if how == "explicit" else AxisType.Auto
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind,) * 2)
    x = jax.ShapeDtypeStruct((8, 32, 48), "float32", sharding=NamedSharding(mesh, P("data")))
    w = jax.ShapeDtypeStruct(
        (48, 1024), "float32", sharding=NamedSharding(mesh, P("data", "model"))
    )
    labels = jax.ShapeDtypeStruct((8, 32), "int32", sharding=NamedSharding(mesh, P("data")))
    loss = by_hand(mesh) if how == "by hand" else head_loss
    step = jax.jit(
        jax.value_and_grad(loss, (0, 1)),
        out_shardings=(NamedSharding(mesh, P()), (x.sharding, w.sharding)),
    )
    with jax.set_mesh(mesh):
        found = hlo.transfers(step.lower(x, w, labels).compile().as_text())
    of_w, of_x = 4 * 48 * 1024 // 4, 4 * 48 * 8 * 32 // 2
    large = [t for t in found if t.nbytes > of_x]
    gathers = [(t.times, t.looped) for t in large if t.kind == "all-gather"]
    assert gathers == [(1, False)] and max(t.nbytes for t in large) <= of_w, large
    assert len(large) <= 2, large
    if how == "by hand":  # the compiler's split leaves the sum of dw in the loop, on a CPU alone
        in_loops = [t.nbytes for t in found if t.looped]
        assert max(in_loops, default=0) <= 4 * 32 * 2 * 48, found  # dx of a chunk


@pytest.mark.parametrize("reduction", ["sum", slow(None)])
def test_masks_that_differ_between_devices_inside_shard_map(reduction):
    """A device that skips more chunks than another waits for nobody, nor does anyone for it: what
    the functions close over, and w, are added up over the mesh after the loop alone."""
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    x, labels = (ARGUMENTS[n].reshape(256, *ARGUMENTS[n].shape[2:]) for n in ("x", "labels"))
    labels = np.where(np.arange(256) < 90, labels, -1)  # the second half has none that counts
    w, data = ARGUMENTS["w"], ARGUMENTS["data"].ravel()

    def loss(x, w, labels, data, number, axis_name=None):
        def of(s, a):
            return jax.nn.softplus(a) * number * s.log_prob + jax.nn.relu(s.entropy - 1)

        options = {"reduction": reduction, "chunk_size": CHUNK, "ignore_index": -1}
        options |= {"axis_name": axis_name, "logits_fn": lambda z: z + number * jax.nn.relu(z)}
        return xent_jax.linear_softmax_loss(of, x, w, labels, data, **options)

    def part(*given):
        mine = loss(*given, axis_name="model")
        return jax.lax.psum(mine, "data") if reduction else mine

    specs = (P("data"), P(None, "model"), P("data"), P("data"), P())
    out = P() if reduction else P("data")
    split = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=out)
    given = (x, w, labels, data, np.float32(0.4))
    got, want = (
        jax.jit(jax.value_and_grad(lambda *a, f=f: jnp.sum(f(*a)), (0, 1, 3, 4)))(*given)
        for f in (split, loss)
    )
    assert_same(got, want)
