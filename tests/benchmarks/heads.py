"""Heads of language models, and the ways to split them over a mesh of devices."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import xent_jax

from . import aot

MESH = (2, 4)  # devices along the axes data and model
ONE_DEVICE = (  # tokens, features, classes
    (8192, 4096, 131072),
    (32768, 2560, 128256),
    (4096, 4096, 151936),
    (16384, 2048, 50257),
)
TOKENS = (16, 2048)  # sequences of tokens: at least 4096 on each device, however they are split


@dataclass(frozen=True)
class Head:
    name: str
    features: int
    classes: int


@dataclass(frozen=True)
class Split:
    """The axes of the mesh that divide the tokens (sequences, length) and w (features, classes).

    `axes` says who moves what has to meet: the compiler, which reads off the arrays how they are
    split or has it in their types, or the author of a `shard_map`.
    """

    axes: str
    tokens: P
    w: P

    @property
    def devices(self) -> int:
        """How many do different work: those that divide the tokens or the classes."""
        names = {name for name in (*self.tokens, *self.w[1:]) if name}
        return math.prod(
            n for n, name in zip(MESH, ("data", "model"), strict=True) if name in names
        )

    def fits(self, head: Head) -> bool:
        """Whether every device has as many classes as the others."""
        return "model" not in self.w or head.classes % MESH[1] == 0


HEADS = (Head("GPT-2", 768, 50257), Head("SmolLM", 960, 49152), Head("Qwen", 4096, 151936))
AUTOMATIC, EXPLICIT, BY_HAND = "automatic", "explicit", "by hand"
SPLITS = (
    Split(AUTOMATIC, P("data"), P()),
    Split(AUTOMATIC, P(None, "data"), P()),
    Split(AUTOMATIC, P("data", "model"), P()),
    Split(AUTOMATIC, P("data", "model"), P("data")),
    Split(AUTOMATIC, P("data"), P(None, "model")),
    Split(AUTOMATIC, P("data"), P("data", "model")),
    Split(EXPLICIT, P(None, "data"), P()),
    Split(EXPLICIT, P("data"), P("data", "model")),
    Split(BY_HAND, P("data", "model"), P()),
    Split(BY_HAND, P("data"), P("data", "model")),
)


def times(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))


def ours(x: Array, w: Array, labels: Array) -> Array:
    """The mean cross entropy, the logits never formed."""
    return xent_jax.linear_softmax_cross_entropy(x, w, labels, reduction="mean")


def dense(x: Array, w: Array, labels: Array) -> Array:
    """The same by optax from all logits."""
    logits = (x @ w).astype(jnp.float32)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def split_step(
    target: str, head: Head, split: Split, dtype: str
) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
    """Loss and both gradients, its arguments, and where the results are: as x and w are split."""
    kind = AxisType.Explicit if split.axes == EXPLICIT else AxisType.Auto
    mesh = aot.mesh(target, MESH, kind=kind)
    x = aot.sharded(mesh, split.tokens, (*TOKENS, head.features), dtype)
    w = aot.sharded(mesh, split.w, (head.features, head.classes), dtype)
    labels = aot.sharded(mesh, split.tokens, TOKENS, "int32")
    loss = _by_hand(mesh, split) if split.axes == BY_HAND else ours
    results = NamedSharding(mesh, P()), (x.sharding, w.sharding)
    return jax.value_and_grad(loss, (0, 1)), (x, w, labels), results


def _by_hand(mesh: Mesh, split: Split) -> Callable[..., Array]:
    """Of each device its tokens and classes; the features of w are gathered before."""
    features, classes = (*split.w, None, None)[:2]
    tokens = float(math.prod(TOKENS))

    def part(x: Array, w: Array, labels: Array) -> Array:
        if features:
            w = jax.lax.all_gather(w, features, axis=0, tiled=True)
        loss = xent_jax.linear_softmax_cross_entropy(
            x, w, labels, reduction="mean", normalizer=tokens, axis_name=classes
        )
        return jax.lax.psum(loss, tuple(filter(None, split.tokens)))

    return jax.shard_map(
        part, mesh=mesh, in_specs=(split.tokens, split.w, split.tokens), out_specs=P()
    )
