"""PyTorch, eager as its users call it, on the device that JAX uses."""

import os
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

# Before torch is loaded: its idle threads would otherwise spin on the cores of whoever comes next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from torch import Tensor

from .peer import Bound, Peer


def _js(p: Tensor, q: Tensor) -> Tensor:
    log_middle = ((p + q) / 2).log()
    halves = F.kl_div(log_middle, p, reduction="none") + F.kl_div(log_middle, q, reduction="none")
    return halves.sum(-1) / 2


def _softmax_entropy(z: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=z, validate_args=False).entropy()


def _softmax_kl(z: Tensor, zq: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(z, -1), F.log_softmax(zq, -1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)


def _focal_of_ids(z: Tensor, ids: Tensor) -> Tensor:
    cost = F.cross_entropy(z, ids, reduction="none")
    return (1 - torch.exp(-cost)) ** 2 * cost


def _binary_focal(z: Tensor, y: Tensor) -> Tensor:
    """The formula of torchvision, without alpha."""
    p = torch.sigmoid(z)
    p_of_label = p * y + (1 - p) * (1 - y)
    return F.binary_cross_entropy_with_logits(z, y, reduction="none") * (1 - p_of_label) ** 2


_FORMS = {
    "softmax_cross_entropy/ids": lambda z, ids: F.cross_entropy(z, ids, reduction="none"),
    "softmax_cross_entropy/soft": lambda z, y: F.cross_entropy(z, y, reduction="none"),
    "softmax_entropy": _softmax_entropy,
    "softmax_kl_divergence": _softmax_kl,
    "softmax_js_divergence": lambda z, zq: _js(z.softmax(-1), zq.softmax(-1)),
    "entropy": lambda p: torch.special.entr(p).sum(-1),
    "cross_entropy": lambda p, q: -torch.special.xlogy(p, q).sum(-1),
    "kl_divergence": lambda p, q: F.kl_div(q.log(), p, reduction="none").sum(-1),
    "js_divergence": _js,
    "sigmoid_cross_entropy": lambda z, y: F.binary_cross_entropy_with_logits(
        z, y, reduction="none"
    ),
    "softmax_focal_loss/ids": _focal_of_ids,
    "sigmoid_focal_loss": _binary_focal,
}


@dataclass(frozen=True)
class Queued:
    """A result that is waited for as one of JAX is."""

    value: Any

    def block_until_ready(self) -> "Queued":
        if _device() == "cuda":
            torch.cuda.synchronize()
        return self


@dataclass(frozen=True)
class TorchPeer(Peer):
    def bind(self, function: str, arrays: tuple[Any, ...], wrt: tuple[int, ...] = ()) -> Bound:
        form, tensors = self.forms[function], [_tensor(x) for x in arrays]
        leaves = [tensors[i].requires_grad_() for i in wrt]

        def call() -> Any:
            value = form(*tensors)
            if wrt:
                value = value.mean()
                value = value, torch.autograd.grad(value, leaves)
            return Queued(value)

        return Bound(call)


def _tensor(x: Any) -> Tensor:
    """A copy: torch must not write into what JAX owns."""
    if _device() == "cuda":
        copy = torch.from_dlpack(x).clone()
        return copy if copy.is_floating_point() else copy.long()
    x = np.asarray(x)
    if np.issubdtype(x.dtype, np.integer):
        return torch.tensor(x.astype(np.int64))
    dtype = {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(x.dtype.name, torch.float32)
    return torch.tensor(x.astype(np.float64 if dtype == torch.float64 else np.float32)).to(dtype)


def _device() -> str:
    return "cuda" if jax.devices()[0].platform == "gpu" and torch.cuda.is_available() else "cpu"


PEER = TorchPeer(
    "torch",
    torch.__version__,
    _FORMS,
    timed=jax.devices()[0].platform == "cpu" or _device() == "cuda",
)
