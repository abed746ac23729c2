"""PyTorch's losses and gradients in float64: `python -m tests.torch_figures` writes them.

`FIGURES` is read by tests/test_torch.py, which therefore needs no PyTorch. A figure is the pair of
arrays `KEY loss` and `KEY slope`; the data that they belong to are beside them.
"""

import itertools
from pathlib import Path

import numpy as np

FIGURES = Path(__file__).with_name("torch_figures.npz")
ROWS, CLASSES = 13, 7
IGNORED = -100
LABELS = ("ids", "ignored", "soft")
SMOOTHINGS = (0.0, 0.1, 1.0)
CROSS_ENTROPIES = tuple(itertools.product(LABELS, (False, True), SMOOTHINGS))
BINARY = tuple(itertools.product(("soft", "hard"), ("none", "one", "per label")))
FOCAL = ((0.25, 2.0), (None, 2.0), (0.6, 0.5), (0.25, 0.0))


def data():
    rng = np.random.default_rng(0)
    z = (3 * rng.normal(size=(ROWS, CLASSES))).astype(np.float32)
    weights = rng.uniform(0.1, 4, CLASSES).astype(np.float32)
    ids = rng.integers(0, CLASSES, ROWS)
    soft = rng.dirichlet(np.ones(CLASSES), ROWS).astype(np.float32)
    return {
        "logits": z,
        "weights": weights,
        "ids": ids,
        "ignored": np.where(np.arange(ROWS) % 4 == 1, IGNORED, ids),
        "soft": soft,
        "hard": np.round(soft * 1.5),
    }


def figures():
    """Name: array, of the data and of every figure."""
    import torch

    functional = torch.nn.functional
    given = data()
    found = dict(given)

    def tensor(x):
        return torch.tensor(x, dtype=torch.float64 if x.dtype == np.float32 else torch.int64)

    def record(key, f):
        z = tensor(given["logits"]).requires_grad_()
        loss = f(z)
        loss.sum().backward()
        found[f"{key} loss"], found[f"{key} slope"] = loss.detach().numpy(), z.grad.numpy()

    weights = tensor(given["weights"])
    for kind, weighted, smoothing in CROSS_ENTROPIES:
        for reduction in ("none", "mean"):
            options = {"label_smoothing": smoothing, "reduction": reduction}
            options["weight"] = weights if weighted else None
            y = tensor(given[kind])
            record(
                f"cross entropy {kind} {weighted} {smoothing} {reduction}",
                lambda z, y=y, options=options: functional.cross_entropy(z, y, **options),
            )

    binary = functional.binary_cross_entropy_with_logits
    weight_of = {"none": None, "one": torch.tensor(3.0, dtype=torch.float64), "per label": weights}
    for kind, weight in BINARY:
        y, options = tensor(given[kind]), {"pos_weight": weight_of[weight], "reduction": "none"}
        record(f"binary {kind} {weight}", lambda z, y=y, options=options: binary(z, y, **options))

    for alpha, gamma in FOCAL:
        y = tensor(given["hard"])

        def focal(z, y=y, alpha=alpha, gamma=gamma):
            """The formula of torchvision's sigmoid_focal_loss: α_t (1 − p_t)^γ times the loss."""
            p = torch.sigmoid(z)
            p_t = p * y + (1 - p) * (1 - y)
            loss = (1 - p_t) ** gamma * binary(z, y, reduction="none")
            return loss if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * loss

        record(f"focal {alpha} {gamma}", focal)
    return found


if __name__ == "__main__":
    np.savez_compressed(FIGURES, **figures())
