"""PyTorch's losses of a linear head on the device of JAX, as calls of loss and both gradients."""

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import torch
import torch.nn.functional as F
from torch import Tensor

from .torch_peer import Queued


def calls(x: jax.Array, w: jax.Array, labels: jax.Array) -> dict[str, Callable[[], Any]]:
    """The compiler's fusion of the dense loss, and Liger's kernels where they are installed."""
    ids = torch.from_dlpack(labels).long()
    features = torch.from_dlpack(x).clone().requires_grad_()
    weight = torch.from_dlpack(w).T.contiguous().requires_grad_()  # as a layer of PyTorch holds it
    losses = {"torch, compiled": torch.compile(_dense)}
    with suppress(ImportError, AttributeError):
        ops = importlib.import_module("liger_kernel.ops.fused_linear_cross_entropy")
        losses["Liger"] = lambda *inputs: ops.LigerFusedLinearCrossEntropyFunction.apply(*inputs)[0]
    return {name: _call(loss, features, weight, ids) for name, loss in losses.items()}


def _dense(x: Tensor, w: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x, w).float(), ids)


def _call(loss: Callable[..., Tensor], x: Tensor, w: Tensor, ids: Tensor) -> Callable[[], Queued]:
    def call() -> Queued:
        value = loss(x, w, ids)
        return Queued((value.detach(), torch.autograd.grad(value, (x, w))))

    return call
