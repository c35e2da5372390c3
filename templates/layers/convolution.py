"""A convolution with its normalization."""

from collections.abc import Callable

from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution without a bias, and a normalization of its channels.

    The usual one is batch normalization (Ioffe & Szegedy, 2015, arXiv:1502.03167); `norm` makes it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.normalization = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride), rounded up."""
        out: Tensor = self.normalization(self.convolution(x))
        return out
