"""Entropy, cross entropy, KL and Jensen–Shannon divergence for JAX, exact in every regime."""

from importlib.metadata import version as _version

from ._imbalance import balanced_class_weights as balanced_class_weights
from ._imbalance import class_frequencies as class_frequencies
from ._imbalance import effective_number_weights as effective_number_weights
from ._imbalance import logit_adjustment as logit_adjustment
from ._information import conditional_entropy as conditional_entropy
from ._information import kl_estimate as kl_estimate
from ._information import mutual_information as mutual_information
from ._information import perplexity as perplexity
from ._information import renyi_divergence as renyi_divergence
from ._information import renyi_entropy as renyi_entropy
from ._information import tsallis_entropy as tsallis_entropy
from ._linear import LinearSoftmaxStatistics as LinearSoftmaxStatistics
from ._linear import linear_softmax_cross_entropy as linear_softmax_cross_entropy
from ._linear import linear_softmax_entropy as linear_softmax_entropy
from ._linear import linear_softmax_js_divergence as linear_softmax_js_divergence
from ._linear import linear_softmax_kl_divergence as linear_softmax_kl_divergence
from ._linear import linear_softmax_statistics as linear_softmax_statistics
from ._losses import sigmoid_focal_loss as sigmoid_focal_loss
from ._losses import softmax_focal_loss as softmax_focal_loss
from ._losses import softmax_generalized_cross_entropy as softmax_generalized_cross_entropy
from ._losses import softmax_poly_loss as softmax_poly_loss
from ._probability import cross_entropy as cross_entropy
from ._probability import entropy as entropy
from ._probability import js_divergence as js_divergence
from ._probability import kl_divergence as kl_divergence
from ._sigmoid import sigmoid_cross_entropy as sigmoid_cross_entropy
from ._sigmoid import sigmoid_entropy as sigmoid_entropy
from ._sigmoid import sigmoid_js_divergence as sigmoid_js_divergence
from ._sigmoid import sigmoid_kl_divergence as sigmoid_kl_divergence
from ._softmax import softmax_cross_entropy as softmax_cross_entropy
from ._softmax import softmax_entropy as softmax_entropy
from ._softmax import softmax_js_divergence as softmax_js_divergence
from ._softmax import softmax_kl_divergence as softmax_kl_divergence

__version__ = _version("xent-jax")
