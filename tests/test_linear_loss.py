"""Any loss of the linear row's numbers: value and gradients as those of the dense expression."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xent_jax

from .cases import quick
from .loss_data import CHUNK, CLASSES, FEATURES, LOSS, TOKENS, data, draw
from .selection import slow


def dense_statistics(x, w, b, labels, **shape):
    z = x @ w + b[None]
    cap, temperature, bend = (shape.get(k) for k in ("softcap", "temperature", "bend"))
    z = z if cap is None else cap * jnp.tanh(z / cap)
    z = z if bend is None else z + bend * z * z
    z = z if temperature is None else z / temperature
    return xent_jax.softmax_statistics(z, labels)


def clipped(s, advantage, old, width, weight):
    """PPO with an entropy bonus and a penalty on the height of the logits."""
    ratio = jnp.exp(s.log_prob - old)
    bounded = jnp.clip(ratio, 1 - width, 1 + width)
    gain = jnp.minimum(ratio * advantage, bounded * advantage)
    return weight * s.logsumexp**2 - gain - 0.01 * s.entropy


def group_relative(s, advantage, old, width, weight):
    """GRPO: the ratio, and the k3 estimate of the divergence from the old policy."""
    difference = old - s.log_prob
    penalty = jnp.expm1(difference) - difference
    return -jnp.exp(s.log_prob - old) * advantage + weight * penalty * width


def focal(s, advantage, old, width, weight):
    return -((-jnp.expm1(s.log_prob)) ** (1 + width)) * s.log_prob * (1 + weight * advantage**2)


def correctness(s, advantage, old, width, weight):
    return jnp.where(s.correct, advantage, old) * s.log_prob + s.argmax.astype(width.dtype) * width


LOSSES = {f.__name__: f for f in (clipped, group_relative, focal, correctness)}
QUICK = {("clipped", "mean")}
CASES = [
    pytest.param(n, r, id=f"{n}-{r}", marks=() if (n, r) in QUICK else pytest.mark.slow)
    for n in LOSSES
    for r in ("mean", None)
]


def bent(values):
    return jnp.sum(jnp.sin(values))


def all_of(f, given):
    """Value, gradients by everything, both modes and Hessian products."""
    steps = tuple(draw(20 + i, *jnp.shape(x)) for i, x in enumerate(given))
    every = tuple(range(len(given)))
    gradient = jax.grad(lambda *a: bent(f(*a)), every)

    def run(*a):
        return f(*a), jax.jvp(f, a, steps), jax.jvp(gradient, a, steps)

    return quick(run)(*given)


def assert_same(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-11 * max(1.0, float(np.max(np.abs(b)))))


@pytest.mark.slow
@pytest.mark.parametrize("name, reduction", CASES)
def test_agrees_with_the_dense_expression(name, reduction):
    """By x, w, b, the data and what the loss closes over; with an id that is not one as NaN."""
    with jax.enable_x64(True):
        labels, given = data()
        shared = (jnp.asarray(0.2), jnp.asarray(0.003))

        def linear(x, w, b, advantage, old, width, weight):
            def loss(s, advantage, old):
                return LOSSES[name](s, advantage, old, width, weight)

            return LOSS(loss, x, w, labels, advantage, old, b=b, reduction=reduction)

        def dense(x, w, b, advantage, old, width, weight):
            s = dense_statistics(x, w, b, labels)
            losses = jax.vmap(lambda *a: LOSSES[name](*a, width, weight))(s, advantage, old)
            return jnp.mean(losses) if reduction else losses

        assert_same(all_of(linear, (*given, *shared)), all_of(dense, (*given, *shared)))


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", pytest.param(None, marks=pytest.mark.slow)])
def test_what_shapes_the_logits_is_differentiated(reduction):
    """Soft cap, temperature, and what logits_fn closes over, all traced."""
    with jax.enable_x64(True):
        labels, (x, w, b, *_) = data()

        def linear(x, w, b, cap, temperature, bend):
            options = {"b": b, "softcap": cap, "temperature": temperature, "chunk_size": CHUNK}
            bow = {"logits_fn": lambda z: z + bend * z * z, **options}
            loss = xent_jax.linear_softmax_cross_entropy(x, w, labels, reduction=reduction, **bow)
            return loss + xent_jax.linear_softmax_entropy(x, w, reduction=reduction, **bow)

        def dense(x, w, b, cap, temperature, bend):
            s = dense_statistics(x, w, b, labels, softcap=cap, temperature=temperature, bend=bend)
            return jnp.mean(s.entropy - s.log_prob) if reduction else s.entropy - s.log_prob

        given = (x, w, b, jnp.asarray(4.0), jnp.asarray(1.3), jnp.asarray(0.05))
        assert_same(all_of(linear, given), all_of(dense, given))


def test_a_map_of_whole_rows_is_one_of_each_token():
    """logits_fn that is not elementwise, and one that closes over a number per class."""
    _, (x, w, b, *_) = data("float32")
    scale = jnp.linspace(0.5, 1.5, CLASSES)
    for f in (lambda z: z - jnp.max(z), lambda z: z * scale):
        got = xent_jax.linear_softmax_entropy(x, w, b=b, logits_fn=f, chunk_size=CHUNK)
        want = xent_jax.softmax_entropy(jax.vmap(f)(x @ w + b[None]))
        np.testing.assert_allclose(got, want, 2e-6)


def products(f, *arguments):
    return jax.jit(f).lower(*arguments).as_text().count("stablehlo.dot_general")


@pytest.mark.parametrize("statistics", [False, True])
def test_three_products_with_the_metrics_too(statistics):
    labels, (x, w, b, advantage, old) = data("float32")

    def loss(x, w, advantage):
        options = {"b": b, "reduction": "mean", "return_statistics": statistics}
        return LOSS(
            lambda s, a, o: clipped(s, a, o, 0.2, 0.0), x, w, labels, advantage, old, **options
        )

    f = jax.value_and_grad(loss, (0, 1, 2), has_aux=statistics)
    assert products(f, x, w, advantage) == 3


@pytest.mark.slow
@pytest.mark.parametrize("reduction", [slow("mean"), slow("sum"), None])
def test_statistics_beside_the_loss(reduction):
    """Those of the pass; no gradient flows through them; 0 where nothing counts, a rank of K."""
    labels, (x, w, b, *_) = data("float32")
    labels, weights = labels.at[3].set(-1), jnp.ones(TOKENS).at[5].set(0.0)

    def f(x, w):
        return xent_jax.linear_softmax_cross_entropy(
            x, w, labels, b=b, weights=weights, ignore_index=-1, reduction=reduction,
            chunk_size=CHUNK, return_statistics=True,
        )  # fmt: skip

    loss, told = f(x, w)
    (value, again), slopes = quick(
        jax.value_and_grad(
            lambda x, w: (lambda v, s: (jnp.sum(v), s))(*f(x, w)), (0, 1), has_aux=True
        )
    )(x, w)

    def of_statistics(x):
        told = f(x, w)[1]
        return jnp.sum(told.entropy + told.log_prob)

    still = quick(jax.grad(of_statistics))(x)
    assert not np.any(still) and all(np.all(np.isfinite(s)) for s in slopes)
    np.testing.assert_allclose(value, jnp.sum(loss), 1e-6)
    want = dense_statistics(x, w, b, labels)
    counted = (labels >= 0) & (weights > 0)
    for got in (told, again):
        for name, ours, theirs in zip(got._fields, got, want, strict=True):
            nothing = w.shape[1] if name == "rank" else 0  # behind all classes
            kept = np.where(counted, theirs, np.asarray(nothing, theirs.dtype))
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_allclose(ours, kept, 1e-5, 1e-6, err_msg=name)


def test_statistics_of_an_entropy_and_of_few_labels_have_no_log_prob():
    labels, (x, w, *_) = data("float32")
    _, told = xent_jax.linear_softmax_entropy(x, w, reduction="mean", return_statistics=True)
    assert told.log_prob is None and told.correct is None and told.argmax.shape == (TOKENS,)
    few, probs = jnp.stack([labels, labels], 1), jnp.full((TOKENS, 2), 0.5)
    loss, told = xent_jax.linear_softmax_cross_entropy(
        x, w, few, label_probs=probs, focal_gamma=2.0, label_smoothing=0.1, return_statistics=True
    )
    assert told.log_prob is None and loss.shape == (TOKENS,)
    np.testing.assert_allclose(told.entropy, xent_jax.softmax_entropy(x @ w), 1e-5)


LEFT_OUT = np.random.default_rng(7).random(TOKENS) < 0.7


HOW = [(how, reduction) for how in ("weights", "ignore_index") for reduction in ("mean", None)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how, reduction", [c if c == ("weights", "mean") else slow(*c) for c in HOW]
)
def test_tokens_that_do_not_count_are_put_behind(how, reduction):
    """Values and gradients are those without them, whatever their features and their data hold."""
    labels, (x, w, b, advantage, old) = data("float32")
    keep = ~LEFT_OUT
    x = jnp.where(LEFT_OUT[:, None], jnp.nan, x)
    advantage = jnp.where(LEFT_OUT, jnp.inf, advantage)
    options = {"weights": keep.astype(np.float32)}
    if how == "ignore_index":
        labels, options = jnp.where(keep, labels, -1), {"ignore_index": -1}

    def loss(s, a, o, width):
        return clipped(s, a, o, width, 0.01)

    def f(x, w, advantage, width, labels, old, **options):
        def of(s, a, o):
            return loss(s, a, o, width)

        return bent(LOSS(of, x, w, labels, advantage, old, b=b, reduction=reduction, **options))

    every = (0, 1, 2, 3)
    masked = quick(jax.value_and_grad(functools.partial(f, **options), every))
    got = masked(x, w, advantage, 0.2, labels, old)
    few = x[keep], w, advantage[keep], 0.2, labels[keep], old[keep]
    value, (by_x, *want) = quick(jax.value_and_grad(f, every))(*few)
    np.testing.assert_allclose(got[0], value, 2e-6)
    assert not np.any(got[1][0][LEFT_OUT]) and not np.any(got[1][2][LEFT_OUT])
    ours = (got[1][0][keep], got[1][1], got[1][2][keep], got[1][3])
    for a, b_ in zip(ours, (by_x, *want), strict=True):
        np.testing.assert_allclose(a, b_, 2e-5, 1e-6)


def test_nothing_counts():
    _, (x, w, *_) = data("float32")

    def f(x, w):
        none = jnp.full(TOKENS, -1)
        options = {"ignore_index": -1, "reduction": "mean", "chunk_size": CHUNK}
        return xent_jax.linear_softmax_cross_entropy(x, w, none, **options)

    value, slopes = jax.value_and_grad(f, (0, 1))(x, w)
    assert value == 0.0 and not any(map(np.any, slopes))


def test_only_masks_cost_a_sort():
    """The loop then ends with the last live chunk; without a mask it is a plain scan."""
    labels, (x, w, *_) = data("float32")

    def program(**options):
        def f(w):
            options_ = {"reduction": "sum", "chunk_size": CHUNK, **options}
            return xent_jax.linear_softmax_cross_entropy(x, w, labels, **options_)

        return jax.jit(jax.grad(f)).lower(w).as_text()

    assert program(ignore_index=-1).count("stablehlo.sort") == 1
    assert program(weights=jnp.ones(TOKENS)).count("stablehlo.sort") == 1
    assert "stablehlo.sort" not in program()


@pytest.mark.slow
def test_data_of_any_shape_per_token():
    """Trees of arrays, several numbers per token, and axes of size one for all tokens."""
    _, (x, w, *_) = data("float32")
    x, labels = x[:36].reshape(4, 9, FEATURES), jnp.zeros((4, 9), int)
    both, one = {"a": draw(3, 4, 9, 2).astype("float32")}, draw(4, 4, 1).astype("float32")

    def loss(s, both, one, shared):
        return jnp.sum(both["a"] * s.log_prob) + one * s.entropy + shared

    shared = jnp.float32(0.5)
    got = LOSS(loss, x, w, labels, both, one, shared)
    s = xent_jax.softmax_statistics(x @ w, labels)
    want = jnp.sum(both["a"], -1) * s.log_prob + one * s.entropy + shared
    np.testing.assert_allclose(got, want, 1e-5, 1e-5)
    slope = jax.grad(lambda one: jnp.sum(LOSS(loss, x, w, labels, both, one, shared)))(one)
    np.testing.assert_allclose(slope, jnp.sum(s.entropy, 1, keepdims=True), 1e-5)


def test_without_labels():
    _, (x, w, *_) = data("float32")
    got = LOSS(lambda s: s.entropy**2, x, w, None, reduction="mean")
    np.testing.assert_allclose(got, jnp.mean(xent_jax.softmax_entropy(x @ w) ** 2), 1e-5)


def test_a_fresh_function_of_the_same_code_is_not_compiled_again(caplog):
    labels, (x, w, *_) = data("float32")

    def call(scale, cap):
        return LOSS(
            lambda s: -s.log_prob * scale, x, w, labels, logits_fn=lambda z: cap * jnp.tanh(z / cap)
        )

    def compilations(scale, cap):
        caplog.clear()
        with jax.log_compiles(True):
            found = call(jnp.float32(scale), cap)
        names = [r.getMessage() for r in caplog.records if "linear_softmax_loss" in r.getMessage()]
        return found, [name for name in names if name.startswith("Compiling")]

    first, some = compilations(1.0, 9.0)
    again, none = compilations(2.0, 9.0)
    np.testing.assert_allclose(again, 2 * first, 1e-6)
    assert some and not none
    assert compilations(2.0, 8.0)[1], "another constant is another program"


def rule_of(slope):
    @jax.custom_jvp
    def twice(v):
        return 2 * v

    twice.defjvp(lambda primals, tangents: (twice(*primals), slope * tangents[0]))
    return twice


def constant_in_a_jit(factor):
    held = jnp.float32(factor)
    return lambda v: jax.jit(lambda v: held * v)(v) * 2 / factor


def called_back(factor):
    shape = jax.ShapeDtypeStruct((), jnp.float32)

    def f(v):
        double = lambda v: np.float32(factor) * v  # noqa: E731
        return jax.pure_callback(double, shape, v, vmap_method="expand_dims") * 2 / factor

    return f


@pytest.mark.slow
@pytest.mark.parametrize("make", [rule_of, slow(constant_in_a_jit), slow(called_back)])
def test_functions_of_one_text_are_told_apart(make):
    """By the rules, the constants and the calls that the text of a program does not show."""
    labels, (x, w, *_) = data("float32")
    found = []
    for slope in (3.0, 5.0):
        f = make(slope)

        def total(x, f=f):
            return LOSS(lambda s: f(s.log_prob), x, w, labels, reduction="sum")

        found.append(jax.grad(total)(x) / slope if make is rule_of else total(x))
    np.testing.assert_allclose(found[0], found[1], 1e-5, 1e-6)


def test_second_derivatives_beside_the_statistics():
    with jax.enable_x64(True):
        labels, (x, w, *_) = data()

        def f(x, statistics):
            options = {"reduction": "sum", "chunk_size": CHUNK, "return_statistics": statistics}
            out = xent_jax.linear_softmax_cross_entropy(x, w, labels, **options)
            return out[0] if statistics else out

        ours, plain = (
            quick(lambda x, s=s: jax.jvp(jax.grad(lambda x: f(x, s)), (x,), (x,))[1])(x)
            for s in (True, False)
        )
        np.testing.assert_allclose(ours, plain, 0, 1e-13 * np.abs(plain).max())


@pytest.mark.slow
def test_wider_data_do_not_widen_the_loss():
    with jax.enable_x64(True):
        labels, (x, w, b, advantage, _) = data()
        x, w = x.astype(jnp.float32), w.astype(jnp.float32)

        def f(advantage, b):
            def loss(s, a):
                return -s.log_prob * a.astype(s.log_prob.dtype)

            return LOSS(loss, x, w, labels, advantage, b=b, reduction="sum")

        loss, slopes = jax.value_and_grad(f, (0, 1))(advantage, b)
        assert loss.dtype == jnp.float32 and [g.dtype for g in slopes] == [jnp.float64] * 2
        want = -xent_jax.softmax_statistics(x @ w + b[None].astype(jnp.float32), labels).log_prob
        np.testing.assert_allclose(slopes[0], want, 1e-5)


@pytest.mark.slow
def test_a_class_of_bias_minus_infinity_moves_nothing():
    labels, (x, w, *_) = data("float32")
    b = jnp.zeros(CLASSES).at[3].set(-jnp.inf)
    labels = jnp.where(labels == 3, 4, labels)

    def f(cap, temperature):
        options = {"softcap": cap, "temperature": temperature, "reduction": "sum"}
        return xent_jax.linear_softmax_cross_entropy(x, w, labels, b=b, **options)

    assert np.isfinite(jax.grad(lambda t: f(None, t))(1.5))
    assert np.isfinite(jax.grad(lambda c: f(c, None))(5.0))


def test_a_number_out_of_range_gives_nan():
    labels, (x, w, *_) = data("float32")
    for given in ({"temperature": 0.0}, {"softcap": -1.0}):
        assert np.isnan(LOSS(lambda s: s.entropy, x, w, labels, reduction="sum", **given))


@pytest.mark.parametrize("precision", ["highest", jax.lax.Precision.HIGH, None])
def test_precision_reaches_every_product(precision):
    labels, (x, w, *_) = data("float32")

    def f(x, w):
        options = {"reduction": "mean", "precision": precision}
        return xent_jax.linear_softmax_cross_entropy(x, w, labels, **options)

    text = jax.jit(jax.grad(f, (0, 1))).lower(x, w).as_text()
    name = "DEFAULT" if precision is None else str(precision).rsplit(".", 1)[-1].upper()
    lines = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert len(lines) == 3 and all(f"[{name}, {name}]" in line for line in lines)
