"""An edge row beside an ordinary one, in value, reverse and forward mode, against the oracle.

The ordinary one must not notice its neighbour.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from .cases import QUICK

P = np.array([0.4, 0.3, 0.2, 0.1], np.float32)  # as probabilities, as logits and as labels
Q = np.array([0.125, 0.25, 0.5, 0.125], np.float32)
ORDINARY = np.array([1, 0, 1, 1], np.int32)  # labels of the sigmoid row; the first for the others


@functools.cache
def _compiled(function, options):
    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(arguments, where, direction):
        masked = {} if where is None else {"where": where}

        def of_one(i, x):
            full = [*arguments[:i], x, *arguments[i + 1 :]]
            return function(*full, **masked, **dict(options))

        values, reverse, forward = [], [], []
        for i in function.differentiable:
            x, f = arguments[i], functools.partial(of_one, i)
            value, pull = jax.vjp(f, x)
            reverse += pull(jnp.ones_like(value))
            primal, tangent = jax.jvp(f, [x], [jnp.broadcast_to(direction, x.shape)])
            values += [value, primal]
            forward.append(tangent)
        return values, reverse, forward

    return run


def _evaluate(function, options, arguments, where):
    """The value, and per floating argument its gradient by reverse and by forward mode."""
    basis = np.ones((1, 1)) if function.elementwise else np.eye(4)
    run = _compiled(function, tuple(options.items()))
    results = [run(arguments, where, row.astype(np.float32)) for row in basis]
    values, reverse, _ = jax.tree.map(np.asarray, results[0])
    for value in values[1:]:
        np.testing.assert_allclose(value, values[0], 1e-6)
    columns = zip(*(forward for _, _, forward in results), strict=True)
    forward = [x[0] if function.elementwise else np.stack(x, -1) for x in columns]
    return values[0], reverse, forward


def _truth(function, arguments, where, options):
    """The oracle's row, or all elements for the sigmoid row; an ignored label is 0."""
    options = dict(options)
    ignored = options.pop("ignore_index", None)
    if not function.elementwise:
        value, *gradients = function.truth(*arguments, where=where, **options)
        gone = function.kinds[-1] == "id" and ignored is not None and arguments[-1] == ignored
        return (0.0, *map(np.zeros_like, gradients)) if gone else (value, *gradients)
    columns = zip(*(function.truth(*a, **options) for a in zip(*arguments, strict=True)))
    gone = np.zeros(4, bool) if where is None else ~np.asarray(where)
    if function.kinds[-1] == "id" and ignored is not None:
        gone = gone | (arguments[-1] == ignored)
    return tuple(np.where(gone, 0, np.array(column, float)) for column in columns)


def run(function, first=P, second=Q, label=1, where=None, **options):
    """The edge's value and its gradients, after checking both examples against the oracle."""
    edge = {"p": first, "zp": first, "q": second, "zq": second, "y": second}
    edge["id"] = np.asarray(label, np.int32)
    plain = {"p": P, "zp": P, "q": Q, "zq": Q, "y": Q}
    plain["id"] = ORDINARY if function.elementwise else ORDINARY[0]
    if function.elementwise:
        edge["id"] = np.broadcast_to(edge["id"], 4)
    pairs = [(np.asarray(edge[kind]), np.asarray(plain[kind])) for kind in function.kinds]
    arguments = [np.stack(p).astype(np.int32 if p[1].dtype == np.int32 else P.dtype) for p in pairs]
    both = None if where is None else np.stack([where, np.full(4, True)])
    value, reverse, forward = _evaluate(function, options, arguments, both)
    for i in range(2):
        row = [x[i] for x in arguments]
        want, *gradients = _truth(function, row, None if both is None else both[i], options)
        np.testing.assert_allclose(value[i], want, 1e-6)
        true_gradients = gradients[: len(function.differentiable)]
        for rev, fwd, true in zip(reverse, forward, true_gradients, strict=True):
            undefined = np.isnan(true) | np.isnan(want)
            assert not np.isnan(rev[i][~undefined]).any(), (rev[i], true)
            if np.all(np.isfinite(rev[i])):
                np.testing.assert_allclose(fwd[i], rev[i], 1e-6, 1e-7)
            known = ~undefined & np.isfinite(true) & np.isfinite(want)
            size = np.abs(true[known]).max(initial=0)
            np.testing.assert_allclose(rev[i][known], true[known], 1e-6, 1e-6 * size)
    return value[0], [x[0] for x in reverse]
