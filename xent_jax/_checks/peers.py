"""What other libraries call the options, and what takes their place in a function without them."""

from collections.abc import Collection
from difflib import get_close_matches

_AVERAGE = "jnp.average(values, weights=…)"
_NOT_REDUCED = f"the values are not reduced: take jnp.mean(values), or {_AVERAGE}"
_NO_EPSILON = "none is needed: log 0 is −inf, and 0 · log 0 is 0"
_ORDER = "the truth comes first, then the model"

# Names elsewhere, with ours; then what to do where the first of ours is missing.
_PEERS: tuple[tuple[str, str, str], ...] = (
    (
        "weight weights sample_weight sample_weights loss_weight",
        "weights class_weights pos_weight",
        f"examples are weighted by {_AVERAGE}",
    ),
    ("class_weight class_weights alpha", "class_weights pos_weight", ""),
    ("pos_weight", "pos_weight class_weights", ""),
    (
        "mask masks sample_mask loss_mask padding_mask attention_mask",
        "weights",
        "where= leaves out classes, or elements of an elementwise function; "
        "jnp.average(values, weights=mask) examples",
    ),
    ("reduction reduce size_average average", "reduction", _NOT_REDUCED),
    ("normalizer denominator", "normalizer", _NOT_REDUCED),
    (
        "axis dim dims class_axis",
        "axis",
        "the function is elementwise, or its classes are the last axis",
    ),
    ("keepdims keepdim keep_dims", "keepdims", "give the axis back with jnp.expand_dims"),
    ("bias", "b bp", "add it to the logits"),
    (
        "softcap soft_cap logit_softcap logit_soft_cap logits_soft_cap final_logit_softcapping",
        "softcap",
        "cap the logits before: softcap * jnp.tanh(logits / softcap)",
    ),
    ("temperature", "temperature", "divide the logits by it"),
    ("logits_fn", "logits_fn", "apply it to the logits"),
    ("gamma focal_gamma", "gamma focal_gamma", "softmax_focal_loss and sigmoid_focal_loss have it"),
    (
        "label_smoothing smoothing",
        "label_smoothing",
        "smooth the labels before: (1 - a) * labels + a / K",
    ),
    (
        "ignore_index ignore_id padding_idx pad_token_id",
        "ignore_index",
        f"give such examples a label that is valid, and weight 0 in {_AVERAGE}",
    ),
    (
        "z_loss lse_square_scale",
        "z_loss",
        "add z_loss * jax.nn.logsumexp(logits, -1) ** 2 to the values",
    ),
    ("eps epsilon", "epsilon", _NO_EPSILON),
    ("base", "base", "it is the same in every unit, or has none"),
    ("order q", "alpha q", ""),
    ("estimator method", "kind", ""),
    (
        "from_logits log_target log_input logits",
        "",
        "the name of a function says what it takes: probabilities, or logits (softmax_, sigmoid_); "
        "log-probabilities of classes are logits of softmax_",
    ),
    ("n_bins num_bins nbins", "bins", ""),
    ("strategy bin_strategy adaptive", "binning", '"width" or "mass"'),
    ("num_classes depth", "num_classes", "the classes are counted in the data"),
    ("target targets y_true", "labels p p_logits", _ORDER),
    ("pk", "p", ""),
    ("qk", "q", "cross_entropy and kl_divergence take two distributions"),
    ("input inputs y_pred preds", "logits q p q_logits", _ORDER),
    ("hidden hidden_states features embeddings e", "x", ""),
    ("lm_head kernel classifier c", "w", ""),
    ("return_statistics return_entropy", "return_statistics", "softmax_statistics gives them"),
)
_ROWS = {peer: (ours.split(), advice) for peers, ours, advice in _PEERS for peer in peers.split()}


def advice_on(argument: str, names: Collection[str]) -> str:
    """What to write instead of an argument that a function with these names has not; or ""."""
    if argument not in _ROWS:
        close = get_close_matches(argument, names, 1)
        return f"did you mean {close[0]!r}?" if close else ""
    ours, advice = _ROWS[argument]
    found = [name for name in ours if name in names]
    if not found:
        return f"{advice}." if advice else ""
    meant = f"did you mean {' or '.join(map(repr, found))}?"
    return meant if found[0] == ours[0] or not advice else f"{meant} {_sentence(advice)}"


def _sentence(advice: str) -> str:
    return f"{advice[0].upper()}{advice[1:]}."
