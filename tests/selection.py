"""Which cases run by default, and what a test needs of the machine."""

import jax
import pytest


def slow(*values, **named):
    """A case of the slow tests."""
    return pytest.param(*values, marks=pytest.mark.slow, **named)


def usually(few, all_of_them):
    """All of them, of which those not among the few are slow; the few by themselves or as text."""
    return [x if x in few or str(x) in few else slow(x) for x in all_of_them]


def each(functions, few=None):
    """Every function; where `few` are named, the others are slow."""
    functions = functions if few is None else usually(few, functions)
    return pytest.mark.parametrize("function", functions, ids=str)


several_devices = pytest.mark.skipif(
    len(jax.devices()) < 8, reason="needs eight devices: JAX_PLATFORMS=cpu has them"
)
cpu_program = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="a bound on what the CPU's compiler makes"
)
