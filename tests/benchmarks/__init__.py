"""Speed, memory and accuracy of xent_jax beside other libraries: `python -m tests.benchmarks`."""
