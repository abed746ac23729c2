"""A user's function as data: its program is static, and what it closes over are arguments.

So a function may close over traced values, which are differentiated like any other argument, and a
fresh lambda of the same code is the same function to every cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
from jax.extend import core


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
        closed = core.ClosedJaxpr(self.program.jaxpr, self.closed_over)
        results = core.jaxpr_as_fun(closed)(*jax.tree.leaves(arguments))
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
        jaxpr = self.program.jaxpr
        return all(_keeps(j, jaxpr.invars[0].aval.shape) for j in _all_jaxprs(jaxpr))


def _keeps(jaxpr: core.Jaxpr, shape: tuple[int, ...]) -> bool:
    def fits(eqn: Any) -> bool:
        takes = any(x.aval.shape == shape for x in eqn.invars)
        return not takes or all(x.aval.shape == shape for x in eqn.outvars)

    return all(map(fits, jaxpr.eqns))


def _all_jaxprs(jaxpr: core.Jaxpr) -> Iterator[core.Jaxpr]:
    yield jaxpr
    for inner in core.subjaxprs(jaxpr):
        yield from _all_jaxprs(inner)


def traced_function(f: Callable[..., Any], *examples: Any) -> tuple[TracedFunction, Any]:
    """f traced at arguments of these shapes, and the shapes of its results."""
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


def _array_literals(jaxpr: core.Jaxpr) -> Iterator[int]:
    """Arrays inside the program, which its text leaves out in part."""
    for inner in _all_jaxprs(jaxpr):
        for eqn in inner.eqns:
            for x in eqn.invars:
                if isinstance(x, core.Literal) and getattr(x.val, "ndim", 0):
                    yield id(x.val)
