"""The entropy of a softmax."""

import jax.numpy as jnp
from jax import Array

from ._blocks import Axes
from ._numerics import class_sum, depth, exact_weight, largest, peak
from ._rows import RowFunction

Numbers = tuple[Array, Array, Array]


def _depth(z: Array, m: Array) -> Array:
    return jnp.minimum(depth(z, m), largest(z))


def _formula(axes: Axes, z: Array) -> tuple[Array, Numbers]:
    """H = log T + E/T with E = Σ w u, and m, T and E/T.

    For a unique maximum log T = log1p(s), and s = T − 1 must not cancel. One pass gives E + s; what
    remains, log1p(s) − s/T ≈ s²/2, forgives the rounding of T − 1.
    """
    m = peak(z, axes)
    u = _depth(z, m)
    w = jnp.exp(-u)
    total = class_sum(w, axes)
    one_peak = total < 2.0
    spread = class_sum(jnp.where(one_peak, jnp.where(w < 1.0, w * (u + 1.0), 0.0), w * u), axes)
    s = total - 1.0
    value = spread / total + jnp.where(one_peak, jnp.log1p(s) - s / total, jnp.log(total))
    mean = class_sum(w * u, axes) / total
    return jnp.where(total > 0.0, value, jnp.nan), (m, total, mean)


def _slopes(axes: Axes, numbers: Numbers, z: Array) -> tuple[Array]:
    """∂H/∂z = p·(u − E_p u): log p + H = E_p u − u has lost its common part, the log of T."""
    m, total, mean = numbers
    return (exact_weight(z, m) / total * (_depth(z, m) - mean),)


# (axes, verdict, logits) → the entropy of softmax(logits), keeping the class axes.
entropy = RowFunction(_formula, _slopes)
