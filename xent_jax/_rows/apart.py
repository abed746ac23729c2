"""What two parts of a program are not to share, or only where it costs nothing.

Where it is dear to compute twice, compilers write out what two kernels share, as large as the data.
Behind a barrier, or under names of their own, each computes all it needs. Those that read the same
data become one kernel of XLA:GPU, in which LLVM finds the names to be of one number and computes
once what is made of it. The compiler of a TPU shares within one kernel, and is left to it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._math.dtypes import widen


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def apart(numbers: Any, platforms: tuple[str, ...] = ("cpu", "gpu")) -> Any:
    """The same numbers, by which nothing is shared with kernels that use the given ones."""
    cpu, gpu = (lax.optimization_barrier if x in platforms else _same for x in ("cpu", "gpu"))
    return lax.platform_dependent(numbers, cpu=cpu, tpu=_same, default=gpu)


@apart.defjvp
def _apart_jvp(platforms: tuple[str, ...], primals: Any, tangents: Any) -> tuple[Any, Any]:
    # JAX 0.12 cannot transpose a barrier of which some operands alone are linear.
    return apart(*primals, platforms), tangents[0]


def _same(x: Any) -> Any:
    return x


@jax.custom_jvp
def data_apart(data: tuple[Array, ...]) -> tuple[Array, ...]:
    """The same floats, by which a CPU shares nothing, and a GPU within one kernel alone.

    A barrier around them would keep XLA:CPU from fusing what makes them: a 0 that it does not know
    to be one is added.
    """
    return lax.platform_dependent(data, cpu=_plus_0, tpu=_same, default=renamed)


@partial(data_apart.defjvp, symbolic_zeros=True)
def _data_apart_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    # What does not move stays without a tangent: times an infinite slope a 0 would be NaN.
    return data_apart(*primals), tangents[0]


def _plus_0(data: tuple[Array, ...]) -> tuple[Array, ...]:
    zero = lax.optimization_barrier(jnp.zeros(()))
    return tuple(x + zero.astype(x.dtype) for x in data)


def renamed(data: tuple[Array, ...], name: int = 1) -> tuple[Array, ...]:
    """The same floats, which XLA does not know to be the same, but LLVM does."""

    def under_name(x: Array) -> Array:
        wide = widen(x)  # as which they are used: XLA:GPU fuses 16-bit integers worse
        bits = lax.bitcast_convert_type(wide, f"uint{8 * wide.dtype.itemsize}")
        salt = jnp.array(name, bits.dtype)
        return lax.bitcast_convert_type((bits ^ salt) ^ salt, wide.dtype).astype(x.dtype)

    return tuple(map(under_name, data))
