"""Brier scores: the squared distance of probabilities, or of a softmax, from labels."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import Labelling, Rows, compiled, finish, logits_data, row_data
from ._labelled import labelled_rows
from ._rows.brier import brier_row, softmax_brier_row


@compiled()
def brier_score(
    p: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    keepdims: bool = False,
) -> Array:
    """Brier score of probabilities, Σ_j (p_j − y_j)², 0 to 2, for y of class ids or distributions.

    A proper score: in expectation it is least where p is the distribution of the labels.

    Args:
        p: (..., K) probabilities of the model, not normalised here.
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input). It is no length of a code, and has no base.

    Edge cases: an id outside [0, K) gives NaN for that example, it never wraps · an id masked by
    `where`: 1 + Σ p² · a negative or NaN probability, also in labels, gives NaN for that example ·
    `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(brier_score(jnp.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]), jnp.array([0, 1])))
        [0.375 0.875]

    References: Brier (1950), Verification of Forecasts Expressed in Terms of Probability,
    equation 2; half of it is often meant where there are two classes.

    See also: `softmax_brier_score` for logits, `brier_decomposition`.
    """
    name = "brier_score"
    rows = Rows(axis, where, None, keepdims)
    p, axes, kept = row_data(name, "p", p, rows, 0.0)
    check.probabilities(name, "p", p)
    here = labelled_rows(name, p, labels, axes, kept, Labelling(ignore_index), argument="p")
    return finish(name, brier_row(axes, here.row_mask, here.logits, here.labels), axes, rows)


@compiled()
def softmax_brier_score(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Brier score of the softmax of logits, Σ_j r_j² for r_j = p_j·(1 − y_j) − y_j·(1 − p_j).

    r = p − y is the gradient of the cross entropy by the logits. The 1 − p_j of a likely class is
    summed from the others, so that value and gradient of confident rows keep their digits.

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input). It is no length of a code, and has no base.

    Edge cases: logit −inf: a class of probability 0 · one +inf logit: that class has probability 1,
    several share it · an id outside [0, K) gives NaN for that example, it never wraps · an id
    masked by `where`: 1 + Σ p² · a negative or NaN soft label, a NaN logit, or −inf everywhere,
    gives NaN for that example · `where` all False gives 0, with gradient 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_brier_score(jnp.array([20.0, 0.0, 0.0, -1.0]), 0):.4e}")
        3.2892e-17

    References: Brier (1950), Verification of Forecasts Expressed in Terms of Probability,
    equation 2; Gneiting & Raftery (2007), Strictly Proper Scoring Rules, example 1.

    See also: `brier_score` for probabilities, `softmax_cross_entropy`, another proper score.
    """
    name = "softmax_brier_score"
    rows = Rows(axis, where, None, keepdims, axis_name)
    z, axes, kept = logits_data(name, "logits", logits, rows)
    here = labelled_rows(name, z, labels, axes, kept, Labelling(ignore_index))
    value = softmax_brier_row(axes, here.row_mask, here.logits, here.labels)
    return finish(name, value, axes, rows)
