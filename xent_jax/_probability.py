"""The probability row: entropy, cross entropy, KL and Jensen–Shannon of probability vectors."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
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
    def gradients(p: Array, q: Array) -> tuple[Array, Array]:
        lifted = q + _lift(p)
        return -jnp.log(lifted), -p / lifted

    value = _cross_entropy(axes, *primals)
    return value, directional(gradients, primals, tangents, value, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _kl_divergence(axes: Axes, p: Array, q: Array) -> Array:
    value = class_sum(lambda p, q: relative_entropy_term(p, q, _log_ratio(p, q)), p, q, axes=axes)
    return judge(value, _verdict(p, q, axes))


@partial(_kl_divergence.defjvp, symbolic_zeros=True)
def _kl_divergence_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edge p = 0, and because the derivative of the sum of terms cancels for p near q.
    def gradients(p: Array, q: Array) -> tuple[Array, Array]:
        return _log_ratio(p, q), (q - p) / (q + _lift(p))

    value = _kl_divergence(axes, *primals)
    return value, directional(gradients, primals, tangents, value, axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _js_divergence(axes: Axes, p: Array, q: Array) -> Array:
    value = class_sum(lambda p, q: js_term(p, q, _log_ratio(p, q)), p, q, axes=axes)
    return judge(value, _verdict(p, q, axes))


@partial(_js_divergence.defjvp, symbolic_zeros=True)
def _js_divergence_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For the edges p = 0 and q = 0, and the cancellation for p near q.
    def gradients(p: Array, q: Array) -> tuple[Array, Array]:
        # Each side is lifted where it is 0 itself: its own log is what must stay finite.
        return log_mixture_ratio(_log_ratio(p, q)) / 2, log_mixture_ratio(_log_ratio(q, p)) / 2

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
    name = "js_divergence"
    p, q, axes = _pair(name, p, q, axis, where)
    return finish(name, _js_divergence(axes, p, q), axes, base, keepdims)
