"""A user's function as data: its program is static, and what it closes over are arguments.

So a function may close over traced values, which are differentiated like any other argument, and a
fresh lambda of the same code is the same function to every cache.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from .._class_axes import vary_over


@dataclass(frozen=True, eq=False)
class _Program:
    """A jaxpr, equal to another one of the same text; arrays inside are told by identity."""

    jaxpr: core.Jaxpr
    out_tree: Any
    rank: int
    text: str
    literals: tuple[int, ...]

    def _key(self) -> Any:
        return self.text, self.out_tree, self.rank, self.literals

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
    def rank(self) -> int:
        return self.program.rank

    def __call__(self, *arguments: Any) -> Any:
        jaxpr = self.program.jaxpr
        wanted = [x.aval for x in jaxpr.invars]
        given = map(_as_traced, jax.tree.leaves(arguments), wanted)
        results = _evaluate(jaxpr, self.closed_over, given)
        return jax.tree.unflatten(self.program.out_tree, results)

    def at_each(self, count: int, *arguments: Any) -> Any:
        """Its values along the first `count` axes of all arguments."""
        return reduce(lambda f, _: jax.vmap(f), range(count), self.__call__)(*arguments)

    @property
    def reads(self) -> list[bool]:
        """Per argument, whether the program looks at it."""
        jaxpr = self.program.jaxpr
        used = {id(x) for eqn in jaxpr.eqns for x in eqn.invars} | {id(x) for x in jaxpr.outvars}
        return [id(x) in used for x in jaxpr.invars]

    @property
    def keeps_shapes(self) -> bool:
        """Whether no operation makes another shape of one like the first argument."""
        jaxpr: Any = self.program.jaxpr
        return all(_keeps(j, jaxpr.invars[0].aval.shape) for j in _all_jaxprs(jaxpr))


def _evaluate(jaxpr: Any, closed_over: Any, arguments: Any) -> list[Any]:
    """The results. What is closed over may vary over a mesh already, before any loop."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed_over, *arguments), strict=True))

    def read(x: Any) -> Any:
        return x.val if isinstance(x, core.Literal) else values[x]

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


def _all_jaxprs(jaxpr: core.Jaxpr) -> Iterator[core.Jaxpr]:
    yield jaxpr
    for inner in core.subjaxprs(jaxpr):
        yield from _all_jaxprs(inner)


def traced_function(
    f: Callable[..., Any], *examples: Any, over: tuple[str, ...] = ()
) -> tuple[TracedFunction, Any]:
    """f traced at arguments of these shapes, and the shapes of its results.

    `over` names the mesh axes over which the arguments vary, inside `jax.shard_map`.
    """
    # Otherwise in no mesh: under an explicit one it is called where the compiler splits.
    nowhere = jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ()))
    with nullcontext() if over else nowhere:
        examples = jax.tree.map(partial(_varying_over, over), examples)
        closed, out = jax.make_jaxpr(f, return_shape=True)(*examples)
    first = jax.tree.leaves(examples)
    program = _Program(
        closed.jaxpr,
        jax.tree.structure(out),
        first[0].ndim if first else 0,
        str(closed.jaxpr),
        tuple(_array_literals(closed.jaxpr)),
    )
    return TracedFunction(program, tuple(closed.consts)), out


def _varying_over(axes: tuple[str, ...], x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    if not axes:
        return x
    return jax.eval_shape(lambda: lax.pcast(jnp.zeros(x.shape, x.dtype), axes, to="varying"))


def _array_literals(jaxpr: core.Jaxpr) -> Iterator[int]:
    """Arrays inside the program, which its text leaves out in part."""
    for inner in _all_jaxprs(jaxpr):
        for eqn in inner.eqns:
            for x in eqn.invars:
                if isinstance(x, core.Literal) and getattr(x.val, "ndim", 0):
                    yield id(x.val)
