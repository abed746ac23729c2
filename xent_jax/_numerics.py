"""The shared leaf: exact formulae, the softmax decomposition, and how a derivative is attached.

Every quantity of the package is a sum over the classes of non-negative terms, so that nothing
cancels. Inside a sum the edges are handled by arithmetic (min, max, a product with 0 or 1): XLA on
the CPU stops fusing a row sum at a select, a compare or a clamp, and writes it all out instead.
"""

import math
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from ._passes import Axes, anchored, class_max, class_sum, compute_dtype, widen


def largest(x: Array) -> float:
    """The largest finite number of the dtype of computation: it stands in for infinity."""
    return float(jnp.finfo(compute_dtype(x)).max)


def smallest(x: Array) -> float:
    """The smallest normal number of the dtype of computation: it stands in for 0 under a log."""
    return float(jnp.finfo(compute_dtype(x)).tiny)


def judge(value: Array, verdict: Array) -> Array:
    """value where the verdict is 1, exactly 0 where it is 0 (whatever the value), else NaN."""
    return jnp.where(verdict == 0, 0.0, value * verdict)


def directional(
    gradients: Callable[..., tuple[Array, ...]],
    residuals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    value: Array,
    axes: Axes,
    verdict: Array | None = None,
) -> Array:
    """Σ_j g_j t_j, the tangent of a row function, over the arguments that have a tangent.

    The gradients are recomputed from the residuals when this map is transposed: what a linearised
    function keeps is its inputs and some numbers per row, never an array of gradients. A row whose
    value is NaN has a NaN gradient throughout; an infinite slope becomes the largest finite number,
    so that it is harmless in directions that do not move its entry.
    """
    if verdict is None:
        verdict = jnp.ones_like(value, shape=() if not axes else None)
    if axes:
        verdict = jnp.where(jnp.isnan(value), jnp.nan, verdict)
    live = [not isinstance(t, SymbolicZero) for t in tangents]
    moving = tuple(t for t, alive in zip(tangents, live, strict=True) if alive)

    @partial(jax.checkpoint, prevent_cse=False)
    def pairing(residuals: tuple[Any, ...], verdict: Array, moving: tuple[Array, ...]) -> Array:
        given = anchored(gradients, axes)(*residuals)
        finite = [jnp.clip(g, -largest(g), largest(g)) for g in given]
        needed = [judge(g, widen(verdict)) for g, alive in zip(finite, live, strict=True) if alive]
        products = [g * widen(t) for g, t in zip(needed, moving, strict=True)]
        return jnp.sum(reduce(operator.add, products), axis=axes, keepdims=True)

    return pairing(residuals, verdict, moving)


def clip_to_unit(x: Array) -> Array:
    """x limited to [−1, 1]. Two maxima: XLA:CPU fuses them into a sum, but not a clamp."""
    return -jnp.maximum(-jnp.maximum(x, -1.0), -1.0)


def phi(x: Array) -> Array:
    """φ(x) = e^{−x} − 1 + x ≥ 0 for |x| ≤ 1, to rounding: its Taylor series, x² times a polynomial.

    expm1(−x) + x would lose every digit as x → 0. The next term is below half an ulp.
    """
    order = 18 if x.dtype == jnp.float64 else 10
    minus_x = -x
    series = minus_x * (1.0 / math.factorial(order)) + 1.0 / math.factorial(order - 1)
    for k in range(order - 2, 1, -1):
        series = series * minus_x + 1.0 / math.factorial(k)
    return x * x * series


def nonzero(x: Array) -> Array:
    """1 where x ≠ 0 and 0 where x = 0, by arithmetic; a constant to differentiation."""
    return jnp.minimum(jnp.abs(lax.stop_gradient(x)) * largest(x), 1.0)


def relative_entropy_term(p: Array, q: Array, log_ratio: Array) -> Array:
    """p·r − p + q ≥ 0 for r = log(p/q), one outcome's share of D(p‖q) with no cancellation.

    It is p·φ(r). With r = s + l and s its part in [−1, 1]:
    p·φ(r) = p·φ(s) + (q − p·e^{−s}) + p·l, where the last two vanish exactly when l = 0. The sum
    over a normalised distribution is stationary in r: an error of r enters only squared.
    """
    s = clip_to_unit(log_ratio)
    rest = log_ratio - s
    small = phi(s)
    far = (q - p * (small + (1.0 - s))) * nonzero(rest)
    return p * (small + rest) + far


def log_of(ratio: Array, less_one: Array) -> Array:
    """log(ratio), given ratio − 1 as well: log1p near 1, log far below, joined without a select.

    log1p alone would not do: for ratios far below 1 it has lost them, and in float64 XLA's log1p is
    two digits short between −1/2 and −1/4. A ratio below the smallest normal number counts as that.
    """
    far = jnp.maximum(jnp.log(jnp.minimum(ratio / 0.75, 1.0)), math.log(smallest(ratio)))
    return jnp.log1p(jnp.maximum(less_one, -0.25)) + far


