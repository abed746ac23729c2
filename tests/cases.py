"""The grid of functions beside their oracle, and the rows they are tried on; deterministic."""

import functools
from dataclasses import dataclass

import jax
import numpy as np

import xent_jax

from . import oracle

_OVER_CLASSES = frozenset({"axis", "where", "base", "keepdims"})
_ELEMENTWISE = frozenset({"where", "base"})
_OF_LABELS = frozenset({"ignore_index", "label_smoothing"})


@dataclass(frozen=True)
class Function:
    """One public function with one kind of argument in each place.

    `kinds` says what each positional argument is: "p" and "q" probabilities, "zp" and "zq" logits,
    "id" integer labels, "y" labels that are probabilities. `argument` builds any of them.
    """

    name: str
    row: str
    kinds: tuple[str, ...]
    options: frozenset[str]
    given: tuple[tuple[str, float], ...] = ()  # keywords of every call

    def __str__(self):
        kind = {"id": "-ids", "y": "-soft"}.get(self.kinds[-1], "")
        return self.name + kind + "".join(f"-{name}={value:g}" for name, value in self.given)

    def __call__(self, *arguments, **options):
        return getattr(xent_jax, self.name)(*arguments, **dict(self.given), **options)

    @property
    def elementwise(self):
        return self.row == "sigmoid"

    @property
    def differentiable(self):
        """The places of the floating arguments."""
        return tuple(i for i, kind in enumerate(self.kinds) if kind != "id")

    def arguments(self, first, second, label, where=None, dtype=np.float32):
        """The positional arguments made of two rows (or batches) of logits and integer labels."""
        rows = (self.row, first, second, label, where, dtype)
        return tuple(argument(kind, *rows) for kind in self.kinds)

    def truth(self, *arguments, **options):
        """The oracle's `(value, *gradients)` for one row, or for one element of the sigmoid row."""
        return getattr(oracle, self.name)(*arguments, **dict(self.given), **options)


FUNCTIONS = (
    Function("entropy", "probability", ("p",), _OVER_CLASSES),
    Function("cross_entropy", "probability", ("p", "q"), _OVER_CLASSES),
    Function("kl_divergence", "probability", ("p", "q"), _OVER_CLASSES),
    Function("js_divergence", "probability", ("p", "q"), _OVER_CLASSES),
    Function("softmax_entropy", "softmax", ("zp",), _OVER_CLASSES),
    Function("softmax_cross_entropy", "softmax", ("zp", "id"), _OVER_CLASSES | _OF_LABELS),
    Function("softmax_cross_entropy", "softmax", ("zp", "y"), _OVER_CLASSES | _OF_LABELS),
    Function("softmax_kl_divergence", "softmax", ("zp", "zq"), _OVER_CLASSES),
    Function("softmax_js_divergence", "softmax", ("zp", "zq"), _OVER_CLASSES),
    Function("sigmoid_entropy", "sigmoid", ("zp",), _ELEMENTWISE),
    Function("sigmoid_cross_entropy", "sigmoid", ("zp", "id"), _ELEMENTWISE | _OF_LABELS),
    Function("sigmoid_cross_entropy", "sigmoid", ("zp", "y"), _ELEMENTWISE | _OF_LABELS),
    Function("sigmoid_kl_divergence", "sigmoid", ("zp", "zq"), _ELEMENTWISE),
    Function("sigmoid_js_divergence", "sigmoid", ("zp", "zq"), _ELEMENTWISE),
)

_OF_LOSSES = _OVER_CLASSES | _OF_LABELS
LOSSES = tuple(
    Function(f"softmax_{name}", "softmax", ("zp", kind), _OF_LOSSES, ((parameter, value),))
    for kind in ("id", "y")
    for name, parameter, values in (
        ("focal_loss", "gamma", (0.0, 0.5, 2.0)),
        ("poly_loss", "epsilon", (-1.0, 2.0)),
        ("generalized_cross_entropy", "q", (0.0, 0.7)),
    )
    for value in values
) + tuple(
    Function("sigmoid_focal_loss", "sigmoid", ("zp", kind), _ELEMENTWISE | _OF_LABELS, given)
    for kind in ("id", "y")
    for given in ((("gamma", 2.0), ("alpha", 0.25)), (("gamma", 0.5),))
)
SOFTMAX_LOSSES = [f for f in LOSSES if not f.elementwise]
# One of each kind, with ids and with soft labels.
USUAL_LOSSES = [f for f in LOSSES if str(f) in {
    "softmax_focal_loss-ids-gamma=2", "softmax_focal_loss-soft-gamma=2",
    "softmax_poly_loss-ids-epsilon=2", "softmax_generalized_cross_entropy-soft-q=0.7",
    "sigmoid_focal_loss-ids-gamma=2-alpha=0.25",
}]  # fmt: skip


