"""Interleaved timing: what slows the machine down for a while slows every variant down alike."""

import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax

Calls = dict[str, Callable[[], Any]]
_LONG = 0.2
_LEAST = 0.02  # what shorter samples of a GPU tell depends on the host


def interleave(calls: Calls, repeats: int) -> dict[str, list[float]]:
    """Seconds per call of every variant, one sample per round.

    A sample repeats a short call until it lasts about `_LEAST` seconds. Each round has another
    order, so that none always follows the same neighbour.
    """
    counts = {}
    for name, call in calls.items():
        seconds = sample(call, 1)
        if seconds < _LONG:  # a long call needs no second one to warm up
            seconds = sample(call, 1)
        counts[name] = max(1, min(10_000, round(_LEAST / seconds)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    for _ in range(repeats):
        shuffle(order)
        for name in order:
            samples[name].append(sample(calls[name], counts[name]))
    return samples


def sample(call: Callable[[], Any], count: int) -> float:
    """The mean seconds of `count` calls, of which an accelerator has the next ones in its queue."""
    start = time.perf_counter()
    for _ in range(count):
        result = call()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / count


def queued(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call; on the CPU, where the next one would run beside it, with a wait for its result."""
    if jax.default_backend() != "cpu":
        return call
    return lambda *arguments: jax.block_until_ready(call(*arguments))


def medians(samples: dict[str, list[float]]) -> dict[str, float]:
    return {name: median(seconds) for name, seconds in samples.items()}


def best_peer(seconds: dict[str, float], ours: str) -> tuple[str, float] | None:
    """The fastest of the others and ours ÷ its time; None where there is no other."""
    others = {name: s for name, s in seconds.items() if name != ours}
    if not others:
        return None
    name = min(others, key=others.__getitem__)
    return name, seconds[ours] / others[name]
