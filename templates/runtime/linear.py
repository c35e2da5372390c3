"""Logistic regression, the linear classifier to beat."""

import torch
import torch.nn.functional as F
from torch import Tensor


def logistic_regression(x: Tensor, y: Tensor, classes: int, test: Tensor) -> Tensor:
    """Return log p (M, K) of rows `test` (M, D), fitted to rows x (N, D) of classes y (N,).

    It minimizes the summed cross-entropy + |w|^2 / 2 by L-BFGS, on standardized columns.
    """
    # Columns that never change would be divided by 0; the floor leaves them at 0.
    mean, std = x.mean(0), x.std(0).clamp_min(1e-6)
    x, test = (x - mean) / std, (test - mean) / std
    # The loss is convex, so where the weights start does not matter.
    weight = torch.zeros(x.size(1), classes, dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    # L-BFGS needs no learning rate; 300 steps are enough for a few thousand rows.
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=300, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(x @ weight + bias, y, reduction="sum") + weight.square().sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return (test @ weight + bias).detach().log_softmax(-1)
