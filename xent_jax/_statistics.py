"""What the statistics of the dense and of the linear row give, and their names."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import _checks as check
from ._call import Rows, in_base, logits_data, mask_of_rows, without_classes
from ._class_axes import class_count, local
from ._labelled import class_ids
from ._rows.softmax_statistics import statistics


class SoftmaxStatistics(NamedTuple):
    """What `softmax_statistics` and `linear_softmax_statistics` tell of each example.

    Without labels `log_prob`, `correct` and `rank` are None.

    Example:
        >>> found = SoftmaxStatistics(None, 0.0, 0.0, 0, None, None)
        >>> found._fields
        ('log_prob', 'logsumexp', 'entropy', 'argmax', 'correct', 'rank')
    """

    log_prob: Array | None
    logsumexp: Array
    entropy: Array
    argmax: Array
    correct: Array | None
    rank: Array | None


# So that an exported function may return them.
jax.export.register_namedtuple_serialization(
    SoftmaxStatistics, serialized_name="xent_jax.SoftmaxStatistics"
)


def statistics_names(labelled: bool) -> tuple[str, ...]:
    """The numbers of a row that the statistics are made of."""
    return ("logsumexp", "entropy", "argmax", *(("at_label", "rank") if labelled else ()))


def as_statistics(
    name: str,
    numbers: dict[str, Array],
    ids: Array | None,
    valid: Array | None,
    row_mask: Array | None,
    *,
    classes: int,
    base: Any,
) -> SoftmaxStatistics:
    """The statistics from the numbers of each row, all of one shape; the ids are in range."""
    logsumexp, entropy = (in_base(name, numbers[n], base) for n in ("logsumexp", "entropy"))
    argmax = numbers["argmax"]
    if ids is None or valid is None:
        return SoftmaxStatistics(None, logsumexp, entropy, argmax, None, None)
    log_prob = in_base(name, jnp.where(valid, 0.0 - numbers["at_label"], jnp.nan), base)
    defined = valid & ~jnp.isnan(numbers["logsumexp"])
    defined = defined if row_mask is None else defined & (row_mask != 0.0)
    rank = jnp.where(defined, numbers["rank"], classes)  # never among the first
    correct = (argmax == ids) & defined
    return SoftmaxStatistics(log_prob, logsumexp, entropy, argmax, correct, rank)


def statistics_of_logits(
    name: str, logits: Any, labels: Any, rows: Rows, ignore_index: int | None
) -> SoftmaxStatistics:
    """The statistics of logits that exist."""
    z, axes, kept = logits_data(name, "logits", logits, rows)
    names, ids, valid = statistics_names(labels is not None), jnp.zeros((1,) * z.ndim, int), None
    counted = None
    if labels is not None:
        ids, valid = class_ids(name, labels, z, axes)
        check.ignore_index_for_ids(name, ignore_index, True)
        if ignore_index is not None:
            counted = check.differs(check.label_array(name, labels)[0], ignore_index)
            counted = lax.expand_dims(counted, sorted(local(axes)))
            valid = valid | ~counted
    row_mask = mask_of_rows(z, axes, kept, counted)
    nothing = jnp.zeros((1,) * z.ndim)
    values = statistics(*names)(axes, row_mask, z, ids, nothing, nothing)

    def of_row(x: Array | None) -> Any:
        return None if x is None else without_classes(x, axes)

    numbers = {n: of_row(v) for n, v in zip(names, values, strict=True)}
    if row_mask is not None:
        numbers["argmax"] = jnp.where(of_row(row_mask) == 0.0, 0, numbers["argmax"])
    ids = None if labels is None else of_row(ids)
    valid, row_mask = of_row(valid), of_row(row_mask)
    classes = class_count(z, axes)
    return as_statistics(name, numbers, ids, valid, row_mask, classes=classes, base=rows.base)
