"""The CPU's schedule: a row function in blocks of rows that stay in cache.

XLA on the CPU writes out whatever stands between two sums over the classes. Written to memory that
is the slowest part of a row function by far; a block of a few rows is written to cache instead. A
GPU or a TPU fuses the same formula into its sums, and gets it whole.

Blocks are for a process with a single CPU device. Where a mesh splits the rows a loop over them
would gather what is split, a mesh is not always visible while tracing, and XLA:CPU has computed
wrong products beside such a loop when several devices ran it.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, across, is_sharded, local
from .._math.dtypes import of_bits
from .._math.sizes import is_one

# Entries of all inputs in a block: with what a formula writes, a few MiB, as caches hold; fewer
# where that is a part of the whole that counts.
_LARGEST, _SMALLEST, _BLOCKS = 1 << 20, 1 << 17, 192
# In a loop XLA:CPU adds up a row by itself one entry after the other, which loses digits.
_FEWEST = 2


def in_blocks(f: Callable[..., Any], axes: Axes, *data: Array | None) -> Any:
    """f(axes, *data): one number per row, or a tree of such, with the class axes of size one.

    Inputs of size one along the other axes are shared by the rows. What `jax.vmap` adds is one more
    axis of rows, so that a batch of small rows is computed in blocks as well.
    """
    if not local(axes) or across(axes) or not has_one_cpu_device():
        return f(axes, *data)

    @jax.custom_batching.custom_vmap
    def run(*data: Array | None) -> Any:
        arrays = jax.tree.leaves(data)
        along, shape = _longest(arrays, axes), _common_shape(arrays)
        if along is None or _is_small(shape) or is_sharded(*arrays):
            return f(axes, *data)
        rows = max(_FEWEST, _rows_of_block(shape[along], sum(x.size for x in arrays)))
        if shape[along] <= rows:
            return f(axes, *data)
        return lax.platform_dependent(
            *data, cpu=lambda *x: _map(f, axes, along, rows, x), default=lambda *x: f(axes, *x)
        )

    @run.def_vmap
    def _(size: int, batched: Any, *data: Array | None) -> tuple[Any, Any]:
        data = jax.tree.map(lambda x, b: x if b else x[None], data, tuple(batched))
        result = in_blocks(f, tuple(a + 1 for a in local(axes)), *data)
        result = jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *x.shape[1:])), result)
        return result, jax.tree.map(lambda _: True, result)

    return run(*data)


def has_one_cpu_device() -> bool:
    try:
        return jax.device_count("cpu") == 1
    except RuntimeError:  # the process has no CPU backend
        return False


def _common_shape(arrays: list[Array]) -> tuple[int, ...]:
    """The longest of the inputs along each axis."""
    return tuple(map(_longest_of, zip(*(x.shape for x in arrays), strict=True)))


def _longest_of(sizes: tuple[int, ...]) -> int:
    """The size that is not one; symbolic sizes cannot be compared."""
    return next((n for n in sizes if not is_one(n)), 1)


def _rows_of_block(rows: int, entries: int) -> int:
    block = max(_SMALLEST, min(_LARGEST, entries // _BLOCKS))
    return block * rows // entries


def _is_small(shape: tuple[int, ...]) -> bool:
    """Whether the whole is a block or two; a symbolic shape has no blocks."""
    return not all(isinstance(n, int) for n in shape) or math.prod(shape) < 4 * _SMALLEST


def _longest(arrays: list[Array], axes: Axes) -> int | None:
    """The longest axis of rows, if there is one with two rows at least."""
    shape = _common_shape(arrays)
    rows = [a for a, n in enumerate(shape) if a not in axes and isinstance(n, int) and n > 1]
    return max(rows, key=shape.__getitem__, default=None)


def _map(f: Callable[..., Any], axes: Axes, along: int, rows: int, data: Any) -> Any:
    """f on blocks of so many rows; the last one begins early enough to be as long as the others."""
    total = _common_shape(jax.tree.leaves(data))[along]
    starts = [min(start, total - rows) for start in range(0, total, rows)]

    def block(start: Array) -> Any:
        def part(x: Array) -> Array:
            if x.shape[along] == 1:
                return x
            x, here = lax.optimization_barrier((x, start))
            return of_bits(lambda x: lax.dynamic_slice_in_dim(x, here, rows, along), x)

        return f(axes, *jax.tree.map(part, data))

    def join(x: Array) -> Array:
        if x.shape[along + 1] == 1:  # shared by the rows
            return x[0]
        whole = jnp.moveaxis(x[:-1], 0, along).reshape(
            *x.shape[1 : along + 1], (len(starts) - 1) * rows, *x.shape[along + 2 :]
        )
        last = lax.slice_in_dim(x[-1], len(starts) * rows - total, rows, axis=along)
        return jnp.concatenate([whole, last], axis=along)

    return jax.tree.map(join, lax.map(block, jnp.asarray(starts)))