def select(*, row=None, kinds=None, name=None, option=None):
    """The functions of one row, with these kinds of arguments, a name that ends so, an option."""
    return [
        f
        for f in FUNCTIONS
        if (row is None or f.row == row)
        and (kinds is None or f.kinds == kinds)
        and (name is None or f.name.endswith(name))
        and (option is None or option in f.options)
    ]


def probabilities(logits, where, dtype):
    """softmax(logits) rounded to `dtype`, without subnormals; nonsense under a False `where`."""
    kept = logits if where is None else np.where(where, logits, -np.inf)
    p = np.exp(kept - np.max(kept, -1, keepdims=True))
    p = (p / p.sum(-1, keepdims=True)).astype(dtype)
    p = np.where(p < np.finfo(dtype).tiny, dtype(0), p)
    return p if where is None else np.where(where, p, dtype(0.7))


def argument(kind, row, first, second, label, where, dtype):
    """One positional argument: see `Function`."""
    logits = first if kind in ("p", "zp") else second
    if kind in ("zp", "zq"):
        return logits.astype(dtype)
    if kind == "id":
        return label if row != "sigmoid" else (second > 0).astype(np.int32)
    if row == "sigmoid":
        return probabilities(np.stack([logits, np.zeros_like(logits)], -1), None, dtype)[..., 0]
    return probabilities(logits, where, dtype)


@dataclass(frozen=True, eq=False)
class Case:
    """Two rows of logits, a label for the first, and the outcomes that exist."""

    name: str
    first: np.ndarray
    second: np.ndarray
    label: int
    where: np.ndarray | None = None


def batch(function, cases, dtype):
    """The cases' rows stacked: the positional arguments, and `where` or None."""
    first, second = (np.stack([getattr(c, n) for c in cases]) for n in ("first", "second"))
    label = np.array([case.label for case in cases], np.int32)
    where = None if cases[0].where is None else np.stack([case.where for case in cases])
    return function.arguments(first, second, label, where, dtype), where


def _at(size, entries, fill):
    """A row of `fill` with `entries` (class: value) put in."""
    row = np.full(size, fill) if np.ndim(fill) == 0 else np.array(fill)
    for index, value in entries.items():
        row[index] = value
    return row


def _named_cases(k=10):
    rng = np.random.default_rng(0)
    a, b, noise = rng.normal(size=(3, k)).round(3)
    flat = np.zeros(k)
    yield Case("flat", flat, b, 4)
    yield Case("both flat", flat, flat, 4)
    yield Case("equal", a, a, 2)
    yield Case("equal up to an offset", np.round(a * 64) / 64, np.round(a * 64) / 64 + 1024, 2)
    yield Case("two tied maxima", _at(k, {1: 3, 6: 3}, a), _at(k, {1: 3, 2: 3}, b), 6)
    yield Case("two tied maxima, margin 20", _at(k, {1: 20, 6: 20}, a), a, 6)
    for margin in (5, 20, 40, 80):
        peak = a + 0.0
        peak[3] = np.delete(a, 3).max() + margin
        lower = b + 0.0
        lower[3] = np.delete(b, 3).max() + margin
        yield Case(f"peaked by {margin}, label on the peak", peak, lower, 3)
        yield Case(f"peaked by {margin}, label off the peak", peak, b, 5)
        yield Case(f"peaked by {margin}, apart", peak, np.roll(lower, 2), 5)
    for sign in (1, -1):
        yield Case(f"offset {sign}e4", a + sign * 1e4, b + sign * 1e4, 0)
        yield Case(f"offsets {sign}e4 and {-sign}e4", a + sign * 1e4, b - sign * 1e4, 9)
    yield Case("peaked by 12 at an offset 1e4", _at(k, {7: 12}, a) + 1e4, b - 1e4, 7)
    for kl in (1e-12, 1e-9, 1e-6, 1e-3):
        near = a + noise * np.sqrt(2 * kl)
        yield Case(f"near, KL about {kl}", a, near, 8)
        yield Case(f"near a peak, KL about {kl}", _at(k, {2: 10}, a), _at(k, {2: 10}, near), 2)
    for kl in (10, 100, 1e3, 1e4):
        yield Case(f"far, KL about {kl}", _at(k, {0: 5}, a), _at(k, {1: kl + 3}, b), 1)
        yield Case(f"far from flat, KL about {kl}", flat, _at(k, {1: kl}, b), 1)
    yield Case("probabilities down to 3e-38", -9.6 * np.arange(k), -9.6 * np.arange(k)[::-1], 9)
    no = -np.inf
    yield Case("zeros in p and q", _at(k, {1: no, 4: no}, a), _at(k, {1: no, 4: no}, b), 2)
    yield Case("zeros in p", _at(k, {1: no, 4: no}, a), b, 2)
    yield Case("zeros in q, mass in p", a, _at(k, {1: no, 4: no}, b), 4)
    yield Case("label of probability 0", _at(k, {1: no, 4: no}, a), b, 4)
    yield Case("one class left", _at(k, {3: a[3]}, no), _at(k, {3: b[3]}, no), 3)
    yield Case("two classes left", _at(k, {3: 1, 5: 2}, no), _at(k, {3: 1, 5: 4}, no), 3)