def js_term(p: Array, q: Array, log_ratio: Array) -> Array:
    """½ p log(p/m) + ½ q log(q/m) with m = (p + q)/2 and r = log(p/q): one outcome's share of JS.

    It is m·(h·tanh h − log cosh h) with h = r/2, which is m·(log 2 − H_b(r)), H_b the entropy of a
    coin with logit r. The first form is exact for small r, the second for large r.
    """
    r = jnp.abs(log_ratio)
    half = jnp.minimum(r, 2.0) / 2
    square = jnp.square(jnp.sinh(half))
    near = half * jnp.sqrt(square / (1.0 + square)) - jnp.log1p(square) / 2
    far = math.log(2.0) - binary_entropy(r)
    return (p + q) / 2 * jnp.where(r <= 2.0, near, far)


def log_mixture_ratio(log_ratio: Array) -> Array:
    """log(p/m) with m = (p + q)/2 and r = log(p/q): −log((1 + e^{−r})/2), exact near r = 0."""
    distance = jnp.abs(log_ratio)
    near = -jnp.log1p(jnp.expm1(-jnp.where(distance <= 0.5, log_ratio, 0.0)) / 2)
    far = jnp.minimum(log_ratio, 0.0) + math.log(2.0) - jnp.log1p(jnp.exp(-distance))
    return jnp.where(distance <= 0.5, near, far)


def softplus(x: Array) -> Array:
    """log(1 + e^x), relatively exact on both sides, and differentiable at 0."""
    above, below = jnp.where(x > 0, x, 0.0), jnp.where(x > 0, 0.0, x)
    return jnp.where(x > 0, above + jnp.log1p(jnp.exp(-above)), jnp.log1p(jnp.exp(below)))


def sigmoid(x: Array) -> Array:
    """1/(1 + e^{−x}), relatively exact on both sides, and differentiable at 0."""
    above, below = jnp.where(x > 0, x, 0.0), jnp.where(x > 0, 0.0, x)
    tail = jnp.exp(below)
    return jnp.where(x > 0, 1.0 / (1.0 + jnp.exp(-above)), tail / (1.0 + tail))


def binary_entropy(logit: Array) -> Array:
    """Entropy of a coin with the given logit: log1p(e^{−|z|}) + |z| σ(−|z|), 0 at z = ±inf."""
    distance = jnp.minimum(jnp.abs(logit), largest(logit))
    tail = jnp.exp(-distance)
    return jnp.log1p(tail) + distance * tail / (1.0 + tail)


def peak(logits: Array, axes: Axes) -> Array:
    """m, the row maximum, made finite: a row holding +inf gets the largest finite number."""
    huge = largest(logits)
    return jnp.clip(class_max(lambda z: z, logits, axes=axes), -huge, huge)


def depth(logits: Array, m: Array) -> Array:
    """u = m − z ≥ 0, how far each logit lies below the row maximum; exactly 0 at +inf."""
    return m - jnp.minimum(logits, largest(logits))


def exact_weight(logits: Array, m: Array) -> Array:
    """e^{−u} with the rounding of u = m − z made good: to an ulp or two even where u is large."""
    huge = largest(logits)
    # The floor keeps u finite, and so its error from being inf − inf.
    u, error = exact_difference(m, jnp.maximum(jnp.minimum(logits, huge), m - huge))
    return jnp.exp(-u) * (1.0 - error)


def exact_difference(a: Array, b: Array) -> tuple[Array, Array]:
    """a − b as a rounded number and its rounding error (Knuth 1969, The Art, 4.2.2, theorem B)."""
    d = a - b
    minus_b = d - a
    return d, (a - (d - minus_b)) - (b + minus_b)


def partition(logits: Array, m: Array, axes: Axes) -> Array:
    """T = Σ e^{−u} = 1 + s, between 1 and the number of classes; 0 if every logit is −inf."""
    return class_sum(lambda z, m: jnp.exp(-depth(z, m)), logits, m, axes=axes)


def has_one_peak(total: Array) -> Array:
    """Whether one entry alone attains the row maximum: tied maxima make T at least 2."""
    return total < 2.0


def log_partition(logits: Array, m: Array, total: Array, axes: Axes) -> tuple[Array, Array]:
    """log T = log1p(s), and s = T − 1 itself: the sum that leaves out one maximal entry.

    Where T ≥ 2 the subtraction is harmless; where T < 2 the maximum is unique, and w − ⌊w⌋ drops
    exactly that entry.
    """

    def below_peak(z: Array, m: Array) -> Array:
        w = jnp.exp(-depth(z, m))
        return w - jnp.floor(w)

    rest = class_sum(below_peak, logits, m, axes=axes)
    s = jnp.where(has_one_peak(total), rest, total - 1.0)
    return jnp.log1p(s), s
