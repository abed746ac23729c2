"""What a peer offers: a form of some of the functions, bound to data as a call to be timed."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..timing import queued

Form = Callable[..., Any]


@dataclass(frozen=True)
class Bound:
    """A call without arguments, to be timed, and its temporaries."""

    call: Callable[[], Any]
    temporary_bytes: int | None = None


@dataclass(frozen=True)
class Peer:
    """Forms written in JAX, on arrays whose last axis holds the classes: one value per row.

    Sub-classes bind forms of other frameworks. `timed` is False for one without arrays on the
    device.
    """

    name: str
    version: str
    forms: Mapping[str, Form]
    timed: bool = True

    def bind(self, function: str, arrays: tuple[Any, ...], wrt: tuple[int, ...] = ()) -> Bound:
        """The values of all rows; with `wrt`, the mean value and its gradients instead."""
        # Called as users call it: an executable of its own would take a slower way in.
        jitted = jax.jit(with_gradients(self.forms[function], wrt))
        memory = jitted.lower(*arrays).compile().memory_analysis()
        return Bound(
            functools.partial(queued(jitted), *arrays),
            None if memory is None else memory.temp_size_in_bytes,
        )


def with_gradients(form: Form, wrt: tuple[int, ...]) -> Form:
    """The form itself, or the mean over the rows with its gradients if `wrt` names arguments."""
    if not wrt:
        return lambda *arrays: form(*arrays)
    return jax.value_and_grad(lambda *arrays: jnp.mean(form(*arrays)), wrt)
