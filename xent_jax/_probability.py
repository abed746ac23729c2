"""The probability row: entropy, cross entropy, KL and Jensen–Shannon of probability vectors."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

import math
from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import _checks as check
from ._blocks import Axes
from ._conventions import compiled, finish, match_precision, row_data, row_verdict
from ._numerics import (
    class_sum,
    js_term,
    log_mixture_ratio,
    near_log_ratio,
    relative_entropy_term,
    smallest,
)
from ._rows import RowFunction

_OPTIONS = ("axis", "base", "keepdims")


def _lift(p: Array) -> Array:
    """p, and the smallest normal number where p = 0: what keeps a log finite there."""
    return jnp.where(p == 0.0, smallest(p), p)


def _lift_common(p: Array, q: Array) -> Array:
    """q, and the smallest normal number where p = q = 0."""
    return jnp.where((p == 0.0) & (q == 0.0), smallest(q), q)


def _log_ratio(p: Array, q: Array, lifted_q: Array) -> Array:
    """log(p/q), relatively exact for p near q; of the lifted p and q where one of them is 0.

    There it is a constant to differentiation, whose slope would be inf − inf.
    """
    edge = (p == 0.0) | (q == 0.0)
    at_edge = lax.stop_gradient(_lift(p) / lifted_q)
    p, q = jnp.where(edge, 1.0, p), jnp.where(edge, 1.0, q)
    close = jnp.abs(p - q) <= (p + q) / 8
    ratio = jnp.where(edge, at_edge, jnp.where(close, 1.0, p / q))
    far = jnp.log(jnp.maximum(ratio, smallest(ratio)))
    return jnp.where(close & ~edge, near_log_ratio(p, jnp.where(close, q, p)), far)


def _defined(term: Array, *data: Array) -> Array:
    """The term, NaN where a probability is negative (a NaN makes its own way)."""
    return jnp.where(reduce(jnp.minimum, data) < 0.0, jnp.nan, term)


def _entropy(axes: Axes, p: Array) -> tuple[Array, Any]:
    return class_sum(p * -jnp.log(_lift(p)), axes), ()


def _entropy_slopes(axes: Axes, _: Any, p: Array) -> tuple[Array]:
    # For the edge: −log p − 1 is infinite at p = 0, and would be 0·inf in forward mode.
    return (-(jnp.log(_lift(p)) + 1.0),)


def _cross_entropy(axes: Axes, p: Array, q: Array) -> tuple[Array, Any]:
    return class_sum(_defined(p * -jnp.log(_lift_common(p, q)), p, q), axes), ()


def _cross_entropy_slopes(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, ...]:
    # For the edge p = q = 0, where −log q and p/q are not finite.
    edge = (p == 0.0) & (q == 0.0)
    inside = jnp.where(edge, 1.0, q)
    return jnp.where(edge, -math.log(smallest(q)), -jnp.log(inside)), -p / inside


def _kl_divergence(axes: Axes, p: Array, q: Array) -> tuple[Array, Any]:
    term = relative_entropy_term(p, q, _log_ratio(p, q, _lift_common(p, q)))
    return class_sum(_defined(term, p, q), axes), ()


def _kl_divergence_slopes(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, ...]:
    # For the edge p = 0, and because the derivative of the sum of terms cancels for p near q.
    edge = (p == 0.0) | (q == 0.0)
    at_edge = lax.stop_gradient((q - p) / _lift_common(p, q))
    by_q = jnp.where(edge, at_edge, (q - p) / jnp.where(edge, 1.0, q))
    return _log_ratio(p, q, _lift_common(p, q)), by_q


def _js_divergence(axes: Axes, p: Array, q: Array) -> tuple[Array, Any]:
    term = js_term(p, q, _log_ratio(p, q, _lift_common(p, q)))
    return class_sum(_defined(term, p, q), axes), ()


def _js_divergence_slopes(axes: Axes, _: Any, p: Array, q: Array) -> tuple[Array, ...]:
    # For the edges p = 0 and q = 0, and the cancellation for p near q.
    log_ratio = _log_ratio(p, q, _lift(q))
    return log_mixture_ratio(log_ratio) / 2, log_mixture_ratio(-log_ratio) / 2


_entropy_rows = RowFunction(_entropy, _entropy_slopes)
_cross_entropy_rows = RowFunction(_cross_entropy, _cross_entropy_slopes)
_kl_divergence_rows = RowFunction(_kl_divergence, _kl_divergence_slopes)
_js_divergence_rows = RowFunction(_js_divergence, _js_divergence_slopes)


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
    return finish(name, _entropy_rows(axes, row_verdict(p, axes), p), axes, base, keepdims)


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
        >>> print(f"{cross_entropy(p, q):.5f} = {entropy(p):.5f} + {kl_divergence(p, q):.5f}")
        0.97857 = 0.95027 + 0.02830

    References: Cover & Thomas (2006), Elements of Information Theory, section 5.4.

    See also: `softmax_cross_entropy` for logits and labels, `kl_divergence`.
    """
    name = "cross_entropy"
    p, q, axes = _pair(name, p, q, axis, where)
    return finish(name, _cross_entropy_rows(axes, row_verdict(p, axes), p, q), axes, base, keepdims)


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
    return finish(name, _kl_divergence_rows(axes, row_verdict(p, axes), p, q), axes, base, keepdims)


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
    return finish(name, _js_divergence_rows(axes, row_verdict(p, axes), p, q), axes, base, keepdims)
