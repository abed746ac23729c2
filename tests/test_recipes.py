"""The recipes run on the data alone, and give the numbers of their plain forms in float64."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from .benchmarks import hlo
from .cases import quick
from .documents import run
from .selection import cpu_program, slow, usually
from .tokens import draw

SEVERAL_DEVICES = True
PAGE = Path(__file__).parent.parent / "notebooks/recipes.md"
TEXT = PAGE.read_text(encoding="utf-8")
# title: the text under it, at its line of the page.
SECTIONS = {
    m[1]: "\n" * TEXT.count("\n", 0, m.start()) + m[0]
    for m in re.finditer(r"^## (.*?)\n(?:(?!## ).*\n)*", TEXT, re.M)
}
DATA, *RECIPES = SECTIONS
CLIP, BY_HAND, SIGLIP = "InfoNCE and CLIP", "CLIP by hand across devices", "SigLIP"
PACKED, BITS, DPO, GRPO = "Sums and means of packed sequences", "Bits per byte", "DPO", "GRPO"
TOLERANCE = {"float32": 3e-6, "float64": 1e-13}

pytestmark = pytest.mark.usefixtures("as_by_default")
in_float32 = pytest.mark.parametrize("dtype", ["float32"], indirect=True)


def fresh(title, namespace):
    """What stands under the title, run in a copy of the namespace, of which it changes nothing."""
    found = dict(namespace)
    assert run(SECTIONS[title], PAGE.name, found) > 0
    assert all(found[name] is namespace[name] for name in namespace if not name.startswith("__"))
    return found


@pytest.fixture(scope="module", params=["float32", slow("float64")])
def dtype(request, as_by_default):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture(scope="module")
def recipe(dtype):
    """The names of a recipe: a function of its title."""
    data = fresh(DATA, {})
    return functools.cache(lambda title: fresh(title, data))


@pytest.mark.parametrize("title", usually({GRPO}, RECIPES))
def test_a_recipe_needs_the_data_alone(title, recipe):
    recipe(title)


def test_recipes_are_short():
    for title in RECIPES:
        for code in re.findall(r"^```python\n(.*?)^```$", SECTIONS[title], re.M | re.S):
            assert code.count("\n") <= 15, title


def assert_plain(got, plain, *given, scale=0.0):
    """A value and its gradients; relative to the largest entry, or to the scale of the terms."""
    with jax.enable_x64(True):
        exact = [np.asarray(a, np.float64) for a in given]
        want = quick(jax.value_and_grad(plain, tuple(range(len(given)))))(*exact)
    bar = TOLERANCE[str(got[0].dtype)]
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b)
        np.testing.assert_allclose(a, b, bar, bar * max(scale, np.abs(b).max()))


def assert_same_as_plain(dtype, f, plain, *given, **options):
    """The value, and the gradients by everything given."""
    given = [jnp.asarray(a, dtype) for a in given]
    got = jax.jit(jax.value_and_grad(f, tuple(range(len(given)))))(*given)
    assert got[0].dtype == dtype
    assert_plain(got, plain, *given, **options)


def pairs(count, features=7):
    vectors = draw(1, 2, count, features)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def plain_info_nce(queries, keys, log_scale):
    rows = jax.nn.log_softmax(jnp.exp(log_scale) * queries @ keys.T)
    return -jnp.diag(rows).mean()


def plain_clip(images, texts, log_scale):
    there = plain_info_nce(images, texts, log_scale)
    return (there + plain_info_nce(texts, images, log_scale)) / 2


def plain_siglip(images, texts, log_scale, bias):
    logits = jnp.exp(log_scale) * images @ texts.T + bias
    signs = 2 * jnp.eye(len(images)) - 1
    return -jax.nn.log_sigmoid(signs * logits).sum() / len(images)


SCALE, BIAS = np.log(1 / 0.07), -10.0


@pytest.mark.slow
def test_clip(recipe, dtype):
    """Of an odd number of pairs, with a temperature that learns."""
    names, (images, texts) = recipe(CLIP), pairs(33)
    assert_same_as_plain(dtype, names["clip_loss"], plain_clip, images, texts, SCALE)
    more = images[:11], texts, SCALE  # further negatives
    assert_same_as_plain(dtype, names["info_nce"], plain_info_nce, *more)


@pytest.mark.slow
def test_siglip(recipe, dtype):
    given = (*pairs(33), SCALE, BIAS)
    assert_same_as_plain(dtype, recipe(SIGLIP)["siglip_loss"], plain_siglip, *given)


@pytest.mark.slow
def test_clip_by_hand_across_devices(recipe):
    """The gradients are those of the loss over all pairs."""
    names = recipe(BY_HAND)
    given = names["images"], names["texts"], jnp.log(1 / 0.07)
    assert_plain((names["loss"], names["gradients"]), plain_clip, *given)


@pytest.mark.slow
def test_clip_by_hand_of_five_pairs_per_device(recipe, dtype):
    f = recipe(BY_HAND)["clip_by_hand"]
    assert_same_as_plain(dtype, f, plain_clip, *pairs(40), SCALE)


@pytest.mark.slow
def test_siglip_by_hand_across_devices(recipe, dtype):
    f = recipe(SIGLIP)["siglip_by_hand"]
    assert_same_as_plain(dtype, f, plain_siglip, *pairs(40), SCALE, BIAS)


@pytest.mark.slow
@in_float32
def test_gradients_taken_inside_shard_map(recipe, dtype):
    names = recipe(BY_HAND)
    gradients = jax.grad(names["clip_part"], (0, 1, 2))
    specs = names["specs"]
    inside = jax.shard_map(gradients, mesh=names["mesh"], in_specs=specs, out_specs=specs)
    given = [jnp.asarray(a, dtype) for a in (*pairs(40), SCALE)]
    got, want = jax.jit(inside)(*given), jax.jit(jax.grad(plain_clip, (0, 1, 2)))(*given)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5 * np.abs(b).max())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("title, name, plain, numbers", [
    (CLIP, "clip_loss", plain_clip, (SCALE,)),
    (SIGLIP, "siglip_loss", plain_siglip, (SCALE, BIAS)),
])  # fmt: skip
def test_arrays_that_are_split(recipe, dtype, title, name, plain, numbers, kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    f = recipe(title)[name]

    def of_split(images, texts, *numbers):
        place = jax.reshard if kind == AxisType.Explicit else jax.lax.with_sharding_constraint
        return f(*place((images, texts), NamedSharding(mesh, P("data"))), *numbers)

    with jax.set_mesh(mesh):
        assert_same_as_plain(dtype, of_split, plain, *pairs(40), *numbers)


@cpu_program
@in_float32
@pytest.mark.parametrize("name, devices", [
    slow("clip_loss", 1), slow("clip_loss", 8), slow("clip_by_hand", 8),
    slow("siglip_loss", 1), slow("siglip_loss", 8), slow("siglip_by_hand", 8),
])  # fmt: skip
def test_no_array_of_pairs_times_pairs(recipe, name, devices):
    """Nor of its part on a device; compiled for, never computed."""
    count, title = 1 << 15, SIGLIP if "siglip" in name else BY_HAND if "hand" in name else CLIP
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, P("data"))
    vectors = jax.ShapeDtypeStruct((count, 64), "float32", sharding=split)
    numbers = [jax.ShapeDtypeStruct((), "float32")] * (2 if "siglip" in name else 1)
    f = jax.value_and_grad(recipe(title)[name], tuple(range(2 + len(numbers))))
    compiled = jax.jit(f).lower(vectors, vectors, *numbers).compile()
    shapes = re.findall(r"\b[a-z]+\d+\[([\d,]+)\]", compiled.as_text())
    largest = max(np.prod([int(n) for n in shape.split(",")]) for shape in shapes)
    assert largest <= count**2 / 8 / 8
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * count**2 / 8


@cpu_program
@in_float32
@pytest.mark.slow
def test_one_exchange_serves_both_directions(recipe):
    """Images are gathered once and their gradients scattered once; all else is small."""
    split = NamedSharding(recipe(BY_HAND)["mesh"], P("data"))
    vectors = jax.ShapeDtypeStruct((4096, 64), "float32", sharding=split)
    step = recipe(BY_HAND)["learn_by_hand"].lower(vectors, vectors, np.float32(SCALE))
    found = hlo.transfers(step.compile().as_text())
    large = [(t.kind, t.times) for t in found if t.nbytes > 4 * 4096 * 8]
    assert sorted(large) == [("all-gather", 1), ("reduce-scatter", 1)]


def plain_log_prob(names, x, w):
    labels = np.asarray(names["ids"])
    rows = jax.nn.log_softmax(x @ w)[np.arange(len(labels)), np.maximum(labels, 0)]
    return jnp.where(labels == -100, 0.0, rows)


def counted_of_sequences(names):
    """(sequences, tokens), 1 for a token of the sequence that counts."""
    labels, segments = np.asarray(names["ids"]), np.asarray(names["segments"])
    return ((labels != -100) & (segments == np.arange(6)[:, None])).astype(np.float64)


@pytest.mark.slow
@in_float32
def test_the_data_is_what_the_page_says(recipe):
    names = recipe(PACKED)
    lengths = counted_of_sequences(names).sum(1)
    assert names["lengths"].tolist() == lengths.tolist() == [4, 8, 3, 6, 11, 7]
    assert set(names["segments"].tolist()) == set(range(7))


@pytest.mark.slow
def test_sums_and_means_of_packed_sequences(recipe):
    names = recipe(PACKED)
    counted, given = counted_of_sequences(names), (names["x"], names["w"])
    sums = counted @ np.asarray(plain_log_prob(names, *given))
    np.testing.assert_allclose(names["log_probs"], sums, 1e-5)
    np.testing.assert_allclose(names["perplexities"], np.exp(-sums / counted.sum(1)), 1e-5)

    def plain(x, w):
        return -(counted @ plain_log_prob(names, x, w) / counted.sum(1)).mean()

    assert_plain((names["loss"], names["gradients"]), plain, *given)


def products(f, *given):
    step = jax.value_and_grad(f, tuple(range(len(given))))
    return jax.jit(step).lower(*given).as_text().count("stablehlo.dot_general")


@pytest.mark.slow
@in_float32
def test_three_products_where_weights_are_known_before(recipe):
    names = recipe(PACKED)

    def through_sums(x, w):
        return (names["per_sequence"](names["log_prob"](x, w)) / names["lengths"]).mean()

    assert products(names["mean_of_sequences"], names["x"], names["w"]) == 3
    assert products(through_sums, names["x"], names["w"]) == 4


@pytest.mark.slow
def test_bits_per_byte(recipe, dtype):
    names = recipe(BITS)
    lengths, counted = draw(5, 31) ** 2, counted_of_sequences(names)
    sizes = lengths[np.maximum(names["ids"], 0)]

    def of_all(x, w):
        return names["bits_per_byte"](x, w, jnp.asarray(lengths, dtype))[0]

    def plain(x, w):
        return -plain_log_prob(names, x, w).sum() / np.log(2) / (counted @ sizes).sum()

    given = names["x"], names["w"]
    assert_same_as_plain(dtype, of_all, plain, *given)
    want = -counted @ np.asarray(plain_log_prob(names, *given)) / np.log(2) / (counted @ sizes)
    got = names["bits_per_byte"](*given, jnp.asarray(lengths, dtype))[1]
    np.testing.assert_allclose(got, want, 1e-5)


@pytest.mark.slow
def test_dpo(recipe):
    names = recipe(DPO)
    counted, reference = counted_of_sequences(names), np.asarray(names["reference"], np.float64)

    def plain(x, w):
        policy, base = counted @ plain_log_prob(names, x, w), counted @ reference
        margin = 0.1 * ((policy[::2] - policy[1::2]) - (base[::2] - base[1::2]))
        return -jax.nn.log_sigmoid(margin).mean()

    given = names["x"], names["w"]
    assert_plain((names["loss"], names["gradients"]), plain, *given)


@pytest.mark.slow
@in_float32
def test_dpo_of_a_large_margin(recipe):
    """Where σ rounds to 1, the loss and its slope keep their digits."""
    names = recipe(DPO)
    preferred = (names["segments"] % 2 == 0) & (names["segments"] < 6) & (names["ids"] != -100)
    reference = names["log_prob"](names["x"], names["w"]) - 100.0 * preferred
    loss, slope = jax.value_and_grad(names["dpo_loss"], 2)(names["x"], names["w"], reference)
    want = np.mean(np.exp([-40.0, -30.0, -110.0]))  # β = 0.1, and 4, 3 and 11 tokens count
    np.testing.assert_allclose(loss, want, 1e-4)
    np.testing.assert_allclose(slope.max(), 0.1 / 3 * np.exp(-30.0), 1e-4)


@pytest.mark.parametrize("kind", ["grpo", slow("dapo"), slow("dr_grpo")])
def test_grpo(recipe, dtype, kind):
    """As in the papers; half of the ratios are clipped."""
    names = recipe(GRPO)
    counted, rewards = counted_of_sequences(names), np.asarray(names["rewards"], np.float64)
    advantages = rewards - rewards.mean(1, keepdims=True)
    old, reference = (np.asarray(a) + 0.3 * draw(s, 48) for s, a in enumerate(names["before"]))
    old, reference = old.astype(dtype), reference.astype(dtype)
    if kind != "dr_grpo":
        advantages /= rewards.std(1, keepdims=True)

    def plain(x, w):
        new, advantage = plain_log_prob(names, x, w), advantages.ravel() @ counted
        ratio = jnp.exp(new - old)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
        penalty = jnp.exp(reference - new) - (reference - new) - 1  # equation 4
        totals = counted @ (gain - 0.04 * penalty)
        if kind == "grpo":  # equation 3: the mean over answers of means over tokens
            return -(totals / counted.sum(1)).mean()
        return -totals.sum() / (counted.sum() if kind == "dapo" else 6 * 16)

    options = {
        "grpo": {"weights": 1 / names["lengths"][names["segments"]]},
        "dapo": {},
        "dr_grpo": {"normalizer": 6 * 16},
    }[kind]
    given = jnp.asarray(advantages, dtype), jnp.asarray(old), jnp.asarray(reference)

    def loss(x, w):
        return names["grpo_loss"](x, w, *given, **options)

    assert_same_as_plain(dtype, loss, plain, names["x"], names["w"], scale=0.1)
    assert products(loss, names["x"], names["w"]) == 3


@in_float32
def test_rewards_within_their_group(recipe):
    """Also equal ones, whose mean and spread round to something else than themselves and 0."""
    names = recipe(GRPO)
    rewards = np.array([[1.0, 0.0, 0.5], [0.1, 0.1, 0.1], [2.0, 2.0, -1.0]])
    got = names["normalised"](jnp.asarray(rewards, jnp.float32))
    want = (rewards - rewards.mean(1, keepdims=True)) / rewards.std(1, keepdims=True)
    np.testing.assert_allclose(got[::2], want[::2], 1e-6)
    assert np.all(got[1] == 0)


@pytest.mark.slow
@in_float32
def test_ranks_ensembles_and_a_temperature(recipe, dtype):
    names = recipe("Accuracy of every k, and reciprocal ranks")
    counted = np.asarray(names["ids"]) != -100
    logits, ids = np.asarray(names["x"] @ names["w"])[counted], np.asarray(names["ids"])[counted]
    places = np.argmax(np.argsort(-logits, -1) == ids[:, None], -1)
    hits = [np.mean(places < k) for k in range(1, 32)]
    np.testing.assert_allclose(names["top_k"], hits, 1e-6)
    np.testing.assert_allclose(names["reciprocal_rank"], np.mean(1 / (1 + places)), 1e-6)

    names = recipe("What an ensemble does not know")
    p = np.asarray(jax.nn.softmax(names["members"]), np.float64)
    whole, parts = (-np.sum(q * np.log(q), -1) for q in (p.mean(0), p))
    np.testing.assert_allclose(names["mutual"], whole - parts.mean(0), 1e-4)  # which cancels
    np.testing.assert_array_equal(names["ask"], np.argsort(-(whole - parts.mean(0)))[:5])

    names = recipe("Calibration before and after a temperature")
    assert 2 < names["temperature"] < 5 and names["error_after"] < names["error_before"]
    assert np.isclose(names["curve_after"].weight.sum(), 1)
