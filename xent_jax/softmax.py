"""The softmax row: entropy, cross entropy, KL and Jensen–Shannon of categorical logits."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ._call import Labelling, Rows, compiled, finish, logits_data, logits_pair, mask_of_rows
from ._labelled import labelled
from ._rows.softmax_divergence import softmax_js_row, softmax_kl_row
from ._rows.softmax_statistics import statistics


@compiled()
def softmax_entropy(
    logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Entropy of the softmax of logits, H = log1p(s) + Σ_j e^{−u_j} u_j / (1 + s).

    u_j = max z − z_j and s = Σ e^{−u_j} over all entries but one maximal: a sum of non-negative
    terms, exact for confident rows. Log-probabilities are logits: softmax(log p) = p.

    Args:
        logits: (..., K).
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: logit −inf: a class of probability 0 · one +inf logit: that class has probability 1,
    several share it · a NaN logit, or −inf everywhere, gives NaN for that example ·
    `where` all False gives 0, with gradient 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_entropy(jnp.array([20.0, 0.0, 0.0, -1.0])):.4e}")
        1.0325e-07

    References: Jaynes (1957), Information Theory and Statistical Mechanics, equation 2.11.

    See also: `entropy` for probabilities, `sigmoid_entropy` for independent logits.
    """
    name = "softmax_entropy"
    rows = Rows(axis, where, base, keepdims, axis_name)
    z, axes, kept = logits_data(name, "logits", logits, rows)
    nothing = (jnp.zeros((1,) * z.ndim),) * 3  # no labels, weights of classes, or smoothing
    (value,) = statistics("entropy")(axes, mask_of_rows(z, axes, kept), z, *nothing)
    return finish(name, value, axes, rows)


@compiled()
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    z_loss: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Cross entropy of a softmax at class ids, u_y + log1p(s), or under distributions.

    u_j = max z − z_j and s = Σ e^{−u_j} over all entries but one maximal, so that −log p_j =
    u_j + log1p(s). The gradient at the label is expm1(−loss): exact even where p_y rounds to 1.

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        axis: the class axis, or several axes that hold one distribution together.
            A class id is the flat index over them, in the order `axis` names them.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        ignore_index: the label of what to leave out: value 0 and gradient 0.
        label_smoothing: α in [0, 1]: labels become (1 − α)·labels + α/K of K classes.
            K counts those that `where` keeps; no one-hot array is built.
        class_weights: (K,), the weight w_j of each class: smoothed labels y become w·y.
            Σ loss / Σ w_y is the weighted mean for class ids. For several class axes they are flat,
            as the ids are.
        z_loss: adds z_loss·(log Σ e^z)² to each loss, in nats, before `base`.
            Class weights do not weigh it.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: logit −inf: a class of probability 0 · one +inf logit: that class has probability 1,
    several share it · an id outside [0, K) gives NaN for that example, it never wraps · a
    label on a class of probability 0, or an id masked by `where`: +inf · 0·inf in soft labels is 0
    · a negative or NaN soft label, a NaN logit, or −inf everywhere, gives NaN for that example · a
    negative or NaN class weight gives NaN where it is used, weight 0 leaves out even an infinite
    loss · `where` all False gives 0, with gradient 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> logits = jnp.array([20.0, 0.0, 0.0, -1.0])
        >>> loss, slope = jax.value_and_grad(softmax_cross_entropy)(logits, 0)
        >>> print(f"{loss:.4e} {slope[0]:.4e}")
        4.8806e-09 -4.8806e-09

        Padding is left out with an id of its own:

        >>> labels = jnp.array([3, -100])
        >>> print(softmax_cross_entropy(jnp.zeros((2, 4)), labels, ignore_index=-100).round(4))
        [1.3863 0.    ]

        Classes split over a mesh axis, labels still global:

        >>> from functools import partial
        >>> from jax.sharding import AxisType, PartitionSpec as P
        >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(AxisType.Auto,))
        >>> split = partial(softmax_cross_entropy, axis_name="model")
        >>> split = jax.shard_map(split, mesh=mesh, in_specs=(P(None, "model"), P()), out_specs=P())
        >>> print(split(jnp.zeros((2, 4)), jnp.array([3, 0])).round(4))
        [1.3863 1.3863]

    References: Bridle (1990), Training Stochastic Model Recognition Algorithms as Networks;
    Szegedy et al. (2016), Rethinking the Inception Architecture, section 7, for smoothing.

    See also: `cross_entropy` for probabilities, `sigmoid_cross_entropy` for independent labels.
    """
    rows = Rows(axis, where, base, keepdims, axis_name)
    labelling = Labelling(ignore_index, label_smoothing, class_weights, z_loss)
    return labelled("softmax_cross_entropy", logits, labels, rows, labelling)


@compiled()
def softmax_kl_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """D(p‖q) between the softmaxes of two arrays of logits, p the truth, never negative.

    A sum of non-negative terms p_j·φ(r_j), φ(x) = e^{−x} − 1 + x, r = log(p/q): accurate for
    softmaxes that nearly agree and for those 1e4 nats apart.

    Args:
        p_logits: (..., K), the truth.
        q_logits: the same shape, the model.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of p_logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: equal logits: exactly 0 · both −inf: contributes 0 · q-logit −inf where p has mass:
    +inf · logit −inf: a class of probability 0 · one +inf logit: that class has probability 1,
    several share it · a NaN logit, or −inf everywhere, gives NaN for that example · `where`
    all False gives 0, with gradient 0.

    Example:
        >>> import jax.numpy as jnp
        >>> z = jnp.array([0.0, 1.0, 2.0])
        >>> print(f"{softmax_kl_divergence(z, z + jnp.array([1e-4, 0.0, 0.0])):.3e}")
        4.096e-10

    References: Kullback & Leibler (1951), On Information and Sufficiency, equation 2.4.

    See also: `kl_divergence` for probabilities, `softmax_js_divergence`.
    """
    name = "softmax_kl_divergence"
    rows = Rows(axis, where, base, keepdims, axis_name)
    zp, zq, axes, row_mask = logits_pair(name, p_logits, q_logits, rows)
    return finish(name, softmax_kl_row(axes, row_mask, zp, zq), axes, rows)


@compiled()
def softmax_js_divergence(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
) -> Array:
    """Jensen–Shannon divergence between the softmaxes of two arrays of logits, 0 to log 2.

    Σ_j m_j·(h_j tanh h_j − log cosh h_j) with m = (p + q)/2 and h = ½ log(p/q).

    Args:
        p_logits: (..., K).
        q_logits: the same shape.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        One number per example: the shape of p_logits without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: equal logits: exactly 0 · both −inf: contributes 0 · disjoint softmaxes: log 2 ·
    logit −inf: a class of probability 0 · one +inf logit: that class has probability 1,
    several share it · a NaN logit, or −inf everywhere, gives NaN for that example · `where` all
    False gives 0, with gradient 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{softmax_js_divergence(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])):.6f}")
        0.110944

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 4.1.

    See also: `js_divergence` for probabilities, `softmax_kl_divergence`.
    """
    name = "softmax_js_divergence"
    rows = Rows(axis, where, base, keepdims, axis_name)
    zp, zq, axes, row_mask = logits_pair(name, p_logits, q_logits, rows)
    return finish(name, softmax_js_row(axes, row_mask, zp, zq), axes, rows)
