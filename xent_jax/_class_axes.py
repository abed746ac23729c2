"""Everything about the class axes: sum, maximum, count, index, take; whole or split over a mesh.

`Axes` names axes of the array first, then axes of the mesh over which the classes are split by hand
(`axis_name` inside `jax.shard_map`). The class axes stay, with size one.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType

from ._math.dtypes import of_bits

Axes = tuple[int | str, ...]


def local(axes: Axes) -> tuple[int, ...]:
    """The class axes of the array itself."""
    return tuple(a for a in axes if not isinstance(a, str))


def across(axes: Axes) -> tuple[str, ...]:
    """The mesh axes over which the classes are split."""
    return tuple(a for a in axes if isinstance(a, str))


def class_sum(x: Array, axes: Axes) -> Array:
    """The sum over the class axes."""
    total = _local_sum(x, local(axes)) if local(axes) else x
    return lax.psum(total, across(axes)) if across(axes) else total


def _local_sum(x: Array, axes: tuple[int, ...]) -> Array:
    rows = [n for a, n in enumerate(x.shape) if a not in axes]
    single = all(isinstance(n, int) and n == 1 for n in rows)
    if rows and single and not is_sharded(x):
        # XLA:CPU adds up a matrix of one row one entry after the other, which loses digits; a
        # vector it does not.
        return jnp.sum(x.reshape(-1)).reshape((1,) * x.ndim)
    return jnp.sum(x, axis=axes, keepdims=True)


def class_max(x: Array, axes: Axes) -> Array:
    """The maximum over the class axes; a constant to differentiation."""
    highest = jnp.max(lax.stop_gradient(x), axis=local(axes), keepdims=True)
    return lax.pmax(highest, across(axes)) if across(axes) else highest


def class_count(x: Array | jax.ShapeDtypeStruct, axes: Axes) -> int:
    """K, over all shards of the class axis."""
    return local_count(x, axes) * (lax.axis_size(across(axes)) if across(axes) else 1)


def local_count(x: Array | jax.ShapeDtypeStruct, axes: Axes) -> int:
    return math.prod(x.shape[a] for a in local(axes))


def first_class(x: Array | jax.ShapeDtypeStruct, axes: Axes) -> Array | int:
    """The id of the first class of this shard."""
    return lax.axis_index(across(axes)) * local_count(x, axes) if across(axes) else 0


def over_classes(flat: Array, x: Array | jax.ShapeDtypeStruct, axes: Axes) -> Array:
    """A vector over the classes (of this shard), laid along the class axes of x."""
    inner = local(axes)
    along = flat.reshape([x.shape[a] for a in inner])
    shape = [n if a in inner else 1 for a, n in enumerate(x.shape)]
    return jnp.transpose(along, sorted(range(len(inner)), key=inner.__getitem__)).reshape(shape)


def class_index(x: Array, axes: Axes) -> Array:
    """0 … K − 1 (int32) along the class axes, flat in the order in which `axes` names them."""
    index = over_classes(jnp.arange(local_count(x, axes), dtype=jnp.int32), x, axes)
    index = index + first_class(x, axes)
    # Under an explicit mesh a select wants its arguments split alike.
    return index + jnp.zeros_like(x, jnp.int32) if is_sharded(x) else index


def is_class(ids: Array, x: Array, axes: Axes) -> Array:
    """Whether each class is the one with that id."""
    return class_index(x, axes) == ids


def take_class(x: Array, ids: Array, axes: Axes) -> Array:
    """The entry of x at the class with that id (in range), for each row; it has no derivative."""
    if is_sharded(x):
        # A gather along a sharded axis is refused; a comparison costs one sum over the shards.
        return class_sum(jnp.where(is_class(ids, x, axes), x, jnp.zeros((), x.dtype)), axes)
    if not across(axes):
        return of_bits(lambda x: _take(x, ids, axes), x)
    here = ids - first_class(x, axes)
    mine = (here >= 0) & (here < local_count(x, axes))
    entry = of_bits(lambda x: _take(x, jnp.where(mine, here, 0), axes), x)
    return lax.psum(jnp.where(mine, entry, jnp.zeros((), x.dtype)), across(axes))


def _take(x: Array, ids: Array, axes: Axes) -> Array:
    """By `take_along_axis`, whose batch axes stay where a mesh has put them."""
    *outer, last = local(axes)
    if outer:  # several class axes, as one at the end
        rows = [a for a in range(x.ndim) if a not in axes]
        flat = jnp.transpose(x, (*rows, *outer, last)).reshape([x.shape[a] for a in rows] + [-1])
        entry = jnp.take_along_axis(flat, ids.reshape(flat.shape[:-1])[..., None], -1, mode=_IN)
        return entry.reshape(ids.shape)
    return jnp.take_along_axis(x, ids, last, mode=_IN)


_IN = "promise_in_bounds"


def is_sharded(*data: Array) -> bool:
    """Whether the type of an input names mesh axes, as under an explicit mesh."""
    return any(name is not None for x in data for name in jax.typeof(x).sharding.spec)


def in_explicit_mesh(*data: Array) -> bool:
    """Whether there is an explicit mesh: under vmap a type does not name the axis it splits."""
    kinds = (jax.typeof(x).sharding.mesh.axis_types for x in data)
    return any(kind == AxisType.Explicit for axis_types in kinds for kind in axis_types or ())


def varying(x: Array) -> frozenset[str]:
    """The mesh axes over which an array varies inside `jax.shard_map`, if that is tracked."""
    return frozenset(jax.typeof(x).manual_axis_type.varying)


def vary_like(x: Array, *like: Array) -> Array:
    """x, typed as varying over the mesh axes over which any of the others does."""
    return vary_over(frozenset().union(*map(varying, like)), x)


def vary_over(axes: frozenset[str], x: Array) -> Array:
    """x, typed as varying over the mesh axes."""
    missing = tuple(axes - varying(x))
    return lax.pcast(x, missing, to="varying") if missing else x
