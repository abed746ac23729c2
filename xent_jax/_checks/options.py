"""Options that are numbers or choices."""

import operator
from typing import Any

import jax


def log_base(name: str, base: Any) -> float:
    try:
        number = float(base)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: base must be a number or None, got {base!r}.") from None
    if not number > 0.0 or number == 1.0 or number == float("inf"):
        raise ValueError(
            f"{name}: base must be positive, finite and not 1, got {base!r}; "
            "use base=2 for bits, or None for nats."
        )
    return number


def reduction(name: str, given: Any, normalizer: Any) -> None:
    if given not in (None, "sum", "mean"):
        raise ValueError(f'{name}: reduction must be None, "sum" or "mean", got {given!r}.')
    if normalizer is not None and given != "mean":
        raise ValueError(
            f'{name}: normalizer is what reduction="mean" divides by, got reduction={given!r}; '
            'pass reduction="mean".'
        )


def chunk_size(name: str, given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not hasattr(given, "__index__") or operator.index(given) < 1:
        raise ValueError(
            f"{name}: chunk_size must be a positive int or None, got {given!r}; "
            "None chooses it from the shapes."
        )
    return operator.index(given)


def logits_fn(name: str, given: Any, z: Any) -> None:
    """Whether the function maps logits of shape z elementwise, as far as shapes can tell."""
    if given is None:
        return
    try:
        out = jax.eval_shape(given, z)
        fits = out.shape == z.shape and out.dtype == z.dtype
        got = f"{out.dtype}{list(out.shape)}"
    except (TypeError, AttributeError) as error:
        fits, got = False, str(error).splitlines()[0]
    if not fits:
        raise TypeError(
            f"{name}: logits_fn must map an array to one of the same shape and dtype, for "
            f"{z.dtype}{list(z.shape)} got {got}; use elementwise functions such as "
            "lambda z: 30 * jnp.tanh(z / 30)."
        )


def estimator(name: str, kind: Any) -> None:
    if kind not in ("k1", "k2", "k3"):
        raise ValueError(f'{name}: kind must be "k1", "k2" or "k3", got {kind!r}.')
