"""`fit_softmax_classifier`: softmax regression, by minimising a loss with optax."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import xent_jax

from ._data import Dataset
from ._errors import DemoError
from ._losses import Loss, Method, method_of

OPTIMIZERS = {"adam": optax.adam, "sgd": optax.sgd}
Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class Training:
    """The options of a fit. Those that are not compared leave the compiled program as it is."""

    loss: Loss = field(default="cross-entropy", compare=False)
    optimizer: Literal["adam", "sgd"] = "adam"
    epochs: int = 100
    learning_rate: float = 0.01
    batch_size: int = 64  # at most; all batches of an epoch have one size
    l2: float = 1e-3
    seed: int = field(default=0, compare=False)


class Params(NamedTuple):
    """The classifier ``softmax(x @ weights + bias)``."""

    weights: jax.Array  # [features, classes]
    bias: jax.Array  # [classes]

    def logits(self, x: jax.Array) -> jax.Array:
        """Logits [N, classes] of the inputs x [N, features]."""
        # In full float32: by default TPUs and recent GPUs round the factors to fewer bits.
        return jnp.matmul(x, self.weights, precision="highest") + self.bias[None]


class History(NamedTuple):
    """One number per epoch, in nats, measured on all rows at the end of the epoch."""

    objective: Any  # what is minimised: the loss of the training rows + l2/2 ‖weights‖²
    train: Any  # mean cross entropy of the training rows
    test: Any  # mean cross entropy of the test rows


class State(NamedTuple):
    """What one step carries to the next."""

    params: Params
    optimizer: Any
    key: jax.Array  # of the order of the rows


def fit_softmax_classifier(
    data: Dataset, training: Training | None = None, progress: Progress = iter
) -> tuple[Params, History]:
    """Fit a softmax classifier by minimising the mean cross entropy with optax, in float32.

    min over W, b of  1/N Σᵢ H(yᵢ, softmax(xᵢ W + b)) + l2/2 ‖W‖²

    The bias is not penalised, so scikit-learn's ``LogisticRegression(C=1 / (N * l2))`` has the same
    optimum. This objective is convex; W and b start at zero, where the loss is log(classes).

    Args:
      data: the rows to train on, and those to test after each epoch.
      training: how to train, by default ``Training()``.
      progress: wraps the loop over epochs, as ``tqdm.tqdm`` does.

    Returns:
      Weights [features, classes] and bias [classes]; and per epoch, in nats, the objective, and the
      plain cross entropy of the training and of the test rows.

    Example:
      >>> from xent_jax.demo import Training, fit_softmax_classifier, load_digits
      >>> training = Training(optimizer="sgd", learning_rate=0.1, epochs=2)
      >>> params, history = fit_softmax_classifier(load_digits(), training)
      >>> params.weights.shape, bool(history.objective[1] < history.objective[0])
      ((64, 10), True)
    """
    training = training or Training()
    features, classes = len(data.features), len(data.classes)
    params = Params(jnp.zeros((features, classes), jnp.float32), jnp.zeros(classes, jnp.float32))
    solver = OPTIMIZERS[training.optimizer](training.learning_rate)
    state = State(params, solver.init(params), jax.random.key(training.seed))
    train_epoch = partial(
        _train_epoch,
        train=jax.device_put((data.x_train, data.y_train)),
        test=jax.device_put((data.x_test, data.y_test)),
        method=method_of(training.loss, np.bincount(data.y_train, minlength=classes)),
        training=training,
    )
    state, losses = train_epoch(state)  # compiles, before the progress is measured
    history = [losses]
    for _ in progress(range(1, training.epochs)):
        state, losses = train_epoch(state)
        history.append(jax.device_get(losses))
    history = History(*map(np.array, zip(*history)))
    if not np.isfinite(history.objective).all():
        raise DemoError("training diverged; try a smaller --learning-rate or --l2")
    return state.params, history


@partial(jax.jit, static_argnames="training")
def _train_epoch(
    state: State, *, train: Any, test: Any, method: Method | None, training: Training
) -> tuple[State, History]:
    """One scan over batches; ``train`` and ``test`` are inputs and class ids."""
    x, y = train
    solver = OPTIMIZERS[training.optimizer](training.learning_rate)

    def objective(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        penalty = training.l2 / 2 * jnp.sum(params.weights**2)
        return mean_loss(params, x, y, method) + penalty

    def step(state: State, batch: jax.Array) -> tuple[State, None]:
        grads = jax.grad(objective)(state.params, x[batch], y[batch])
        updates, optimizer = solver.update(grads, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        return State(params, optimizer, state.key), None

    key, now = jax.random.split(state.key)
    steps = -(-len(y) // training.batch_size)
    size = len(y) // steps  # of every batch; the few rows beyond them are left out this time
    batches = jax.random.permutation(now, len(y))[: steps * size].reshape(steps, size)
    state, _ = jax.lax.scan(step, state._replace(key=key), batches)
    params = state.params
    losses = objective(params, x, y), mean_loss(params, x, y), mean_loss(params, *test)
    return state, History(*losses)


def mean_loss(
    params: Params, x: jax.Array, y: jax.Array, method: Method | None = None
) -> jax.Array:
    """The mean cross entropy, or with a method its loss, each row with the weight of its class."""
    logits = params.logits(x)
    if method is None:
        return xent_jax.softmax_cross_entropy(logits, y).mean()
    weights, adjustment, gamma = method
    logits += adjustment[None]
    losses = xent_jax.softmax_focal_loss(logits, y, gamma=gamma, class_weights=weights)
    return losses.sum() / weights[y].sum()
