"""Every public function says the same of the same option, in the order of its signature."""

import inspect
import re
import typing

import pytest

import xent_jax

# The options in the order in which every signature has them, and the one line for each.
OPTIONS = {
    "kind": None,
    "gamma": "γ ≥ 0, one number, also traced and differentiated. 0 is cross entropy.",
    "epsilon": None,
    "q": None,
    "alpha": "the order α ≥ 0, one number, also traced and differentiated.",
    "tau": None,
    "beta": None,
    "label_probs": None,
    "b": "(K,), added to the logits; or one number.",
    "bp": "(K,), added to the logits; or one number.",
    "bq": "(K,), added to the logits; or one number.",
    "bins": "B, how many bins, a Python int.",
    "binning": '"width" for bins (k/B, (k + 1)/B], "mass" for bins of equal weight.',
    "axis": "the class axis, or several axes that hold one distribution together.",
    "ensemble_axis": "the axis of the members.",
    "where": "boolean; False means that the outcome does not exist: it adds nothing.",
    "weights": "one weight per example, 1 by default; 0 leaves it out.",
    "reduction": 'None for one number per token, "sum" for Σ w·l, "mean" for Σ w·l / Σ w.',
    "normalizer": 'with "mean", what to divide by instead of Σ w.',
    "ignore_index": "the label of what to leave out: value 0 and gradient 0.",
    "label_smoothing": "α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.",
    "class_weights": "(K,), the weight w_j of each class: smoothed labels y become w·y.",
    "pos_weight": "π ≥ 0, the weight of label 1: one number, or one per class.",
    "focal_gamma": None,
    "z_loss": "adds z_loss·(log Σ e^z)² to each loss, in nats, before `base`.",
    "return_statistics": "give (loss, `SoftmaxStatistics`), from the same pass, not "
    "differentiated.",
    "logits_fn": "any differentiable map of the logits of a token, elementwise or not.",
    "softcap": "logits become softcap·tanh(logits / softcap), before `logits_fn`.",
    "temperature": "logits are divided by it, after `softcap` and `logits_fn`.",
    "base": "unit of the result, None for nats, 2 for bits.",
    "keepdims": "keep the class axes, with size one.",
    "chunk_size": "tokens per chunk that a device holds; None chooses from the shapes.",
    "precision": "of the products, a `jax.lax.PrecisionLike`: off the CPU the default rounds.",
    "axis_name": "inside `jax.shard_map`, the mesh axis over which the classes are split.",
}
OF_ITS_OWN = {
    ("conditional_entropy", "axis"),
    ("kl_estimate_with_error", "axis"),
    ("mutual_information", "axis"),
    ("sigmoid_focal_loss", "alpha"),
    ("ensemble_information", "weights"),
    ("softmax_ensemble_information", "weights"),
}
# Data that may be left out.
OPTIONAL_DATA = {("perplexity", "q"), ("softmax_statistics", "labels")}
OPTIONAL_DATA |= {("linear_softmax_statistics", "labels")}
FUNCTIONS = {
    name: f
    for name, f in vars(xent_jax).items()
    if inspect.isroutine(f) and not name.startswith("_") and name != "value_checks"
}

each = pytest.mark.parametrize("name", FUNCTIONS)


def parameters(name):
    return inspect.signature(FUNCTIONS[name]).parameters


def doc_of(name):
    """Without the indentation, which some versions of Python take away themselves."""
    return inspect.cleandoc(FUNCTIONS[name].__doc__)


def arguments(name):
    """What the docstring says of each argument: its line, and those below it."""
    section = re.search(r"\nArgs:\n(.*?)\n\n", doc_of(name), re.S)
    return dict(re.findall(r"^    (\w+): ((?:.+(?:\n {5,}.+)*))$", section[1], re.M))


@each
def test_every_argument_is_told_of_in_the_order_of_the_signature(name):
    assert list(arguments(name)) == list(parameters(name))


@each
def test_an_option_has_one_line(name):
    for option, line in arguments(name).items():
        if OPTIONS.get(option) and (name, option) not in OF_ITS_OWN:
            assert line.splitlines()[0] == OPTIONS[option]


@each
def test_options_are_keywords_in_one_order(name):
    found = parameters(name).values()
    options = [p.name for p in found if p.kind is p.KEYWORD_ONLY]
    assert options == [option for option in OPTIONS if option in options]
    for p in found:
        if p.default is not p.empty:
            assert p.kind is p.KEYWORD_ONLY or (name, p.name) in OPTIONAL_DATA


@each
def test_sections(name):
    doc = doc_of(name)
    parts = ("Args:", "Returns:", "Edge cases:", "Example:", "See also:")
    places = [doc.index(f"\n{part}") for part in parts]
    assert places == sorted(places)
    assert re.match(r"[A-ZΣ].*\.\n", doc)


@each
def test_types_say_what_is_taken(name):
    f = inspect.unwrap(FUNCTIONS[name])
    hints = {k: v for k, v in f.__annotations__.items() if k not in ("data", "return")}
    assert not any(re.search(r"\bAny\b", str(hint)) for hint in hints.values())
    assert set(f.__annotations__) == {*parameters(name), "return"}
    assert typing.get_type_hints(f, include_extras=True)


def test_help_of_the_package_tells_the_conventions():
    doc = xent_jax.__doc__
    for word in ("axis", "where", "base", "ignore_index", "value_checks", "reduction", "nats"):
        assert word in doc
    for name in ("entropy", "kl_divergence", "softmax_cross_entropy", "linear_softmax_entropy"):
        assert name in doc
