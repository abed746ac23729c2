"""Loss and gradients of a linear head against bare matrix products: time, products, temporaries."""

import functools
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import xent_jax

from ..heads import ONE_DEVICE, times
from ..machine import free_bytes
from ..peers.linear import PEERS
from ..report import durations, gib, markdown, ratio, significant
from ..settings import Row, Settings
from ..timing import interleave, medians, queued

DEFAULT = False
PACKAGES = ("tokamax", "jax-cce", "liger-kernel")  # whose versions belong to the results
# tokens, features, classes
_ON_CPU = (2048, 512, 32768)
_FORMS = {"mean": 3, "per token": 4}  # and the products that each takes at the least
_BARE = "bare products"


def _ours(reduction: str | None) -> Callable[..., Array]:
    def loss(x: Array, w: Array, labels: Array) -> Array:
        value = xent_jax.linear_softmax_cross_entropy(x, w, labels, reduction=reduction)
        return jnp.mean(value)

    return loss


def _bare(count: int) -> Callable[..., Any]:
    """As many products as loss and gradients take, on the same operands, and nothing else."""

    def products(x: Array, w: Array, g: Array) -> Any:
        further = [(x + 1) @ w] if count == 4 else []
        return x @ w, g @ w.T, x.T @ g, *further

    return products


def run(settings: Settings) -> Iterator[Row]:
    """Every form at the first size, then the mean at the others."""
    for number, sizes in enumerate(_sizes(settings)):
        tokens, _, classes = sizes
        needed = 8 * tokens * classes * jnp.dtype(settings.dtype).itemsize
        free = free_bytes()
        if free is not None and needed > free:
            settings.progress(
                f"skipped {times(sizes)}: needs {gib(needed)} GiB for the bare products"
            )
            continue
        for form in _FORMS if number == 0 else ("mean",):
            settings.progress(f"linear {times(sizes)} {form}")
            yield _measure(settings, sizes, form)


def _sizes(settings: Settings) -> tuple[tuple[int, ...], ...]:
    on_cpu = jax.default_backend() == "cpu"
    features = (_ON_CPU if on_cpu else ONE_DEVICE[0])[1]
    given = tuple((tokens, features, classes) for tokens, classes in settings.shapes or ())
    return given or ((_ON_CPU,) if on_cpu else ONE_DEVICE)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _data(sizes: tuple[int, ...], dtype: str) -> tuple[Array, ...]:
    """x, w, labels, and what stands for the gradient of the logits in bare products."""
    tokens, features, classes = sizes
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (tokens, features), dtype)
    w = jax.random.normal(keys[1], (features, classes), dtype) / features**0.5
    labels = jax.random.randint(keys[2], (tokens,), 0, classes)
    return x, w.astype(dtype), labels, jax.random.normal(keys[3], (tokens, classes), dtype)


def _measure(settings: Settings, sizes: tuple[int, ...], form: str) -> Row:
    x, w, labels, g = _data(sizes, settings.dtype)
    lowered = jax.jit(jax.value_and_grad(_ours("mean" if form == "mean" else None), (0, 1))).lower(
        x, w, labels
    )
    compiled = {"xent_jax": lowered.compile()}
    for name in sorted(_wanted(settings) & set(PEERS)):
        with _left_out_if_broken(settings, name):
            step = jax.jit(jax.value_and_grad(PEERS[name], (0, 1))).lower(x, w, labels).compile()
            jax.block_until_ready(step(x, w, labels))
            compiled[name] = step
    calls = {n: functools.partial(queued(c), x, w, labels) for n, c in compiled.items()}
    bare = jax.jit(_bare(_FORMS[form])).lower(x, w, g).compile()
    calls[_BARE] = functools.partial(queued(bare), x, w, g)
    if any(peer.name == "torch" and peer.timed for peer in settings.peers):
        for name, call in _torch_calls(x, w, labels).items():
            with _left_out_if_broken(settings, name):
                jax.block_until_ready(call())
                calls[name] = call
    seconds = significant(interleave(calls, settings.repeats))
    return {
        "shape": "x".join(map(str, sizes)),
        "form": form,
        "dtype": settings.dtype,
        "products": len(re.findall(r"\.dot_general", lowered.as_text())),
        "bare_products": _FORMS[form],
        "temporary_bytes": {n: c.memory_analysis().temp_size_in_bytes for n, c in compiled.items()},
        "seconds": seconds,
    }


@contextmanager
def _left_out_if_broken(settings: Settings, name: str) -> Iterator[None]:
    """Kernels of other people fail on some sizes and devices: the others are still measured."""
    try:
        yield
    except Exception as problem:
        settings.progress(f"{name} left out: {str(problem)[:200]}")


def _torch_calls(*arguments: Array) -> dict[str, Callable[[], Any]]:
    return importlib.import_module("..peers.linear_torch", __package__).calls(*arguments)


def _wanted(settings: Settings) -> set[str]:
    """optax and jax only where the peers asked for have them; the others where they import."""
    return {"tokamax", "jax-cce"} | {f"{p.name}, dense" for p in settings.peers}


def describe(row: Row) -> str:
    seconds = medians(row["seconds"])
    bare, ours = seconds.pop(_BARE), seconds["xent_jax"]
    temporaries = row["temporary_bytes"]["xent_jax"] / 2**20
    return (
        f"{row['shape']:>16} {row['form']:<10} {row['products']} products,"
        f" ÷ {row['bare_products']} bare products {ours / bare:.2f}"
        f"  temporaries {temporaries:.0f} MiB  [{durations(seconds)}]"
    )


def tables(rows: list[Row]) -> dict[str, str]:
    """Times in units of the bare products, and temporaries in GiB, of ours and of each peer."""
    names = dict.fromkeys(name for row in rows for name in row["seconds"] if name != _BARE)
    compiled = dict.fromkeys(name for row in rows for name in row["temporary_bytes"])
    header = ["loss and both gradients", "matrix products", *names]
    return {
        "": markdown(
            header, ([_title(row), str(row["products"]), *_times(row, names)] for row in rows)
        ),
        "temporaries": markdown(
            ["temporaries, GiB", *compiled],
            ([_title(row), *_memory(row, compiled)] for row in rows),
        ),
    }


def _title(row: Row) -> str:
    return f"{row['form']}, {row['shape'].replace('x', ' × ')}"


def _times(row: Row, names: Iterable[str]) -> Iterator[str]:
    seconds = medians(row["seconds"])
    return (ratio(seconds[n] / seconds[_BARE] if n in seconds else None) for n in names)


def _memory(row: Row, names: Iterable[str]) -> Iterator[str]:
    kept = row["temporary_bytes"]
    return (gib(kept[name]) if name in kept else "—" for name in names)
