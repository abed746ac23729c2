"""What every test runs under: no silent promotion, eight CPU devices, repeatable examples."""

import gc
import os

import hypothesis
import jax
import pytest

from xent_jax._rows import cpu_blocks

# A library that promotes or broadcasts in silence fails for the users who forbid it.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 8)
# A compiler's plugin, where there is one, must not look for its device; who has one says so.
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))

# Caches of traces are many objects that live on: to go through all of them often costs much.
gc.set_threshold(100_000, 20, 100)

# Deadlines would count the compilation of the first example.
hypothesis.settings.register_profile("tests", derandomize=True, deadline=None, max_examples=25)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="module", autouse=True)
def cpu_devices(request):
    """Programs are those of a process with a single CPU device, as most users have it.

    A module of tests across devices says SEVERAL_DEVICES = True.
    """
    several = getattr(request.module, "SEVERAL_DEVICES", False)
    if several and len(jax.devices()) < 8:
        pytest.skip("needs eight devices: JAX_PLATFORMS=cpu has them")
    with pytest.MonkeyPatch.context() as patch:
        if several:
            jax.clear_caches()
        else:
            patch.setattr(cpu_blocks, "has_one_cpu_device", lambda: True)
        yield
    if several:
        jax.clear_caches()


@pytest.fixture(scope="module")
def as_by_default():
    """The promotion that those have who set nothing."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
