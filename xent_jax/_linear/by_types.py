"""Under an explicit mesh: the types tell how the arguments are split, and each device does its own.

The function runs inside `jax.shard_map` over the explicit axes: tokens stay where they are, the
classes are split as w splits them, and the features of w are gathered once, in the dtype of w. The
transpose of that scatters the gradient once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from .reduce import Options

Names = tuple[str, ...]


class Given(NamedTuple):
    """The arguments by what their axes are, None where there is none.

    tokens: (tokens…, …), x first; heads: (D, K); classes: (K,); numbers: whatever is the same
    everywhere.
    """

    tokens: dict[str, Any]
    heads: dict[str, Any]
    classes: dict[str, Any]
    numbers: dict[str, Any]


Body = Callable[[str, Options, Given], Any]


def by_types(name: str, body: Body, options: Options, given: Given) -> Any:
    """body(name, options, given), on each device's share where an explicit mesh splits them."""
    leaves = jax.tree.leaves(given)
    if not any(map(_names, map(_spec, leaves))):
        return body(name, options, given)
    # Messages tell of whole shapes.
    whole = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), given)
    results = jax.eval_shape(lambda g: body(name, options, g), whole)
    mesh = next(m for m in (jax.typeof(x).sharding.mesh for x in leaves) if not m.empty)
    x = next(iter(given.tokens.values()))
    rows = _spec(x)[:-1]
    token_axes = _names(rows)
    split, specs, gathered = _split(given, mesh, rows, token_axes)
    class_axes = _classes_axes(given, token_axes)
    function = given.numbers.get("logits_fn")
    if class_axes and function is not None and function.rank:
        raise ValueError(
            f"{name}: logits_fn looks at all classes of a token, which {class_axes} split; make it "
            "elementwise, or give every device all of w with jax.reshard."
        )
    axis_name = _joined_names(options.axis_name, class_axes)
    inner = options._replace(axis_name=axis_name, token_axes=(*options.token_axes, *token_axes))

    def local(given: Given) -> Any:
        heads = {
            key: lax.all_gather(w, gathered[key], axis=0, tiled=True) if gathered[key] else w
            for key, w in given.heads.items()
        }
        return body(name, inner, given._replace(heads=heads))

    out = jax.tree.map(lambda x: P(*rows) if x.ndim else P(), results)
    axes = {a for a, kind in zip(mesh.axis_names, mesh.axis_types) if kind == AxisType.Explicit}
    run = jax.shard_map(local, mesh=mesh, in_specs=(specs,), out_specs=out, axis_names=axes)
    return run(split)


def _spec(x: Array) -> tuple[Any, ...]:
    """Per axis the mesh axes that the type of an array names, or None."""
    spec = tuple(jax.typeof(x).sharding.spec)
    return spec + (None,) * (x.ndim - len(spec))


def _names(spec: tuple[Any, ...]) -> Names:
    each = ((s,) if isinstance(s, str) else tuple(s or ()) for s in spec)
    return tuple(name for names in each for name in names)


def _classes_axes(given: Given, token_axes: Names) -> Names:
    """The mesh axes that split the classes: those of the first w, except what splits tokens."""
    w = next(iter(given.heads.values()))
    return tuple(a for a in _names(_spec(w)[1:]) if a not in token_axes) if w.ndim == 2 else ()


def _joined_names(given: Any, more: Names) -> Any:
    names = () if given is None else given if isinstance(given, tuple) else (given,)
    return (*names, *more) or None


def _split(
    given: Given, mesh: Any, rows: tuple[Any, ...], token_axes: Names
) -> tuple[Given, Given, dict[str, Names]]:
    """The arguments split alike, their specs, and over which axes each w is gathered."""
    classes = _classes_axes(given, token_axes) or None
    gathered = {}

    def put(x: Array, spec: tuple[Any, ...]) -> Array:
        wanted = P(*spec)
        same = _spec(x) == tuple(spec) + (None,) * (x.ndim - len(spec))
        return x if same else jax.reshard(x, NamedSharding(mesh, wanted))

    def of_heads(key: str, w: Array) -> P:
        features = _names(_spec(w)[:1])
        gathered[key] = features if set(features) <= set(token_axes) else ()
        return P(gathered[key] or None, classes)

    specs = Given(
        jax.tree.map(lambda _: P(*rows), given.tokens),
        {key: of_heads(key, w) for key, w in given.heads.items()},
        jax.tree.map(lambda x: P(classes) if x.ndim else P(), given.classes),
        jax.tree.map(lambda _: P(), given.numbers),
    )
    return jax.tree.map(put, given, specs), specs, gathered
