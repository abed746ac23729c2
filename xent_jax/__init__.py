"""Entropy, cross entropy, KL and Jensen–Shannon divergence for JAX, exact in every regime.

Pure functions, compiled already, one number per example:

                          entropy           cross entropy           KL and Jensen–Shannon divergence
    probabilities         entropy           cross_entropy           kl_divergence, js_divergence
    of binary outcomes    binary_entropy    binary_cross_entropy    binary_kl_divergence, …
    logits, one of K      softmax_entropy   softmax_cross_entropy   softmax_kl_divergence, …
    logits, independent   sigmoid_entropy   sigmoid_cross_entropy   sigmoid_kl_divergence, …
    features @ weights    linear_softmax_entropy, …                 linear_softmax_kl_divergence, …

and losses (focal, poly-1, generalised, any of a token), information measures of any order, also of
ensembles and of samples, what imbalanced classes need, and calibration. What all have in common:

- Data are positional, options are keywords. (p, q) is D(p‖q), p the truth; (logits, labels) in that
  order. Log-probabilities of classes are logits (not in the elementwise sigmoid row).
- Results are never reduced behind your back: one number per example, in nats; `base=2` gives bits.
  The linear row, which must not form all logits, offers `reduction=`.
- The classes are on `axis`, the last one by default. `where` is a mask of classes, broadcast
  against the data, or (K,) in the linear row; to leave out examples, weigh the results, or give
  labels of `ignore_index`.
- Labels of an integer dtype are class ids, those of a floating dtype distributions. An id outside
  [0, K) that is not ignored gives NaN for its example: it never wraps and never clips. Sigmoid and
  binary functions are elementwise, and their labels 0 and 1.
- float16, bfloat16 and narrower are computed and returned in float32, float64 in float64. Gradients
  have the dtype of the input.
- 0·log 0 = 0, p > 0 where q = 0 is +inf, and p = q exactly 0, with gradients that are never NaN. A
  logit of −inf is a class of probability 0; one beyond ±4e37 counts as infinite. Bad shapes raise
  when traced. A bad value gives NaN for its example, and inside `value_checks()` a message under
  `jax.experimental.checkify`.
- Every option that is a number of the loss (smoothing, γ, temperature, …) may be traced, and a
  parameter of a loss is differentiated. Every function works under jit, vmap, grad, jvp, hessian,
  scan, checkpoint, shard_map, explicit and automatic meshes, and jax.export.
- Products of the linear row follow `precision`: off the CPU JAX's default rounds float32 factors to
  TF32 or bfloat16.

    >>> import jax.numpy as jnp, xent_jax
    >>> p, q = jnp.array([0.6, 0.2, 0.2]), jnp.array([0.5, 0.3, 0.2])
    >>> print(f"{xent_jax.kl_divergence(p, q):.6f} nats")
    0.028300 nats
"""

from ._calibration import BrierDecomposition as BrierDecomposition
from ._calibration import ReliabilityCurve as ReliabilityCurve
from ._checks import value_checks as value_checks
from ._ensembles import EnsembleInformation as EnsembleInformation
from ._estimates import KLEstimate as KLEstimate
from ._statistics import SoftmaxStatistics as SoftmaxStatistics
from .binary import binary_cross_entropy as binary_cross_entropy
from .binary import binary_entropy as binary_entropy
from .binary import binary_js_divergence as binary_js_divergence
from .binary import binary_kl_divergence as binary_kl_divergence
from .brier import brier_score as brier_score
from .brier import softmax_brier_score as softmax_brier_score
from .calibration import brier_decomposition as brier_decomposition
from .calibration import expected_calibration_error as expected_calibration_error
from .calibration import fit_temperature as fit_temperature
from .calibration import reliability_curve as reliability_curve
from .ensembles import ensemble_information as ensemble_information
from .ensembles import softmax_ensemble_information as softmax_ensemble_information
from .imbalance import balanced_class_weights as balanced_class_weights
from .imbalance import class_frequencies as class_frequencies
from .imbalance import effective_number_weights as effective_number_weights
from .imbalance import logit_adjustment as logit_adjustment
from .information import conditional_entropy as conditional_entropy
from .information import kl_estimate as kl_estimate
from .information import kl_estimate_with_error as kl_estimate_with_error
from .information import mutual_information as mutual_information
from .information import perplexity as perplexity
from .linear import linear_softmax_cross_entropy as linear_softmax_cross_entropy
from .linear import linear_softmax_entropy as linear_softmax_entropy
from .linear_divergences import linear_softmax_js_divergence as linear_softmax_js_divergence
from .linear_divergences import linear_softmax_kl_divergence as linear_softmax_kl_divergence
from .linear_losses import linear_sigmoid_cross_entropy as linear_sigmoid_cross_entropy
from .linear_losses import linear_softmax_loss as linear_softmax_loss
from .losses import sigmoid_focal_loss as sigmoid_focal_loss
from .losses import softmax_focal_loss as softmax_focal_loss
from .losses import softmax_generalized_cross_entropy as softmax_generalized_cross_entropy
from .losses import softmax_poly_loss as softmax_poly_loss
from .orders import renyi_divergence as renyi_divergence
from .orders import renyi_entropy as renyi_entropy
from .orders import tsallis_entropy as tsallis_entropy
from .probability import cross_entropy as cross_entropy
from .probability import entropy as entropy
from .probability import js_divergence as js_divergence
from .probability import kl_divergence as kl_divergence
from .sigmoid import sigmoid_cross_entropy as sigmoid_cross_entropy
from .sigmoid import sigmoid_entropy as sigmoid_entropy
from .sigmoid import sigmoid_js_divergence as sigmoid_js_divergence
from .sigmoid import sigmoid_kl_divergence as sigmoid_kl_divergence
from .softmax import softmax_cross_entropy as softmax_cross_entropy
from .softmax import softmax_entropy as softmax_entropy
from .softmax import softmax_js_divergence as softmax_js_divergence
from .softmax import softmax_kl_divergence as softmax_kl_divergence
from .softmax_orders import softmax_renyi_divergence as softmax_renyi_divergence
from .softmax_orders import softmax_renyi_entropy as softmax_renyi_entropy
from .softmax_orders import softmax_tsallis_entropy as softmax_tsallis_entropy
from .statistics import linear_softmax_statistics as linear_softmax_statistics
from .statistics import softmax_statistics as softmax_statistics

__version__ = "0.2.0"
