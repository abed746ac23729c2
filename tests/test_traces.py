"""Nothing in an ordinary trace: no effects, no conditions; exported, serialized, sized later."""

import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import xent_jax

from .calls import CALLS, DATA, ONE_EACH, value_and_gradients
from .cases import quick
from .selection import usually

PLATFORMS = ["cpu", "cuda", "tpu"]
NAN = np.nan


def each(calls):
    return pytest.mark.parametrize("call", calls, ids=str)


def assert_same(got, want, tolerance=1e-6):
    """The same tree, dtypes and numbers; gradients to rounding of their largest entry.

    One that is 0 but for rounding, as that by the weights of a mean over one token, to rounding of
    the largest entry of the tree: such are the terms that cancel in it.
    """
    assert jax.tree.structure(got) == jax.tree.structure(want)
    got, want = ([np.asarray(x) for x in jax.tree.leaves(tree)] for tree in (got, want))
    sizes = [np.abs(x[np.isfinite(x)]).max(initial=0) for x in want]
    largest = max(sizes, default=0)
    for a, b, size in zip(got, want, sizes, strict=True):
        assert a.dtype == b.dtype
        size = size if size > 2**-20 * largest else largest
        np.testing.assert_allclose(a, b, 4 * tolerance, tolerance * size)


# Effects.


@each(CALLS)
def test_no_effects(call):
    for f in (call, functools.partial(value_and_gradients, call)):
        assert not jax.make_jaxpr(f)(*call.arrays).effects


@each(ONE_EACH)
def test_no_effects_under_transformations(call):
    def batched(*arrays):
        return jax.vmap(call, call.rows)(*arrays)

    def pushed(*floats):
        return jax.jvp(of_floats, floats, floats)

    def of_floats(*floats):
        arrays = list(call.arrays)
        for place, x in zip(call.floating, floats, strict=True):
            arrays[place] = x
        return call(*arrays)

    if any(axis == 0 for axis in call.rows):
        assert not jax.make_jaxpr(batched)(*call.arrays).effects
    if call.floating:
        floats = [call.arrays[i] for i in call.floating]
        assert not jax.make_jaxpr(pushed)(*floats).effects
        assert not jax.make_jaxpr(jax.checkpoint(of_floats))(*floats).effects


# One jitted function each.


@each(ONE_EACH)
def test_is_a_jitted_function(call):
    """`lower`, `trace` and `eval_shape` take what a call takes."""
    f, arrays = call.function, call.arrays
    positional, keywords = arrays[: len(call.kinds)], call.keywords(arrays)
    want = f(*positional, **keywords)
    shapes = f.eval_shape(*positional, **keywords)
    assert jax.tree.structure(shapes) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(shapes), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert not f.trace(*positional, **keywords).jaxpr.effects
    lowered = f.lower(*positional, **keywords)
    assert "stablehlo" in lowered.as_text() and call.name in lowered.as_text()
    assert f.__name__ == call.name and f.__doc__


def test_compiled_ahead_of_time():
    arrays = DATA["zp"][1], DATA["ids"][1]
    ahead = xent_jax.softmax_cross_entropy.lower(*arrays, base=2).compile()
    want = xent_jax.softmax_cross_entropy(*arrays, base=2)
    np.testing.assert_allclose(ahead(*arrays), want, 1e-6)


# Export.


def exported(f, *shapes):
    """f in a module for every platform, after a way through bytes."""
    module = jax.export.export(jax.jit(f), platforms=PLATFORMS)(*shapes)
    assert list(module.platforms) == PLATFORMS
    return jax.export.deserialize(module.serialize())


def run(module, *arrays):
    return quick(module.call)(*arrays)


def flat(f):
    """f with its results as a list: a NamedTuple is not serialized unless it is registered."""
    return lambda *arrays: jax.tree.leaves(f(*arrays))


# One for each way to compute: rows, statistics, ids, elementwise, counts, chunks.
FEW = {"kl_divergence-p-q", "softmax_cross_entropy-zp-ids", "linear_softmax_entropy-x-w"}
EXPORTED = {
    "kl_divergence-p-q", "softmax_statistics-zp-ids-where",
    "softmax_cross_entropy-zp-ids-where-class_weights-label_smoothing=0.1-ignore_index=-1",
    "sigmoid_cross_entropy-zp-parts", "class_frequencies-ids-num_classes=7",
    "linear_softmax_cross_entropy-x-w-ids-b-where-weights-label_smoothing=0.1-z_loss=0.01"
    "-reduction=mean-chunk_size=2",
}  # fmt: skip


