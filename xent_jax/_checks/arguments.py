"""Calls that JAX or Python would refuse in words of its own."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from .general import as_array
from .peers import advice_on


def explain(f: Any, options: Any, args: Any, kwargs: Any) -> None:
    """Say what is wrong with the arguments of a call that failed; silence if they look right."""
    given = _bound(f, args, kwargs)
    for argument, x in given.items():
        if argument in options:
            _plain_value(f.__name__, argument, x)
        else:
            _numbers(f.__name__, argument, x)
    _misplaced_ids(f.__name__, given)


def _bound(f: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """What each argument of f is given."""
    parameters = inspect.signature(f).parameters
    by_place = [
        f"*{n}" if p.kind == p.VAR_POSITIONAL else n
        for n, p in parameters.items()
        if p.kind != p.KEYWORD_ONLY
    ]
    order = f"the data are ({', '.join(by_place)}), options go by keyword"
    for argument in kwargs:
        if argument not in parameters:
            advice = advice_on(argument, parameters) or f"{order}."
            raise TypeError(f"{f.__name__}: there is no argument {argument!r}; {advice}") from None
    try:
        return inspect.signature(f).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{f.__name__}: {error}; {order}.") from None


def _plain_value(name: str, argument: str, x: Any) -> None:
    try:
        hash(x)
    except TypeError:
        traced = isinstance(x, Tracer)
        got = "a traced value" if traced else "an array" if hasattr(x, "dtype") else None
        instead = (
            "close over it, or make it static in your jax.jit"
            if traced
            else "pass int(...), float(...) or a tuple"
        )
        raise TypeError(
            f"{name}: {argument} must be a plain Python value, known when the call is compiled, "
            f"got {got or type(x).__name__}; {instead}."
        ) from None


def _numbers(name: str, argument: str, x: Any) -> None:
    """Whether an argument is what JAX takes for arrays."""
    if isinstance(x, (str, bytes)):
        as_array(name, argument, x)
    for leaf in jax.tree.leaves(x):
        try:
            jax.eval_shape(lambda x: x, leaf)
        except (TypeError, ValueError):
            got, hint = _type(leaf), "pass a JAX or NumPy array"
            if got == "text in it" and argument == "labels":
                hint = "number the classes, as np.unique(names, return_inverse=True) does"
            raise TypeError(
                f"{name}: {argument} must be an array of numbers, got {got}; {hint}."
            ) from None


def _type(x: Any) -> str:
    kind = x.dtype.kind if type(x) is np.ndarray else ""
    if isinstance(x, (str, bytes)) or kind in ("U", "S"):
        return "text in it"
    if kind:
        return "objects in it" if kind == "O" else str(x.dtype)
    library = type(x).__module__.split(".")[0]
    return f"{'' if library == 'builtins' else f'{library}.'}{type(x).__name__}"


# Where floats belong beside labels, in the order of the signatures; and where both are floats.
_BESIDE_LABELS = ("logits", "x", "w", "p")
_DISTRIBUTIONS = ("p", "q", "p_logits", "q_logits")


def _misplaced_ids(name: str, given: dict[str, Any]) -> None:
    """Whether ids came where floats belong. Their shapes confirm it: integers may be logits."""
    labels = _array(given.get("labels"))
    if labels is not None:
        data = _arrays(given, _BESIDE_LABELS)
        _swapped(name, data, labels)
        if name.startswith("sigmoid") and "logits" in data:
            _one_id_per_row(name, data["logits"], labels)
        return
    if name.startswith("binary"):  # whose labels are 0 and 1, of any dtype
        return
    data = _arrays(given, _DISTRIBUTIONS)
    for argument, x in data.items():
        if _holds_ids(x) and any(y.shape != x.shape and not _holds_ids(y) for y in data.values()):
            raise ValueError(
                f"{name}: {argument} holds {x.dtype} of shape {x.shape}; class ids go to "
                "softmax_cross_entropy(logits, labels), here both are distributions."
            ) from None


def _swapped(name: str, data: dict[str, Array], labels: Array) -> None:
    for argument, x in data.items():
        if _holds_ids(x) and not _holds_ids(labels) and x.shape != labels.shape:
            raise ValueError(
                f"{name}: {argument} holds {x.dtype} of shape {x.shape} and labels {labels.dtype} "
                f"of shape {labels.shape}; swapped? The order is "
                f"{name}({', '.join(data)}, labels)."
            ) from None


def _one_id_per_row(name: str, logits: Array, labels: Array) -> None:
    classes = logits.shape[-1:]
    if _holds_ids(labels) and classes != (1,) and (*labels.shape, *classes) == logits.shape:
        raise ValueError(
            f"{name}: labels of shape {labels.shape} hold one id per row of the logits of shape "
            f"{logits.shape}, and must hold 0 or 1 per logit; softmax_cross_entropy takes one id "
            "per row."
        ) from None


def _holds_ids(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == jnp.bool_


def _arrays(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Array]:
    return {a: x for a in names if (x := _array(given.get(a))) is not None}


def _array(x: Any) -> Array | None:
    try:
        return None if x is None else jnp.asarray(x)
    except (TypeError, ValueError):
        return None