def _masked_cases(k=10):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, k)).round(3)
    some = _at(k, {1: False, 4: False, 9: False}, True)
    yield Case("where keeps all", a, b, 3, np.full(k, True))
    yield Case("where hides three", a, b, 3, some)
    yield Case("where hides both maxima", _at(k, {4: 9}, a), _at(k, {1: 9}, b), 0, some)
    yield Case("where hides an offset of 1e4", _at(k, {4: 1e4}, a), _at(k, {9: 1e4}, b), 0, some)
    yield Case("where over a peak", _at(k, {0: 40}, a), _at(k, {0: 41}, b), 0, some)
    yield Case("where over -inf", _at(k, {2: -np.inf}, a), _at(k, {2: -np.inf}, b), 0, some)
    yield Case("where keeps one", a, b, 6, _at(k, {6: True}, False))
    yield Case("where keeps two", a, a + 1e-5 * b, 6, _at(k, {6: True, 0: True}, False))


NAMED_CASES = tuple(_named_cases())
MASKED_CASES = tuple(_masked_cases())
# Ten is the size of the named cases.
SIZES = (2, 3, 127, 128, 129, 1000, 5003, 32768, 131072)


def random_cases(k):
    """Rows of `k` classes. Past 100 the outcomes repeat: the oracle counts instead of summing."""
    rng = np.random.default_rng(k)
    a, b = rng.normal(size=(2, min(k, 100)))
    for name, scale, second in (
        ("mild", 1, b),
        ("wide", 4, 4 * b),
        ("near, KL about 1e-6", 2, 2 * a + 1.4e-3 * b),
        ("near, KL about 1e-11", 2, 2 * a + 4e-6 * b),
    ):
        pick = np.arange(k) if k <= 100 else rng.integers(100, size=k)
        first, second = (scale * a)[pick], second[pick]
        label = int(np.argmax(first)) if name == "wide" else int(rng.integers(k))
        yield Case(f"{name}, {k} classes", first, second, label)


CASES = NAMED_CASES + MASKED_CASES + tuple(case for k in SIZES for case in random_cases(k))

# Pairs of rows for second derivatives: integer differences, equality, ties, masks, offsets.
PAIRS_OF_LOGITS = [
    [[0.3, -1.2, 0.8, 0.1], [1.1, 0.4, -0.7, 0.2]],
    [[1, 0, 0, -1], [-1, 0, 1, 0]],
    [[0, 1, 2, 3], [1, 0, 3, 1]],
    [[0.5, 1, -1, 0], [0.5, 1, -1, 0]],
    [[0, 0, 0, 0], [0, 0, 0, 0]],
    [[1, 1, 0, 0], [0, 1, 1, 0]],
    [[1, 0.5, -np.inf, 0], [0.3, 1, -np.inf, 0]],
    [[1000, 1001, 1000.5, 999], [-1000, -1001, -1000.5, -999]],
]
PAIRS_OF_PROBABILITIES = [
    [[0.1, 0.2, 0.3, 0.4], [0.25, 0.3, 0.25, 0.2]],
    [[0.125, 0.25, 0.5, 0.125], [0.25, 0.5, 0.25, 0.0625]],
    [[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]],
    [[0, 0.5, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4]],
    [[0, 0.5, 0.25, 0.25], [0, 0.2, 0.4, 0.4]],
]

# Of jax.jit: half the time to compile, for what code generation cannot change.
QUICK = {"xla_backend_optimization_level": 0}
quick = functools.partial(jax.jit, compiler_options=QUICK)
