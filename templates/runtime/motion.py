"""Predictions of the frames of a clip without a network, to compare a model with.

Shapes: N windows, C channels, G given frames, K frames that follow.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 3  # pixels a frame, of the motion that is looked for
NEAR = 4  # pixels on each side of a place that the ridge regression sees: 9 x 9
FRAMES = 2  # given frames that the last three predictions see, at most
PENALTY = 1.0  # penalty of the ridge regression
AT_ONCE = 64  # windows whose neighbourhoods are in memory together


def copy_last(given: Tensor, count: int) -> Tensor:
    """Return the last given frame, (N, C, count, H, W)."""
    return given[:, :, -1:].repeat(1, 1, count, 1, 1)


def mean_frame(train: Tensor, given: Tensor, count: int) -> Tensor:
    """Return the mean of all training frames (M, C, F, H, W), which is the same for each window."""
    return train.mean((0, 2))[None, :, None].repeat(len(given), 1, count, 1, 1)


def global_motion(given: Tensor, count: int) -> Tensor:
    """Return the last given frame, moved on by the one shift that leads to it from that before."""
    before, last = given[:, :, -2], given[:, :, -1]  # (N, C, H, W)
    shifts = list(itertools.product(range(-REACH, REACH + 1), repeat=2))
    errors = torch.stack(
        [(before.roll(each, (2, 3)) - last).square().mean((1, 2, 3)) for each in shifts]
    )
    found = [shifts[place] for place in errors.argmin(0).tolist()]
    rows = [
        torch.stack([frame.roll((k * down, k * right), (1, 2)) for k in range(1, count + 1)], 1)
        for frame, (down, right) in zip(last, found, strict=True)
    ]
    return torch.stack(rows)


class Ridge:
    """A linear map from the 9 x 9 x 2 values before a place to its value, one for each frame."""

    def __init__(self, given: Tensor, following: Tensor) -> None:
        """Fit the maps on training windows: given frames, and those that follow."""
        size = neighbourhoods(given[:1]).size(-1)
        products = torch.zeros(size, size, dtype=torch.float64)
        targets = torch.zeros(size, following.size(2), dtype=torch.float64)
        for some, after in zip(
            torch.split(given, AT_ONCE), torch.split(following, AT_ONCE), strict=True
        ):
            x = neighbourhoods(some).double()  # (places, size)
            products += x.T @ x
            targets += x.T @ after.permute(0, 1, 3, 4, 2).flatten(0, 3).double()
        penalty = PENALTY * torch.eye(size, dtype=torch.float64)
        penalty[-1, -1] = 0  # The constant is free.
        self.weights = torch.linalg.solve(products + penalty, targets).float()  # (size, K)

    def __call__(self, given: Tensor) -> Tensor:
        """Return the frames that follow, (N, C, K, H, W)."""
        n, c, _, height, width = given.shape
        parts = [neighbourhoods(some) @ self.weights for some in torch.split(given, AT_ONCE)]
        return torch.cat(parts).view(n, c, height, width, -1).permute(0, 1, 4, 2, 3)


def neighbourhoods(given: Tensor) -> Tensor:
    """Return the values around each place in the last given frames, and a constant 1."""
    last = given[:, :, -FRAMES:].flatten(0, 1)  # (N * C, frames, H, W)
    cut = F.unfold(last, 2 * NEAR + 1, padding=NEAR).transpose(1, 2).flatten(0, 1)
    return torch.cat((cut, torch.ones(len(cut), 1)), dim=1)
