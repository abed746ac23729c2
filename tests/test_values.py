"""Every row of the table of calls against the definition of its function."""

import jax
import numpy as np
import pytest

from . import definitions
from .calls import CALLS, public_functions


def test_every_public_function_has_a_row_and_a_definition():
    assert {call.name for call in CALLS} == public_functions()
    for name in public_functions():
        assert callable(vars(definitions).get(name)), name


def clipped_plain(log_prob, logsumexp, entropy, argmax, correct, rank, *advantage):
    """That of tests/calls.py, of the numbers of all tokens."""
    gain = np.exp(log_prob)
    for a in advantage:
        gain = np.minimum(gain * a, a)
    return 0.01 * logsumexp - gain


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_value_is_its_definition(call):
    arrays = [x.astype(float) if x.dtype == np.float32 else x for x in call.arrays]
    first = [clipped_plain] if call.name == "linear_softmax_loss" else []
    define = getattr(definitions, call.name)
    want = define(*first, *arrays[: len(call.kinds)], **call.keywords(arrays))
    for got, true in zip(jax.tree.leaves(call(*call.arrays)), jax.tree.leaves(want), strict=True):
        size = np.abs(true[np.isfinite(true)]).max(initial=0)
        np.testing.assert_allclose(got, true, 2e-6, 1e-6 * size)
