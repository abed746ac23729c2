"""A user's function as data: its program is static, and what it closes over are arguments.

So a function may close over traced values, which are differentiated like any other argument, and a
fresh lambda of the same code is the same function to every cache.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
from jax import lax

from .._class_axes import vary_over
from .per_token import at_each


@cache
def _core() -> Any:
    """JAX's types of programs; they bring in Pallas, which those who use them wait for alone."""
    from jax.extend import core

    return core


@dataclass(frozen=True, eq=False)
class _Program:
    """A jaxpr, equal to another one of the same text, whose first arguments are closed over.

    What the text does not show in full, such as rules of differentiation, is told by identity.
    """

    jaxpr: Any
    out_tree: Any
    rank: int
    text: str
    opaque: tuple[Any, ...]

    def _key(self) -> Any:
        return self.text, self.out_tree, self.rank, self.opaque

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


@jax.tree_util.register_pytree_node_class
class TracedFunction:
    """A function traced at some shapes; `rank` is that of its first argument."""

    def __init__(self, program: _Program, closed_over: tuple[Any, ...]):
        self.program, self.closed_over = program, closed_over

    def tree_flatten(self) -> tuple[tuple[Any, ...], _Program]:
        return self.closed_over, self.program

    @classmethod
    def tree_unflatten(cls, program: _Program, closed_over: Any) -> "TracedFunction":
        return cls(program, tuple(closed_over))

    @property
    def _inputs(self) -> list[Any]:
        """The variables of the arguments, behind those of what is closed over."""
        jaxpr = self.program.jaxpr
        return jaxpr.invars[len(self.closed_over) - len(jaxpr.constvars) :]

    @property
    def rank(self) -> int:
        return self.program.rank

    def __call__(self, *arguments: Any) -> Any:
        jaxpr, leaves = self.program.jaxpr, jax.tree.leaves(arguments)
        wanted = [x.aval for x in self._inputs]
        count = len(self.closed_over) - len(jaxpr.constvars)
        first, inside = self.closed_over[:count], self.closed_over[count:]
        results = _evaluate(jaxpr, inside, (*first, *map(_as_traced, leaves, wanted)))
        return jax.tree.unflatten(self.program.out_tree, results)

    def at_each(self, count: int, *arguments: Any) -> Any:
        """Its values along the first `count` axes of all arguments."""
        return at_each(self.__call__, count)(*arguments)

    @property
    def reads(self) -> list[bool]:
        """Per argument, whether the program looks at it."""
        jaxpr = self.program.jaxpr
        used = {id(x) for eqn in jaxpr.eqns for x in eqn.invars} | {id(x) for x in jaxpr.outvars}
        return [id(x) in used for x in self._inputs]

    @property
    def keeps_shapes(self) -> bool:
        """Whether no operation makes another shape of one like the first argument."""
        jaxpr: Any = self.program.jaxpr
        shape = self._inputs[0].aval.shape
        return all(_keeps(j, shape) for j in _all_jaxprs(jaxpr))


def _evaluate(jaxpr: Any, closed_over: Any, arguments: Any) -> list[Any]:
    """The results. What is closed over may vary over a mesh already, before any loop."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed_over, *arguments), strict=True))

    def read(x: Any) -> Any:
        return x.val if isinstance(x, _core().Literal) else values[x]

    for eqn in jaxpr.eqns:
        given = [read(x) for x in eqn.invars]
        if eqn.primitive.name in ("jit", "pjit"):
            inner = eqn.params["jaxpr"]
            results = _evaluate(inner.jaxpr, inner.consts, given)
        elif eqn.primitive.name == "pvary":
            results = list(map(_as_traced, given, (x.aval for x in eqn.outvars)))
        else:
            params = eqn.primitive.get_bind_params(eqn.params)
            results = eqn.primitive.bind(*given, **params)
            results = results if eqn.primitive.multiple_results else [results]
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _as_traced(x: Any, wanted: Any) -> Any:
    """The argument, varying over the mesh axes over which that of the trace did."""
    return vary_over(frozenset(wanted.manual_axis_type.varying), x)


def _keeps(jaxpr: Any, shape: tuple[int, ...]) -> bool:
    def fits(eqn: Any) -> bool:
        takes = any(x.aval.shape == shape for x in eqn.invars)
        return not takes or all(x.aval.shape == shape for x in eqn.outvars)

    return all(map(fits, jaxpr.eqns))


def _all_jaxprs(jaxpr: Any) -> Iterator[Any]:
    yield jaxpr
    for inner in _core().subjaxprs(jaxpr):
        yield from _all_jaxprs(inner)


def traced_function(
    f: Callable[..., Any], *examples: Any, over: tuple[str, ...] = ()
) -> tuple[TracedFunction, Any]:
    """f traced at arguments of these shapes, and the shapes of its results.

    `over` names the mesh axes over which the arguments vary, inside `jax.shard_map`.
    """
    kept = _kept(f)
    key = (over, jax.tree.structure(examples), *map(str, jax.tree.leaves(examples)))
    if key not in kept:
        function, out = _traced(f, examples, over)
        if function.closed_over:
            return function, out
        kept[key] = function, out
    return kept[key]


_functions: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


def _kept(f: Any) -> dict[Any, Any]:
    """What has been traced of a function that closes over nothing: its rules stay the same."""
    try:
        return _functions.setdefault(f, {})
    except TypeError:  # it has no hash, or nothing may refer to it weakly
        return {}


def _traced(
    f: Callable[..., Any], examples: tuple[Any, ...], over: tuple[str, ...]
) -> tuple[TracedFunction, Any]:
    # Otherwise in no mesh: under an explicit one it is called where the compiler splits.
    nowhere = jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ()))
    with nullcontext() if over else nowhere:
        examples = jax.tree.map(partial(_varying_over, over), examples)
        first, out = jax.make_jaxpr(f, return_shape=True)(*examples)
        # Once more with what is closed over as arguments: what a jit inside closes over comes out.
        given = first.consts if over else list(map(_struct, first.consts))
        leaves = jax.tree.leaves(examples)
        closed = jax.make_jaxpr(partial(_evaluate, first.jaxpr))(given, leaves)
    rank = leaves[0].ndim if leaves else 0
    opaque = tuple(_opaque(closed.jaxpr))
    program = _Program(closed.jaxpr, jax.tree.structure(out), rank, str(closed.jaxpr), opaque)
    return TracedFunction(program, (*first.consts, *closed.consts)), out


def _struct(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(x), jax.dtypes.canonicalize_dtype(x.dtype))


def _opaque(jaxpr: Any) -> Iterator[Any]:
    """What the text of a program leaves out: arrays inside, functions, rules; to be compared."""
    for eqn in jaxpr.eqns:
        for x in eqn.invars:
            if isinstance(x, _core().Literal) and getattr(x.val, "ndim", 0):
                yield id(x.val)
        for value in jax.tree.leaves(eqn.params, is_leaf=_is_jaxpr):
            if _is_jaxpr(value):
                yield from map(id, getattr(value, "consts", ()))
                yield from _opaque(getattr(value, "jaxpr", value))
            elif isinstance(value, Hashable):
                yield value
            else:
                yield id(value)


def _is_jaxpr(x: Any) -> bool:
    return isinstance(x, (_core().Jaxpr, _core().ClosedJaxpr))


def _varying_over(axes: tuple[str, ...], x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    if not axes:
        return x
    return jax.eval_shape(lambda: lax.pcast(jnp.zeros(x.shape, x.dtype), axes, to="varying"))
