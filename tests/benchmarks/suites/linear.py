"""Loss and gradients of a linear head against bare matrix products: time, products, temporaries."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import xent_jax

from ..machine import free_bytes
from ..peers.linear import PEERS
from ..report import durations, markdown, significant
from ..settings import Row, Settings
from ..timing import interleave, medians

DEFAULT = False
# tokens, features, classes
_ON_CPU, _ON_GPU = (2048, 512, 32768), (8192, 4096, 131072)
_FORMS = {"mean": 3, "per token": 4}  # and the products that each takes at the least


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
    tokens, features, classes = _ON_CPU if jax.default_backend() == "cpu" else _ON_GPU
    if settings.shapes:
        tokens, classes = settings.shapes[0]
    needed = 8 * tokens * classes * jnp.dtype(settings.dtype).itemsize
    free = free_bytes()
    if free is not None and needed > free:
        settings.progress(f"skipped: needs {needed / 2**30:.1f} GiB for the bare products")
        return
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return jnp.asarray(rng.standard_normal(shape, np.float32), settings.dtype)

    x, w, g = draw(tokens, features), draw(features, classes) / features**0.5, draw(tokens, classes)
    labels = jnp.asarray(rng.integers(0, classes, tokens), jnp.int32)
    for form, count in _FORMS.items():
        settings.progress(f"linear {tokens}x{features}x{classes} {form}")
        variants = {"xent_jax": _ours("mean" if form == "mean" else None)} | {
            name: peer for name, peer in PEERS.items() if name in _wanted(settings)
        }
        gradients = {
            name: jax.jit(jax.value_and_grad(f, (0, 1))).lower(x, w, labels)
            for name, f in variants.items()
        }
        compiled = {name: low.compile() for name, low in gradients.items()}
        calls = {n: _call(c, x, w, labels) for n, c in compiled.items()}
        calls["bare products"] = _call(jax.jit(_bare(count)).lower(x, w, g).compile(), x, w, g)
        yield {
            "shape": f"{tokens}x{features}x{classes}",
            "form": form,
            "dtype": settings.dtype,
            "products": len(re.findall(r"\.dot_general", gradients["xent_jax"].as_text())),
            "bare_products": count,
            "temporary_bytes": {
                n: c.memory_analysis().temp_size_in_bytes for n, c in compiled.items()
            },
            "seconds": significant(interleave(calls, settings.repeats)),
        }


def _wanted(settings: Settings) -> set[str]:
    """optax and jax only where the peers asked for have them; the others where they import."""
    return {"tokamax", "jax-cce"} | {f"{p.name}, dense" for p in settings.peers}


def _call(compiled: Any, *arguments: Array) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(compiled(*arguments))


def describe(row: Row) -> str:
    seconds = medians(row["seconds"])
    bare, ours = seconds.pop("bare products"), seconds["xent_jax"]
    temporaries = row["temporary_bytes"]["xent_jax"] / 2**20
    return (
        f"{row['shape']:>16} {row['form']:<10} {row['products']} products,"
        f" ÷ {row['bare_products']} bare products {ours / bare:.2f}"
        f"  temporaries {temporaries:.0f} MiB  [{durations(seconds)}]"
    )


def tables(rows: list[Row]) -> dict[str, str]:
    header = ["loss and both gradients", "matrix products", "÷ as many bare products"]
    header += ["temporaries", "÷ dense optax", "its temporaries"]

    def cells(row: Row) -> Iterator[str]:
        seconds, memory = medians(row["seconds"]), row["temporary_bytes"]
        ours, dense = seconds["xent_jax"], seconds.get("optax, dense")
        yield f"{row['form']}, {row['shape'].replace('x', ' × ')}"
        yield str(row["products"])
        yield f"{ours / seconds['bare products']:.2f}"
        yield f"{memory['xent_jax'] / 2**20:.0f} MiB"
        yield "—" if dense is None else f"{ours / dense:.2f}"
        yield "—" if dense is None else f"{memory['optax, dense'] / 2**20:.0f} MiB"

    return {"": markdown(header, (list(cells(row)) for row in rows))}