@each([c for c in CALLS if str(c) in FEW])
def test_exported_and_serialized(call):
    """The others are exported below, with a symbolic batch."""
    f = functools.partial(value_and_gradients, call)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in call.arrays]
    assert_same(run(exported(flat(f), *shapes), *call.arrays), quick(flat(f))(*call.arrays))


def sized_later(call):
    scope = jax.export.SymbolicScope()
    return [
        jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape, scope=scope), x.dtype)
        for shape, x in zip(call.shapes, call.arrays, strict=True)
    ]


WITH_A_BATCH = [c for c in CALLS if 0 in c.rows]
assert len(WITH_A_BATCH) == len(CALLS)


@each(usually(EXPORTED, CALLS))
def test_exported_with_a_symbolic_batch(call):
    """One module, made for every platform, for batches of several sizes, 1 among them."""
    f = flat(functools.partial(value_and_gradients, call))
    module = exported(f, *sized_later(call))
    for size in (5,) if str(call) in EXPORTED else (1, 130):
        arrays = call.batch(size)
        assert_same(run(module, *arrays), quick(f)(*arrays))


EXPORTED_NAMES = {name.partition("-")[0] for name in EXPORTED}


OTHERS = [c for c in ONE_EACH if c.name not in EXPORTED_NAMES]


@each(OTHERS)
def test_the_others_are_lowered_with_a_symbolic_batch(call):
    exported(flat(call), *sized_later(call))


@pytest.mark.parametrize("name", ["softmax_statistics", "linear_softmax_statistics"])
def test_statistics_are_exported_as_what_they_are(name):
    """The NamedTuple is registered, so that a module which returns it can be serialized."""
    (call, *_) = [c for c in CALLS if c.name == name and "ids" in c.kinds]
    got = run(exported(call, *call.arrays), *call.arrays)
    assert type(got) is type(call(*call.arrays)) and got._fields[0] == "log_prob"


# Value checks.


def bad(key, value):
    x = DATA[key][1].copy()
    x[1] = value
    return x


P, Z, IDS = DATA["p"][1], DATA["zp"][1], DATA["ids"][1]
# The message, a function, bad arguments: one of each condition.
CULPRITS = {
    "probability": ("entropy: p holds a negative or NaN probability.", xent_jax.entropy,
                    (bad("p", -0.1),)),
    "nan logit": ("softmax_entropy: logits holds NaN.", xent_jax.softmax_entropy,
                  (bad("zp", NAN),)),
    "no class": ("softmax_entropy: a row of logits is −inf everywhere: no class is possible.",
                 xent_jax.softmax_entropy, (bad("zp", -np.inf),)),
    "id": ("softmax_cross_entropy: labels holds an id outside [0, 7) that is not ignored.",
           xent_jax.softmax_cross_entropy, (Z, bad("ids", 7))),
    "soft": ("softmax_cross_entropy: labels holds a negative or NaN probability.",
             xent_jax.softmax_cross_entropy, (Z, bad("y", -1.0))),
    "bit": ("sigmoid_cross_entropy: labels holds a value outside [0, 1] that is not ignored.",
            xent_jax.sigmoid_cross_entropy, (Z, bad("bits", 2))),
    "gamma": ("softmax_focal_loss: gamma is negative or NaN.", xent_jax.softmax_focal_loss,
              (Z, IDS, -1.0)),
    "smoothing": ("softmax_cross_entropy: label_smoothing lies outside [0, 1].",
                  xent_jax.softmax_cross_entropy, (Z, IDS, 1.5)),
    "z-loss": ("softmax_cross_entropy: z_loss is negative or not finite.",
               xent_jax.softmax_cross_entropy, (Z, IDS, -1.0)),
    "order": ("renyi_entropy: alpha is negative or NaN.", xent_jax.renyi_entropy, (P, -1.0)),
    "counts": ("balanced_class_weights: counts holds a negative, infinite or NaN number.",
               xent_jax.balanced_class_weights, (bad("counts", -1.0),)),
    "linear": ("linear_softmax_cross_entropy: labels holds an id outside [0, 7) that is not "
               "ignored.", xent_jax.linear_softmax_cross_entropy,
               (DATA["x"][1], DATA["w"][1], bad("ids", -1))),
    "statistics": ("linear_softmax_statistics: labels holds an id outside [0, 7) that is not "
                   "ignored.", xent_jax.linear_softmax_statistics,
                   (DATA["x"][1], DATA["w"][1], bad("ids", -1))),
}  # fmt: skip
PARAMETER = {"gamma": "gamma", "smoothing": "label_smoothing", "z-loss": "z_loss"}


