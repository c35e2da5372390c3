"""The heads of Mask R-CNN (He et al., 2017, arXiv:1703.06870), which read levels or regions.

Shapes in comments: B images, C channels, h x w places of a map, A anchors of a place, K classes
beside the background, R pixels a side of a mask.
"""

import torch.nn.functional as F
from torch import Tensor, nn

RATIOS = (0.5, 1.0, 2.0)  # height of an anchor over its width
BINS = 7  # a side, of a region that the box head reads


class ProposalHead(nn.Module):
    """Tells of each anchor of a level whether it is an object, and the step to the object's box."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, len(RATIOS), 1)
        self.steps = nn.Conv2d(channels, 4 * len(RATIOS), 1)
        for module in (self.convolution, self.objectness, self.steps):
            nn.init.normal_(module.weight, std=0.01)
            assert module.bias is not None
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, h, w) to logits (B, h * w * A) and steps (B, h * w * A, 4), in float32."""
        x = F.relu(self.convolution(x))
        logits = self.objectness(x).permute(0, 2, 3, 1).flatten(1)
        # Channels hold the four steps of one anchor after those of another.
        steps = self.steps(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4)
        return logits.float(), steps.float()


class BoxHead(nn.Module):
    """Tells the class of a region, and for each class the step to the object's box."""

    def __init__(self, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels * BINS**2, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.classes = nn.Linear(hidden, classes)
        self.steps = nn.Linear(hidden, 4 * classes)
        # At first each region has about the same chance of each class, and stays where it is.
        for module, std in ((self.classes, 0.01), (self.steps, 0.001)):
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)
        for module in (self.first, self.second):
            nn.init.kaiming_uniform_(module.weight, a=1)
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (regions, C, 7, 7) to logits (regions, K + 1) and steps (regions, K + 1, 4)."""
        x = F.relu(self.first(x.flatten(1)))
        x = F.relu(self.second(x))
        return self.classes(x).float(), self.steps(x).float().unflatten(1, (-1, 4))


class MaskHead(nn.Module):
    """Draws a mask for each class of a region."""

    def __init__(self, channels: int, depth: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth)
        )
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.classes = nn.Conv2d(channels, classes, 1)
        for module in (*self.layers, self.up):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        # At first each pixel is undecided: few steps of training would not undo random masks.
        nn.init.normal_(self.classes.weight, std=0.001)
        assert self.classes.bias is not None
        nn.init.zeros_(self.classes.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (regions, C, R / 2, R / 2) to logits (regions, K + 1, R, R)."""
        for layer in self.layers:
            x = F.relu(layer(x))
        logits: Tensor = self.classes(F.relu(self.up(x)))
        return logits
