"""Row functions block by block where that is faster: on the CPU, in blocks that stay in cache.

XLA on the CPU writes out whatever stands between two sums over the classes. Written to memory that
is the slowest part of a row function by far; a block of a few rows is written to cache instead. A
GPU or a TPU fuses the same formula into its sums, and gets it whole.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

# Class axes: axes of the array, then names of the mesh axes over which they are split, if any.
Axes = tuple[int | str, ...]


def local(axes: Axes) -> tuple[int, ...]:
    """The class axes of the array itself."""
    return tuple(a for a in axes if not isinstance(a, str))


def across(axes: Axes) -> tuple[str, ...]:
    """The mesh axes over which the classes are split."""
    return tuple(a for a in axes if isinstance(a, str))


# Entries of one input in a block: with what a formula writes, a few MiB, as caches hold.
_BLOCK = 1 << 18


def in_blocks(f: Callable[..., Any], axes: Axes, *data: Array) -> Any:
    """f(axes, *data): one number per row, or a tree of such, with the class axes of size one.

    Inputs of size one along the other axes are shared by the rows. What `jax.vmap` adds is one more
    axis of rows, so that a batch of small rows is computed in blocks as well.
    """

    @jax.custom_batching.custom_vmap
    def run(*data: Array) -> Any:
        along = _longest(data, axes)
        shape = _shape(data)
        small = math.prod(shape) < 2 * _BLOCK
        if along is None or small or across(axes) or is_sharded(*data):
            return f(axes, *data)
        rows = max(1, _BLOCK * shape[along] // math.prod(shape))
        return lax.platform_dependent(
            *data, cpu=lambda *x: _map(f, axes, along, rows, x), default=lambda *x: f(axes, *x)
        )

    @run.def_vmap
    def _(size: int, batched: list[bool], *data: Array) -> tuple[Any, Any]:
        data = tuple(x if b else x[None] for x, b in zip(data, batched, strict=True))
        result = in_blocks(f, (*(a + 1 for a in local(axes)), *across(axes)), *data)
        result = jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *x.shape[1:])), result)
        return result, jax.tree.map(lambda _: True, result)

    return run(*data)


def _shape(data: tuple[Array, ...]) -> tuple[int, ...]:
    """The longest of the inputs along each axis."""
    return tuple(max(sizes) for sizes in zip(*(x.shape for x in data), strict=True))


def _longest(data: tuple[Array, ...], axes: Axes) -> int | None:
    """The longest axis of rows, if there is one with two rows at least."""
    shape = _shape(data)
    rows = [a for a in range(len(shape)) if a not in axes and shape[a] > 1]
    return max(rows, key=shape.__getitem__, default=None)


def is_sharded(*data: Array) -> bool:
    """Whether the type of an input names mesh axes: a loop over rows would gather what is split."""
    return any(name is not None for x in data for name in jax.typeof(x).sharding.spec)


def _map(f: Callable[..., Any], axes: Axes, along: int, rows: int, data: tuple[Array, ...]) -> Any:
    """f on blocks of so many rows; the last one begins early enough to be as long as the others."""
    total = max(x.shape[along] for x in data)
    starts = [min(start, total - rows) for start in range(0, total, rows)]

    def block(start: Array) -> Any:
        def part(x: Array) -> Array:
            return x if x.shape[along] == 1 else lax.dynamic_slice_in_dim(x, start, rows, along)

        return f(axes, *map(part, data))

    def join(x: Array) -> Array:
        whole = jnp.moveaxis(x[:-1], 0, along).reshape(
            *x.shape[1 : along + 1], (len(starts) - 1) * rows, *x.shape[along + 2 :]
        )
        last = lax.slice_in_dim(x[-1], len(starts) * rows - total, rows, axis=along)
        return jnp.concatenate([whole, last], axis=along)

    return jax.tree.map(join, lax.map(block, jnp.asarray(starts)))
