"""How many tokens are worked on at a time, and which: what one device holds of each chunk.

A chunk is what one product for dx and one for dw take together; its parts are what has float32
logits at a time. Under a mesh that the compiler splits, an axis of the tokens is cut into one
stretch per device first and chunks take their share of every stretch, so that no token moves.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType

from .._math.dtypes import compute_dtype
from .heads import Head

_MIB = 2**20


class Limits(NamedTuple):
    """Tokens of a chunk and of each of its parts on one device, and the least common size."""

    chunk: int
    part: int
    multiple: int = 1
    pads_classes: bool = False


class Schedule(NamedTuple):
    """An axis of the tokens as stretches × chunks × parts × size, the end of each one filled up."""

    axis: int
    stretches: int
    chunks: Any
    parts: int
    size: int

    @property
    def is_whole(self) -> bool:
        return isinstance(self.chunks, int) and self.chunks == 1 and self.parts == 1

    def stretched(self, x: Array) -> Array:
        """(…, stretches, length, …)."""
        length = x.shape[self.axis] // self.stretches
        return x.reshape(*x.shape[: self.axis], self.stretches, length, *x.shape[self.axis + 1 :])

    def split(self, x: Array) -> Array:
        """Stretched tokens as (chunks, parts, tokens of a part…); no axis for a single part."""
        a = self.axis
        whole = self.chunks * self.parts * self.size
        x = _filled(x, a + 1, whole)
        x = x.reshape(*x.shape[: a + 1], self.chunks, self.parts, self.size, *x.shape[a + 2 :])
        x = jnp.moveaxis(x, (a + 1, a + 2), (0, 1))
        outer = (self.chunks,) if self.parts == 1 else (self.chunks, self.parts)
        inner = (*x.shape[2 : a + 2], self.stretches * self.size, *x.shape[a + 4 :])
        return x.reshape(*outer, *inner)

    def join(self, x: Array, length: Any) -> Array:
        """Stretched tokens again, without what fills up the end."""
        a = self.axis
        inner = x.shape[1 if self.parts == 1 else 2 :]
        x = x.reshape(
            self.chunks, self.parts, *inner[:a], self.stretches, self.size, *inner[a + 1 :]
        )
        x = jnp.moveaxis(x, (0, 1), (a + 1, a + 2))
        x = x.reshape(*x.shape[: a + 1], self.chunks * self.parts * self.size, *x.shape[a + 4 :])
        return jax.lax.slice_in_dim(x, 0, length, axis=a + 1)


def _filled(x: Array, axis: int, length: Any) -> Array:
    """x with zeros at the end of an axis. A token of zeros is left out by its mask and weight."""
    missing = length - x.shape[axis]
    if isinstance(missing, int) and missing == 0:
        return x
    zeros = jnp.zeros((*x.shape[:axis], missing, *x.shape[axis + 1 :]), x.dtype)
    return jnp.concatenate([x, zeros], axis)


class Devices(NamedTuple):
    """How many devices the compiler splits arrays over, and how many of them split the tokens."""

    all: int
    of_tokens: int


def devices_of(x: Array, of_tokens: int | None = None) -> Devices:
    """Those of the automatic axes of the mesh, of which no type tells what they split.

    Then all but the shortest axis, which may split the classes, are taken to split the tokens.
    """
    mesh = jax.typeof(x).sharding.mesh
    kinds = zip(mesh.axis_types or (), mesh.axis_sizes)
    sizes = [n for kind, n in kinds if kind == AxisType.Auto and n > 1]
    every = math.prod(sizes)
    likely = every // min(sizes) if len(sizes) > 1 else every
    return Devices(every, likely if of_tokens is None else of_tokens)


def schedule(tokens: tuple[Any, ...], devices: Devices, limits: Limits) -> Schedule:
    """Along the longest axis of the tokens."""
    known = [n if isinstance(n, int) else math.inf for n in tokens]
    axis = max(range(len(tokens)), key=known.__getitem__)
    others = math.prod(n for i, n in enumerate(tokens) if i != axis)
    stretches = math.gcd(tokens[axis], devices.all) if isinstance(tokens[axis], int) else 1
    length = tokens[axis] // stretches

    def along(limit: int) -> int:
        """A chunk takes one token of each stretch and of each of the others, at least."""
        each = others * stretches
        return max(1, limit * devices.of_tokens // max(each, 1)) if isinstance(each, int) else 1

    most, part = along(limits.chunk), along(limits.part)
    if isinstance(length, int) and length <= part:
        return Schedule(axis, stretches, 1, 1, max(length, 1))
    chunk, parts = _even(length, most, part, along(limits.multiple))
    return Schedule(axis, stretches, -(-length // chunk), parts, chunk // parts)


def _even(length: Any, most: int, part: int, multiple: int) -> tuple[int, int]:
    """A chunk, and its number of parts, that waste least of the last chunk."""
    if multiple == 1 and part == most:
        return -(-length // -(-length // most)) if isinstance(length, int) else most, 1
    multiple = min(multiple, part)
    sizes = []
    for chunk in range((most // (2 * multiple) + 1) * multiple, most + 1, multiple):
        fewest = -(-chunk // part)
        parts = (n for n in range(fewest, 2 * fewest + 1) if chunk % (n * multiple) == 0)
        sizes += [(chunk, n) for n in parts][:1]
    if not isinstance(length, int):
        return sizes[-1]
    return min(sizes, key=lambda size: (-(-length // size[0]) * size[0], -size[0]))


def limits(heads: tuple[Head, ...], given: int | None, masked: bool, cpu: bool) -> Limits:
    """What is given, or else what suits the platform; masked tokens are skipped by the chunk."""
    if given is not None:
        return Limits(given, given, pads_classes=not cpu)
    found = _on_cpu(heads) if cpu else _off_cpu(heads)
    if not masked:
        return found
    tokens = math.prod(heads[0].x.shape[:-1])
    # Five of nineteen are a little more than a quarter, ten than a half.
    some = -(-tokens // 19) if isinstance(tokens, int) else found.chunk
    chunk = min(found.chunk, max(some, 64 if cpu else 2048))
    return found._replace(chunk=chunk, part=min(found.part, chunk))


def _on_cpu(heads: tuple[Head, ...]) -> Limits:
    """The float32 logits of a chunk take 64 MiB, or a quarter of what dw takes if that is more."""
    shapes = (h.w.shape for h in heads)
    chunk = min(max(64 * _MIB // (4 * max(k, 1)), d // 4, 1) for d, k in shapes)
    chunk = max(1, chunk // len(heads))
    return Limits(chunk, chunk)


def _off_cpu(heads: tuple[Head, ...]) -> Limits:
    """So many tokens that passing dw through memory is little beside its product.

    4096 to 8192, fewer for the largest vocabularies: p − y of a chunk takes 1.25 GiB in the dtype
    of the operands, the float32 logits of a part 1 GiB.
    """
    classes = len(heads) * max(1, *(h.w.shape[1] for h in heads))
    narrow = max(h.w.dtype.itemsize for h in heads)
    wide = jnp.dtype(compute_dtype(heads[0].x)).itemsize
    chunk = min(8192, max(2048, 1280 * _MIB // (classes * narrow)))
    part = min(chunk, max(256, 1024 * _MIB // (classes * wide)))
    return Limits(chunk // 128 * 128, part // 128 * 128, 128, pads_classes=True)
