"""Conditions on values, which `jax.experimental.checkify` reports inside `value_checks` alone."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import checkify

# Part of the key of every cache of jax.jit: what is traced inside is not used outside.
_wanted = jax.make_user_context(False)


def value_checks() -> AbstractContextManager[None]:
    """A context in which the functions of this package state the conditions on their values.

    Outside it no trace carries them: bad values give NaN for their example alone, at no cost.

    Example:
        >>> import jax.numpy as jnp
        >>> from jax.experimental import checkify
        >>> import xent_jax
        >>> checked = checkify.checkify(xent_jax.entropy, errors=checkify.user_checks)
        >>> with xent_jax.value_checks():
        ...     error, value = checked(jnp.array([0.5, -0.5, 1.0]))
        >>> print(error.get().splitlines()[0])
        entropy: p holds a negative or NaN probability. (`check` failed)

    See also: `jax.debug_nans` for where a NaN first appears.
    """
    return _wanted(True)


def values_wanted() -> bool:
    """Whether the trace is inside `value_checks`."""
    return _wanted.value


def condition(holds: Callable[[], Array], message: str) -> None:
    """State that the array is true throughout; it is computed only where that is asked for."""
    if values_wanted():
        checkify.debug_check(jnp.all(holds()), message)


def probabilities(name: str, argument: str, p: Array) -> None:
    condition(lambda: p >= 0, f"{name}: {argument} holds a negative or NaN probability.")


def no_nan(name: str, argument: str, x: Array) -> None:
    condition(lambda: ~jnp.isnan(x), f"{name}: {argument} holds NaN.")


def ids_in_range(name: str, valid: Callable[[], Array], classes: int) -> None:
    condition(valid, f"{name}: labels holds an id outside [0, {classes}) that is not ignored.")


def unit_interval(name: str, argument: str, valid: Callable[[], Array]) -> None:
    condition(valid, f"{name}: {argument} holds a value outside [0, 1] that is not ignored.")


def binary_probabilities(name: str, argument: str, p: Array) -> None:
    hint = f"for logits take {name.replace('binary', 'sigmoid')}."
    message = f"{name}: {argument} holds a NaN, or a number outside [0, 1]; {hint}"
    condition(lambda: (p >= 0) & (p <= 1), message)


def some_class_possible(name: str, argument: str, possible: Callable[[], Array]) -> None:
    condition(possible, f"{name}: a row of {argument} is −inf everywhere: no class is possible.")
