"""The probability row: entropy, cross entropy, KL and Jensen–Shannon of probability vectors."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import _checks as check
from ._conventions import compiled, finish, match_precision, row_data
from ._numerics import (
    directional,
    js_term,
    judge,
    log_mixture_ratio,
    log_of,
    relative_entropy_term,
    smallest,
)
from ._passes import (
    Axes,
    class_max,
    class_sum,
)

_OPTIONS = ("axis", "base", "keepdims")


def _lift(p: Array) -> Array:
    """The smallest normal number where p = 0, else 0: what keeps a log finite there.

    By arithmetic, and so that a negative p stays negative and its log NaN.
    """
    return jnp.maximum(smallest(p) - jnp.abs(p), 0.0)


def _log(p: Array) -> Array:
    """log p, with the log of the smallest normal number at p = 0; NaN for p < 0."""
    return jnp.log(p + _lift(p))


def _log_ratio(p: Array, q: Array) -> Array:
    """log(p/q), relatively exact for p near q."""
    # Lifting both leaves p = q = 0 at a ratio of 1, and p > 0 = q at +inf.
    p, q = p + _lift(p), q + _lift(p)
    return log_of(p / q, (p - q) / q)


def _verdict(p: Array, q: Array, axes: Axes) -> Array:
    """NaN for the rows with a negative probability (a NaN makes its own way), else 1."""
    worst = -class_max(lambda p, q: -jnp.minimum(p, q), p, q, axes=axes)
    return jnp.where(worst < 0.0, jnp.nan, 1.0)


def _still(gradients: Any, p: Array, q: Array, edge: Array) -> tuple[Array, ...]:
    """The gradients, constant to further differentiation at the edge, where it is inf − inf."""
    inside = gradients(jnp.where(edge, 1.0, p), jnp.where(edge, 1.0, q))
    at_edge = gradients(*lax.stop_gradient((p, q)))
    return tuple(jnp.where(edge, a, b) for a, b in zip(at_edge, inside))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _entropy(axes: Axes, p: Array) -> Array:
    return class_sum(lambda p: p * -_log(p), p, axes=axes)


@partial(_entropy.defjvp, symbolic_zeros=True)
def _entropy_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edge: −log p − 1 is infinite at p = 0, and would be 0·inf in forward mode.
    value = _entropy(axes, *primals)
    return value, directional(lambda p: (-(_log(p) + 1.0),), primals, tangents, value, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _cross_entropy(axes: Axes, p: Array, q: Array) -> Array:
    value = class_sum(lambda p, q: p * -jnp.log(q + _lift(p)), p, q, axes=axes)
    return judge(value, _verdict(p, q, axes))


@partial(_cross_entropy.defjvp, symbolic_zeros=True)
def _cross_entropy_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edge p = q = 0, where −log q and p/q are not finite.
    def slopes(p: Array, q: Array) -> tuple[Array, Array]:
        lifted = q + _lift(p)
        return -jnp.log(lifted), -p / lifted

    def gradients(p: Array, q: Array) -> tuple[Array, ...]:
        return _still(slopes, p, q, (p == 0) & (q == 0))

    value = _cross_entropy(axes, *primals)
    return value, directional(gradients, primals, tangents, value, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _kl_divergence(axes: Axes, p: Array, q: Array) -> Array:
    value = class_sum(lambda p, q: relative_entropy_term(p, q, _log_ratio(p, q)), p, q, axes=axes)
    return judge(value, _verdict(p, q, axes))


@partial(_kl_divergence.defjvp, symbolic_zeros=True)
def _kl_divergence_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edge p = 0, and because the derivative of the sum of terms cancels for p near q.
    def slopes(p: Array, q: Array) -> tuple[Array, Array]:
        return _log_ratio(p, q), (q - p) / (q + _lift(p))

    def gradients(p: Array, q: Array) -> tuple[Array, ...]:
        return _still(slopes, p, q, (p == 0) | (q == 0))

    value = _kl_divergence(axes, *primals)
    return value, directional(gradients, primals, tangents, value, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _js_divergence(axes: Axes, p: Array, q: Array) -> Array:
    value = class_sum(lambda p, q: js_term(p, q, _log_ratio(p, q)), p, q, axes=axes)
    return judge(value, _verdict(p, q, axes))


@partial(_js_divergence.defjvp, symbolic_zeros=True)
def _js_divergence_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edges p = 0 and q = 0, and the cancellation for p near q.
    def slopes(p: Array, q: Array) -> tuple[Array, Array]:
        # Each side is lifted where it is 0 itself: its own log is what must stay finite.
        return log_mixture_ratio(_log_ratio(p, q)) / 2, log_mixture_ratio(_log_ratio(q, p)) / 2

    def gradients(p: Array, q: Array) -> tuple[Array, ...]:
        return _still(slopes, p, q, (p == 0) | (q == 0))

    value = _js_divergence(axes, *primals)
    return value, directional(gradients, primals, tangents, value, axes)


def _pair(name: str, p: Any, q: Any, axis: Any, where: Any) -> tuple[Array, Array, Axes]:
    p, axes, _ = row_data(name, "p", p, axis, where, 0.0)
    q, _, _ = row_data(name, "q", q, axis, where, 0.0)
    check.same_shape(name, "p", p, "q", q)
    check.probabilities(name, "p", p)
    check.probabilities(name, "q", q)
    return *match_precision(p, q), axes


@compiled(*_OPTIONS)
def entropy(
    p: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Shannon entropy of probability vectors, H(p) = −Σ_j p_j log p_j.

    Args:
        p: (..., K) probabilities, not normalised here.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: 0·log 0 = 0, with the slope of the smallest normal number there (finite, in both
    AD modes) · a negative or NaN p gives NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.6, 0.2, 0.2])
        >>> print(f"{entropy(p):.6f} nats, {entropy(p, base=2):.6f} bits")
        0.950271 nats, 1.370951 bits

    References: Shannon (1948), A Mathematical Theory of Communication, section 6.

    See also: `softmax_entropy` for logits, `cross_entropy`.
    """
    name = "entropy"
    p, axes, _ = row_data(name, "p", p, axis, where, 0.0)
    check.probabilities(name, "p", p)
    return finish(name, _entropy(axes, p), axes, base, keepdims)


