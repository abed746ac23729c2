"""A small call of every public function, for each kind of labels and of options that it takes."""

import functools
import inspect
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import xent_jax

BATCH, CLASSES, FEATURES = 3, 7, 5


def _data():
    rng = np.random.default_rng(0)
    b, k, d = BATCH, CLASSES, FEATURES

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def distribution(*shape):
        return rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)

    joint = distribution(b, 3 * k).reshape(b, 3, k)
    ids, bits = rng.integers(0, k, b).astype(np.int32), rng.integers(0, 2, (b, k)).astype(np.int32)
    few = np.stack([ids, (ids + 1) % k], -1)
    data = {
        "p": ("b, 7", distribution(b, k)),
        "q": ("b, 7", distribution(b, k)),
        "y": ("b, 7", distribution(b, k)),
        "zp": ("b, 7", 2 * normal(b, k)),
        "zq": ("b, 7", 2 * normal(b, k)),
        "joint": ("b, 3, 7", joint),
        "ids": ("b", ids),
        "bits": ("b, 7", bits),
        "parts": ("b, 7", rng.uniform(size=(b, k)).astype(np.float32)),
        "members": ("b, 3, 7", 2 * normal(b, 3, k)),
        "per member": ("3", np.array([1.0, 0.5, 2.0], np.float32)),
        "kept": ("7", np.arange(k) < k - 1),
        "log p": ("b", -abs(normal(b))),
        "log q": ("b", -abs(normal(b))),
        "order": ("", np.float32(1.5)),
        "x": ("b, 5", normal(b, d)),
        "v": ("b, 5", normal(b, d)),
        "w": ("5, 7", normal(d, k)),
        "u": ("5, 7", normal(d, k)),
        "bias": ("7", normal(k)),
        "few ids": ("b, 2", few.astype(np.int32)),
        "few probs": ("b, 2", distribution(b, 2)),
        "per class": ("7", abs(normal(k))),
        "per row": ("b", abs(normal(b))),
        "counts": ("b, 7", rng.integers(1, 99, (b, k)).astype(np.float32)),
    }
    # Labels that zp is too sure of, by a factor of each row.
    unsure = np.exp(data["zp"][1] * np.linspace(0.4, 0.9, b)[:, None])
    unsure = (unsure / unsure.sum(-1, keepdims=True)).astype(np.float32)
    return data | {"unsure": ("b, 7", unsure)}


# name: its shape, "b" the batch, and an array.
DATA = _data()


def clipped(statistics, *advantage):
    """A loss of the statistics of a token, and of a datum if there is one."""
    gain = jnp.exp(statistics.log_prob)
    for a in advantage:
        gain = jnp.minimum(gain * a, a)
    return 0.01 * statistics.logsumexp - gain


class _Of:
    """A function and its methods, with a first argument."""

    def __init__(self, function, first):
        self.function, self.first, self.__doc__ = function, first, function.__doc__

    def __call__(self, *args, **kwargs):
        return self.function(self.first, *args, **kwargs)

    def __getattr__(self, name):
        found = getattr(self.function, name)
        return functools.partial(found, self.first) if callable(found) else found


@dataclass(frozen=True)
class Call:
    """`name(*arrays, **named arrays, **options)`; `kinds` and `named` are keys of `DATA`."""

    name: str
    kinds: tuple[str, ...]
    named: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, object], ...]

    def __str__(self):
        parts = [self.name, *(k.replace(" ", "_") for k in self.kinds)]
        parts += [k for k, _ in self.named] + [f"{k}={v}" for k, v in self.options]
        return "-".join(parts)

    @property
    def function(self):
        function = getattr(xent_jax, self.name)
        if self.name == "linear_softmax_loss":
            return _Of(function, clipped)
        return function

    @property
    def keys(self):
        return (*self.kinds, *(key for _, key in self.named))

    @property
    def arrays(self):
        """All arrays, positional ones first."""
        return [DATA[key][1] for key in self.keys]

    @property
    def shapes(self):
        """The shapes of the arrays as text, with the batch symbolic."""
        return [DATA[key][0] for key in self.keys]

    @property
    def rows(self):
        """For jax.vmap: 0 for an array with one entry per row of the batch, else None."""
        return tuple(0 if shape.startswith("b") else None for shape in self.shapes)

    @property
    def floating(self):
        """The places of the arrays that can be differentiated."""
        return tuple(i for i, x in enumerate(self.arrays) if x.dtype == np.float32)

    def batch(self, size):
        """The arrays with so many rows."""
        pick = np.arange(size) % BATCH
        return [x if r is None else x[pick] for x, r in zip(self.arrays, self.rows, strict=True)]

    def keywords(self, arrays):
        names = [name for name, _ in self.named]
        return dict(zip(names, arrays[len(self.kinds) :], strict=True)) | dict(self.options)

    def __call__(self, *arrays):
        return self.function(*arrays[: len(self.kinds)], **self.keywords(arrays))


