"""One computation with the schedule of the platform that it is compiled for."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from .heads import Classes, Head, Plan
from .schedule import Limits, devices_of, limits


def by_platform(
    plan: Plan, heads: tuple[Head, ...], masked: bool, f: Callable[..., Any], *arguments: Any
) -> Any:
    """f(limits, *arguments) with the limits of the CPU there, and those of others elsewhere."""
    on_cpu, elsewhere = (limits(heads, plan.chunk, masked, cpu) for cpu in (True, False))
    if not _pads(heads, plan, elsewhere):
        elsewhere = elsewhere._replace(pads_classes=False)
    tokens = math.prod(heads[0].x.shape[:-1])
    fits = isinstance(tokens, int) and tokens <= min(on_cpu.part, elsewhere.part)
    if on_cpu == elsewhere or (fits and not elsewhere.pads_classes):
        return f(on_cpu, *arguments)
    known = _platform_of_mesh(heads[0].x)
    if known is not None:
        return f(on_cpu if known == "cpu" else elsewhere, *arguments)
    return lax.platform_dependent(
        *arguments, cpu=lambda *x: f(on_cpu, *x), default=lambda *x: f(elsewhere, *x)
    )


def limits_here(plan: Plan, heads: tuple[Head, ...]) -> Limits:
    """The limits where only one program can be traced: the platform of JAX, and no parts."""
    platform = _platform_of_mesh(heads[0].x) or jax.default_backend()
    found = limits(heads, plan.chunk, False, platform == "cpu")
    return found._replace(part=found.chunk, pads_classes=False)


def _platform_of_mesh(x: Array) -> str | None:
    return getattr(getattr(jax.typeof(x).sharding.mesh, "abstract_device", None), "platform", None)


def _pads(heads: tuple[Head, ...], plan: Plan, wanted: Limits) -> bool:
    """Whether the classes are padded: not where a mesh splits them, nor where they are few.

    XLA:GPU pads a product of 1000 classes and more to a multiple of 128 by itself, at every step.
    """
    classes = heads[0].w.shape[1]
    few = classes < 1024 or classes % 128 == 0
    split = plan.whole_rows or plan.class_axes or math.gcd(classes, devices_of(heads[0].w).all) > 1
    return wanted.pads_classes and not few and not split


def padded(
    limits: Limits, heads: tuple[Head, ...], classes: Classes
) -> tuple[tuple[Head, ...], Classes]:
    """If wanted, a multiple of 128 classes, of which the new ones do not exist.

    Their logits are −inf: a column of zeros would be a class.
    """
    if not limits.pads_classes:
        return heads, classes
    count = heads[0].w.shape[1]
    missing = -count % 128

    def pad(x: Any) -> Any:
        if x is None or x.shape[-1] != count:  # one number for all classes
            return x
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])

    kept = jnp.ones(count, bool) if classes.kept is None else classes.kept
    heads = tuple(Head(h.x, pad(h.w), pad(h.b)) for h in heads)
    return heads, classes._replace(kept=pad(kept), data=tuple(map(pad, classes.data)))


def cut(gradient: Array | None, x: Array | None) -> Any:
    """A gradient without the classes that only fill up, of which x has none."""
    return None if gradient is None or x is None else gradient[..., : x.shape[-1]]


def features_whole(x: Array | None) -> Any:
    """An array (D, K), if any, with all of D on each device, where the compiler splits arrays.

    So w is gathered once before the loop and dw scattered once after it, not at every chunk.
    """
    if x is None:
        return None
    mesh = jax.typeof(x).sharding.mesh
    if devices_of(x).all == 1 or AxisType.Explicit in mesh.axis_types:
        return x
    return lax.with_sharding_constraint(x, NamedSharding(mesh, P(None, P.UNCONSTRAINED)))
