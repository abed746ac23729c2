"""Every message: of bad shapes and dtypes when traced, of bad values inside `value_checks`."""

import fractions
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import xent_jax

from .cases import FUNCTIONS, select

ROW = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], np.float32)
IDS = np.array([0, 2])
OVER_CLASSES = select(option="axis")


def each(functions):
    return pytest.mark.parametrize("function", functions, ids=str)


def arguments(function, first=ROW, second=ROW):
    """Good arguments, the rows given for the floating ones."""
    ids = IDS if not function.elementwise else np.array([[0, 1, 1], [1, 0, 0]])
    floats = {"p": first, "zp": first, "q": second, "zq": second, "y": second}
    return [ids if kind == "id" else floats[kind] for kind in function.kinds]


def names(function):
    """What the signature calls the positional arguments."""
    data = {"p": ["p"], "pq": ["p", "q"], "zp": ["logits"], "zpzq": ["p_logits", "q_logits"]}
    return data.get("".join(function.kinds), ["logits", "labels"])


def refuses(error, message, function, *args, **options):
    """The call raises `error`, and says this and no more."""
    with pytest.raises(error) as caught:
        function(*args, **options)
    assert str(caught.value) == f"{function.name}: {message}"


@each(FUNCTIONS)
def test_complex_and_keys(function):
    keys = jax.random.split(jax.random.key(0), ROW.shape)
    for place in function.differentiable:
        name, args = names(function)[place], arguments(function)
        args[place] = ROW.astype(np.complex64)
        says = f"{name} must be real, got complex64; pass {name}.real."
        refuses(TypeError, says, function, *args)
        args[place] = keys
        refuses(TypeError, f"{name} must hold numbers, got key<fry>.", function, *args)


@each(FUNCTIONS)
def test_strings(function):
    for place, name in enumerate(names(function)):
        args = arguments(function)
        args[place] = np.array(["a", "b"])
        ids = "number the classes, as np.unique(names, return_inverse=True) does"
        hint = ids if name == "labels" else "pass a JAX or NumPy array"
        says = f"{name} must be an array of numbers, got text in it; {hint}."
        refuses(TypeError, says, function, *args)


@each(OVER_CLASSES)
def test_axis(function):
    name, args = names(function)[0], arguments(function)
    for axis in ("x", 1.0, None, (0, None)):
        says = f"axis must be an int or a tuple of ints, got {axis!r}."
        refuses(TypeError, says, function, *args, axis=axis)
    for axis, culprit in ((2, 2), (-3, -3), ((0, 7), 7)):
        says = f"axis {culprit} is out of range for {name} of shape (2, 3); choose one in [-2, 2)."
        refuses(ValueError, says, function, *args, axis=axis)
    for axis in ((0, 0), (1, -1)):
        says = f"axis {axis} names an axis of {name} twice; name it once."
        refuses(ValueError, says, function, *args, axis=axis)
    says = "axis must name at least one axis, got an empty tuple."
    refuses(ValueError, says, function, *args, axis=())
    scalars = [np.int32(0) if kind == "id" else np.float32(1) for kind in function.kinds]
    says = f"{name} must have a class axis, got a scalar; pass a vector."
    refuses(ValueError, says, function, *scalars)


@each(OVER_CLASSES)
def test_no_classes(function):
    name, args = names(function)[0], arguments(function, ROW[:, :0], ROW[:, :0])
    says = (
        f"{name} of shape (2, 0) has no classes along axis -1; a distribution needs at least one."
    )
    refuses(ValueError, says, function, *args)


@each([f for f in FUNCTIONS if len(f.kinds) == 2 and (f.elementwise or f.kinds[-1] != "id")])
def test_unequal_shapes(function):
    first, second = names(function)
    for place, shapes in enumerate(("(1, 3) and (2, 3)", "(2, 3) and (1, 3)")):
        args = arguments(function)
        args[place] = args[place][:1]
        says = (
            f"{first} and {second} must have the same shape, got {shapes}; "
            "broadcast one with jnp.broadcast_to, or use jax.vmap."
        )
        refuses(ValueError, says, function, *args)


