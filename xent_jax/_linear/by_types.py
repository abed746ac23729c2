"""Under an explicit mesh: the compiler splits the work inside, the types say how at the border."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from .reduce import Options


class Given(NamedTuple):
    """The arguments by what their axes are, None where there is none.

    tokens: (tokens…, …), x first; heads: (D, K); classes: (K,); numbers: whatever has neither.
    """

    tokens: dict[str, Any]
    heads: dict[str, Any]
    classes: dict[str, Any]
    numbers: dict[str, Any]


def shaping(logits_fn: Any, softcap: Any, temperature: Any) -> dict[str, Any]:
    """What makes logits of x @ w + b, among the numbers."""
    return {"logits_fn": logits_fn, "softcap": softcap, "temperature": temperature}


Body = Callable[[str, Options, Given], Any]


def by_types(name: str, body: Body, options: Options, given: Given) -> Any:
    """body(name, options, given), whose results are split as the tokens of x are."""

    leaves = jax.tree.leaves(given)
    if not any(map(any, map(_spec, leaves))):
        return body(name, options, given)
    x = next(iter(given.tokens.values()))
    mesh = next(m for m in (jax.typeof(leaf).sharding.mesh for leaf in leaves) if not m.empty)
    whole, of_tokens = (NamedSharding(mesh, spec) for spec in (P(), P(*_spec(x)[:-1])))
    results: Any = of_tokens if options.reduction is None else whole
    if options.return_statistics:
        results = (results, of_tokens)
    kinds = zip(mesh.axis_names, mesh.axis_types)
    explicit = tuple(axis for axis, kind in kinds if kind == AxisType.Explicit)
    split = of_tokens.spec
    names = (a for axes in split for a in ((axes,) if isinstance(axes, str) else axes or ()))
    options = options._replace(devices=math.prod(mesh.shape[a] for a in names))

    def call(given: Given) -> Any:
        return body(name, options, given)

    return jax.sharding.auto_axes(call, axes=explicit, out_sharding=results)(given)


def _spec(x: Array) -> tuple[Any, ...]:
    """Per axis the mesh axes that the type of an array names, or None."""
    spec = tuple(jax.typeof(x).sharding.spec)
    return spec + (None,) * (x.ndim - len(spec))
