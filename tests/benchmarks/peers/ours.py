"""xent_jax itself, bound like any peer."""

import xent_jax as xj

from .peer import Peer

OURS = Peer(
    "xent_jax",
    xj.__version__,
    {
        "softmax_cross_entropy/ids": xj.softmax_cross_entropy,
        "softmax_cross_entropy/soft": xj.softmax_cross_entropy,
        "softmax_entropy": xj.softmax_entropy,
        "softmax_kl_divergence": xj.softmax_kl_divergence,
        "softmax_js_divergence": xj.softmax_js_divergence,
        "entropy": xj.entropy,
        "cross_entropy": xj.cross_entropy,
        "kl_divergence": xj.kl_divergence,
        "js_divergence": xj.js_divergence,
        "sigmoid_cross_entropy": xj.sigmoid_cross_entropy,
    },
)
