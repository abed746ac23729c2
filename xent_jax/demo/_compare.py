"""Every loss on every seed, trained side by side in one compiled program."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._data import Dataset
from ._errors import DemoError
from ._fit import History, chunk, settings
from ._losses import LOSSES, Method, method
from ._train import Losses, Optimizer, Rows, State, initial_state, train_epochs


class Comparison(NamedTuple):
    """What the losses, in the order of `LOSSES`, make of the test parts."""

    classes: tuple[str, ...]
    train_counts: np.ndarray  # [classes], the same for every seed
    confusion: np.ndarray  # [seeds, losses, classes, classes], counts: true class, predicted class

    @property
    def recalls(self) -> np.ndarray:
        """The share of the test rows of each class that is found [seeds, losses, classes]."""
        found = np.diagonal(self.confusion, axis1=-2, axis2=-1)
        return found / self.confusion.sum(axis=-1)

    @property
    def balanced_accuracy(self) -> np.ndarray:
        """The mean of the recalls [seeds, losses]."""
        return self.recalls.mean(axis=-1)


def compare(
    parts: Sequence[Dataset],
    seeds: Sequence[int],
    *,
    epochs: int,
    optimizer: Optimizer = "adam",
    learning_rate: float | None = None,
    batch_size: int | None = None,
    l2: float = 0.0,
    on_epochs: Callable[[int, History], None] | None = None,
) -> Comparison:
    """Fit every loss to every data set; seed i orders the rows of data set i.

    The data sets have the same number of rows of each class. Each fit is the one that
    `fit_softmax_classifier` does alone, with the options of that function; the callback gets means
    over all fits.
    """
    train = Rows(*_stack([(p.x_train, p.y_train) for p in parts]))
    test = Rows(*_stack([(p.x_test, p.y_test) for p in parts]))
    classes = len(parts[0].classes)
    counts = np.bincount(parts[0].y_train, minlength=classes)
    methods: Method = jax.tree.map(
        lambda *points: jnp.stack(points), *(method(loss, jnp.asarray(counts)) for loss in LOSSES)
    )
    rate, batch = settings(optimizer, learning_rate, batch_size, train.y.shape[1])
    fits = len(seeds), len(LOSSES)
    states: State = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (*fits, *jnp.shape(x))),
        initial_state(optimizer, rate, (train.x.shape[-1], classes)),
    )
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    steps = -(-train.y.shape[1] // batch) * fits[0] * fits[1]
    length = epochs if on_epochs is None else chunk(epochs, steps)
    predicted: Any = ()
    for first in range(0, epochs, length):
        states, losses, predicted = train_all(
            states,
            train,
            test,
            keys,
            first,
            rate,
            l2,
            methods,
            optimizer=optimizer,
            batch_size=batch,
            epochs=length,
            classes=classes,
        )
        part = History(*map(np.asarray, losses))
        _check_finite(part, first)
        if on_epochs is not None:
            on_epochs(length, History(*(values.mean(axis=(0, 1)) for values in part)))
    confusion = np.zeros((*fits, classes, classes), np.int64)
    for at in np.ndindex(fits):
        np.add.at(confusion[at], (np.asarray(test.y[at[0]]), np.asarray(predicted[at])), 1)
    return Comparison(parts[0].classes, counts, confusion)


@partial(jax.jit, static_argnames=("optimizer", "batch_size", "epochs", "classes"))
def train_all(
    states: State,
    train: Rows,
    test: Rows,
    keys: jax.Array,
    first: int,
    learning_rate: float | None,
    l2: float,
    methods: Method,
    **options: Any,
) -> tuple[State, Losses, jax.Array]:
    """`train_epochs` for seeds × methods, and the classes predicted for the test rows."""

    def fit(
        state: State, train: Rows, test: Rows, key: jax.Array, method: Method
    ) -> tuple[State, Losses, jax.Array]:
        state, losses = train_epochs(
            state,
            train,
            test,
            key,
            first,
            learning_rate,
            l2,
            method,
            head="dense",
            mesh=None,
            **options,
        )
        return state, losses, jnp.argmax(state.params.logits(test.x), axis=-1)

    of_a_seed = jax.vmap(fit, in_axes=(0, None, None, None, 0))
    return jax.vmap(of_a_seed, in_axes=(0, 0, 0, 0, None))(states, train, test, keys, methods)


def _stack(rows: list[tuple[np.ndarray, np.ndarray]]) -> tuple[jax.Array, jax.Array]:
    x, y = zip(*rows, strict=True)
    return jnp.stack(x), jnp.stack(y)


def _check_finite(history: History, first: int) -> None:
    finite = np.isfinite(history.objective) & np.isfinite(history.test)
    for number, loss in enumerate(LOSSES):
        epochs = finite[:, number].all(axis=0)
        if not epochs.all():
            raise DemoError(
                f"training diverged: with {loss} the loss of epoch {first + epochs.argmin() + 1} "
                "is not finite; try a smaller --learning-rate"
            )
