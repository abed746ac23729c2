"""xent_jax itself, bound like any peer."""

import functools
from typing import Any

import xent_jax as xj

from ..functions import SMOOTHING
from ..timing import queued
from .peer import Bound, Peer


class _Compiled(Peer):
    """Values are called as they are: each function is compiled already."""

    def bind(self, function: str, arrays: tuple[Any, ...], wrt: tuple[int, ...] = ()) -> Bound:
        bound = super().bind(function, arrays, wrt)
        if wrt:
            return bound
        form = self.forms[function]
        return Bound(functools.partial(queued(form), *arrays), bound.temporary_bytes)


OURS = _Compiled(
    "xent_jax",
    xj.__version__,
    {
        "softmax_cross_entropy/ids": xj.softmax_cross_entropy,
        "softmax_cross_entropy/smoothed": lambda z, ids: xj.softmax_cross_entropy(
            z, ids, label_smoothing=SMOOTHING
        ),
        "softmax_cross_entropy/soft": xj.softmax_cross_entropy,
        "softmax_entropy": xj.softmax_entropy,
        "softmax_kl_divergence": xj.softmax_kl_divergence,
        "softmax_js_divergence": xj.softmax_js_divergence,
        "entropy": xj.entropy,
        "cross_entropy": xj.cross_entropy,
        "kl_divergence": xj.kl_divergence,
        "js_divergence": xj.js_divergence,
        "sigmoid_cross_entropy": xj.sigmoid_cross_entropy,
        "sigmoid_entropy": xj.sigmoid_entropy,
        "sigmoid_kl_divergence": xj.sigmoid_kl_divergence,
        "sigmoid_js_divergence": xj.sigmoid_js_divergence,
        "softmax_focal_loss/ids": xj.softmax_focal_loss,
        "sigmoid_focal_loss": xj.sigmoid_focal_loss,
    },
)