def culprit(case):
    """The message, a function of arrays alone, and its bad arguments."""
    says, f, arguments = CULPRITS[case]
    if case not in PARAMETER:
        return says, f, arguments
    return says, lambda z, ids, x: f(z, ids, **{PARAMETER[case]: x}), arguments


def has_nan(tree):
    return any(
        np.isnan(x).any() for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)
    )


@pytest.mark.parametrize("case", CULPRITS)
def test_value_checks_name_the_culprit(case):
    """Inside the context, whatever was traced outside; outside no message and the plain NaN."""
    says, f, arguments = culprit(case)
    checked = jax.jit(checkify.checkify(f, errors=checkify.user_checks))

    def outside():
        error, value = checked(*arguments)
        assert error.get() is None and has_nan(value)
        assert not jax.make_jaxpr(f)(*arguments).effects

    outside()
    with xent_jax.value_checks():
        assert checked(*arguments)[0].get().startswith(says)
        assert jax.make_jaxpr(f)(*arguments).effects
    outside()


def test_value_checks_of_gradients_and_batches():
    loss, bad_ids = xent_jax.softmax_cross_entropy, bad("ids", 9)
    transformed = [
        lambda z, y: jax.grad(lambda z: loss(z, y).sum())(z),
        jax.vmap(jax.grad(loss)),
        lambda z, y: jax.jvp(lambda z: loss(z, y), (z,), (z,))[1],
        lambda z, y: jax.lax.map(lambda row: loss(*row), (z, y)),
    ]
    for f in transformed:
        checked = checkify.checkify(f, errors=checkify.user_checks)
        with xent_jax.value_checks():
            assert "an id outside [0, 7)" in checked(Z, bad_ids)[0].get()
            assert checked(Z, IDS)[0].get() is None
        assert checked(Z, bad_ids)[0].get() is None


def test_value_checks_are_part_of_the_cache_of_a_users_jit():
    """The same jitted function is traced once on each side of the context, and never again."""
    traced = []

    @jax.jit
    def step(z, y):
        traced.append(None)
        return xent_jax.softmax_cross_entropy(z, y).sum()

    checked = jax.jit(checkify.checkify(step, errors=checkify.user_checks))
    bad_ids = bad("ids", 9)
    for _ in range(2):
        step(Z, IDS)
        assert checked(Z, bad_ids)[0].get() is None
    outside = len(traced)
    with xent_jax.value_checks():
        for _ in range(2):
            assert checked(Z, bad_ids)[0].get() is not None
    inside = len(traced)
    assert inside > outside
    for _ in range(2):
        step(Z, IDS)
        assert checked(Z, bad_ids)[0].get() is None
        assert not jax.make_jaxpr(step)(Z, IDS).effects
    with xent_jax.value_checks():
        assert checked(Z, bad_ids)[0].get() is not None
    assert len(traced) <= inside + 1  # make_jaxpr may trace by itself


def test_value_checks_without_checkify_are_the_plain_call():
    with xent_jax.value_checks():
        gradient = jax.grad(lambda p: xent_jax.entropy(p).sum())
        for f in (xent_jax.entropy, jax.jit(xent_jax.entropy), gradient):
            got = f(bad("p", -0.1))
            assert np.isnan(got[1]).any() and np.isfinite(got[0]).all()


def test_value_checks_end_with_the_context():
    def effects():
        return bool(jax.make_jaxpr(lambda p: xent_jax.entropy(p))(P).effects)

    with pytest.raises(RuntimeError), xent_jax.value_checks():
        with xent_jax.value_checks():
            assert effects()
        assert effects()  # the outer one holds
        raise RuntimeError
    assert not effects()
    elsewhere = []
    with xent_jax.value_checks():
        thread = threading.Thread(target=lambda: elsewhere.append(effects()))
        thread.start()
        thread.join()
    assert elsewhere == [False]  # a context belongs to its thread, as those of JAX do


# What the wrapper says is said by each way to call.


def test_messages_of_what_jax_alone_would_refuse_in_a_users_jit():
    for name, given in (("reduction", "mean"), ("axis", [0, 1])):
        with pytest.raises(TypeError, match=rf"^softmax_cross_entropy: .*{name}"):
            jax.jit(lambda z: xent_jax.softmax_cross_entropy(z, IDS, **{name: given}))(Z)  # noqa: B023
