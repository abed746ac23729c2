"""Every input there is: values and gradients at each bit pattern of a logit, or of a pair of them.

The truth is in float64, by formulae of non-negative terms of the difference of two logits, which
is z itself for a binary one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

import xent_jax

_BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
_CHUNK = 2**24
# XLA may flush e^{−|z|} to 0 where it is no normal number, and what is made of it is 88 times that.
_FLOOR = 2.0**-118
# Above it a logit of a softmax counts as infinite: differences of differences are to stay finite.
_INFINITE = float(jnp.finfo(jnp.float32).max) / 8


def _tail(d: Array) -> Array:
    """log1p(e^{−|d|})."""
    return jnp.log1p(jnp.exp(-jnp.abs(d)))


def _sigmoid(d: Array) -> Array:
    e = jnp.exp(-jnp.abs(d))
    return jnp.where(d >= 0.0, 1.0, e) / (1.0 + e)


def _product(d: Array, x: Array) -> Array:
    """d·x, 0 where x is: x falls faster than d grows."""
    return jnp.where(x == 0.0, 0.0, jnp.where(jnp.isinf(d), 0.0, d) * x)


def _entropy(d: Array) -> tuple[Array, Array]:
    by_d = _product(d, -_sigmoid(d) * _sigmoid(-d))
    return _tail(d) + _product(jnp.abs(d), _sigmoid(-jnp.abs(d))), by_d


def _softplus(d: Array) -> tuple[Array, Array]:
    return jnp.maximum(d, 0.0) + _tail(d), _sigmoid(d)


def _of_label(label: int, d: Array) -> tuple[Array, Array]:
    if label == 0:
        return _softplus(d)
    value, slope = _softplus(-d)
    return value, -slope


def _two(f: Callable[[Array], Array], z: Array, other: Array | float = 0.0) -> Array:
    """A function of the softmax row at two logits: of class 1, and of class 0."""
    return f(jnp.stack([jnp.broadcast_to(jnp.asarray(other, z.dtype), z.shape), z], -1))


@dataclass(frozen=True)
class Exhausted:
    """A function of one logit, or of a pair (first that of class 1), and its truth by z₁ − z₀."""

    function: str
    ours: Callable[..., Array]
    truth: Callable[[Array], tuple[Array, Array]]
    pairs: bool = False


ONE_LOGIT = (
    Exhausted("sigmoid_entropy", xent_jax.sigmoid_entropy, _entropy),
    *(
        Exhausted(
            f"sigmoid_cross_entropy, label {label}",
            lambda z, label=label: xent_jax.sigmoid_cross_entropy(z, jnp.full(z.shape, label)),
            partial(_of_label, label),
        )
        for label in (0, 1)
    ),
)


def _softmax(pairs: bool) -> tuple[Exhausted, ...]:
    def cross_entropy(label: int) -> Callable[[Array], Array]:
        return lambda z: xent_jax.softmax_cross_entropy(z, jnp.full(z.shape[:-1], label))

    return (
        Exhausted("softmax_entropy", partial(_two, xent_jax.softmax_entropy), _entropy, pairs),
        *(
            Exhausted(
                f"softmax_cross_entropy, label {label}",
                partial(_two, cross_entropy(label)),
                partial(_of_label, label),
                pairs,
            )
            for label in (0, 1)
        ),
    )


def cases(dtype: str) -> tuple[Exhausted, ...]:
    """The binary row and two classes; of narrow logits every pair of them."""
    return ONE_LOGIT + _softmax(pairs=_BITS[dtype] == 16)


def _patterns(dtype: str, start: Array, count: int, pairs: bool) -> tuple[Array, ...]:
    """The logits whose bits are so many numbers from `start` on; of a pair the low bits first."""
    bits = start + lax.iota(jnp.uint32, count)
    if _BITS[dtype] == 32:
        return (lax.bitcast_convert_type(bits, dtype),)
    halves = (bits & 0xFFFF, bits >> 16) if pairs else (bits,)
    return tuple(lax.bitcast_convert_type(x.astype(jnp.uint16), dtype) for x in halves)


def _ulps(got: Array, want: Array, dtype: Any) -> Array:
    """|got − want| in units in the last place of the truth.

    An infinity or a NaN must be met exactly; where the truth is below `_FLOOR`, so must be got.
    """
    info = jnp.finfo(dtype)
    want = jnp.where(jnp.abs(want) > float(info.max), jnp.sign(want) * jnp.inf, want)
    size = jnp.clip(jnp.abs(want), float(info.tiny), float(info.max))
    ulp = jnp.exp2(jnp.floor(jnp.log2(size))) * float(info.eps)
    got = got.astype(jnp.float64)
    exact = (got == want) | (jnp.isnan(got) & jnp.isnan(want))
    exact |= (size < _FLOOR) & (jnp.abs(got) < _FLOOR)
    error = jnp.where(jnp.isfinite(got - want), jnp.abs(got - want) / ulp, jnp.inf)
    return jnp.where(exact, 0.0, error)


def _worst(case: Exhausted, dtype: str, count: int, start: Array) -> Any:
    """The greatest errors of value and gradient among so many inputs, and where they are."""
    given = _patterns(dtype, start, count, case.pairs)
    value, pull = jax.vjp(case.ours, *given)
    slopes = pull(jnp.ones_like(value))
    z, other = (*(x.astype(jnp.float64) for x in given), jnp.zeros(()))[:2]
    if case.function.startswith("softmax"):
        z, other = (jnp.where(x >= _INFINITE, jnp.inf, x) for x in (z, other))
    d = z - other
    want, slope = case.truth(d)
    edge = jnp.minimum(jnp.abs(z), jnp.abs(other)) >= _INFINITE  # two infinite ones
    found = {"value": (value, want), "gradient": (slopes[0], slope)}

    def worst(got: Array, want: Array) -> tuple[Array, Array]:
        want = jnp.where(jnp.isnan(z) | jnp.isnan(other), jnp.nan, want)
        error = jnp.where(edge, 0.0, _ulps(got, want, got.dtype))
        at = jnp.argmax(error)
        return error[at], start + at.astype(jnp.uint32)

    return {name: worst(*both) for name, both in found.items()}


def exhaust(case: Exhausted, dtype: str) -> dict[str, dict[str, Any]]:
    """For the value and the gradient the worst error, in ulps, and the logits where it occurs."""
    total = 2 ** (32 if case.pairs else _BITS[dtype])
    count = min(_CHUNK, total)
    with jax.enable_x64(True):
        step = jax.jit(partial(_worst, case, dtype, count))
        errors = list(_steps(step, total, count))
        found = {}
        for name in ("value", "gradient"):
            ulps, at = max((e[name] for e in errors), key=lambda both: both[0])
            where = _patterns(dtype, jnp.asarray(at, jnp.uint32), 1, case.pairs)
            found[name] = {"ulps": float(ulps), "logits": [float(x[0]) for x in where]}
    return found


def _steps(step: Callable[[Array], Any], total: int, count: int) -> Iterator[Any]:
    waiting = [step(jnp.asarray(start, jnp.uint32)) for start in range(0, total, count)]
    return (jax.tree.map(np.asarray, errors) for errors in waiting)
