"""Training on a mesh of devices: rows along its first axis, classes along its second."""

import contextlib

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ._errors import DemoError

ROWS, CLASSES = "rows", "classes"


def ask_for_devices(count: int) -> None:
    """On a CPU, split it into that many devices, if nothing has been computed yet."""
    with contextlib.suppress(RuntimeError):  # JAX runs already: it has the devices it has
        jax.config.update("jax_num_cpu_devices", count)
    if jax.device_count() < count:
        raise DemoError(
            f"--mesh asks for {count} devices, this machine has {jax.device_count()}; "
            "choose a smaller mesh"
        )


def make_mesh(shape: tuple[int, int] | None) -> Mesh | None:
    """The mesh, of automatic axes: XLA adds what the devices have to tell each other."""
    if shape is None:
        return None
    return jax.make_mesh(shape, (ROWS, CLASSES), axis_types=(AxisType.Auto,) * 2)


def round_up(n: int, mesh: Mesh | None, axis: str) -> int:
    """n, or the next multiple of the devices along that axis."""
    return n if mesh is None else -(-n // mesh.shape[axis]) * mesh.shape[axis]


def split(x: jax.Array, mesh: Mesh | None, *spec: str | None) -> jax.Array:
    """x, split over the mesh as spec says."""
    if mesh is None:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P(*spec)))


def existing(width: int, classes: int) -> jax.Array | None:
    """Which columns are classes; None if all are."""
    return None if width == classes else jnp.arange(width) < classes
