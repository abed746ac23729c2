"""What every call does alike: arguments to arrays, axes and masks; results to unit and shape."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from . import _checks as check
from ._class_axes import Axes, class_max, local
from ._math.dtypes import compute_dtype, match_precision

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Options that a program is compiled for.
_STATIC = frozenset(
    {"axis", "base", "keepdims", "axis_name", "ignore_index", "kind", "num_classes"}
    | {"reduction", "return_statistics", "chunk_size", "precision"}
    | {"bins", "binning", "ensemble_axis"}
)
# Options that may be traced, with their range: a Python number is judged before the call.
_TRACEABLE = {
    "label_smoothing": (check.UNIT, ""),
    "z_loss": (check.FINITE, "; 1e-4 is usual, 0 is none"),
    "beta": (check.UNIT, ""),
}


@jax.tree_util.register_static
@dataclass(frozen=True)
class PythonNumber:
    """A number that keeps its float64 digits on the way through jax.jit."""

    value: float


def compiled(
    prepare: Callable[..., Any] | None = None,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """jax.jit for each choice of options, and messages of ours for what JAX refuses before f.

    `prepare(name, bound)` may replace what was given in a call, by the name of the argument.

    Label smoothing and z-loss are traced, so that a schedule compiles once; a Python 0 becomes
    None, which chooses the shorter program.
    """

    def wrap(f: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(f)
        options = tuple(name for name in signature.parameters if name in _STATIC)
        jitted = jax.jit(f, static_argnames=options)
        places = {name: i for i, name in enumerate(signature.parameters)}
        judged = [(name, places[name]) for name in _TRACEABLE if name in places]

        def prepared(args: Any, kwargs: Any) -> Any:
            assert prepare is not None
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return args, kwargs  # a message follows
            prepare(f.__name__, bound.arguments)
            return bound.args, bound.kwargs

        def checked(method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                for name, place in judged:
                    if name in kwargs:
                        kwargs[name] = _judged(f.__name__, name, kwargs[name])
                    elif place < len(args):
                        number = _judged(f.__name__, name, args[place])
                        args = (*args[:place], number, *args[place + 1 :])
                if prepare is not None:
                    args, kwargs = prepared(args, kwargs)
                try:
                    return method(*args, **kwargs)
                except (TypeError, ValueError):
                    check.explain(f, options, args, kwargs)
                    raise

            return call

        call: Any = wraps(f)(checked(jitted))
        for name in ("lower", "trace", "eval_shape"):
            setattr(call, name, checked(getattr(jitted, name)))
        return call

    return wrap


def _judged(name: str, option: str, given: Any) -> Any:
    """The option as the traced function takes it; a Python number is judged here."""
    if given is None or isinstance(given, PythonNumber) or hasattr(given, "dtype"):
        return given
    check.python_number(name, option, given, *_TRACEABLE[option])
    if option == "beta":
        return PythonNumber(float(given))
    return None if given == 0 else given


class Rows(NamedTuple):
    """Where the classes are, which of them exist, and how the number of each row is given."""

    axis: Any = -1
    where: Any = None
    base: float | None = None
    keepdims: bool = False
    axis_name: Any = None


class Labelling(NamedTuple):
    """How labels are read, and how much they weigh."""

    ignore_index: int | None = None
    label_smoothing: Any = None
    class_weights: Any = None
    z_loss: Any = None


def row_data(
    name: str, argument: str, x: Any, rows: Rows, fill: float
) -> tuple[Array, Axes, Array | None]:
    """The data with `fill` at the outcomes that do not exist, its class axes, and the mask."""
    x = check.real_array(name, argument, x)
    axes = check.class_axes(name, argument, x, rows.axis)
    axes = (*axes, *check.mesh_axes(name, rows.axis_name, argument, x))
    if rows.where is None:
        return x, axes, None
    kept = check.mask(name, argument, rows.where, x)
    return jnp.where(kept, x, jnp.asarray(fill, x.dtype)), axes, kept


def probability_data(name: str, argument: str, p: Any, rows: Rows) -> tuple[Array, Axes]:
    """Probabilities, 0 at the outcomes that do not exist, and their class axes."""
    p, axes, _ = row_data(name, argument, p, rows, 0.0)
    check.probabilities(name, argument, p)
    return p, axes


def probability_pair(name: str, p: Any, q: Any, rows: Rows) -> tuple[Array, Array, Axes]:
    """Two arrays of probabilities of one shape and precision, and their class axes."""
    p, axes = probability_data(name, "p", p, rows)
    q, _ = probability_data(name, "q", q, rows)
    check.same_shape(name, "p", p, "q", q)
    return *match_precision(p, q), axes


def logits_data(name: str, argument: str, x: Any, rows: Rows) -> tuple[Array, Axes, Array | None]:
    """Logits, −inf at the outcomes that do not exist, their class axes, and the mask."""
    z, axes, kept = row_data(name, argument, x, rows, -jnp.inf)
    check.no_nan(name, argument, z)

    def possible() -> Array:
        found = class_max(z, axes) > -jnp.inf
        return found if kept is None else found | ~some_kept(kept, z.shape, axes)

    check.some_class_possible(name, argument, possible)
    return z, axes, kept


def logits_pair(
    name: str, p_logits: Any, q_logits: Any, rows: Rows
) -> tuple[Array, Array, Axes, Array | None]:
    """Two arrays of logits of one shape and precision, their class axes, and the mask of rows."""
    zp, axes, kept = logits_data(name, "p_logits", p_logits, rows)
    zq, _, _ = logits_data(name, "q_logits", q_logits, rows)
    check.same_shape(name, "p_logits", zp, "q_logits", zq)
    return *match_precision(zp, zq), axes, mask_of_rows(zp, axes, kept)


def some_kept(kept: Array, shape: tuple[int, ...], axes: Axes) -> Array:
    """Per row, whether any outcome exists at all."""
    return class_max(jnp.broadcast_to(kept, shape).astype(jnp.int32), axes) > 0


def mask_of_rows(
    x: Array,
    axes: Axes,
    kept: Array | None,
    counted: Array | None = None,
    valid: Array | None = None,
) -> Array | None:
    """Per row: 0 to leave it out, NaN if its labels are not valid, else 1; None if all are 1."""
    if kept is not None:
        alive = some_kept(kept, x.shape, axes)
        counted = alive if counted is None else counted & alive
    if counted is None and valid is None:
        return None
    rows = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    row_mask = jnp.ones((), bool) if valid is None else valid
    row_mask = jnp.where(row_mask, 1.0, jnp.nan)
    row_mask = row_mask if counted is None else jnp.where(counted, row_mask, 0.0)
    return jnp.broadcast_to(row_mask, rows).astype(compute_dtype(x))


def finish(name: str, value: Array, axes: Axes, rows: Rows) -> Array:
    """The value in the asked unit, with or without the class axes."""
    value = in_base(name, value, rows.base)
    return value if rows.keepdims else without_classes(value, axes)


def without_classes(x: Array, axes: Axes) -> Array:
    """An array of numbers per row without the class axes, which have size one."""
    return jnp.squeeze(x, axis=local(axes))


def in_base(name: str, value: Array, base: Any) -> Array:
    """The value in units of log(base): nats for None, bits for 2."""
    return value if base is None else value / math.log(check.log_base(name, base))
