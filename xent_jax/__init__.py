"""Entropy, cross entropy, KL and Jensen–Shannon divergence for JAX, exact in every regime."""

from ._checks import value_checks as value_checks
from ._statistics import SoftmaxStatistics as SoftmaxStatistics
from .imbalance import balanced_class_weights as balanced_class_weights
from .imbalance import class_frequencies as class_frequencies
from .imbalance import effective_number_weights as effective_number_weights
from .imbalance import logit_adjustment as logit_adjustment
from .information import conditional_entropy as conditional_entropy
from .information import kl_estimate as kl_estimate
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
from .statistics import linear_softmax_statistics as linear_softmax_statistics
from .statistics import softmax_statistics as softmax_statistics

__version__ = "0.2.0"
