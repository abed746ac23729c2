"""Programs for an accelerator that is not there: compiled ahead of time, read, never run.

A target is "h200", or a TPU topology such as "v5e:2x4", "v5p:2x2x2", "v6e:2x4", "tpu7x:2x2x1". It
takes the compiler, which is a plugin of JAX, but no driver and no device. What is read is the
structure of a program, not its time: nothing is tuned for a device.
"""

import functools
import importlib.util
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from . import hlo, products

TARGETS = ("h200", "v5p:2x2x1")
OF_EIGHT_DEVICES = ("h200", "v5p:2x2x2")
_H200 = Path(__file__).parent / "h200.txtpb"
# Otherwise libtpu asks the metadata server of a cloud machine which TPU it is on, and complains.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
}
_GPU = 'pip install "jax-cuda13-plugin=={0}" "jax-cuda13-pjrt=={0}"'
_TPU = 'pip install "jax[tpu]=={0}"'


class Unavailable(Exception):
    """No program can be compiled for a target here, and why."""


@dataclass(frozen=True)
class Report:
    """Of one device. `flops` are those of matrix products; TPU compilers alone estimate a time."""

    compile_seconds: float
    temporary_bytes: int
    traffic_bytes: int
    kernels: int
    collective_bytes: dict[str, int]
    transfers: list[hlo.Transfer]
    flops: int
    estimated_seconds: float | None


def stay_on_cpu() -> None:
    """Keeps JAX from looking for devices, which a plugin without its device does loudly."""
    jax.config.update("jax_platforms", "cpu")


def install(target: str) -> str:
    """The command that brings the compiler for the JAX that is here."""
    return (_GPU if target == "h200" else _TPU).format(jax.__version__)


def available(target: str) -> bool:
    """Whether the compiler for the target is installed."""
    plugin = ("jax_plugins", "xla_cuda13") if target == "h200" else ("libtpu",)
    found = (importlib.util.find_spec(".".join(plugin[: n + 1])) for n in range(len(plugin)))
    return all(found)


@functools.cache
def devices(target: str) -> Sequence[Any]:
    """The devices of the target: eight H200, or those of the TPU topology."""
    if not available(target):
        raise Unavailable(f"{target} has no compiler here: {install(target)}")
    try:
        if target == "h200":
            given = {"target_config": _H200.read_text(encoding="utf-8"), "topology": "1x1x8"}
            return topologies.get_topology_desc(target, "cuda", **given).devices
        for name, value in _NO_TPU.items():
            os.environ.setdefault(name, value)
        return topologies.get_topology_desc(target, "tpu").devices
    except Exception as error:  # whatever type the plugin in question raises
        raise Unavailable(f"{target}: {str(error).strip().splitlines()[0]}") from error


def array(target: str, shape: Sequence[int], dtype: Any = "float32") -> jax.ShapeDtypeStruct:
    """An array on the first device of the target."""
    sharding = SingleDeviceSharding(devices(target)[0])
    return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=sharding)


def mesh(
    target: str,
    shape: tuple[int, ...] = (2, 4),
    axes: tuple[str, ...] = ("data", "model"),
    kind: AxisType = AxisType.Auto,
) -> Mesh:
    """A mesh of the first devices of the target."""
    chosen = np.array(devices(target)[: math.prod(shape)]).reshape(shape)
    return Mesh(chosen, axes, axis_types=(kind,) * len(axes))


def sharded(
    mesh: Mesh, spec: PartitionSpec, shape: Sequence[int], dtype: Any = "float32"
) -> jax.ShapeDtypeStruct:
    """An array split over a mesh."""
    return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=NamedSharding(mesh, spec))


def program(f: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, Any]:
    """The report as it is kept, of a program whose tracing nothing has shortened."""
    jax.clear_caches()
    found = asdict(report(f, *arguments, **options))
    return found | {"compile_seconds": float(f"{found['compile_seconds']:.2g}")}


def report(f: Callable[..., Any], *arguments: Any, **options: Any) -> Report:
    """Compiles f for the devices of its arguments; `options` are those of jax.jit."""
    start = time.perf_counter()
    compiled = jax.jit(f, **options).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    text, memory = compiled.as_text() or "", compiled.memory_analysis()
    assert memory is not None, "every compiler named above tells of its memory"
    return Report(
        seconds,
        memory.temp_size_in_bytes,
        hlo.traffic(text),
        sum(times for times, _ in hlo.kernels(text)),
        hlo.collectives(text),
        hlo.transfers(text),
        products.flops(text),
        (compiled.cost_analysis() or {}).get("optimal_seconds"),
    )