@compiled(*_OPTIONS)
def cross_entropy(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Cross entropy of q under the truth p, H(p, q) = −Σ_j p_j log q_j = H(p) + D(p‖q).

    It is not symmetric, and not 0 for p = q: what measures the difference is `kl_divergence`.

    Args:
        p: (..., K) true probabilities.
        q: the same shape, the probabilities of the model.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p and q; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = 0 contributes 0 even where q = 0, with finite slopes · p > 0 where q = 0: +inf
    · a negative or NaN p or q gives NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{cross_entropy(p, q):.6f} = {entropy(p):.6f} + {kl_divergence(p, q):.6f}")
        0.978571 = 0.950271 + 0.028300

    References: Cover & Thomas (2006), Elements of Information Theory, section 5.4.

    See also: `softmax_cross_entropy` for logits and labels, `kl_divergence`.
    """
    name = "cross_entropy"
    p, q, axes = _pair(name, p, q, axis, where)
    return finish(name, _cross_entropy(axes, p, q), axes, base, keepdims)


@compiled(*_OPTIONS)
def kl_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Kullback–Leibler divergence D(p‖q) = Σ_j p_j log(p_j/q_j) − p_j + q_j ≥ 0, p the truth.

    For normalised p and q the last two terms add to 0; for others this is the generalised KL. Each
    term is p·φ(log(p/q)), φ(x) = e^{−x} − 1 + x ≥ 0: close distributions lose no digit.

    Args:
        p: (..., K) true probabilities.
        q: the same shape, the probabilities of the model.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p and q; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = q: exactly 0 · p = 0 contributes q, with a finite slope · p > 0 where q = 0:
    +inf · a negative or NaN p or q gives NaN for that example · `where` all False gives 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{kl_divergence(p, q):.6f}")
        0.028300

    References: Kullback & Leibler (1951), On Information and Sufficiency, equation 2.4; Csiszár
    (1991), Why Least Squares and Maximum Entropy?, for the generalised form.

    See also: `softmax_kl_divergence` for logits, `js_divergence` for a symmetric measure.
    """
    name = "kl_divergence"
    p, q, axes = _pair(name, p, q, axis, where)
    return finish(name, _kl_divergence(axes, p, q), axes, base, keepdims)


@compiled(*_OPTIONS)
def js_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    base: float | None = None,
    keepdims: bool = False,
) -> Array:
    """Jensen–Shannon divergence ½ D(p‖m) + ½ D(q‖m) with m = (p + q)/2, from 0 to log 2.

    Args:
        p: (..., K) probabilities.
        q: the same shape.
        axis: the class axis, an int or a tuple of ints (then one distribution over those axes).
        where: boolean, broadcast against p and q; False means that the outcome does not exist.
        base: unit of the result, None for nats, 2 for bits.
        keepdims: keep the class axes, with size one.

    Returns:
        One number per example: the shape of p without the class axes, float32 (float64 for
        float64 input), in nats unless `base` is given.

    Edge cases: p = q: exactly 0 · disjoint p and q: log 2 · zeros contribute their limit, with
    finite slopes · a negative or NaN p or q gives NaN for that example · `where` all False: 0.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{js_divergence(p, q):.6f}")
        0.007310

    References: Lin (1991), Divergence Measures Based on the Shannon Entropy, equation 4.1.

    See also: `softmax_js_divergence` for logits, `kl_divergence`.
    """
    name = "js_divergence"
    p, q, axes = _pair(name, p, q, axis, where)
    return finish(name, _js_divergence(axes, p, q), axes, base, keepdims)
