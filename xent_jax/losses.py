"""Variants of cross entropy: focal, poly-1 and generalised; for imbalanced and for noisy labels."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from jax import Array
from jax.typing import ArrayLike

from . import _checks as check
from ._call import Labelling, Rows, compiled
from ._elements import beside_elements, finish_elements, labelled_elements, weights_of_labels
from ._epilogue import Cost
from ._labelled import labelled
from ._math.costs import focal, generalized, poly
from ._rows.bernoulli import sigmoid_focal_row


@compiled()
def softmax_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 2.0,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Focal loss (1 − p_y)^γ·(−log p_y), which turns attention away from what is learnt already.

    1 − p_y is −expm1(−c) of the cost c = −log p_y: it keeps every digit where p_y rounds to 1.
    Under a distribution, Σ_j y_j (1 − p_j)^γ (−log p_j).

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        gamma: γ ≥ 0, one number, also traced and differentiated. 0 is cross entropy.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
        class_weights: (K,), the weight w_j of each class: smoothed labels y become w·y.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: those of `softmax_cross_entropy` · p_y = 1: 0, with gradient 0 for every γ ·
    p_y = 0: +inf · a negative or NaN γ gives NaN.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> logits = jnp.array([20.0, 0.0, 0.0, -1.0])
        >>> print(f"{softmax_focal_loss(logits, 0, gamma=1.0):.4e}")
        2.3820e-17

        A sweep over γ is one compilation:

        >>> sweep = jax.vmap(lambda gamma: softmax_focal_loss(jnp.zeros(4), 0, gamma=gamma))
        >>> print(sweep(jnp.array([0.0, 1.0, 2.0])).round(4))
        [1.3863 1.0397 0.7798]

    References: Lin et al. (2017), Focal Loss for Dense Object Detection, equation 4.

    See also: `sigmoid_focal_loss` for independent labels; `linear_softmax_cross_entropy` has it as
    `focal_gamma`.
    """
    name = "softmax_focal_loss"
    cost = Cost(focal, (check.number(name, "gamma", gamma, check.NON_NEGATIVE),))
    rows = Rows(axis, where, base, keepdims, axis_name)
    labelling = Labelling(ignore_index, label_smoothing, class_weights)
    return labelled(name, logits, labels, rows, labelling, cost)


@compiled()
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 2.0,
    alpha: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    base: float | None = None,
) -> Array:
    """Focal loss of independent binary labels, elementwise: y·f(σ(z)) + (1 − y)·f(σ(−z)).

    f(p) = (1 − p)^γ·(−log p): the two outcomes of `softmax_focal_loss` with logits (z, 0). Labels
    between 0 and 1 give the mean of two losses, where others take a power of the mean (1 − p).

    Args:
        logits: any shape; σ(z) is the probability of class 1.
        labels: the same shape, integers 0 or 1, or floats in [0, 1], the probability of class 1.
        gamma: γ ≥ 0, one number, also traced and differentiated. 0 is cross entropy.
        alpha: one number in [0, 1], the weight of class 1; class 0 has 1 − alpha. By default both
            weigh 1.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
        base: unit of the result, None for nats, 2 for bits.

    Returns:
        One number per logit: the same shape, float32 (float64 for float64 input), in nats unless
        `base` is given.

    Edge cases: those of `sigmoid_cross_entropy` · z = ±inf on the side of the label: 0, with
    gradient 0 · a negative or NaN γ, or an alpha outside [0, 1], gives NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> print(sigmoid_focal_loss(jnp.array([0.0, 9.0]), jnp.array([1, 1]), alpha=0.25))
        [4.332170e-02 4.697373e-13]

    References: Lin et al. (2017), Focal Loss for Dense Object Detection, equation 5.

    See also: `softmax_focal_loss` for exclusive classes, `sigmoid_cross_entropy`.
    """
    name = "sigmoid_focal_loss"
    labelling = Labelling(ignore_index, label_smoothing)
    z, y, element_mask, kept = labelled_elements(name, logits, labels, where, labelling)
    power = check.number(name, "gamma", gamma, check.NON_NEGATIVE)
    data = beside_elements(z, power, *weights_of_labels(name, alpha, z))
    return finish_elements(name, sigmoid_focal_row((), element_mask, z, y, *data), kept, base)


@compiled()
def softmax_poly_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: ArrayLike = 1.0,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Poly-1 loss −log p_y + ε·(1 − p_y): cross entropy with its leading term weighed anew.

    Summed as (1 + ε)·(1 − p_y) + φ(−log p_y), φ(x) = e^{−x} − 1 + x ≥ 0: nothing cancels for
    ε ≥ −1. Under a distribution, Σ_j y_j (−log p_j + ε·(1 − p_j)).

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        epsilon: ε, one number, also traced and differentiated. 0 is cross entropy; below −1 the
            loss is negative for confident rows.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
        class_weights: (K,), the weight w_j of each class: smoothed labels y become w·y.
        base: unit of the result, None for nats, 2 for bits.
            Divides the whole by its logarithm.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: those of `softmax_cross_entropy` · p_y = 1: 0 · p_y = 0: +inf.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_poly_loss(jnp.zeros(4), 0, epsilon=2.0):.4f}")
        2.8863

    References: Leng et al. (2022), PolyLoss: A Polynomial Expansion Perspective of Classification
    Loss Functions, for Poly-1.

    See also: `softmax_cross_entropy`, `softmax_focal_loss`.
    """
    name = "softmax_poly_loss"
    cost = Cost(poly, (check.number(name, "epsilon", epsilon),))
    rows = Rows(axis, where, base, keepdims, axis_name)
    labelling = Labelling(ignore_index, label_smoothing, class_weights)
    return labelled(name, logits, labels, rows, labelling, cost)


@compiled()
def softmax_generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike = 0.7,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Generalised cross entropy (1 − p_y^q)/q, bounded by 1/q: a wrong label pulls only so hard.

    q → 0 is cross entropy, q = 1 is 1 − p_y, half the mean absolute error. Computed from the cost
    c = −log p_y as (1 − e^{−qc})/q, c itself at q = 0: no digit is lost near either.

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        q: one number in [0, 1], also traced and differentiated.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
        class_weights: (K,), the weight w_j of each class: smoothed labels y become w·y.
        base: unit of the result, None for nats, 2 for bits.
            Divides the whole by its logarithm.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: those of `softmax_cross_entropy` · p_y = 1: 0 · p_y = 0, such as a label masked by
    `where`: 1/q, +inf at q = 0 · a q outside [0, 1] gives NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([0.0, 9.0])
        >>> print(f"{softmax_generalized_cross_entropy(logits, 0, q=0.5):.4f} < 2")
        1.9778 < 2

    References: Zhang & Sabuncu (2018), Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels, equation 6.

    See also: `softmax_cross_entropy`, `tsallis_entropy`, which deforms the logarithm alike.
    """
    name = "softmax_generalized_cross_entropy"
    cost = Cost(generalized, (check.number(name, "q", q, check.UNIT),))
    rows = Rows(axis, where, base, keepdims, axis_name)
    labelling = Labelling(ignore_index, label_smoothing, class_weights)
    return labelled(name, logits, labels, rows, labelling, cost)