@each(FUNCTIONS)
def test_where(function):
    name, args = names(function)[0], arguments(function)
    for where, dtype in ((ROW, "float32"), (np.ones((2, 3), np.int8), "int8")):
        says = f"where must be boolean, got {dtype}; pass a comparison such as mask > 0."
        refuses(TypeError, says, function, *args, where=where)
    for shape in ((4,), (3, 3), (1, 2, 3), (2, 1, 1)):
        says = (
            f"where of shape {shape} does not broadcast to {name} of shape (2, 3); "
            "give it that shape, or axes of size one."
        )
        refuses(ValueError, says, function, *args, where=np.ones(shape, bool))
    hint = "give it the shape (2, 1)"
    if not function.elementwise:
        hint = (
            "where says which classes exist, a mask of examples goes to jnp.average(values, "
            f"weights=mask): {hint} to have 0 for an example"
        )
    says = f"where of shape (2,) does not broadcast to {name} of shape (2, 3); {hint}."
    refuses(ValueError, says, function, *args, where=np.ones(2, bool))


@each([f for f in FUNCTIONS if f.kinds[-1] in ("id", "y")])
def test_swapped(function):
    """Ids come where logits belong. Of equal shapes it cannot be told: integers may be logits."""
    says = (
        "logits holds int32 of shape (2,) and labels float32 of shape (2, 3); swapped? "
        f"The order is {function.name}(logits, labels)."
    )
    refuses(ValueError, says, function, IDS.astype(np.int32), ROW)


@each([f for f in FUNCTIONS if len(f.kinds) == 2 and f.kinds[-1] not in ("id", "y")])
def test_ids_for_a_distribution(function):
    first, second = names(function)
    for place, name in enumerate((first, second)):
        args = arguments(function)
        args[place] = IDS.astype(np.int32)
        says = (
            f"{name} holds int32 of shape (2,); class ids go to softmax_cross_entropy(logits, "
            "labels), here both are distributions."
        )
        refuses(ValueError, says, function, *args)


def test_one_id_per_row_of_binary_logits():
    (function,) = select(name="sigmoid_cross_entropy", kinds=("zp", "id"))
    says = (
        "labels of shape (2,) hold one id per row of the logits of shape (2, 3), and must hold 0 "
        "or 1 per logit; softmax_cross_entropy takes one id per row."
    )
    refuses(ValueError, says, function, ROW, IDS)


@each(FUNCTIONS)
def test_names_of_peers(function):
    """What others call an option, or have where we have none."""
    args = arguments(function)
    options = {
        "reduction": "the values are not reduced: take jnp.mean(values), or jnp.average(values, "
        "weights=…).",
        "bias": "add it to the logits.",
        "softcap": "cap the logits before: softcap * jnp.tanh(logits / softcap).",
        "mask": "where= leaves out classes, or elements of an elementwise function; "
        "jnp.average(values, weights=mask) examples.",
    }
    if not function.elementwise:
        options |= {"dim": "did you mean 'axis'?", "keepdim": "did you mean 'keepdims'?"}
    for option, advice in options.items():
        says = f"there is no argument {option!r}; {advice}"
        refuses(TypeError, says, function, *args, **{option: 1.0})


@pytest.mark.parametrize(
    "labels, hint",
    [
        (IDS[:, None], "squeeze the extra axis, e.g. labels[..., 0]"),
        (
            np.eye(3, dtype=int)[IDS],
            "a distribution over classes must have a floating dtype: labels.astype(jnp.float32)",
        ),
        (np.array([0, 1, 2]), "give one id per example, or axis=0 if it holds the classes"),
        (np.arange(4), "give one id per example"),
        (np.array(0), "give one id per example"),
    ],
    ids=["column", "one-hot", "by class", "too many", "scalar"],
)
def test_shape_of_ids(labels, hint):
    (function,) = select(row="softmax", kinds=("zp", "id"))
    says = (
        "integer labels must have the shape of logits without its class axes, "
        f"(2,) for logits of shape (2, 3), got {labels.shape}; {hint}."
    )
    refuses(ValueError, says, function, ROW, labels)


