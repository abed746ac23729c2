"""What the statistics of the dense and of the linear row give, and their names."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._call import in_base


class SoftmaxStatistics(NamedTuple):
    """What `softmax_statistics` and `linear_softmax_statistics` tell of each example.

    Without labels `log_prob` and `correct` are None.

    Example:
        >>> found = SoftmaxStatistics(None, 0.0, 0.0, 0, None)
        >>> found._fields
        ('log_prob', 'logsumexp', 'entropy', 'argmax', 'correct')
    """

    log_prob: Array | None
    logsumexp: Array
    entropy: Array
    argmax: Array
    correct: Array | None


# So that an exported function may return them.
jax.export.register_namedtuple_serialization(
    SoftmaxStatistics, serialized_name="xent_jax.SoftmaxStatistics"
)


def statistics_names(labelled: bool) -> tuple[str, ...]:
    """The numbers of a row that the statistics are made of."""
    return ("logsumexp", "entropy", "argmax", *(("at_label",) if labelled else ()))


def as_statistics(
    name: str,
    numbers: dict[str, Array],
    ids: Array | None,
    valid: Array | None,
    row_mask: Array | None,
    base: Any,
) -> SoftmaxStatistics:
    """The statistics from the numbers of each row, all of one shape; the ids are in range."""
    logsumexp, entropy = (in_base(name, numbers[n], base) for n in ("logsumexp", "entropy"))
    argmax = numbers["argmax"]
    if ids is None or valid is None:
        return SoftmaxStatistics(None, logsumexp, entropy, argmax, None)
    log_prob = in_base(name, jnp.where(valid, 0.0 - numbers["at_label"], jnp.nan), base)
    defined = valid & ~jnp.isnan(numbers["logsumexp"])
    defined = defined if row_mask is None else defined & (row_mask != 0.0)
    return SoftmaxStatistics(log_prob, logsumexp, entropy, argmax, (argmax == ids) & defined)
