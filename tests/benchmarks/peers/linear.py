"""What others offer for the mean cross entropy of a linear head, as functions (x, w, labels)."""

import importlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array


def _optax(x: Array, w: Array, labels: Array) -> Array:
    logits = jnp.matmul(x, w, preferred_element_type=jnp.float32)
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels))


def _load() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {"optax, dense": _optax}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside other people's packages
        with suppress(ImportError, AttributeError):
            tokamax = importlib.import_module("tokamax").linear_softmax_cross_entropy_loss
            found["tokamax"] = lambda x, w, labels: tokamax(x, labels, w, reduction="mean")
        with suppress(ImportError, AttributeError):
            cce = importlib.import_module("jax_cce").linear_cross_entropy
            found["jax-cce"] = lambda x, w, labels: cce(x, w.T, labels)
    return found


PEERS = _load()
