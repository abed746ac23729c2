"""SciPy, for its accuracy only: it knows neither gradients nor devices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from scipy.spatial.distance import jensenshannon
from scipy.special import entr, log_expit, log_softmax, rel_entr, softmax, xlogy

from .peer import Bound, Peer


def _softmax_entropy(z: np.ndarray) -> np.ndarray:
    return entr(softmax(z, -1)).sum(-1)


def _cross_entropy_of_ids(z: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return -np.take_along_axis(log_softmax(z, -1), ids[..., None], -1)[..., 0]


def _js(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return jensenshannon(p, q, axis=-1) ** 2


_FORMS = {
    "softmax_cross_entropy/ids": _cross_entropy_of_ids,
    "softmax_cross_entropy/soft": lambda z, y: -(y * log_softmax(z, -1)).sum(-1),
    "softmax_entropy": _softmax_entropy,
    "softmax_kl_divergence": lambda z, zq: rel_entr(softmax(z, -1), softmax(zq, -1)).sum(-1),
    "softmax_js_divergence": lambda z, zq: _js(softmax(z, -1), softmax(zq, -1)),
    "entropy": lambda p: entr(p).sum(-1),
    "cross_entropy": lambda p, q: -xlogy(p, q).sum(-1),
    "kl_divergence": lambda p, q: rel_entr(p, q).sum(-1),
    "js_divergence": _js,
    "sigmoid_cross_entropy": lambda z, y: -y * log_expit(z) - (1 - y) * log_expit(-z),
}


@dataclass(frozen=True)
class ScipyPeer(Peer):
    def bind(self, function: str, arrays: tuple[Any, ...], wrt: tuple[int, ...] = ()) -> Bound:
        if wrt:
            raise NotImplementedError("scipy has no gradients")

        def call() -> Any:
            with np.errstate(all="ignore"):
                return self.forms[function](*map(np.asarray, arrays))

        return Bound(call)


PEER = ScipyPeer("scipy", scipy.__version__, _FORMS, timed=False)
