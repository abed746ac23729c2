"""Are forecasts as right as they are sure: reliability in bins, and a temperature."""

from __future__ import annotations  # `help` shows ArrayLike, not all that it is

from typing import Literal

from jax import Array
from jax.typing import ArrayLike

from ._calibration import (
    BrierDecomposition,
    ReliabilityCurve,
    calibration_error,
    curve,
    decomposition,
    in_bins,
)
from ._call import Rows, compiled
from ._temperature import best_temperature


@compiled()
def expected_calibration_error(
    confidence: ArrayLike,
    outcome: ArrayLike,
    *,
    bins: int = 15,
    binning: Literal["width", "mass"] = "width",
    weights: ArrayLike | None = None,
) -> Array:
    """Expected calibration error of forecasts, Σ_k |Σ_{i∈k} w_i (c_i − o_i)| / Σ w, k the bins.

    How far the frequency of an event is from what was forecast, on average over the bins. It
    depends on the bins, and is above 0 by chance for a small sample even of true probabilities.

    Args:
        confidence: forecasts, the probability of an event, of any shape: all are one sample.
            For classes, softmax(z).max(-1), the probability of the top label.
        outcome: the same shape, whether it came: booleans, 0 and 1, or a number between them.
            For classes, z.argmax(-1) == labels.
        bins: B, how many bins, a Python int.
        binning: "width" for bins (k/B, (k + 1)/B], "mass" for bins of equal weight.
            Forecasts that are equal are in one bin, also by mass.
        weights: one weight per example, 1 by default; 0 leaves it out.
            The shape of confidence.

    Returns:
        One number for the sample (batches by `jax.vmap`), float32 (float64 for float64 input),
        0 to 1. It is differentiable in confidence, outcome and weights, the bins held constant.

    Edge cases: no forecasts, or all weights 0: 0 · a confidence of 0 is in the first bin · a
    confidence or an outcome outside [0, 1], or a negative, infinite or NaN weight, gives NaN.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> z = jnp.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 1.0], [0.0, 2.0, 2.0]])
        >>> labels = jnp.array([0, 1, 2, 1])
        >>> confidence, outcome = jax.nn.softmax(z).max(-1), z.argmax(-1) == labels
        >>> print(f"{expected_calibration_error(confidence, outcome, bins=5):.4f}")
        0.5031

    References: Naeini, Cooper & Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using
    Bayesian Binning; Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3.

    See also: `reliability_curve` for the bins themselves, `brier_decomposition`,
    `fit_temperature`.
    """
    name = "expected_calibration_error"
    return calibration_error(in_bins(name, confidence, outcome, bins, binning, weights))


@compiled()
def reliability_curve(
    confidence: ArrayLike,
    outcome: ArrayLike,
    *,
    bins: int = 15,
    binning: Literal["width", "mass"] = "width",
    weights: ArrayLike | None = None,
) -> ReliabilityCurve:
    """Reliability of forecasts: in each bin the mean forecast Σ w c / Σ w and the mean outcome.

    Plotted against each other they lie on the diagonal for a calibrated model. Of n forecasts
    without weights the standard error of a frequency f is √(f·(1 − f)/(n·weight)).

    Args:
        confidence: forecasts, the probability of an event, of any shape: all are one sample.
            For classes, softmax(z).max(-1), the probability of the top label.
        outcome: the same shape, whether it came: booleans, 0 and 1, or a number between them.
            For classes, z.argmax(-1) == labels.
        bins: B, how many bins, a Python int.
        binning: "width" for bins (k/B, (k + 1)/B], "mass" for bins of equal weight.
            Forecasts that are equal are in one bin, also by mass.
        weights: one weight per example, 1 by default; 0 leaves it out.
            The shape of confidence.

    Returns:
        A NamedTuple of float32 (float64 for float64 input): `confidence`, `frequency` (the means of
        forecasts and of outcomes) and `weight` (the share of Σ w) of each bin, of shape (B,); and
        `edges` (B + 1,), the bins being edges[k] < confidence ≤ edges[k + 1].

    Edge cases: an empty bin: NaN for its means, which a plot leaves out, and weight 0 · a
    confidence of 0 is in the first bin · a confidence or an outcome outside [0, 1], or a negative,
    infinite or NaN weight, gives NaN for all.

    Example:
        >>> import jax.numpy as jnp
        >>> confidence = jnp.array([0.1, 0.3, 0.6, 0.8, 0.9])
        >>> outcome = jnp.array([False, True, True, True, False])
        >>> curve = reliability_curve(confidence, outcome, bins=3)
        >>> for row in zip(curve.confidence, curve.frequency, curve.weight):
        ...     print("{:.2f} {:.2f} {:.2f}".format(*row))
        0.20 0.50 0.40
        0.60 1.00 0.20
        0.85 0.50 0.40

    References: Murphy & Winkler (1977), Reliability of Subjective Probability Forecasts of
    Precipitation and Temperature; DeGroot & Fienberg (1983), The Comparison and Evaluation of
    Forecasters.

    See also: `expected_calibration_error`, one number of it.
    """
    return curve(in_bins("reliability_curve", confidence, outcome, bins, binning, weights))


