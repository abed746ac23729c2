"""The shared leaf: dtype rules, exact formulae, and the softmax decomposition.

Every quantity of the package is a sum over the classes of non-negative terms, so that nothing
cancels.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._blocks import Axes, across, local


def compute_dtype(x: Array) -> Any:
    """float64 for float64, float32 for everything narrower."""
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def widen(x: Array) -> Array:
    """x in the dtype of computation; integers and booleans are left alone."""
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(compute_dtype(x)) if floating else x


def class_sum(x: Array, axes: Axes) -> Array:
    """The sum over the class axes, which stay, with size one."""
    total = jnp.sum(x, axis=local(axes), keepdims=True)
    return lax.psum(total, across(axes)) if across(axes) else total


def class_max(x: Array, axes: Axes) -> Array:
    """The maximum over the class axes, which stay; a constant to differentiation."""
    highest = jnp.max(lax.stop_gradient(x), axis=local(axes), keepdims=True)
    return lax.pmax(highest, across(axes)) if across(axes) else highest


def largest(x: Array) -> float:
    """The largest finite number of the dtype of computation: it stands in for infinity."""
    return float(jnp.finfo(compute_dtype(x)).max)


def smallest(x: Array) -> float:
    """The smallest normal number of the dtype of computation: it stands in for 0 under a log."""
    return float(jnp.finfo(compute_dtype(x)).tiny)


def taylor(x: Array, coefficient: Any, first: int, last: int) -> Array:
    """Σ coefficient(k)·x^(k − first) for k from first to last, by Horner's rule."""
    series = jnp.full_like(x, coefficient(last))
    for k in range(last - 1, first - 1, -1):
        series = series * x + coefficient(k)
    return series


def _order(x: Array) -> int:
    """The last term of e^x that counts for |x| ≤ 1: the next one is below half an ulp."""
    return 18 if x.dtype == jnp.float64 else 10


def _inverse_factorial(k: int) -> float:
    return 1.0 / math.factorial(k)


def near_expm1(x: Array) -> Array:
    """e^x − 1 for |x| ≤ 1, to rounding."""
    return x * taylor(x, _inverse_factorial, 1, _order(x))


def phi(x: Array) -> Array:
    """φ(x) = e^{−x} − 1 + x ≥ 0 for |x| ≤ 1, to rounding: its Taylor series, x² times a polynomial.

    expm1(−x) + x would lose every digit as x → 0.
    """
    return x * x * taylor(-x, _inverse_factorial, 2, _order(x))


def relative_entropy_term(p: Array, q: Array, log_ratio: Array) -> Array:
    """p·r − p + q ≥ 0 for r = log(p/q), one outcome's share of D(p‖q) with no cancellation.

    It is p·φ(r), by the series near p = q. The sum over a normalised distribution is stationary in
    r: an error of r enters only squared.
    """
    close = jnp.abs(log_ratio) <= 1.0
    return jnp.where(close, p * phi(jnp.where(close, log_ratio, 0.0)), q + p * (log_ratio - 1.0))


def near_log_ratio(p: Array, q: Array) -> Array:
    """log(p/q) = 2·artanh((p − q)/(p + q)) for p and q within a factor of 9/7, to rounding."""
    t = (p - q) / (p + q)
    order = 8 if t.dtype == jnp.float64 else 3
    return 2.0 * t * taylor(t * t, lambda k: 1.0 / (2 * k + 1), 0, order)


def log_of(ratio: Array, less_one: Array) -> Array:
    """log(ratio), given ratio − 1 as well. A ratio below the smallest normal number counts as that.

    Beyond the reach of log1p's argument log does better; and in float64 XLA's log1p is two digits
    short between −1/2 and −1/4.
    """
    close = jnp.abs(less_one) <= 0.25
    far = jnp.log(jnp.maximum(jnp.where(close, 1.0, ratio), smallest(ratio)))
    return jnp.where(close, jnp.log1p(jnp.where(close, less_one, 0.0)), far)


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
    return jnp.clip(class_max(logits, axes), -huge, huge)


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


def partition(u: Array, axes: Axes) -> tuple[Array, Array]:
    """T = Σ e^{−u}, 0 if every logit is −inf, and s = T − 1: the sum without one maximal entry.

    Tied maxima make T at least 2, where the subtraction is harmless; below 2 the maximum is unique,
    and it is the one entry left out.
    """
    w = jnp.exp(-u)
    total = class_sum(w, axes)
    # The entry left out moves all the same: its derivative counts.
    rest = class_sum(jnp.where(w < 1.0, w, w - 1.0), axes)
    return total, jnp.where(total < 2.0, rest, total - 1.0)


