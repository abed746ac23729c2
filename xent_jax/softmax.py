"""The softmax row: entropy, cross entropy, KL and Jensen–Shannon of categorical logits."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import _checks as check
from ._call import compiled, finish, logits_data, mask_of_rows
from ._class_axes import Axes, local
from ._labelled import class_ids, labelled
from ._math.costs import itself
from ._math.dtypes import match_precision
from ._rows.softmax_divergence import js, kl
from ._rows.softmax_statistics import statistics
from ._statistics import SoftmaxStatistics, as_statistics, statistics_names

_OPTIONS = ("axis", "base", "keepdims", "axis_name")


@compiled(*_OPTIONS)
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
        axis: the class axis, an int or a tuple of ints (then jointly normalised over those axes).
        where: boolean, broadcast against logits; False means that the outcome does not exist.
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
    z, axes, kept = logits_data(name, "logits", logits, axis, where, axis_name)
    nothing = jnp.zeros((1,) * z.ndim)
    (value,) = statistics("entropy")(
        axes, mask_of_rows(z, axes, kept), z, nothing, nothing, nothing
    )
    return finish(name, value, axes, base, keepdims)


@compiled(*_OPTIONS, "ignore_index")
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
    axis_name: str | tuple[str, ...] | None = None,
    ignore_index: int | None = None,
    label_smoothing: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    z_loss: ArrayLike | None = None,
) -> Array:
    """Cross entropy of a softmax at class ids, u_y + log1p(s), or under distributions.

    u_j = max z − z_j and s = Σ e^{−u_j} over all entries but one maximal, so that −log p_j =
    u_j + log1p(s). The gradient at the label is expm1(−loss): exact even where p_y rounds to 1.

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        axis: the class axis, an int or a tuple of ints (then jointly normalised over those axes).
            A class id is then the flat index over those axes, in the order `axis` names them.
        where: boolean, broadcast against logits; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.
        ignore_index: the id of examples to leave out: loss 0 and gradient 0.
        label_smoothing: α in [0, 1], labels become (1 − α)·labels + α/K, K the number of classes
            that `where` keeps; no one-hot array is built. It may be traced.
        class_weights: (K,), the weight w_j of each class; smoothed labels y become w·y, so that a
            class id costs w_y·(−log p_y). Σ loss / Σ w_y is the weighted mean for class ids; for
            several class axes the weights are flat, as the ids are.
        z_loss: adds z_loss·(log Σ e^z)² to each loss (in nats, before `base`), whatever the class
            weights. It may be traced.

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
    return labelled(
        "softmax_cross_entropy",
        logits,
        labels,
        itself,
        axis=axis,
        where=where,
        base=base,
        keepdims=keepdims,
        axis_name=axis_name,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        z_loss=z_loss,
    )


def _logits_pair(
    name: str, p_logits: Any, q_logits: Any, axis: Any, where: Any, axis_name: Any
) -> tuple[Array, Array, Axes, Array | None]:
    zp, axes, kept = logits_data(name, "p_logits", p_logits, axis, where, axis_name)
    zq, _, _ = logits_data(name, "q_logits", q_logits, axis, where, axis_name)
    check.same_shape(name, "p_logits", zp, "q_logits", zq)
    return *match_precision(zp, zq), axes, kept


@compiled(*_OPTIONS)
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
        axis: the class axis, an int or a tuple of ints (then jointly normalised over those axes).
        where: boolean, broadcast against the logits; False means that the outcome does not exist.
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
    zp, zq, axes, kept = _logits_pair(name, p_logits, q_logits, axis, where, axis_name)
    value = kl(axes, mask_of_rows(zp, axes, kept), zp, zq)
    return finish(name, value, axes, base, keepdims)


@compiled(*_OPTIONS)
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
        axis: the class axis, an int or a tuple of ints (then jointly normalised over those axes).
        where: boolean, broadcast against the logits; False means that the outcome does not exist.
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
    zp, zq, axes, kept = _logits_pair(name, p_logits, q_logits, axis, where, axis_name)
    value = js(axes, mask_of_rows(zp, axes, kept), zp, zq)
    return finish(name, value, axes, base, keepdims)


@compiled("axis", "base", "axis_name", "ignore_index")
def softmax_statistics(
    logits: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    ignore_index: int | None = None,
    base: float | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> SoftmaxStatistics:
    """Log-probability of the label, logsumexp, entropy, argmax and accuracy, from one read.

    log p_y = −(u_y + log1p(s)), log Σ e^z = max z + log1p(s) and H = log1p(s) + Σ e^{−u} u/(1 + s):
    what an evaluation or a policy gradient needs of the logits.

    Args:
        logits: (..., K).
        labels: integers (...), the class ids; None if there are none.
        axis: the class axis, an int or a tuple of ints (then jointly normalised over those axes).
            A class id is then the flat index over those axes, in the order `axis` names them.
        where: boolean, broadcast against logits; False means that the outcome does not exist.
        ignore_index: the id of examples to leave out: 0 for all numbers, and not correct.
        base: unit of log_prob, logsumexp and entropy, None for nats, 2 for bits.
        axis_name: inside `jax.shard_map`, the mesh axis over which the classes are split.

    Returns:
        A NamedTuple of arrays, the shape of logits without the class axes: `log_prob`, `logsumexp`
        and `entropy` in float32 (float64 for float64 input) are differentiable; `argmax` is int32,
        the first of tied classes; `correct` is boolean, whether it is the label. Without labels
        `log_prob` and `correct` are None.

    Edge cases: those of `softmax_cross_entropy` and `softmax_entropy` · an id outside [0, K): a
    log_prob of NaN, and not correct · a label masked by `where`: log_prob −inf · `where` all False:
    0 for all numbers, and not correct.

    Example:
        >>> import jax.numpy as jnp
        >>> s = softmax_statistics(jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([1]))
        >>> print(jnp.exp(s.log_prob), s.argmax, s.correct)
        [0.75] [1] [ True]

    References: Schulman et al. (2017), Proximal Policy Optimization Algorithms, for a use of
    log-probability and entropy together.

    See also: `linear_softmax_statistics` for logits x @ w + b that never exist.
    """
    name = "softmax_statistics"
    z, axes, kept = logits_data(name, "logits", logits, axis, where, axis_name)
    names, ids, valid = statistics_names(labels is not None), jnp.zeros((1,) * z.ndim, int), None
    counted = None
    if labels is not None:
        ids, valid = class_ids(name, labels, z, axes)
        check.ignore_index_for_ids(name, ignore_index, True)
        if ignore_index is not None:
            counted = check.differs(check.label_array(name, labels)[0], ignore_index)
            counted = lax.expand_dims(counted, sorted(local(axes)))
            valid = valid | ~counted
    row_mask = mask_of_rows(z, axes, kept, counted)
    nothing = jnp.zeros((1,) * z.ndim)
    values = statistics(*names)(axes, row_mask, z, ids, nothing, nothing)

    def squeezed(x: Array | None) -> Any:
        return None if x is None else jnp.squeeze(x, axis=local(axes))

    numbers = {n: squeezed(v) for n, v in zip(names, values, strict=True)}
    if row_mask is not None:
        numbers["argmax"] = jnp.where(squeezed(row_mask) == 0.0, 0, numbers["argmax"])
    ids = None if labels is None else squeezed(ids)
    return as_statistics(name, numbers, ids, squeezed(valid), squeezed(row_mask), base)
