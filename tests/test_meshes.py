"""Arrays split by the compiler under plain jit, above the size at which the CPU takes row blocks.

The numbers are those of one device, and what crosses devices is a few numbers per row.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import xent_jax

from .calls import CALLS, ONE_EACH, value_and_gradients
from .cases import QUICK
from .selection import slow, usually
from .tokens import draw32 as draw

SEVERAL_DEVICES = True

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
BLOCKS = 2 * 2**18  # entries of an input, from which a single CPU device works in row blocks


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def assert_same(got, want, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        size = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, tolerance, 0.3 * tolerance * size)


def has_loop(text):
    return re.search(r"= .* while\(", text) is not None


KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"


def collectives(text):
    """(kind, elements) of every array that a collective of the compiled module gives."""
    found = []
    for shapes, kind in re.findall(rf"= (\S.*?) ({KINDS})(?:-start)?\(", text):
        for shape in re.findall(r"\w+\[([\d,]*)\]", shapes):
            found.append((kind, int(np.prod([int(n) for n in shape.split(",") if n]))))
    return found


def test_the_reader_of_collectives():
    line = (
        "  %a = (f32[8,2]{1,0}, f32[]) all-reduce(f32[8,2]{1,0} %x, f32[] %y), to_apply=%add\n"
        "  ROOT %g = f32[4,64]{1,0} all-gather-start(f32[1,64]{1,0} %z), dimensions={0}\n"
        "  %n = f32[9]{0} add(f32[9]{0} %all-reduce.1, f32[9]{0} %q)\n"
    )
    assert collectives(line) == [("all-reduce", 16), ("all-reduce", 1), ("all-gather", 256)]
    assert has_loop("  %w = (s32[], f32[2]) while((s32[], f32[2]) %t), body=%b") and not has_loop(
        line
    )


# Training a head of odd size: the loss, and the gradients by x and w, ten times over.

TOKENS, FEATURES, CLASSES = 8 * 129, 17, 2053
assert TOKENS * CLASSES > 2 * BLOCKS
X, W = draw(0, TOKENS, FEATURES), draw(1, FEATURES, CLASSES) / 4
IDS = np.random.default_rng(2).integers(0, CLASSES, TOKENS).astype(np.int32)
TEACHER = 2 * draw(3, TOKENS, CLASSES)

# name: rows of losses of (x, w, of the rows), and what the rows have besides x.
HEADS = {
    "ids": (lambda x, w, y: xent_jax.softmax_cross_entropy(x @ w, y), IDS),
    "smoothed": (
        lambda x, w, y: xent_jax.softmax_cross_entropy(x @ w, y, label_smoothing=0.1), IDS),
    "focal": (lambda x, w, y: xent_jax.softmax_focal_loss(x @ w, y), IDS),
    "entropy": (lambda x, w, y: xent_jax.softmax_entropy(x @ w), IDS),
    "soft": (lambda x, w, y: xent_jax.softmax_cross_entropy(x @ w, y), softmax(TEACHER)),
    "kl": (lambda x, w, z: xent_jax.softmax_kl_divergence(z, x @ w), TEACHER),
    "linear": (lambda x, w, y: xent_jax.linear_softmax_cross_entropy(x, w, y), IDS),
    "linear mean": (lambda x, w, y: xent_jax.linear_softmax_cross_entropy(
        x, w, y, reduction="mean"), IDS),
}  # fmt: skip


def training_step(name):
    rows, labels = HEADS[name]
    return jax.value_and_grad(lambda x, w, y: jnp.mean(rows(x, w, y)), (0, 1)), labels


@functools.cache
def on_one_device(name):
    step, labels = training_step(name)
    return jax.tree.map(np.asarray, jax.jit(step)(X, W, labels))


def repeated(step, name, *arguments):
    """Ten runs, all in flight before the first is looked at."""
    runs = [step(*arguments) for _ in range(10)]
    for got in runs:
        assert_same(got, on_one_device(name))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [slow(2), slow(4), 8])
@pytest.mark.parametrize("name", usually({"linear mean"}, HEADS))
def test_training_on_several_devices(name, devices):
    """Rows split over an automatic mesh: visible while tracing, and by the shardings alone."""
    step, labels = training_step(name)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AUTO,), devices=jax.devices()[:devices])
    rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    repeated(jax.jit(step, in_shardings=(rows, whole, rows)), name, X, W, labels)
    placed = [jax.device_put(a, s) for a, s in zip((X, W, labels), (rows, whole, rows))]
    repeated(jax.jit(step), name, *placed)
    with jax.set_mesh(mesh):
        compiled = jax.jit(step).lower(*placed).compile()
        repeated(compiled, name, *placed)
    text = compiled.as_text()
    # The loss and dw are summed over the devices; nothing is gathered.
    assert {kind for kind, _ in collectives(text)} <= {"all-reduce"}
    assert sum(size for _, size in collectives(text)) <= FEATURES * CLASSES + 4


@pytest.mark.parametrize("name", ["ids", "smoothed", "entropy", "kl"])
def test_no_loop_over_rows_in_a_process_with_several_devices(name):
    """Not on one of its devices either: `jit` may be told of a mesh after it was traced."""
    assert jax.device_count("cpu") > 1
    step, labels = training_step(name)
    text = jax.jit(step).lower(X, W, labels).compile().as_text()
    assert not has_loop(text)


# Values and gradients of each function, however its data are split.

BATCH, LENGTH, K = 4, 130, 1032
assert BATCH * LENGTH * K > BLOCKS
ZP, ZQ = 2 * draw(4, BATCH, LENGTH, K), 2 * draw(5, BATCH, LENGTH, K)
LABELS = np.random.default_rng(6).integers(0, K, (BATCH, LENGTH)).astype(np.int32)
WEIGHTS = abs(draw(7, K))
PP, PQ = softmax(ZP), softmax(ZQ)
BITS = (ZQ > 0).astype(np.int32)


def floats(found):
    """Of statistics: what can be differentiated, and the rest with it as numbers."""
    return (
        found.log_prob + 2 * found.logsumexp + 3 * found.entropy
        + found.argmax.astype("float32") + found.correct.astype("float32")
    )  # fmt: skip


SOFTMAX = {
    "ids": (xent_jax.softmax_cross_entropy, ZP, LABELS),
    "smoothed": (lambda z, y: xent_jax.softmax_cross_entropy(
        z, y, label_smoothing=0.1, z_loss=0.01, ignore_index=3), ZP, LABELS),
    "soft": (xent_jax.softmax_cross_entropy, ZP, PQ),
    "weighted": (lambda z, y: xent_jax.softmax_cross_entropy(z, y, class_weights=WEIGHTS),
                 ZP, LABELS),
    "focal": (xent_jax.softmax_focal_loss, ZP, LABELS),
    "focal soft": (xent_jax.softmax_focal_loss, ZP, PQ),
    "poly": (xent_jax.softmax_poly_loss, ZP, LABELS),
    "generalized": (xent_jax.softmax_generalized_cross_entropy, ZP, LABELS),
    "statistics": (lambda z, y: floats(xent_jax.softmax_statistics(z, y)), ZP, LABELS),
    "entropy": (xent_jax.softmax_entropy, ZP),
    "kl": (xent_jax.softmax_kl_divergence, ZP, ZQ),
    "js": (xent_jax.softmax_js_divergence, ZP, ZQ),
}  # fmt: skip
OTHERS = {
    "p entropy": (xent_jax.entropy, PP),
    "p cross": (xent_jax.cross_entropy, PP, PQ),
    "p kl": (xent_jax.kl_divergence, PP, PQ),
    "p js": (xent_jax.js_divergence, PP, PQ),
    "p perplexity": (xent_jax.perplexity, PP),
    "p renyi": (lambda p: xent_jax.renyi_entropy(p, 2.0), PP),
    "p tsallis": (lambda p: xent_jax.tsallis_entropy(p, 2.0), PP),
    "p renyi divergence": (lambda p, q: xent_jax.renyi_divergence(p, q, 0.5), PP, PQ),
    "sigmoid ids": (xent_jax.sigmoid_cross_entropy, ZP, BITS),
    "sigmoid soft": (xent_jax.sigmoid_cross_entropy, ZP, PQ),
    "sigmoid focal": (xent_jax.sigmoid_focal_loss, ZP, BITS),
    "sigmoid entropy": (xent_jax.sigmoid_entropy, ZP),
    "sigmoid kl": (xent_jax.sigmoid_kl_divergence, ZP, ZQ),
    "sigmoid js": (xent_jax.sigmoid_js_divergence, ZP, ZQ),
}
FUNCTIONS = {**SOFTMAX, **OTHERS}
# name: shape without the classes, the split of the rows, the split of the classes.
SPLITS = {
    "rows": ((BATCH * LENGTH,), P(("data", "model")), None),
    "classes": ((BATCH * LENGTH,), P(None), ("data", "model")),
    "rows and classes": ((BATCH * LENGTH,), P("data"), "model"),
    "sequence": ((BATCH, LENGTH), P(None, "data"), None),
    "batch, sequence": ((BATCH, LENGTH), P("model", "data"), None),
    "batch, sequence, classes": ((BATCH, LENGTH), P(None, "data"), "model"),
}


def value_and_slopes(f, *data):
    """The value of each row, and the gradients of their sum by what is floating."""
    places = [i for i, x in enumerate(data) if jnp.issubdtype(x.dtype, jnp.floating)]

    def total(*moved):
        full = list(data)
        for place, x in zip(places, moved, strict=True):
            full[place] = x
        value = f(*full)
        return jnp.sum(value), value

    slopes, value = jax.grad(total, tuple(range(len(places))), has_aux=True)(
        *(data[i] for i in places)
    )
    return value, slopes


@functools.cache
def whole(name):
    f, *data = FUNCTIONS[name]
    return jax.tree.map(np.asarray, jax.jit(functools.partial(value_and_slopes, f))(*data))


def reshaped(x, rows):
    classes = x.shape[2:] if x.ndim == 3 else ()
    return x.reshape(*rows, *classes)


MOST = {("ids", "rows", AUTO), ("ids", "rows and classes", AUTO),
        ("ids", "batch, sequence, classes", EXPLICIT), ("kl", "classes", AUTO),
        ("statistics", "rows and classes", AUTO),
        ("p kl", "rows and classes", AUTO)}  # fmt: skip
EVERY = [(name, split, AUTO) for name in FUNCTIONS for split in SPLITS] + [
    (name, split, EXPLICIT)
    for name in FUNCTIONS
    for split in SPLITS
    if "sequence" in split or (split == "rows and classes")
]
# Each way to compute is split in every way, its kin in those that cut rows and classes.
WAYS = {"ids", "soft", "statistics", "entropy", "kl", "js", "p kl", "p renyi", "sigmoid kl"}
EVERY = [c for c in EVERY if c[0] in WAYS or c[1] in ("rows and classes", "sequence")]


@pytest.mark.parametrize(
    ("name", "split", "kind"),
    [c if c in MOST else slow(*c) for c in EVERY],
    ids=str,
)
def test_however_the_data_are_split(name, split, kind):
    """The numbers of one device; a few numbers per row between devices, none if rows are whole."""
    f, *data = FUNCTIONS[name]
    shape, rows, classes = SPLITS[split]
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind,) * 2)
    with jax.set_mesh(mesh):
        placed = []
        for x in data:
            spec = P(*rows, classes) if x.ndim == 3 else rows
            placed.append(jax.device_put(reshaped(x, shape), NamedSharding(mesh, spec)))
        compiled = jax.jit(functools.partial(value_and_slopes, f)).lower(*placed).compile()
        value, slopes = compiled(*placed)
    want_value, want_slopes = whole(name)
    assert_same(np.reshape(value, want_value.shape), want_value)
    assert_same([np.reshape(x, ZP.shape) for x in slopes], want_slopes)
    text = compiled.as_text()
    assert not has_loop(text)
    found = collectives(text)
    if name.startswith("sigmoid") or (classes is None and name != "weighted"):
        assert found == []
        return
    # Rows on one device. A collective may join several numbers per row into one array.
    count = BATCH * LENGTH // (1 if rows == P(None) else mesh.shape["data"])
    assert all(kind == "all-reduce" or size <= 8 * count for kind, size in found), found
    assert max((size for _, size in found), default=0) <= 8 * count, found
    assert sum(size for _, size in found) <= 32 * count, found
    assert found or classes is None


def test_a_gradient_is_split_as_its_logits():
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(EXPLICIT,) * 2)
    with jax.set_mesh(mesh):
        z = jax.device_put(draw(0, 8, 16), NamedSharding(mesh, P("data", "model")))
        y = jax.device_put(np.arange(8), NamedSharding(mesh, P("data")))
        value, (slope,) = jax.jit(
            functools.partial(value_and_slopes, xent_jax.softmax_cross_entropy)
        )(z, y)
        assert jax.typeof(value).sharding.spec == P("data")
        assert jax.typeof(slope).sharding.spec == P("data", "model")


@pytest.mark.parametrize("name", usually({"explicit X"}, [
    f"{kind} {split}" for kind in ("explicit", "automatic") for split in ("X", "Y", "X and Y")
]))  # fmt: skip
@pytest.mark.parametrize("f", [xent_jax.mutual_information, xent_jax.conditional_entropy])
def test_split_tables(name, f):
    joint = np.random.default_rng(0).dirichlet(np.ones(8 * 12), 3).reshape(3, 8, 12)
    joint = joint.astype(np.float32)
    want = jax.jit(functools.partial(value_and_slopes, f))(joint)
    kind = EXPLICIT if name.startswith("explicit") else AUTO
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind,) * 2)
    split = {
        "X": P(None, "model"),
        "Y": P(None, None, "model"),
        "X and Y": P(None, "data", "model"),
    }
    with jax.set_mesh(mesh):
        placed = jax.device_put(joint, NamedSharding(mesh, split[name.partition(" ")[2]]))
        assert_same(jax.jit(functools.partial(value_and_slopes, f))(placed), want)


@pytest.mark.parametrize("dtype", ["bfloat16", slow("float16")])
@pytest.mark.parametrize("rows", ["data", None])
def test_narrow_logits_whose_classes_an_explicit_mesh_splits(dtype, rows):
    """The entry of a class is found among the shards, by a sum of the logits as they are."""
    z, ids = jnp.asarray(ZP[0, :4, :8], dtype), LABELS[0, :4] % 8

    @jax.jit
    @jax.value_and_grad
    def loss(z, ids):
        return xent_jax.softmax_cross_entropy(z, ids).sum()

    want = loss(z, ids)
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(EXPLICIT,) * 2)
    with jax.set_mesh(mesh):
        placed = jax.device_put(z, NamedSharding(mesh, P(rows, "model")))
        got = loss(placed, jax.device_put(ids, NamedSharding(mesh, P(rows))))
    np.testing.assert_allclose(got[0], want[0], 1e-6)
    np.testing.assert_allclose(np.float32(got[1]), np.float32(want[1]), 1e-2, 1e-6)


# vmap over an axis that an explicit mesh splits.

VMAPPED = {"kl_divergence-p-q", "softmax_cross_entropy-zp-ids", "sigmoid_cross_entropy-zp-bits",
           "linear_softmax_cross_entropy-x-w-ids", "mutual_information-joint"}  # fmt: skip


@pytest.mark.parametrize("call", usually(VMAPPED, CALLS), ids=str)
def test_vmap_over_a_split_axis(call):
    """Per-example values and gradients, each example by itself on the device that has it."""
    examples = jax.vmap(functools.partial(value_and_gradients, call), call.rows)
    arrays = call.batch(8)
    want = jax.jit(examples, compiler_options=QUICK)(*arrays)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(EXPLICIT,), devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(x, NamedSharding(mesh, P() if rows is None else P("data")))
            for x, rows in zip(arrays, call.rows, strict=True)
        ]
        got = jax.jit(examples, compiler_options=QUICK)(*placed)
        for x in jax.tree.leaves(got):
            assert jax.typeof(x).sharding.spec[0] == "data"
    assert_same(got, want)


@pytest.mark.parametrize("call", [c for c in ONE_EACH if 0 in c.rows], ids=str)
def test_vmap_over_a_split_axis_is_traced(call):
    """Of every function, without compiling it."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(EXPLICIT,), devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        shapes = [
            jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=NamedSharding(mesh, P() if rows is None else P("data"))
            )
            for x, rows in zip(call.batch(8), call.rows, strict=True)
        ]
        found = jax.eval_shape(jax.vmap(call, call.rows), *shapes)
        assert all(x.sharding.spec[0] == "data" for x in jax.tree.leaves(found))