def phi_over_square(x: Array) -> Array:
    """φ(x)/x², ½ at x = 0."""
    close = jnp.abs(x) <= 1.0
    inside, beyond = jnp.where(close, x, 0.0), jnp.where(close, 1.0, x)
    near = taylor(-inside, _inverse_factorial, 2, _order(x))
    return jnp.where(close, near, (jnp.expm1(-beyond) + beyond) / beyond / beyond)


def _finite_product(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """x·y, x and y, infinities made finite before: 0·inf is 0."""
    x, y = (jnp.clip(a, -largest(a), largest(a)) for a in (x, y))
    return x * y, x, y


@jax.custom_jvp
def deformed(cost: Array, order: Array) -> Array:
    """(1 − e^{−tc})/t, the cost c deformed by the order t: c itself at t = 0, to rounding near it.

    An infinite cost gives 1/t for t > 0 and itself otherwise.
    """
    x, _, t = _finite_product(cost, order)
    close = jnp.abs(x) <= 1.0
    near = cost * taylor(-jnp.where(close, x, 0.0), _inverse_factorial, 1, _order(x))
    return jnp.where(close, near, -jnp.expm1(-x) / jnp.where(close, 1.0, t))


@deformed.defjvp
def _deformed_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For t near 0: ∂/∂c = e^{−x} and ∂/∂t = −(1 − (1 + x)·e^{−x})/t² = −c²·e^{−x}·φ(−x)/x², x = tc.
    x, c, t = _finite_product(*primals)
    limit = largest(x)
    x = jnp.clip(x, -limit, limit)
    close = jnp.abs(x) <= 1.0
    inside = jnp.where(close, x, 0.0)
    square = jnp.square(jnp.clip(c, -math.sqrt(limit), math.sqrt(limit)))
    near = square * jnp.exp(-inside) * phi_over_square(-inside)
    far = (1.0 - (1.0 + x) * jnp.exp(-x)) / jnp.square(jnp.where(close, 1.0, t))
    by_cost = jnp.minimum(jnp.exp(-x), limit)
    by_order = jnp.minimum(jnp.where(close, near, far), limit)
    return deformed(*primals), by_cost * tangents[0] - by_order * tangents[1]


@jax.custom_jvp
def undeformed(value: Array, order: Array) -> Array:
    """−log(1 − ts)/t, s at t = 0: the cost whose `deformed` value is s. It needs ts < 1."""
    y = order * value
    still = y == 0.0
    far = -log_of(1.0 - y, -y) / jnp.where(still, 1.0, order)
    return jnp.where(still, value, far)


@undeformed.defjvp
def _undeformed_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # For t near 0: ∂/∂s = 1/(1 − ts) and ∂/∂t = c²·φ(−x)/x², c the result and x = tc.
    value, order = primals
    cost = undeformed(value, order)
    by_order = cost * cost * phi_over_square(-order * cost)
    return cost, tangents[0] / (1.0 - order * value) + by_order * tangents[1]


def exact_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a·b as a rounded number and its rounding error (Dekker 1971, A Floating-Point Technique).

    The halves come from masks, which neither overflow nor depend on how a sum is evaluated.
    """
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = a_high * b_high - product
    return product, ((error + a_high * b_low) + a_low * b_high) + a_low * b_low


def _halves(x: Array) -> tuple[Array, Array]:
    """x as a sum of two numbers with half its digits."""
    bits, half = (jnp.uint64, 27) if x.dtype == jnp.float64 else (jnp.uint32, 12)
    kept = lax.bitcast_convert_type(x, bits) >> half << half
    high = lax.bitcast_convert_type(kept, x.dtype)
    return high, x - high


def exact_sum(high: Array, low: Array, axis: int) -> tuple[Array, Array]:
    """The sum along the axis, which stays, of numbers high + low, as such a number.

    By halves, each rounding error added to the low part: it has twice the digits of its dtype.
    """
    size = high.shape[axis]
    padding = [(0, 0)] * high.ndim
    padding[axis] = (0, (1 << (size - 1).bit_length()) - size)
    high, low = jnp.pad(high, padding), jnp.pad(low, padding)
    while high.shape[axis] > 1:
        (a, b), (a_low, b_low) = jnp.split(high, 2, axis), jnp.split(low, 2, axis)
        high, error = exact_difference(a, -b)
        low = (a_low + b_low) + error
    return high, low
