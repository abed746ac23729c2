"""`fit_softmax_classifier`: softmax regression, by minimising a loss with optax."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ._losses import LOSSES, Loss, method_of
from ._mesh import CLASSES, ROWS, make_mesh, round_up
from ._train import HEADS, OPTIMIZERS, Head, Optimizer, Params, Rows, initial_state, train_epochs

BATCH_SIZE = 64
EPOCHS = 100
LEARNING_RATES: dict[Optimizer, float] = {"adam": 0.01, "sgd": 0.1}

# A watched fit returns from compiled code this often at least, as far as whole epochs allow.
_CALLS = 50
_STEPS = 5000  # a fraction of a second for a small model


class History(NamedTuple):
    """One number per epoch, in nats, measured on all rows at the end of the epoch."""

    objective: np.ndarray  # what is minimised: the loss of the training rows + l2/2 ‖weights‖²
    train: np.ndarray  # mean cross entropy of the training rows
    test: np.ndarray  # mean cross entropy of the test rows; empty without them


class Fit(NamedTuple):
    """The result of a fit: the parameters, and the losses on the way to them."""

    params: Params
    history: History


def fit_softmax_classifier(
    x: ArrayLike,
    y: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    num_classes: int | None = None,
    epochs: int = EPOCHS,
    optimizer: Optimizer = "adam",
    loss: Loss = "cross-entropy",
    head: Head = "dense",
    learning_rate: float | None = None,
    batch_size: int | None = None,
    l2: float = 0.0,
    seed: int = 0,
    mesh: tuple[int, int] | None = None,
    on_epochs: Callable[[int, History], None] | None = None,
) -> Fit:
    """Fit a softmax classifier by minimising the mean cross entropy with optax, in float32.

    min over W, b of  1/N Σᵢ H(yᵢ, softmax(xᵢ W + b)) + l2/2 ‖W‖²

    The bias is not penalised, so scikit-learn's ``LogisticRegression(C=1 / (N * l2))`` has the same
    optimum. This objective is convex; W and b start at zero, where the loss is log(classes).

    Args:
      x: inputs [N, features]. Scale them first: all features share one learning rate and one l2.
      y: class ids [N], integers from 0.
      test: inputs [M, features] and ids [M], measured after every epoch and never trained on.
      num_classes: by default the largest id of ``y`` and of the test ids, plus 1.
      epochs: passes over the rows; for "lbfgs" iterations, each on all rows at once.
      optimizer: "adam", "sgd" (plain gradient descent) or "lbfgs".
      loss: "cross-entropy", or one for imbalanced classes that takes its place in the objective:
        "weighted" by `balanced_class_weights` of ``y``, "effective-number" by
        `effective_number_weights` with β = 0.99, "focal" with γ = 2, or "logit-adjusted" by
        `logit_adjustment`, in training only. With class weights the mean is the weighted one.
      head: "dense", or "linear" for `linear_softmax_cross_entropy`, which never forms the logits
        [N, classes]: for many classes. Both give the same result.
      learning_rate: by default 0.01 for "adam" and 0.1 for "sgd"; "lbfgs" takes none.
      batch_size: rows in a step, by default 64 and at most N; "lbfgs" takes none.
      l2: weight of the penalty on W.
      seed: seed of the order in which each epoch visits the rows.
      mesh: devices along the rows of a batch and along the classes, such as (2, 4); by default one
        device does it all. The result is the same to rounding.
      on_epochs: called now and then with how many epochs went by and their history. The fit then
        also returns from compiled code that often, so that Ctrl-C acts at once.

    Returns:
      ``(params, history)``: weights [features, classes] and bias [classes]; and, per epoch [epochs]
      in nats, the objective, and the plain cross entropy of the training and of the test rows,
      whatever the loss. Once the objective is no longer finite the fit stops, and the history ends
      with that epoch.

    Example:
      >>> from xent_jax.demo import fit_softmax_classifier
      >>> x, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 1, 0, 1]
      >>> params, history = fit_softmax_classifier(x, y, optimizer="sgd", epochs=10, l2=0.1)
      >>> params.weights.shape, params.bias.shape, history.train.shape
      ((1, 2), (2,), (10,))
      >>> bool(history.objective[-1] < history.objective[0])
      True
    """
    if head not in HEADS:
        raise ValueError(f"fit_softmax_classifier: head must be one of {HEADS}, got {head!r}")
    if loss not in LOSSES:
        raise ValueError(f"fit_softmax_classifier: loss must be one of {LOSSES}, got {loss!r}")
    train = _rows(x, y, "x and y")
    held_out = None if test is None else _rows(*test, "test")
    classes = _num_classes(train, held_out, num_classes)
    learning_rate, batch_size = settings(optimizer, learning_rate, batch_size, len(train.y))
    if epochs < 1:
        raise ValueError(f"fit_softmax_classifier: epochs must be at least 1, got {epochs}")

    devices = make_mesh(mesh)
    batch_size = round_up(batch_size, devices, ROWS)
    width = round_up(classes, devices, CLASSES)
    state = initial_state(optimizer, learning_rate, (train.x.shape[1], width))
    method = method_of(loss, train.y, classes, width)
    length = epochs if on_epochs is None else chunk(epochs, -(-len(train.y) // batch_size))
    key = jax.random.key(seed)
    history: list[History] = []
    for first in range(0, epochs, length):
        state, losses = train_epochs(
            state,
            train,
            held_out,
            key,
            first,
            learning_rate,
            l2,
            method,
            optimizer=optimizer,
            head=head,
            batch_size=batch_size,
            epochs=length,
            classes=classes,
            mesh=devices,
        )
        part = History(*map(np.asarray, losses))
        finite = np.isfinite(part.objective)
        if not finite.all():
            history.append(History(*(values[: finite.argmin() + 1] for values in part)))
            break
        history.append(part)
        if on_epochs is not None:
            on_epochs(length, part)
    weights, bias = (jnp.asarray(np.asarray(p)[..., :classes]) for p in state.params)
    return Fit(Params(weights, bias), History(*map(np.concatenate, zip(*history, strict=True))))


def chunk(epochs: int, steps: int) -> int:
    """The epochs of one call: a divisor of ``epochs``, so that all calls share one compilation."""
    most = max(1, min(epochs // _CALLS, _STEPS // steps))
    return next(length for length in range(most, 0, -1) if epochs % length == 0)


def _rows(x: ArrayLike, y: ArrayLike, name: str) -> Rows:
    x, y = np.asarray(x, np.float32), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1] or not y.size:
        raise ValueError(
            "fit_softmax_classifier: x must be [N, features] and y [N] with N > 0, "
            f"got {name} of shapes {x.shape} and {y.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(
            f"fit_softmax_classifier: y must hold integer class ids, got {y.dtype}; "
            "np.unique(y, return_inverse=True)[1] numbers labels of any kind"
        )
    return Rows(jnp.asarray(x), jnp.asarray(y, jnp.int32))


def _num_classes(train: Rows, test: Rows | None, num_classes: int | None) -> int:
    ids = np.concatenate([rows.y for rows in (train, test) if rows is not None])
    classes = int(ids.max()) + 1 if num_classes is None else num_classes
    if ids.min() < 0 or ids.max() >= classes:
        raise ValueError(
            f"fit_softmax_classifier: class ids must lie in [0, {classes}), "
            f"got {ids.min()} to {ids.max()}"
        )
    return classes


def settings(
    optimizer: Optimizer, learning_rate: float | None, batch_size: int | None, rows: int
) -> tuple[float | None, int]:
    """The learning rate and the batch size to train with."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"fit_softmax_classifier: optimizer must be one of {OPTIMIZERS}, got {optimizer!r}"
        )
    if optimizer == "lbfgs":
        if learning_rate is not None or batch_size is not None:
            raise ValueError(
                "fit_softmax_classifier: lbfgs takes no learning_rate and no batch_size: "
                "it searches for each step length, on all rows at once"
            )
        return None, rows
    learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    batch_size = BATCH_SIZE if batch_size is None else batch_size
    if not (learning_rate > 0 and batch_size > 0):
        raise ValueError(
            "fit_softmax_classifier: learning_rate and batch_size must be positive, "
            f"got {learning_rate} and {batch_size}"
        )
    return learning_rate, min(batch_size, rows)
