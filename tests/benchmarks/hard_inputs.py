"""Named inputs on which libraries lose digits or worse: rows of classes, with their ids if any."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

_INF = np.inf


@dataclass(frozen=True)
class Hard:
    title: str
    function: str
    arrays: tuple[np.ndarray, ...]


def _rows(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def _ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def _near(centre: float, rows: int = 64, classes: int = 10) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((rows, classes))
    return (centre + noise).astype(np.float32)


def _close_distributions() -> tuple[np.ndarray, np.ndarray]:
    """Multiples of 2⁻²⁰ that sum to exactly 1, so that every definition of KL agrees on them."""
    random, grain = np.random.default_rng(0), 2**20
    p = random.multinomial(grain, np.full(8, 1 / 8), size=64)
    step = random.integers(-64, 65, size=(64, 4))
    q = p + np.concatenate([step, -step], axis=1)
    return (p / grain).astype(np.float32), (q / grain).astype(np.float32)


def hard_inputs() -> list[Hard]:
    ids, soft = "softmax_cross_entropy/ids", "softmax_cross_entropy/soft"
    confident = _rows(20, 0, 0, -1)
    logits = _rows(0.3, -1.2, 0.8, 0.1)
    nudged = logits + _rows(1e-4, -1e-4, 0, 1e-4)
    p, q = _close_distributions()
    some, others = _rows(0, 0.25, 0.75), _rows(0, 0.5, 0.5)
    narrow = np.asarray(jnp.asarray(4 * _near(0, 16, 500), jnp.bfloat16))
    huge = _near(1e4)
    return [
        Hard("logits [20, 0, 0, −1], label 0", ids, (confident, _ids(0))),
        Hard("logits [60, 0, 0], label 0", ids, (_rows(60, 0, 0), _ids(0))),
        Hard("logits near 10⁴, likeliest label", ids, (huge, _ids(*huge.argmax(-1)))),
        Hard("bfloat16 logits, 500 classes", ids, (narrow, _ids(*range(16)))),
        Hard("label −1 (truth: NaN)", ids, (logits, _ids(-1))),
        Hard("logit −inf under label 0", soft, (_rows(1, -_INF, 0.5), _rows(0.25, 0, 0.75))),
        Hard("logits [20, 0, 0, −1]", "softmax_entropy", (confident,)),
        Hard("one logit −inf", "softmax_entropy", (_rows(1, -_INF, 0.5, 2),)),
        Hard("logits 10⁻⁴ apart", "softmax_kl_divergence", (logits, nudged)),
        Hard(
            "the same logit −inf twice",
            "softmax_kl_divergence",
            (_rows(0, -_INF, 1), _rows(1, -_INF, 0)),
        ),
        Hard("logits 10⁻⁴ apart", "softmax_js_divergence", (logits, nudged)),
        Hard("a probability 0", "entropy", (some,)),
        Hard("the same probability 0 twice", "cross_entropy", (some, others)),
        Hard("the same probability 0 twice", "kl_divergence", (some, others)),
        Hard("probabilities 10⁻⁴ apart", "kl_divergence", (p, q)),
        Hard("probabilities 10⁻⁴ apart", "js_divergence", (p, q)),
        Hard("logit 20, label 1", "sigmoid_cross_entropy", (_rows(20)[0], _rows(1)[0])),
        Hard("logit −inf, label 0", "sigmoid_cross_entropy", (_rows(-_INF)[0], _rows(0)[0])),
        Hard("logits [20, 0, 0, −1], label 0", "softmax_focal_loss/ids", (confident, _ids(0))),
        Hard("logits [10, 0, 0], label 0", "softmax_focal_loss/ids", (_rows(10, 0, 0), _ids(0))),
        Hard("logit 20, label 1", "sigmoid_focal_loss", (_rows(20)[0], _rows(1)[0])),
    ]
