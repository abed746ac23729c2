"""What one read of a row of logits tells: costs, logsumexp, entropy and argmax of its softmax.

With the sums of `row_sums`, u = m − z and p = e^{−u}/T:

    at_label        c_y = −log p_y = u_y + log1p(s) at a class id y;
    under_labels    Σ y c = C + Y·log1p(s) under labels y, weighed by class;
    under_share     the same under a second distribution, that of label smoothing;
    logsumexp       m + log1p(s);
    entropy         log1p(s) + E/T;
    argmax          the first class of the highest logit;
    rank            how many logits are above that of a class id.

A loss at a class id is a function of these numbers, and differentiates by itself.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, is_class
from .._math.dtypes import compute_dtype, widen
from .._math.elementary import expm1, log1p
from .row_function import RowFunction
from .row_state import LONE, RowSums, exact_weight, finite_logits, infinity, is_top
from .row_sums import Asked, Logits, row_sums, weight_of_others

# Numbers without a derivative.
_INDICES = ("argmax", "rank")


class _Residuals(NamedTuple):
    sums: RowSums
    at_id: dict[str, Array]  # slopes by the logit of the id: p_y − 1 of the cost, p_y of logsumexp


@cache
def statistics(*names: str, constant: tuple[str, ...] = ()) -> RowFunction:
    """(axes, row_mask, logits, labels, weights, share) → the named numbers of each row.

    Behind them come constant ones, which have no partials. Labels are class ids in range, with
    class axes of size one, or a distribution of the shape of the logits with one weight per class;
    the share is broadcast against the logits. What the numbers do not need is not looked at.
    """
    every = (*names, *constant)
    # The cost of a label below the maximum is far more than a rounding of T, and other numbers are
    # small beside it; what is no loss of an id is exact by itself.
    exact = "at_label" not in every or "entropy" in every
    asked = Asked("entropy" in every, "argmax" in every, "rank" in every, exact)
    if every not in (("at_label",), ("at_label", "logsumexp")):
        return RowFunction(partial(_named, every, asked), partial(_partials, names))

    def formula(axes: Axes, z: Array, *others: Array) -> tuple[Any, _Residuals]:
        # A wide copy of narrower logits is not to be written.
        shared = compute_dtype(z) == z.dtype
        return _named(every, asked._replace(shared=shared), axes, z, *others)

    def value(axes: Axes, *data: Array) -> Any:
        return _named(every, asked, axes, *data)[0]

    return RowFunction(
        formula, partial(_partials_at_id, names), value, is_one_loop=True, is_shared=True
    )


def _named(
    every: tuple[str, ...], asked: Asked, axes: Axes, z: Array, labels: Array, *shares: Array
) -> tuple[tuple[Array | None, ...], _Residuals]:
    """The values of these names; the shares are the weights, and what smoothing adds."""
    targets = _targets(every, labels, *shares)
    has_id = "at_label" in every or "rank" in every
    row = Logits(z, tuple(targets.values()), id=labels if has_id else None)
    (sums,) = row_sums(axes, row, asked=asked)
    log_total = log1p(sums.rest)
    values = {"argmax": sums.index, "rank": sums.above}
    values["logsumexp"] = _unclipped(sums.maximum + log_total)
    if sums.spread is not None:
        values["entropy"] = log_total + sums.spread / sums.total
    for name, cost, mass in zip(targets, sums.costs, sums.masses, strict=True):
        values[name] = cost + mass * log_total
    at_id = {}
    if sums.at_id is not None:
        cost = _depth_of_label(sums, sums.at_id) + log_total
        values["at_label"] = cost
        at_id["at_label"] = expm1(-cost)
        if "logsumexp" in every:
            at_id["logsumexp"] = exact_weight(sums.at_id, sums.maximum) / sums.total
    kept = sums._replace(costs=tuple(None for _ in sums.costs), index=None, at_id=None, above=None)
    return tuple(values[name] for name in every), _Residuals(kept, at_id)


def _partials(
    names: tuple[str, ...],
    axes: Axes,
    residuals: _Residuals,
    z: Array,
    labels: Array,
    *shares: Array,
) -> tuple[tuple[Array | None, ...], ...]:
    sums, at_id = residuals
    w = exact_weight(z, sums.maximum)
    p, u = w / sums.total, sums.maximum - finite_logits(z)
    cost = u + log1p(sums.rest)
    found: dict[str, tuple[Array | None, ...]] = {"logsumexp": (p,)}
    if sums.spread is not None:
        # log p + H = E_p u − u has lost its common part, the log of T.
        found["entropy"] = (p * (u - sums.spread / sums.total),)
    if at_id:
        found["at_label"] = (jnp.where(is_class(labels, z, axes), at_id["at_label"], p),)
    for i, (name, y) in enumerate(_targets(names, labels, *shares).items()):
        of_share = (None, None, cost)
        if name == "under_labels":
            of_share = (widen(shares[0]) * cost, widen(labels) * cost)
        found[name] = (pull_to_labels(sums, i, u, w, y), *of_share)
    return tuple(found[name] for name in names if name not in _INDICES)


def _partials_at_id(
    names: tuple[str, ...], axes: Axes, residuals: _Residuals, z: Array, labels: Array, *_: Array
) -> tuple[tuple[Array, ...], ...]:
    """Of what a loss of an id alone needs: at the other classes both are p."""
    sums, at_id = residuals
    others = weight_of_others(axes, sums.maximum, z, labels) / sums.total
    here = is_class(labels, z, axes)
    return tuple((jnp.where(here, at_id[name], others),) for name in names)


def _targets(
    names: tuple[str, ...], labels: Array, weights: Array, share: Array
) -> dict[str, Array]:
    """What the costs are weighed by, for each sum of them that is asked for."""
    of = {"under_labels": lambda: weighed(labels, weights), "under_share": lambda: widen(share)}
    return {name: target() for name, target in of.items() if name in names}


def weighed(labels: Array, weights: Array) -> Array:
    """w·y, NaN where a label is negative; a label 0 has no use for its weight, whatever it is."""
    labels, weights = widen(labels), widen(weights)
    unused = (labels == 0.0) & ~jnp.isfinite(weights)
    return jnp.where(labels < 0.0, jnp.nan, jnp.where(unused, 0.0, weights) * labels)


def pull_to_labels(sums: RowSums, i: int, u: Array, w: Array, y: Array) -> Array:
    """∂/∂z_j of Σ y c: p_j·Y − y_j = p_j·Σ_{k≠j} y_k − y_j·(1 − p_j), 1 − p_j = (s + (1 − w_j))/T.

    At a likely class Y − y_j would lose every digit, and p_j·Σ is what counts there: it is summed.
    In 1 − p_j nothing is lost: w is 1 at the maximum, and s ≥ w elsewhere.
    """
    likely = is_top(u) & (sums.total < LONE)
    others = jnp.where(likely, sums.below[i], sums.masses[i] - y)
    return (w * others - y * (sums.rest + (1.0 - w))) / sums.total


def _depth_of_label(sums: RowSums, z_y: Array) -> Array:
    """u_y; against +inf any other logit has probability 0."""
    m = sums.maximum
    far = infinity(m)
    unlikely = (z_y == -jnp.inf) | ((m >= far) & (z_y < far))
    # A finite z_y stays as it is: the lowest number of a dtype is a usual mask.
    depth = jnp.where(unlikely, jnp.inf, m - jnp.minimum(widen(z_y), far))
    # The label is the maximum, also where its logit was rounded in another way; its depth still
    # moves with it, as m is held constant.
    alone = is_top(depth) & (sums.total < LONE)
    return depth - jnp.where(alone, lax.stop_gradient(depth), 0.0)


def _unclipped(logsumexp: Array) -> Array:
    """+∞ for a row that holds +∞, whose maximum was made finite."""
    return jnp.where(logsumexp >= infinity(logsumexp), jnp.inf, logsumexp)