@compiled()
def brier_decomposition(
    confidence: ArrayLike,
    outcome: ArrayLike,
    *,
    bins: int = 15,
    binning: Literal["width", "mass"] = "width",
    weights: ArrayLike | None = None,
) -> BrierDecomposition:
    """Brier score Σ w (c − o)² / Σ w of forecasts of an event, and what it is made of.

    With c̄, ō the means of a bin of weight n and m the mean of all outcomes, each over Σ w:
    reliability Σ n (c̄ − ō)², resolution Σ n (ō − m)², uncertainty Σ w (o − m)², and what varies
    within bins, Σ w (c − c̄)·((c − c̄) − 2(o − ō)); score = reliability − resolution + uncertainty
    + within for all bins, however coarse. All sums are of what is centred.

    Args:
        confidence: forecasts, the probability of an event, of any shape: all are one sample.
            For classes, softmax(z).max(-1), the probability of the top label.
        outcome: the same shape, whether it came: booleans, 0 and 1, or a number between them.
            For classes, z.argmax(-1) == labels.
        bins: B, how many bins, a Python int.
        binning: "width" for bins (k/B, (k + 1)/B], "mass" for bins of equal weight.
            Forecasts that are equal are in one bin, also by mass.
        weights: one weight per example, 1 by default; 0 leaves it out.
            The shape of confidence.

    Returns:
        A NamedTuple of numbers for the sample, float32 (float64 for float64 input): `score`,
        `reliability` (less is better), `resolution` (more is better), `uncertainty` (of the events)
        and `within`, 0 if all forecasts of a bin are equal. `brier_score` counts both outcomes of
        an event, and is twice the score.

    Edge cases: no forecasts, or all weights 0: 0 · a confidence of 0 is in the first bin · a
    confidence or an outcome outside [0, 1], or a negative, infinite or NaN weight, gives NaN for
    all.

    Example:
        >>> import jax.numpy as jnp
        >>> parts = brier_decomposition(jnp.array([0.2, 0.2, 0.8, 0.8]), jnp.array([0, 1, 1, 1]))
        >>> for name, part in parts._asdict().items():
        ...     print(f"{name:12} {part:.4f}")
        score        0.1900
        reliability  0.0650
        resolution   0.0625
        uncertainty  0.1875
        within       0.0000

    References: Murphy (1973), A New Vector Partition of the Probability Score; Stephenson, Coelho &
    Jolliffe (2008), Two Extra Components in the Brier Score Decomposition.

    See also: `reliability_curve`, `expected_calibration_error`.
    """
    name = "brier_decomposition"
    return decomposition(in_bins(name, confidence, outcome, bins, binning, weights))


@compiled()
def fit_temperature(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> Array:
    """Temperature T at which Σ w·CE(logits / T, labels) is least: calibration by one number.

    In β = 1/T the loss is convex, and at its minimum the depth u = max z − z of the labels is what
    softmax(βz) expects, Σ w Σ_j y_j u_j = Σ w Y Σ_j p_j u_j, Y = Σ y: a root that Newton's method
    finds in a few steps. Logits times a number have T times that number.

    Args:
        logits: (..., K), of held-out examples: all are one sample.
        labels: integers (...), the class ids; or floats (..., K), a distribution over the classes.
        axis: the class axis, or several axes that hold one distribution together.
        where: boolean; False means that the outcome does not exist: it adds nothing.
        weights: one weight per example, 1 by default; 0 leaves it out.
            The shape of logits without the class axes.
        ignore_index: the label of what to leave out: value 0 and gradient 0.

    Returns:
        One number for the sample (batches by `jax.vmap`), float32 (float64 for float64 input).
        Its derivatives, by logits, soft labels and weights, are those of the minimum.

    Edge cases: every label at the maximum of its row: 0, as the loss falls for ever · logits that
    tell nothing of the labels, or the contrary, or a label of probability 0: +inf · all logits of
    each row equal, or no examples: 1 · derivatives are 0 in these cases · logit −inf: a class of
    probability 0 at every temperature · an id outside [0, K), a NaN logit or label, −inf everywhere
    in a row, or a negative, infinite or NaN weight gives NaN.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> z = jnp.array([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
        >>> t = fit_temperature(z, jnp.array([0, 0, 1, 1]))
        >>> print(f"{t:.4f}", jax.nn.softmax(z[0] / t).round(4))
        3.6410 [0.75 0.25]

    References: Platt (1999), Probabilistic Outputs for Support Vector Machines; Guo et al. (2017),
    On Calibration of Modern Neural Networks, section 4.2.

    See also: `expected_calibration_error` of softmax(logits / T), before and after.
    """
    rows = Rows(axis, where)
    return best_temperature("fit_temperature", logits, labels, rows, weights, ignore_index)
