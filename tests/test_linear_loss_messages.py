"""What linear_softmax_loss says of losses, data and options that it cannot take."""

import jax.numpy as jnp
import pytest

from .loss_data import LOSS, data

ERRORS = {
    "not a function": (
        lambda x, w, y: LOSS("kl", x, w, y),
        "loss_fn, the first argument, must be a function, got str",
    ),
    "a vector": (lambda x, w, y: LOSS(lambda s: s.log_prob[None], x, w, y), r"got float32\[1\]"),
    "nothing": (lambda x, w, y: LOSS(lambda s: None, x, w, y), "got nothing"),
    "data": (
        lambda x, w, y: LOSS(lambda s, a: a, x, w, y, jnp.ones(3)),
        r"data\[0\] must have the axes of the tokens first, \(37,\) .*got shape \(3,\)",
    ),
    "dtypes": (
        lambda x, w, y: LOSS(lambda s: s.entropy, x, w.astype("bfloat16"), y),
        r"got float32 and bfloat16; cast one, x\.astype\(w\.dtype\)",
    ),
    "a sequence's datum": (
        lambda x, w, y: LOSS(lambda s, a: a, x[None], w, y[None], jnp.ones(37)),
        r"data\[0\] .*got shape \(37,\); of a sequence give adv\[:, None\]",
    ),
    "a positional option": (
        lambda x, w, y: LOSS(lambda s: s.entropy, x, w, y, "mean"),
        r"data\[0\] must be an array, got 'mean'; options go by keyword",
    ),
    "a typo": (
        lambda x, w, y: LOSS(lambda s: s.entropy, x, w, y, ignore_idx=3),
        "did you mean 'ignore_index'",
    ),
    "no labels": (
        lambda x, w, y: LOSS(lambda s: -s.log_prob, x, w, None),
        "labels is None, and so",
    ),
    "soft labels": (
        lambda x, w, y: LOSS(lambda s: -s.log_prob, x, w, y.astype(float)),
        "integer class ids, got float32; of a distribution take",
    ),
    "precision": (
        lambda x, w, y: LOSS(lambda s: s.entropy, x, w, y, precision="double"),
        r"precision must be a jax\.lax\.PrecisionLike, got 'double'",
    ),
    "logits_fn": (
        lambda x, w, y: LOSS(lambda s: s.entropy, x, w, y, logits_fn=lambda z: z.sum()),
        r"logits_fn must map float32\[23\]",
    ),
    "temperature": (
        lambda x, w, y: LOSS(lambda s: s.entropy, x, w, y, temperature=jnp.ones(2)),
        r"temperature must be one number, got shape \(2,\)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_messages(case):
    call, message = ERRORS[case]
    labels, (x, w, *_) = data("float32")
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        call(x, w, labels)
    assert "linear_softmax_loss" in str(caught.value)