@each(select(option="ignore_index"))
def test_ignore_index(function):
    args = arguments(function)
    if function.kinds[-1] == "id":
        for bad in (1.0, True, "x"):
            says = f"ignore_index must be an int or None, got {bad!r}."
            refuses(TypeError, says, function, *args, ignore_index=bad)
    else:
        says = (
            "ignore_index goes with integer labels, got floating labels; "
            "mask examples by multiplying the loss instead."
        )
        refuses(TypeError, says, function, *args, ignore_index=-1)


@each(select(option="label_smoothing"))
def test_label_smoothing(function):
    args = arguments(function)
    for bad in (-0.1, 1.5, float("nan")):
        says = f"label_smoothing must lie in [0, 1], got {bad!r}."
        refuses(ValueError, says, function, *args, label_smoothing=bad)
    for bad in ("x", True):
        says = f"label_smoothing must be a number in [0, 1], got {bad!r}."
        refuses(TypeError, says, function, *args, label_smoothing=bad)


@each(FUNCTIONS)
def test_base(function):
    args = arguments(function)
    for bad in (0, -2, 1, float("inf"), float("nan")):
        says = (
            f"base must be positive, finite and not 1, got {bad!r}; "
            "use base=2 for bits, or None for nats."
        )
        refuses(ValueError, says, function, *args, base=bad)
    for bad in ("e", "2"):
        refuses(
            TypeError, f"base must be a number or None, got {bad!r}.", function, *args, base=bad
        )


# Values. Everything below compiles each function once plain, once as the gradient of a batch.


BY_SOFTMAX = ("sigmoid_kl_divergence", "sigmoid_js_divergence")  # they call the softmax row


def slow(function):
    return pytest.param(function, marks=pytest.mark.slow)


def checked(f):
    """f under checkify, compiled; it returns the message or None, and raises nothing itself."""
    run = jax.jit(checkify.checkify(f, errors=checkify.user_checks))

    def message(*args):
        with xent_jax.value_checks():
            return run(*args)[0].get()

    return message


@functools.cache
def plain(function):
    return checked(function.__call__)


@functools.cache
def batch_of_gradients(function):
    def total(*args):
        return function(*args).sum()

    return checked(jax.vmap(jax.grad(total, function.differentiable)))


def bad_values(function):
    """(what the message says, arguments) for each condition that the function checks."""
    for place in function.differentiable:
        name = names(function)[place]
        says = {
            "p": f"{name} holds a negative or NaN probability.",
            "z": f"{name} holds NaN.",
            "y": "labels holds a value outside [0, 1] that is not ignored.",
        }[function.kinds[place][0].replace("q", "p")]
        if function.kinds[place] == "y" and not function.elementwise:
            says = "labels holds a negative or NaN probability."
        worse = [np.nan] if says.endswith("NaN.") else [np.nan, -0.25]
        for value in worse:
            args = arguments(function)
            args[place] = ROW.copy()
            args[place][1, 2] = value
            yield says, args
        if function.row == "softmax" and function.kinds[place] != "y":
            args = arguments(function)
            args[place] = np.where([[False], [True]], np.float32(-np.inf), ROW)
            yield f"a row of {name} is −inf everywhere: no class is possible.", args
    if function.kinds[-1] == "id":
        for label in (-1, 3):
            args = arguments(function)
            args[1] = args[1].copy()
            args[1].flat[0] = label
            yield (
                (
                    "labels holds a value outside [0, 1] that is not ignored."
                    if function.elementwise
                    else "labels holds an id outside [0, 3) that is not ignored."
                ),
                args,
            )


@each([f if f.name not in BY_SOFTMAX else slow(f) for f in FUNCTIONS])
def test_checkify_names_the_culprit(function):
    assert plain(function)(*arguments(function)) is None
    for says, args in bad_values(function):
        assert plain(function)(*args).startswith(f"{function.name}: {says}"), args
        assert np.isnan(function(*args)).any()  # and no more than that without checkify


BY_CONDITION = [
    *select(name="kl_divergence", row="probability"),
    *select(row="softmax", kinds=("zp", "id")),
    *select(row="sigmoid", kinds=("zp", "y")),
]


@each([f if f in BY_CONDITION else slow(f) for f in FUNCTIONS])
def test_checkify_under_vmap_and_grad(function):
    assert batch_of_gradients(function)(*arguments(function)) is None
    for says, args in bad_values(function):
        assert batch_of_gradients(function)(*args).startswith(f"{function.name}: {says}"), args


