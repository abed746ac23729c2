"""Arrays split over devices: manual, explicit and automatic meshes give the unsharded numbers."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import xent_jax

from .selection import slow
from .tokens import draw32 as draw

SEVERAL_DEVICES = True

TOKENS, FEATURES, CLASSES, CHUNK = 32, 16, 64, 8
KEPT = np.arange(CLASSES) < 60


Z, Y = 3 * draw(0, TOKENS, CLASSES), 3 * draw(1, TOKENS, CLASSES)
IDS = np.random.default_rng(2).integers(0, 60, TOKENS).astype(np.int32)
SOFT = np.exp(Y) / np.exp(Y).sum(1, keepdims=True)
X, W, B = draw(3, TOKENS, FEATURES), draw(4, FEATURES, CLASSES), draw(5, CLASSES)
FEW = np.random.default_rng(6).integers(0, CLASSES, (TOKENS, 3)).astype(np.int32)
PROBS = abs(draw(7, TOKENS, 3))
WEIGHTS = abs(draw(8, CLASSES))

ROWS, HEAD, VECTOR, LOGITS = P("data"), P(None, "model"), P("model"), P("data", "model")


def linear(x, w, b, labels, kept, **options):
    return xent_jax.linear_softmax_cross_entropy(
        x, w, labels, b=b, where=kept, label_smoothing=0.1, z_loss=0.01, chunk_size=CHUNK, **options
    )


def few(x, w, probs, ids, **options):
    return xent_jax.linear_softmax_cross_entropy(
        x, w, ids, label_probs=probs, chunk_size=CHUNK, **options
    )


def smoothed(z, labels, kept, **options):
    return xent_jax.softmax_cross_entropy(
        z, labels, where=kept[None], label_smoothing=0.1, **options
    )


def weighted(z, weights, labels, **options):
    focal = xent_jax.softmax_focal_loss(z, labels, class_weights=weights, **options)
    return focal + xent_jax.softmax_cross_entropy(
        z, labels, class_weights=weights, label_smoothing=0.1, z_loss=0.01, **options
    )


def linear_weighted(x, w, labels, weights, **options):
    both = {"class_weights": weights, "chunk_size": CHUNK, **options}
    plain = xent_jax.linear_softmax_cross_entropy(x, w, labels, focal_gamma=2.0, **both)
    return plain + xent_jax.linear_softmax_cross_entropy(x, w, labels, label_smoothing=0.1, **both)


def both_heads(x, w, v, **options):
    return xent_jax.linear_softmax_kl_divergence(x, w, x[::-1], v, chunk_size=CHUNK, **options)


def statistics(x, w, labels, **options):
    found = xent_jax.linear_softmax_statistics(x, w, labels, chunk_size=CHUNK, **options)
    return (
        found.log_prob
        + found.logsumexp
        + found.entropy
        + jnp.where(found.correct, 1.0, found.argmax.astype("float32"))
    )


def renyi_entropy(z, **options):
    return xent_jax.softmax_renyi_entropy(z, 0.5, **options)


def renyi_divergence(z, y, **options):
    return xent_jax.softmax_renyi_divergence(z, y, 1.5, **options)


# name: the function, its arguments, how they are split, and how many are differentiated.
CASES = {
    "cross entropy of ids": (xent_jax.softmax_cross_entropy, (Z, IDS), (LOGITS, ROWS), 1),
    "masked and smoothed": (smoothed, (Z, IDS, KEPT), (LOGITS, ROWS, VECTOR), 1),
    "weighted and focal": (weighted, (Z, WEIGHTS, IDS), (LOGITS, VECTOR, ROWS), 2),
    "linear, weighted": (linear_weighted, (X, W, IDS, WEIGHTS), (ROWS, HEAD, ROWS, VECTOR), 2),
    "soft labels": (xent_jax.softmax_cross_entropy, (Z, SOFT), (LOGITS, LOGITS), 2),
    "entropy": (xent_jax.softmax_entropy, (Z,), (LOGITS,), 1),
    "kl": (xent_jax.softmax_kl_divergence, (Z, Y), (LOGITS, LOGITS), 2),
    "js": (xent_jax.softmax_js_divergence, (Z, Y), (LOGITS, LOGITS), 2),
    "renyi entropy": (renyi_entropy, (Z,), (LOGITS,), 1),
    "renyi divergence": (renyi_divergence, (Z, Y), (LOGITS, LOGITS), 2),
    "linear": (linear, (X, W, B, IDS, KEPT), (ROWS, HEAD, VECTOR, ROWS, VECTOR), 3),
    "few labels": (few, (X, W, PROBS, FEW), (ROWS, HEAD, ROWS, ROWS), 3),
    "statistics": (statistics, (X, W, IDS), (ROWS, HEAD, ROWS), 2),
}
MANUAL_ONLY = {"linear kl": (both_heads, (X, W, Y[:FEATURES]), (P(), HEAD, HEAD), 3)}


def mesh_of(kind):
    return jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind,) * 2)


def value_and_slopes(f, moving, *arguments):
    def bent(*moved):
        values = f(*moved, *arguments[len(moved) :])
        return jnp.sum(values * jnp.linspace(0.5, 1.5, TOKENS))

    values = f(*arguments)
    return values, jax.grad(bent, tuple(range(moving)))(*arguments[:moving])


def assert_same(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = max(1.0, float(np.max(np.abs(np.asarray(b)))))
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=3e-6 * scale)


@functools.cache
def unsharded(name):
    f, arguments, _, moving = {**CASES, **MANUAL_ONLY}[name]
    return jax.jit(functools.partial(value_and_slopes, f, moving))(*map(jnp.asarray, arguments))


QUICK = {"cross entropy of ids", "linear"}


def each(cases):
    marks = {name: () if name in QUICK else pytest.mark.slow for name in cases}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=m) for n, m in marks.items()])


@each([*CASES, *MANUAL_ONLY])
def test_class_axis_split_by_hand(name):
    """Inside shard_map, with axis_name: ids, smoothing and statistics are global."""
    f, arguments, specs, moving = {**CASES, **MANUAL_ONLY}[name]
    mesh = mesh_of(AxisType.Auto)
    split = jax.shard_map(
        functools.partial(f, axis_name="model"),
        mesh=mesh,
        in_specs=specs,
        out_specs=P() if specs[0] == P() else ROWS,
    )
    placed = [jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip(arguments, specs)]
    got = jax.jit(functools.partial(value_and_slopes, split, moving))(*placed)
    assert_same(got, unsharded(name))


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto], ids=str)
@each(CASES)
def test_split_by_the_compiler(name, kind):
    f, arguments, specs, moving = CASES[name]
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        placed = [jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip(arguments, specs)]
        got = jax.jit(functools.partial(value_and_slopes, f, moving))(*placed)
        assert_same(got, unsharded(name))


@pytest.mark.parametrize("reduction", ["mean", slow("sum")])
def test_data_parallel_mean(reduction):
    """A global normaliser: the parts add up to the mean over all devices."""
    mesh = mesh_of(AxisType.Auto)

    def part(x, w, labels):
        scale = {"normalizer": float(TOKENS)} if reduction == "mean" else {}
        loss = xent_jax.linear_softmax_cross_entropy(
            x, w, labels, reduction=reduction, axis_name="model", chunk_size=CHUNK, **scale
        )
        return jax.lax.psum(loss, "data")

    whole = jax.shard_map(part, mesh=mesh, in_specs=(ROWS, HEAD, ROWS), out_specs=P())

    def alone(x, w):
        return xent_jax.linear_softmax_cross_entropy(x, w, IDS, reduction=reduction)

    got = jax.jit(jax.value_and_grad(lambda x, w: whole(x, w, IDS), (0, 1)))(X, W)
    assert_same(got, jax.jit(jax.value_and_grad(alone, (0, 1)))(X, W))


def collectives(compiled):
    """(kind, elements) of every collective in the compiled module, tuples taken apart."""
    found = []
    for line in compiled.as_text().splitlines():
        match = re.search(
            r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)\(", line
        )
        if match:
            for shape in re.findall(r"\w+\[([\d,]*)\]", match[1]):
                sizes = [int(n) for n in shape.split(",") if n]
                found.append((match[2], int(np.prod(sizes))))
    return found


def split_loss(mesh):
    def part(x, w, labels):
        loss = xent_jax.linear_softmax_cross_entropy(
            x, w, labels, reduction="mean", normalizer=1.0 * TOKENS, axis_name="model",
            chunk_size=TOKENS,
        )  # fmt: skip
        return jax.lax.psum(loss, "data")

    return jax.shard_map(part, mesh=mesh, in_specs=(ROWS, HEAD, ROWS), out_specs=P())


def test_only_small_collectives():
    """Vectors of tokens and dx over the vocabulary axis, dw over the data axis, no gathering."""
    mesh = mesh_of(AxisType.Auto)
    placed = [
        jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip((X, W, IDS), (ROWS, HEAD, ROWS))
    ]
    f = jax.jit(jax.value_and_grad(split_loss(mesh), (0, 1)))
    found = collectives(f.lower(*placed).compile())
    tokens = TOKENS // 2
    assert found and {kind for kind, _ in found} == {"all-reduce"}
    vectors, dx, dw = 4 * tokens, tokens * FEATURES, FEATURES * CLASSES // 4
    assert {size for _, size in found} <= {1, tokens, dx, dw}
    assert sum(size for _, size in found) <= vectors + dx + dw + 2


def test_memory_falls_with_the_number_of_shards():
    def temporaries(shards):
        mesh = jax.make_mesh((shards,), ("model",), axis_types=(AxisType.Auto,))

        def part(x, w, labels):
            return xent_jax.linear_softmax_cross_entropy(
                x, w, labels, reduction="mean", axis_name="model"
            )

        whole = jax.shard_map(part, mesh=mesh, in_specs=(P(), HEAD, P()), out_specs=P())
        shapes = (
            ((512, 64), P(), "float32"),
            ((64, 32768), HEAD, "float32"),
            ((512,), P(), "int32"),
        )
        given = [
            jax.ShapeDtypeStruct(s, d, sharding=NamedSharding(mesh, spec)) for s, spec, d in shapes
        ]
        compiled = jax.jit(jax.value_and_grad(whole, (0, 1))).lower(*given).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    one, two, eight = map(temporaries, (1, 2, 8))
    assert two < 0.7 * one and eight < 0.3 * one


def test_labels_split_where_logits_are_not():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        labels = jax.device_put(IDS, NamedSharding(mesh, ROWS))
        with pytest.raises(ValueError, match=r"labels are split over .*data.* with jax\.reshard"):
            xent_jax.softmax_cross_entropy(jnp.asarray(Z), labels)


def test_class_weights_split_where_classes_are_not():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        weights = jax.device_put(WEIGHTS, NamedSharding(mesh, VECTOR))
        message = r"class_weights are split over 'model' and the classes over None; .*jax\.reshard"
        with pytest.raises(ValueError, match=message):
            xent_jax.softmax_focal_loss(jnp.asarray(Z), IDS, class_weights=weights)


def test_an_unused_weight_is_seen_by_no_row():
    """Also where the classes are split: the others stay finite beside NaN."""
    mesh = mesh_of(AxisType.Explicit)
    weights = np.where(np.arange(CLASSES) == 63, np.nan, WEIGHTS)
    assert not np.any(IDS == 63)
    with jax.set_mesh(mesh):
        z, w = (
            jax.device_put(a, NamedSharding(mesh, s)) for a, s in ((Z, LOGITS), (weights, VECTOR))
        )
        f = functools.partial(xent_jax.softmax_cross_entropy, z, IDS)
        assert np.all(np.isfinite(f(class_weights=w)))
        slopes = jax.grad(lambda w: jnp.sum(f(class_weights=w)))(w)
        assert np.all(np.isfinite(slopes))


def test_classes_of_two_heads_split_unlike():
    mesh = mesh_of(AxisType.Auto)

    def part(x, w):
        return xent_jax.linear_softmax_kl_divergence(x, w, x, w[:, :4], axis_name="model")

    with pytest.raises(ValueError, match=r"wp and wq must have the same classes.*\(16, 16\)"):
        jax.shard_map(part, mesh=mesh, in_specs=(P(), HEAD), out_specs=P())(X, W)


def test_axis_name_that_is_not_bound():
    with pytest.raises(
        ValueError, match=r"softmax_entropy: axis_name 'model' is not bound .*shard"
    ):
        xent_jax.softmax_entropy(Z, axis_name="model")
    with pytest.raises(TypeError, match=r"linear_softmax_entropy: axis_name must be .* got 3"):
        xent_jax.linear_softmax_entropy(X, W, axis_name=3)
