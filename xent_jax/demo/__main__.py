"""The entry point of `python -m xent_jax.demo`."""

import sys

from ._cli import main

sys.exit(main())
