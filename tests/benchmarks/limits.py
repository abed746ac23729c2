"""What the device can do at best: three kernels, measured in the same rounds as the functions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .functions import Function
from .timing import queued

_KERNELS = {
    "read": jax.jit(lambda x: jnp.max(x, -1)),
    "read+exp": jax.jit(lambda x: jnp.sum(jnp.exp(x.astype(jnp.float32)), -1)),
    # Negation, because a plain copy may be elided.
    "copy": jax.jit(jnp.negative),
}


def kernels(x: Array) -> dict[str, Callable[[], Any]]:
    """The kernels on an array of the shape and dtype in question."""

    return {n: functools.partial(queued(kernel), x) for n, kernel in _KERNELS.items()}


def least_seconds(function: Function, gradients: bool, kernel: dict[str, float]) -> float:
    """Every input read once, one exponential where needed, and every gradient written once."""
    value = function.exps * kernel["read+exp"] + function.reads * kernel["read"]
    return value + len(function.wrt) * kernel["copy"] * gradients
