"""What every public function does alike: compilation, masking, and the form of its result."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from . import _checks as check
from ._blocks import Axes, local
from ._numerics import class_max, compute_dtype

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _trace_state() -> Any:
    # Imported late: jax.extend.core is as slow to import as the rest of this package.
    from jax.extend.core import get_opaque_trace_state

    return get_opaque_trace_state(convention="flax")


@cache
def _eager_state() -> Any:
    """The state outside every transformation, which is where a new thread starts."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_trace_state).result()


def compiled(*options: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """jax.jit with the named options static.

    A call outside every transformation goes to a version without the value conditions: only
    checkify can ask for them, and their presence takes JAX's fast path of dispatch away.
    """

    def wrap(f: Callable[_P, _R]) -> Callable[_P, _R]:
        checked = jax.jit(f, static_argnames=options)

        @wraps(f)
        def unchecked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with check.no_conditions():
                return f(*args, **kwargs)

        direct = jax.jit(unchecked, static_argnames=options)

        @wraps(f)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            eager = _trace_state() == _eager_state()
            try:
                return (direct if eager else checked)(*args, **kwargs)
            except (TypeError, ValueError):
                check.kinds_of_arguments(f, options, args, kwargs)
                raise

        return call

    return wrap


def row_data(
    name: str, argument: str, x: Any, axis: Any, where: Any, fill: float, axis_name: Any = None
) -> tuple[Array, Axes, Array | None]:
    """The data with `fill` at the outcomes that do not exist, its class axes, and the mask."""
    x = check.real_array(name, argument, x)
    axes = (*check.class_axes(name, argument, x, axis), *check.mesh_axes(name, axis_name))
    if where is None:
        return x, axes, None
    kept = check.mask(name, argument, where, x)
    return jnp.where(kept, x, jnp.asarray(fill, x.dtype)), axes, kept


def logits_data(
    name: str, argument: str, x: Any, axis: Any, where: Any, axis_name: Any
) -> tuple[Array, Axes, Array | None]:
    """Logits, −inf at the outcomes that do not exist, their class axes, and the mask."""
    z, axes, kept = row_data(name, argument, x, axis, where, -jnp.inf, axis_name)
    check.no_nan(name, argument, z)
    # In the maximum over all shards of the classes.
    impossible = class_max(z, axes) == -jnp.inf
    alive = some_kept(kept, z.shape, axes)
    check.some_class_possible(name, argument, impossible if alive is None else impossible & alive)
    return z, axes, kept


def match_precision(a: Array, b: Array) -> tuple[Array, Array]:
    """Both arrays, float64 if one of them is: under strict promotion float32 would clash."""
    if jnp.float64 in (a.dtype, b.dtype):
        return a.astype(jnp.float64), b.astype(jnp.float64)
    return a, b


def some_kept(kept: Array | None, shape: tuple[int, ...], axes: Axes) -> Array | None:
    """Per row, whether any outcome exists at all; None if nothing is masked."""
    if kept is None:
        return None
    return class_max(jnp.broadcast_to(kept, shape).astype(jnp.int32), axes) > 0


def row_verdict(
    x: Array, axes: Axes, counted: Array | None = None, valid: Array | bool = True
) -> Array:
    """Per row: 0 if it is to be left out, NaN if its labels are not valid, else 1."""
    rows = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    verdict = jnp.broadcast_to(jnp.where(valid, 1.0, jnp.nan), rows)
    verdict = verdict if counted is None else jnp.where(counted, verdict, 0.0)
    return verdict.astype(compute_dtype(x))


def finish(name: str, value: Array, axes: Axes, base: Any, keepdims: bool) -> Array:
    """The value in the asked unit, with or without the class axes."""
    value = in_base(name, value, base)
    return value if keepdims else jnp.squeeze(value, axis=local(axes))


def in_base(name: str, value: Array, base: Any) -> Array:
    """The value in units of log(base): nats for None, bits for 2."""
    return value if base is None else value / math.log(check.log_base(name, base))
