"""Functions that a user gives become data before the call is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks as check
from .._class_axes import class_count, varying
from .token_losses import token_structs
from .traced_function import TracedFunction, traced_function

_LOGITS_FN = "elementwise functions such as lambda z: 30 * jnp.tanh(z / 30)"


def prepare_logits_fn(name: str, given: dict[str, Any]) -> None:
    """logits_fn, traced at one logit, or at all of a token if it is not elementwise."""
    f = given.get("logits_fn")
    if f is None or isinstance(f, TracedFunction):
        return
    check.function(name, "logits_fn", f, "lambda z: 30 * jnp.tanh(z / 30)")
    x, w = (given[key] for key in (("x", "w") if "x" in given else ("xp", "wp")))
    if np.ndim(w) != 2:
        given["logits_fn"] = None  # a message about w follows
        return
    given["logits_fn"] = _traced_logits_fn(name, f, _dtype(x), np.shape(w)[1], _mesh_axes(given))


def _mesh_axes(given: dict[str, Any]) -> tuple[str, ...]:
    """Over which mesh axes any of the arguments varies, inside `jax.shard_map`."""
    arrays = (x for x in jax.tree.leaves(dict(given)) if isinstance(x, jax.Array))
    return tuple(sorted(frozenset().union(*map(varying, arrays))))


def _axes_of_tokens(given: dict[str, Any]) -> tuple[str, ...]:
    """The same without those that split the classes."""
    named = given.get("axis_name") or ()
    named = named if isinstance(named, tuple) else (named,)
    return tuple(axis for axis in _mesh_axes(given) if axis not in named)


def _traced_logits_fn(
    name: str, f: Any, dtype: Any, classes: int, over: tuple[str, ...]
) -> TracedFunction:
    all_of_them, one = (jax.ShapeDtypeStruct(s, dtype) for s in ((classes,), ()))
    try:
        function, out = traced_function(f, all_of_them, over=over)
    except (TypeError, AttributeError) as error:
        got = str(error).splitlines()[0]
        raise TypeError(
            f"{name}: logits_fn must map an array to one of the same shape and dtype, got {got}; "
            f"use {_LOGITS_FN}."
        ) from error
    check.elementwise(name, "logits_fn", all_of_them, out, _LOGITS_FN)
    if classes == 1 or not function.keeps_shapes:
        return function
    try:  # for any number of classes, such as those of a shard
        alone, out = traced_function(f, one, over=over)
    except (TypeError, ValueError, IndexError):
        return function
    return alone if getattr(out, "shape", None) == () else function


def _dtype(x: Any) -> Any:
    wide = getattr(x, "dtype", None) == jnp.float64
    return jax.dtypes.canonicalize_dtype(jnp.float64) if wide else jnp.float32


def prepare_loss(name: str, given: dict[str, Any]) -> None:
    """loss_fn, traced at the statistics and the data of one token."""
    prepare_logits_fn(name, given)
    f = given["loss_fn"]
    if isinstance(f, TracedFunction):
        return
    check.function(name, "loss_fn, the first argument,", f, "lambda s: -s.log_prob")
    data, labelled = _data(name, given), given.get("labels") is not None
    statistics = token_structs(_dtype(given["x"]), labelled)
    check.takes(name, "loss_fn", f, "the statistics and data", statistics, *data)
    try:
        function, out = traced_function(f, statistics, *data, over=_axes_of_tokens(given))
    except TypeError as error:
        if labelled or "NoneType" not in str(error):
            raise
        raise TypeError(
            f"{name}: labels is None, and so are log_prob and correct, which loss_fn uses; give "
            "class ids."
        ) from error
    check.one_number(name, "loss_fn", out)
    given["loss_fn"] = function


def prepare_labels(name: str, given: dict[str, Any]) -> None:
    """labels, where they are a function, traced at the data of one token."""
    prepare_logits_fn(name, given)
    f = given["labels"]
    if isinstance(f, TracedFunction):
        return
    if not callable(f):
        check.no_data_beside_ids(name, given.get("data", ()))
        return
    check.no_ignore_index(name, given.get("ignore_index"))
    data = _data(name, given)
    check.takes(name, "labels, a function,", f, "the data", *data)
    function, out = traced_function(f, *data, over=_axes_of_tokens(given))
    axes = (1, *check.bound_axes(name, given.get("axis_name")))
    if np.ndim(given["w"]) == 2:  # else a message follows
        w = jax.ShapeDtypeStruct(np.shape(given["w"]), jnp.float32)
        check.labels_of_function(name, out, (class_count(w, axes),))
    given["labels"] = function


def ids_or_function(labels: Any) -> tuple[Any, TracedFunction | None]:
    """Labels as ids, or as the function of a token's data that they were traced from."""
    return (None, labels) if isinstance(labels, TracedFunction) else (labels, None)


def _data(name: str, given: dict[str, Any]) -> tuple[Any, ...]:
    """The data become arrays with all axes of the tokens; returned is what one token has."""
    lead = np.shape(given["x"])[:-1]
    paths, structure = jax.tree.flatten_with_path(tuple(given.get("data", ())))
    leaves = [
        check.token_data(name, f"data{jax.tree_util.keystr(path)}", x, lead) for path, x in paths
    ]
    given["data"] = jax.tree.unflatten(structure, leaves)
    one = [jax.ShapeDtypeStruct(x.shape[len(lead) :], x.dtype) for x in leaves]
    return jax.tree.unflatten(structure, one)
