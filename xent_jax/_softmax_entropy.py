"""The entropy of a softmax, and its derivative."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ._numerics import depth, directional, exact_weight, has_one_peak, largest, partition, peak
from ._passes import Axes, class_sum


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def entropy(axes: Axes, logits: Array) -> Array:
    """The entropy of softmax(logits), keeping the class axes."""
    return _entropy_rows(axes, logits)[0]


def _entropy_rows(axes: Axes, logits: Array) -> tuple[Array, Array, Array]:
    """H = log T + E/T with E = Σ w u, and m and T.

    For a unique maximum log T = log1p(s) needs s = T − 1 without cancellation. One pass gives
    E + s; what remains, log1p(s) − s/T ≈ s²/2, forgives the rounding of T − 1.
    """
    huge = largest(logits)
    m = peak(logits, axes)
    total = partition(logits, m, axes)
    one_peak = has_one_peak(total)

    def term(z: Array, m: Array, one_peak: Array) -> Array:
        u = jnp.minimum(m - z, huge)
        w = jnp.exp(-u)
        return w * (u + one_peak) - jnp.floor(w) * one_peak

    spread = class_sum(term, logits, m, one_peak.astype(m.dtype), axes=axes)
    s = total - 1.0
    value = spread / total + jnp.where(one_peak, jnp.log1p(s) - s / total, jnp.log(total))
    # The pass above has no care for +inf: there the tied classes share the mass.
    value = jnp.where(m == huge, jnp.log(total), value)
    return jnp.where(total > 0.0, value, jnp.nan), m, total


@partial(entropy.defjvp, symbolic_zeros=True)
def _entropy_jvp(axes: Axes, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # ∂H/∂z = p·(u − E_p u): log p + H = Ē − u has lost its common part, the log of T.
    # For the cancellation, the edges, and to keep no array of gradients.
    (logits,) = primals
    huge = largest(logits)
    value = entropy(axes, logits)
    _, m, total = _entropy_rows(axes, logits)

    def weighted_depth(z: Array, m: Array) -> Array:
        u = jnp.minimum(depth(z, m), huge)
        return jnp.exp(-u) * u

    mean = class_sum(weighted_depth, logits, m, axes=axes) / total

    def gradients(logits: Array, m: Array, total: Array, mean: Array) -> tuple[Array]:
        u = jnp.minimum(depth(logits, m), huge)
        return (exact_weight(logits, m) / total * (u - mean),)

    residuals = (logits, m, total, mean)
    return value, directional(gradients, residuals, tangents, value, axes)
