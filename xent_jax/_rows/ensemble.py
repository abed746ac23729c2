"""Predictive, expected and mutual information of ensembles: formulae and partials.

Members n with weights a_n, Σ a = 1, predict p_n; their mixture is m = Σ a_n p_n. Then

    mutual      I = Σ_n a_n D(p_n‖m),    the Jensen–Shannon divergence of the members,
    expected    Σ_n a_n H(p_n),
    predictive  H(m) = expected + mutual: nothing is subtracted.

The members are compared with the heaviest one, the reference: d_n = p_n − p_ref is exact where both
are close, and so are p_n/m − 1 = (d_n − Σ a d)/m =: y and log(p_n/m) = log1p(y). The class axes are
those of the members, the first, and of the classes.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .._class_axes import Axes, class_index, class_max, class_sum
from .._math.elementary import log, log1p
from .._math.log_ratio import excess, relative_entropy_term
from .._math.scalars import log_of
from .probability import defined, lift
from .row_function import RowFunction
from .row_state import LONE, exact_weight, finite_logits, is_top
from .row_sums import Asked, Logits, row_sums
from .softmax_divergence import gap


class _Members(NamedTuple):
    """Per member: the maximum, T, λ = log(T_ref/T), and L, by which λ was rounded."""

    peak: Array
    total: Array
    offset: Array
    shift: Array


class _MemberResiduals(NamedTuple):
    members: Any  # None for probabilities
    entropies: Array  # H(p_n)
    mean_depths: Any  # E u of each member; None for probabilities
    distances: Array  # D(p_n‖m)
    mean_change: Any  # E (r − r*) of each member, as r* below; None for probabilities


def _is_reference(members: Axes, weights: Array) -> Array:
    """True at the first of the heaviest members."""
    weights = lax.stop_gradient(weights)
    index = class_index(weights, members)
    heaviest = weights == class_max(weights, members)
    return index == -class_max(-jnp.where(heaviest, index, index.size), members)


def _of_reference(members: Axes, weights: Array, x: Array) -> Array:
    return class_sum(jnp.where(_is_reference(members, weights), x, 0.0), members)


def _ratios_to_mixture(
    members: Axes, p: Array, change: Array, weights: Array
) -> tuple[Array, Array]:
    """m and log(p_n/m), of d_n = p_n − p_ref; of the smallest normal number where p_n alone is 0,
    and 0 where all are."""
    mixture = class_sum(weights * p, members)
    empty = mixture == 0.0
    whole = jnp.where(empty, 1.0, mixture)
    less_one = (change - class_sum(weights * change, members)) / whole
    return mixture, log_of(jnp.where(empty, 1.0, lift(p) / whole), less_one)


def _values(axes: Axes, entropies: Array, distances: Array, weights: Array) -> tuple[Array, ...]:
    expected, mutual = (class_sum(weights * x, axes[:1]) for x in (entropies, distances))
    return expected + mutual, expected, mutual


def _in_three(
    entropy: tuple[Array, Array], mutual: tuple[Array, Array]
) -> tuple[tuple[Array, Array], ...]:
    """The partials of the predictive, expected and mutual information."""
    predictive = (entropy[0] + mutual[0], entropy[1] + mutual[1])
    return predictive, entropy, mutual


# Of softmaxes.


def _rounded_ratio(axes: Axes, members: _Members, z: Array, weights: Array) -> Array:
    """log(p_ref/p_n) with the rounding of λ, as δ is exact."""
    height = _of_reference(axes[:1], weights, finite_logits(z))
    peak = _of_reference(axes[:1], weights, members.peak)
    return members.offset - gap(finite_logits(z), height, members.peak, peak)


def _probabilities(axes: Axes, members: _Members, z: Array, weights: Array) -> tuple[Array, Array]:
    """p_n and p_n − p_ref."""
    p = exact_weight(z, members.peak) / members.total
    r = _rounded_ratio(axes, members, z, weights) - members.shift
    return p, excess(_of_reference(axes[:1], weights, p), p, r)


def _softmax_information(axes: Axes, z: Array, weights: Array) -> tuple[Any, _MemberResiduals]:
    classes = axes[1:]
    (sums,) = row_sums(classes, Logits(z), asked=Asked(spread=True))
    assert sums.spread is not None
    log_total, mean_depth = log1p(sums.rest), sums.spread / sums.total
    # Σ (p_ref·e^{−r} − p_ref) is e^{ε} − 1 for λ off by ε.
    offset = log_total - _of_reference(axes[:1], weights, log_total)
    members = _Members(sums.maximum, sums.total, offset, jnp.zeros_like(offset))
    _, change = _probabilities(axes, members, z, weights)
    shift = lax.stop_gradient(-log1p(class_sum(change, classes)))
    members = members._replace(shift=shift)

    p, change = _probabilities(axes, members, z, weights)
    mixture, r = _ratios_to_mixture(axes[:1], p, change, weights)
    distances = class_sum(relative_entropy_term(p, mixture, r), classes)
    mean_change = class_sum(p * _change_from_top(axes, members, z, r), classes)
    entropies = log_total + mean_depth
    kept = _MemberResiduals(members, entropies, mean_depth, distances, mean_change)
    return _values(axes, entropies, distances, weights), kept


def _softmax_information_partials(
    axes: Axes, residuals: _MemberResiduals, z: Array, weights: Array
) -> tuple[tuple[Array, Array], ...]:
    """∂I/∂z = a p (r − D) and ∂H/∂z = a p (u − E u); by a weight D and H of its member."""
    members, entropies, mean_depth, distances, mean_change = residuals
    p, change = _probabilities(axes, members, z, weights)
    _, r = _ratios_to_mixture(axes[:1], p, change, weights)
    u = members.peak - finite_logits(z)
    entropy = (weights * p * (u - mean_depth), entropies)
    change = _change_from_top(axes, members, z, r)
    return _in_three(entropy, (weights * p * (change - mean_change), distances))


def _change_from_top(axes: Axes, members: _Members, z: Array, r: Array) -> Array:
    """r − r*, r* that of the likely class of a member if there is one: its p is nearly 1, and its
    r − D is what the others leave."""
    likely = is_top(members.peak - finite_logits(z)) & (members.total < LONE)
    return jnp.where(likely, 0.0, r - class_sum(jnp.where(likely, r, 0.0), axes[1:]))


# Of probabilities.


def _change_of_reference(axes: Axes, p: Array, weights: Array) -> Array:
    return p - _of_reference(axes[:1], weights, p)


def _information(axes: Axes, p: Array, weights: Array) -> tuple[Any, _MemberResiduals]:
    change = _change_of_reference(axes, p, weights)
    mixture, r = _ratios_to_mixture(axes[:1], p, change, weights)
    distances = class_sum(defined(relative_entropy_term(p, mixture, r), p), axes[1:])
    entropies = class_sum(p * -log(lift(p)), axes[1:])
    kept = _MemberResiduals(None, entropies, None, distances, None)
    return _values(axes, entropies, distances, weights), kept


def _information_partials(
    axes: Axes, residuals: _MemberResiduals, p: Array, weights: Array
) -> tuple[tuple[Array, Array], ...]:
    """∂I/∂p = a r and ∂H/∂p = −a (log p + 1)."""
    _, r = _ratios_to_mixture(axes[:1], p, _change_of_reference(axes, p, weights), weights)
    entropy = (defined(weights * -(log(lift(p)) + 1.0), p), residuals.entropies)
    return _in_three(entropy, (defined(weights * r, p), residuals.distances))


# (axes, row_mask, logits or probabilities, weights) → predictive, expected, mutual of each row.
softmax_ensemble_row = RowFunction.of_wide(_softmax_information, _softmax_information_partials)
ensemble_row = RowFunction.of_wide(_information, _information_partials)
