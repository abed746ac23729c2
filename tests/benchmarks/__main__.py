"""`python -m tests.benchmarks`."""

from .cli import main

raise SystemExit(main())
