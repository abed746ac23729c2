"""The compiled part of a fit: the model, its objective, and the scan over epochs and batches."""

from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

import xent_jax

from ._losses import Method
from ._mesh import CLASSES, ROWS, existing, split

Optimizer = Literal["adam", "sgd", "lbfgs"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)
Head = Literal["dense", "linear"]
HEADS: tuple[Head, ...] = get_args(Head)

# After each epoch: the objective, the training loss, and the test loss, if there is a test part.
Losses = tuple[jax.Array, jax.Array, jax.Array]

_PADDING = -1  # the label of the rows that fill up the last batch of an epoch


class Params(NamedTuple):
    """The classifier ``softmax(x @ weights + bias)``."""

    weights: jax.Array  # [features, classes]
    bias: jax.Array  # [classes]

    def logits(self, x: ArrayLike) -> jax.Array:
        """Logits [N, classes] of the inputs x [N, features]."""
        x = jnp.asarray(x, jnp.float32)
        # In full float32: by default TPUs and recent GPUs round the factors to fewer bits.
        return jnp.matmul(x, self.weights, precision="highest") + self.bias[None]


class Rows(NamedTuple):
    """Inputs x [N, features] in float32 and class ids y [N] in int32."""

    x: jax.Array
    y: jax.Array


class State(NamedTuple):
    """What a step carries to the next one."""

    params: Params
    optimizer: Any


def initial_state(
    optimizer: Optimizer, learning_rate: float | None, shape: tuple[int, int]
) -> State:
    """Start at zero: the objective is convex, and every class starts out equally likely."""
    params = Params(jnp.zeros(shape, jnp.float32), jnp.zeros(shape[1], jnp.float32))
    return State(params, _optimizer(optimizer, learning_rate).init(params))


@partial(jax.jit, static_argnames=("optimizer", "head", "batch_size", "epochs", "classes", "mesh"))
def train_epochs(
    state: State,
    train: Rows,
    test: Rows | None,
    key: jax.Array,
    first: int,
    learning_rate: float | None,
    l2: float,
    method: Method | None = None,
    *,
    optimizer: Optimizer,
    head: Head,
    batch_size: int,
    epochs: int,
    classes: int,
    mesh: Mesh | None,
) -> tuple[State, Losses]:
    """Train for ``epochs`` epochs, number ``first`` and on: one scan over epochs and batches.

    ``method`` is what the objective makes of the cross entropy, which None leaves as it is.
    """
    solver = optax.with_extra_args_support(_optimizer(optimizer, learning_rate))
    rows = len(train.y)
    missing = (
        -rows % batch_size
    )  # in the last batch; row number ``rows``, without a label, fills it
    padded = Rows(
        jnp.pad(train.x, ((0, 1), (0, 0))), jnp.pad(train.y, (0, 1), constant_values=_PADDING)
    )

    def mean_loss(params: Params, rows: Rows, method: Method | None = None) -> jax.Array:
        params = Params(
            split(params.weights, mesh, None, CLASSES), split(params.bias, mesh, CLASSES)
        )
        return _mean_loss(params, rows, method, head, existing(params.bias.size, classes))

    def step(state: State, batch: jax.Array) -> tuple[State, None]:
        x, y = padded.x[batch], padded.y[batch]
        chosen = Rows(split(x, mesh, ROWS), split(y, mesh, ROWS))

        def objective(params: Params) -> jax.Array:
            return mean_loss(params, chosen, method) + _penalty(params, l2)

        if optimizer == "lbfgs":  # its line search has been here already and kept both
            value_and_grad = optax.value_and_grad_from_state(objective)
            value, grad = value_and_grad(state.params, state=state.optimizer)
        else:
            value, grad = jax.value_and_grad(objective)(state.params)
        updates, inner = solver.update(
            grad, state.optimizer, state.params, value=value, grad=grad, value_fn=objective
        )
        params: Any = optax.apply_updates(state.params, updates)
        return State(params, inner), None

    def epoch(state: State, number: jax.Array) -> tuple[State, Losses]:
        order = jnp.arange(rows)
        if batch_size < rows:
            order = jax.random.permutation(jax.random.fold_in(key, number), rows)
        batches = jnp.pad(order, (0, missing), constant_values=rows).reshape(-1, batch_size)
        state, _ = jax.lax.scan(step, state, batches)
        loss = mean_loss(state.params, train)
        minimised = loss if method is None else mean_loss(state.params, train, method)
        held_out = jnp.zeros(0) if test is None else mean_loss(state.params, test)[None]
        return state, (minimised + _penalty(state.params, l2), loss, held_out)

    state, (objectives, losses, held_out) = jax.lax.scan(epoch, state, first + jnp.arange(epochs))
    return state, (objectives, losses, held_out.ravel())


def _mean_loss(
    params: Params, rows: Rows, method: Method | None, head: Head, where: jax.Array | None
) -> jax.Array:
    """The mean over the rows, each with the weight of its class."""
    if method is not None:
        params = Params(params.weights, params.bias + method.adjustment)
    if head == "linear":  # the same, without the logits [N, classes]
        with jax.default_matmul_precision("highest"):
            return xent_jax.linear_softmax_cross_entropy(
                rows.x,
                params.weights,
                rows.y,
                b=params.bias,
                where=where,
                ignore_index=_PADDING,
                reduction="mean",
                class_weights=None if method is None else method.class_weights,
                focal_gamma=None if method is None else method.gamma,
            )
    logits, where = params.logits(rows.x), None if where is None else where[None]
    if method is None:
        losses = xent_jax.softmax_cross_entropy(logits, rows.y, where=where, ignore_index=_PADDING)
        return jnp.sum(losses) / jnp.sum(rows.y != _PADDING, dtype=losses.dtype)
    losses = xent_jax.softmax_focal_loss(
        logits,
        rows.y,
        gamma=method.gamma,
        class_weights=method.class_weights,
        where=where,
        ignore_index=_PADDING,
    )
    counts = xent_jax.class_frequencies(rows.y, params.bias.size).astype(losses.dtype)
    return jnp.sum(losses) / jnp.sum(counts * method.class_weights)


def _penalty(params: Params, l2: float) -> jax.Array:
    return 0.5 * l2 * jnp.sum(params.weights**2)


def _optimizer(name: Optimizer, learning_rate: Any) -> Any:
    if name == "lbfgs":
        return optax.lbfgs()  # its line search finds the step length
    return {"adam": optax.adam, "sgd": optax.sgd}[name](learning_rate)