def call(name, *kinds, named=None, **options):
    return Call(name, kinds, tuple((named or {}).items()), tuple(options.items()))


def _labelled(name, **options):
    """A loss of the softmax row with each kind of labels."""
    yield call(name, "zp", "ids", **options)
    yield call(name, "zp", "y", **options)
    yield call(name, "zp", "ids", named={"where": "kept", "class_weights": "per class"},
               label_smoothing=0.1, ignore_index=-1, **options)  # fmt: skip


def _calls():
    for name in ("entropy", "perplexity"):
        yield call(name, "p")
    for name in ("cross_entropy", "kl_divergence", "js_divergence", "perplexity"):
        yield call(name, "p", "q")
    yield call("kl_divergence", "p", "q", named={"where": "kept"}, base=2)
    yield call("binary_entropy", "p")
    for name in ("cross_entropy", "kl_divergence", "js_divergence"):
        yield call(f"binary_{name}", "p", "q")
    yield call("binary_kl_divergence", "p", "q", named={"where": "kept"}, base=2)
    yield call("renyi_entropy", "p", "order")
    yield call("renyi_divergence", "p", "q", "order")
    yield call("tsallis_entropy", "p", "order")
    yield call("conditional_entropy", "joint")
    yield call("mutual_information", "joint")
    yield call("ensemble_information", "joint", ensemble_axis=-2)
    yield call("softmax_ensemble_information", "members", ensemble_axis=-2)
    named = {"weights": "per member", "where": "kept"}
    yield call("softmax_ensemble_information", "members", named=named, ensemble_axis=-2, base=2)
    for kind in ("k1", "k2", "k3"):
        yield call("kl_estimate", "log p", "log q", kind=kind)
    yield call("kl_estimate_with_error", "zp", "zq")
    yield call("kl_estimate_with_error", "zp", "zq", named={"where": "kept"})
    yield call("softmax_entropy", "zp")
    yield call("softmax_kl_divergence", "zp", "zq")
    yield call("softmax_js_divergence", "zp", "zq")
    yield call("softmax_renyi_entropy", "zp", "order")
    yield call("softmax_tsallis_entropy", "zp", "order", named={"where": "kept"})
    yield call("softmax_renyi_divergence", "zp", "zq", "order")
    yield call("softmax_statistics", "zp")
    yield call("softmax_statistics", "zp", "ids", named={"where": "kept"})
    yield from _labelled("softmax_cross_entropy")
    yield call("softmax_cross_entropy", "zp", "ids", z_loss=0.01, base=2, keepdims=True)
    yield from _labelled("softmax_focal_loss")
    yield from _labelled("softmax_poly_loss")
    yield from _labelled("softmax_generalized_cross_entropy")
    yield call("sigmoid_entropy", "zp")
    yield call("sigmoid_kl_divergence", "zp", "zq")
    yield call("sigmoid_js_divergence", "zp", "zq")
    for name in ("sigmoid_cross_entropy", "sigmoid_focal_loss"):
        yield call(name, "zp", "bits")
        yield call(name, "zp", "parts")
        yield call(name, "zp", "bits", named={"where": "kept"}, label_smoothing=0.1)
    yield call("sigmoid_cross_entropy", "zp", "bits", named={"pos_weight": "per class"})
    name = "linear_softmax_cross_entropy"
    yield call(name, "x", "w", "ids")
    yield call(name, "x", "w", "ids", named={"b": "bias", "where": "kept", "weights": "per row"},
               label_smoothing=0.1, z_loss=0.01, reduction="mean", chunk_size=2)  # fmt: skip
    yield call(name, "x", "w", "ids", named={"class_weights": "per class"}, focal_gamma=2.0,
               ignore_index=-1)  # fmt: skip
    yield call(name, "x", "w", "few ids", named={"label_probs": "few probs"}, reduction="sum")
    yield call("linear_softmax_loss", "x", "w", "ids")
    yield call("linear_softmax_loss", "x", "w", "ids", "per row", named={"weights": "per row"},
               reduction="mean", return_statistics=True, softcap=5.0, chunk_size=2)  # fmt: skip
    yield call("linear_sigmoid_cross_entropy", "x", "w", "few ids")
    named = {"where": "kept", "pos_weight": "per class"}
    yield call("linear_sigmoid_cross_entropy", "x", "w", "few ids", named=named, temperature=2.0,
               reduction="sum", chunk_size=2)  # fmt: skip
    yield call("linear_softmax_entropy", "x", "w")
    yield call("linear_softmax_kl_divergence", "x", "w", "v", "u")
    yield call("linear_softmax_js_divergence", "x", "w", "v", "u", reduction="sum", chunk_size=2)
    yield call("linear_softmax_statistics", "x", "w")
    yield call("linear_softmax_statistics", "x", "w", "ids", chunk_size=2)
    yield call("class_frequencies", "ids", num_classes=CLASSES)
    yield call("class_frequencies", "ids", named={"weights": "per row"}, num_classes=CLASSES)
    yield call("class_frequencies", "y", named={"weights": "per row"}, num_classes=CLASSES)
    yield call("logit_adjustment", "counts")
    yield call("logit_adjustment", "counts", named={"tau": "order"})
    yield call("balanced_class_weights", "counts")
    yield call("effective_number_weights", "counts", beta=0.9)
    yield call("brier_score", "p", "ids")
    yield call("brier_score", "p", "y")
    yield call("softmax_brier_score", "zp", "ids", named={"where": "kept"}, ignore_index=-1)
    yield call("softmax_brier_score", "zp", "y", keepdims=True)
    for name in ("expected_calibration_error", "reliability_curve", "brier_decomposition"):
        yield call(name, "parts", "bits", bins=3)
        named = {} if name == "reliability_curve" else {"weights": "q"}
        yield call(name, "parts", "p", named=named, bins=4, binning="mass")
    yield call("fit_temperature", "zp", "unsure")
    yield call("fit_temperature", "zp", "unsure", named={"where": "kept", "weights": "per row"})


CALLS = tuple(_calls())

# One call of each function, the first of it.
ONE_EACH = tuple({c.name: c for c in reversed(CALLS)}.values())[::-1]


def public_functions():
    """The names of everything public that computes something."""
    return {
        name
        for name, value in vars(xent_jax).items()
        if not name.startswith("_")
        and callable(value)
        and not inspect.isclass(value)
        and name != "value_checks"
    }


def value_and_gradients(call, *arrays):
    """What the call gives, and the gradients of the sum of its floating results."""
    moving = call.floating

    def f(*moved):
        full = list(arrays)
        for place, x in zip(moving, moved, strict=True):
            full[place] = x
        return call(*full)

    def total(*moved):
        result = f(*moved)
        floats = [x for x in jax.tree.leaves(result) if jnp.issubdtype(x.dtype, jnp.floating)]
        return functools.reduce(jnp.add, [jnp.sum(x) for x in floats], 0.0), result

    if not moving:
        return f(), ()
    gradients, value = jax.grad(total, tuple(range(len(moving))), has_aux=True)(
        *(arrays[i] for i in moving)
    )
    return value, gradients
