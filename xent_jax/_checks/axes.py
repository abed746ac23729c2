"""Class axes of arrays, and axes of meshes."""

import operator
from typing import Any

import jax
from jax import Array

from .._class_axes import varying
from .general import as_array


def class_axes(name: str, argument: str, x: Array, axis: Any) -> tuple[int, ...]:
    """axis (an int or a tuple of ints) as non-negative ints, in the order it names them."""
    given = axis if isinstance(axis, tuple) else (axis,)
    try:
        axes = tuple(operator.index(a) for a in given)
    except TypeError:
        raise TypeError(f"{name}: axis must be an int or a tuple of ints, got {axis!r}.") from None
    if not axes:
        raise ValueError(f"{name}: axis must name at least one axis, got an empty tuple.")
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise ValueError(
                f"{name}: axis {a} is out of range for {argument} of shape {x.shape}; "
                f"choose one in [{-x.ndim}, {x.ndim})."
                if x.ndim
                else f"{name}: {argument} must have a class axis, got a scalar; pass a vector."
            )
    axes = tuple(a % x.ndim for a in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: axis {axis!r} names an axis of {argument} twice; name it once.")
    if any(x.shape[a] == 0 for a in axes):
        raise ValueError(
            f"{name}: {argument} of shape {x.shape} has no classes along axis {axis}; "
            "a distribution needs at least one."
        )
    return axes


def ensemble_axis(name: str, argument: str, x: Array, given: Any, classes: Any) -> int:
    """ensemble_axis as a non-negative int; it holds a member at least, and no classes."""
    try:
        axis = operator.index(given)
    except TypeError:
        raise TypeError(f"{name}: ensemble_axis must be an int, got {given!r}.") from None
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"{name}: ensemble_axis {axis} is out of range for {argument} of shape {x.shape}; "
            f"choose one in [{-x.ndim}, {x.ndim})."
        )
    axis %= x.ndim
    if axis in classes:
        raise ValueError(
            f"{name}: ensemble_axis {given} is a class axis of {argument} of shape {x.shape}; give "
            "the members an axis of their own, as with jnp.stack."
        )
    if x.shape[axis] == 0:
        raise ValueError(
            f"{name}: {argument} of shape {x.shape} has no member along axis {axis}; an ensemble "
            "needs at least one."
        )
    return axis


def mesh_axes(name: str, axis_name: Any, argument: str, x: Array) -> tuple[str, ...]:
    """axis_name (None, a name, or a tuple of names) as names of mesh axes that split the classes.

    Where the types tell: an array that is the same on every shard is not split.
    """
    names = bound_axes(name, axis_name)
    for a in names:
        if a in varying(jax.lax.axis_index(a)) and a not in varying(x):
            raise ValueError(
                f"{name}: axis_name {a!r} does not split the classes: {argument} is the same on "
                f"every shard of it; leave axis_name out, or split {argument} over {a!r}."
            )
    return names


def bound_axes(name: str, axis_name: Any) -> tuple[str, ...]:
    """axis_name (None, a name, or a tuple of names) as names of mesh axes that are bound here."""
    if axis_name is None:
        return ()
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    for a in names:
        if not isinstance(a, str):
            raise TypeError(
                f"{name}: axis_name must be the name of a mesh axis or a tuple of names, "
                f"got {axis_name!r}."
            )
        try:
            jax.lax.axis_index(a)
        except NameError:
            raise ValueError(
                f"{name}: axis_name {a!r} is not bound here; call it inside jax.shard_map over a "
                "mesh with that axis, or leave axis_name out."
            ) from None
    return names


def one_for_all_shards(name: str, axis_names: tuple[str, ...], argument: str, x: Array) -> None:
    """What belongs to a row is the same on every shard of its classes."""
    for a in axis_names:
        if a in varying(x):
            raise ValueError(
                f"{name}: axis_name {a!r} does not split the classes: {argument} vary over it, as "
                "rows do; leave axis_name out where the rows are split."
            )


def joint_axes(name: str, joint: Any, axis: Any) -> None:
    shape = as_array(name, "joint", joint).shape
    if len(shape) < 2:
        raise ValueError(
            f"{name}: joint must be a table p(x, y) of two axes at least, got shape {shape}; "
            "for independent X and Y that is jnp.outer(p, q)."
        )
    if not isinstance(axis, tuple) or len(axis) != 2:
        raise ValueError(
            f"{name}: axis must name two axes, that of X and that of Y, got {axis!r}; "
            "join several variables into one axis with jnp.reshape."
        )
