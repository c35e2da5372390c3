"""The residual network that predicts a number from an image (arXiv:1512.03385)."""

from __future__ import annotations

from metagen.families.family import Dims, Value
from metagen.families.resnet import ResNet
from metagen.tasks.image_regression import ImageRegression


class ResNetRegressor(ResNet):
    """A residual network whose linear layer has one output."""

    name = "resnet_regressor"
    table = "resnet"
    kind = "residual network for image regression"
    task = ImageRegression()
    components = "cnn convolutional_backbone backbone resnet bottleneck stem regressor"

    def outputs(self, m: Dims) -> Value:
        return 1


FAMILY = ResNetRegressor()