def test_checkify_says_nothing_of_what_is_left_out():
    def total(logits, labels, where):
        options = {"where": where, "ignore_index": -1}
        return xent_jax.softmax_cross_entropy(logits, labels, **options).sum()

    logits = np.array([[0, np.nan, 1], [-np.inf, -np.inf, -np.inf]], np.float32)
    where = np.array([[True, False, True], [False, False, False]])
    for labels in ([0, -1], [-1, 7]):
        assert checked(total)(logits, jnp.array(labels), where) is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: xent_jax.softmax_cross_entropy(ROW, IDS, reduction="mean"),
            TypeError,
            "softmax_cross_entropy: there is no argument 'reduction'; the values are not reduced: "
            "take jnp.mean(values), or jnp.average(values, weights=…).",
        ),
        (
            lambda: xent_jax.softmax_cross_entropy(ROW, IDS, weight=ROW[0]),
            TypeError,
            "softmax_cross_entropy: there is no argument 'weight'; did you mean 'class_weights'? "
            "Examples are weighted by jnp.average(values, weights=…).",
        ),
        (
            lambda: xent_jax.linear_softmax_cross_entropy(ROW, ROW.T, IDS % 2, weight=IDS),
            TypeError,
            "linear_softmax_cross_entropy: there is no argument 'weight'; did you mean 'weights' "
            "or 'class_weights'?",
        ),
        (
            lambda: xent_jax.linear_softmax_cross_entropy(ROW, ROW.T, IDS % 2, bias=IDS),
            TypeError,
            "linear_softmax_cross_entropy: there is no argument 'bias'; did you mean 'b'?",
        ),
        (
            lambda: xent_jax.entropy(ROW, unknown=1),
            TypeError,
            "entropy: there is no argument 'unknown'; the data are (p), options go by keyword.",
        ),
        (
            lambda: xent_jax.softmax_cross_entropy(input=ROW, target=IDS),
            TypeError,
            "softmax_cross_entropy: there is no argument 'input'; did you mean 'logits'?",
        ),
        (
            lambda: xent_jax.entropy(["a", "b"]),
            TypeError,
            "entropy: p must be an array of numbers, got text in it; pass a JAX or NumPy array.",
        ),
        (
            lambda: xent_jax.entropy(np.array([0.5, None])),
            TypeError,
            "entropy: p must be an array of numbers, got objects in it; pass a JAX or NumPy array.",
        ),
        (
            lambda: xent_jax.softmax_cross_entropy(ROW, fractions.Fraction(1)),
            TypeError,
            "softmax_cross_entropy: labels must be an array of numbers, got fractions.Fraction; "
            "pass a JAX or NumPy array.",
        ),
        (
            lambda: xent_jax.mutual_information(None),
            TypeError,
            "mutual_information: joint must be an array of numbers, got NoneType; pass a JAX or "
            "NumPy array.",
        ),
        (
            lambda: xent_jax.entropy("p"),
            TypeError,
            "entropy: p must be an array of numbers, got str; pass a JAX or NumPy array.",
        ),
        (
            lambda: jax.jit(xent_jax.entropy)(ROW, axis=-1),
            TypeError,
            "entropy: axis must be a plain Python value, known when the call is compiled, got a "
            "traced value; close over it, or make it static in your jax.jit.",
        ),
        (
            lambda: xent_jax.sigmoid_cross_entropy(ROW[:, :1], IDS),
            ValueError,
            "sigmoid_cross_entropy: logits and labels must have the same shape, got (2, 1) and "
            "(2,); squeeze the extra axis, logits[..., 0].",
        ),
        (
            lambda: xent_jax.sigmoid_kl_divergence(ROW[:, :1], ROW[:, 0]),
            ValueError,
            "sigmoid_kl_divergence: p_logits and q_logits must have the same shape, got (2, 1) and "
            "(2,); squeeze the extra axis, p_logits[..., 0].",
        ),
        (
            lambda: xent_jax.kl_estimate(ROW, ROW, "k1"),
            TypeError,
            "kl_estimate: too many positional arguments; the data are (log_p, log_q), options go "
            "by keyword.",
        ),
        (
            lambda: xent_jax.softmax_cross_entropy(ROW, IDS, class_weights="balanced"),
            TypeError,
            "softmax_cross_entropy: class_weights must be an array of numbers, got str; pass a JAX "
            "or NumPy array.",
        ),
        (
            lambda: xent_jax.class_frequencies(IDS, jnp.max(IDS) + 1),
            TypeError,
            "class_frequencies: num_classes must be a plain Python value, known when the call is "
            "compiled, got an array; pass int(...), float(...) or a tuple.",
        ),
        (
            lambda: xent_jax.entropy(ROW, axis=[0, 1]),
            TypeError,
            "entropy: axis must be a plain Python value, known when the call is compiled, got "
            "list; pass int(...), float(...) or a tuple.",
        ),
        (
            lambda: xent_jax.softmax_focal_loss(ROW, IDS.astype(np.float32)),
            ValueError,
            "softmax_focal_loss: floating labels are distributions of the shape of logits, (2, 3), "
            "got float32 of shape (2,); class ids must be integers: labels.astype(int).",
        ),
    ],
)
def test_calls_that_jax_alone_would_refuse(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


X, W, TOKENS = ROW[:, :2], np.ones((2, 4), np.float32), IDS.astype(np.int32)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: xent_jax.linear_softmax_cross_entropy(np.ones((3, 4), np.float32), ROW, IDS),
            r"got \(3, 4\) and \(2, 3\); swapped\? x comes first, then w\.",
        ),
        (
            lambda: xent_jax.linear_softmax_cross_entropy(X, W.T, IDS),
            r"got \(2, 2\) and \(4, 2\); pass w\.T\.",
        ),
        (
            lambda: xent_jax.linear_softmax_cross_entropy(TOKENS, X, W),
            r"x holds int32 of shape \(2,\) and labels float32 of shape \(2, 4\); swapped\? The "
            r"order is linear_softmax_cross_entropy\(x, w, labels\)\.",
        ),
        (
            lambda: xent_jax.linear_softmax_statistics(X, TOKENS, W),
            r"w holds int32 .* swapped\? The order is linear_softmax_statistics\(x, w, labels\)\.",
        ),
        (
            lambda: xent_jax.linear_softmax_cross_entropy(X, W, np.eye(4, dtype=int)[IDS]),
            r"labels of 0 and 1 become ids by jnp\.argmax\(labels, -1\), and several ids",
        ),
        (
            lambda: xent_jax.linear_softmax_cross_entropy(X, W, IDS.astype(np.float32)),
            r"must be integer class ids, got float32; .*, of ids labels\.astype\(int\)\.",
        ),
        (
            lambda: xent_jax.linear_softmax_loss(lambda s, u: s.entropy, X, W, IDS),
            r"loss_fn is called with the statistics and data of one token, 1 arguments: missing a "
            r"required argument: 'u'; data follow labels, one array for each\.",
        ),
        (
            lambda: xent_jax.linear_softmax_loss(lambda s: s.entropy, None, W, IDS),
            r"x must be an array of numbers, got NoneType; pass a JAX or NumPy array\.",
        ),
        (
            lambda: xent_jax.linear_softmax_entropy(X, None, logits_fn=jnp.tanh),
            r"w must be an array of numbers, got NoneType; pass a JAX or NumPy array\.",
        ),
        (
            lambda: xent_jax.linear_sigmoid_cross_entropy(X, None, lambda y: y, W),
            r"w must be an array of numbers, got NoneType; pass a JAX or NumPy array\.",
        ),
        (
            lambda: xent_jax.linear_sigmoid_cross_entropy(X, W, lambda y: y),
            r"labels, a function, is called with the data of one token, 0 arguments: missing",
        ),
    ],
)
def test_the_linear_row(call, says):
    with pytest.raises((TypeError, ValueError), match=rf"^linear_\w+: .*{says}"):
        call()


@pytest.mark.parametrize("function", [xent_jax.softmax_statistics, xent_jax.softmax_focal_loss])
def test_swapped_before_the_shapes_are_looked_at(function):
    for labels, logits in ((np.int32(1), ROW[0]), ([0, 1], ROW.tolist())):
        with pytest.raises(ValueError, match=r"^softmax_\w+: logits holds int32 .* swapped\? The"):
            function(labels, logits)
