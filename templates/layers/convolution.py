"""A convolution with its normalization."""

from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution without a bias, and batch normalization (Ioffe & Szegedy, arXiv:1502.03167)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.normalization = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride), rounded up."""
        out: Tensor = self.normalization(self.convolution(x))
        return out
