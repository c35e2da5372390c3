"""An anchor-free one-stage detector in the form of YOLOX (Ge et al., 2021, arXiv:2107.08430).

A CSPDarknet reads the image, a path aggregation network joins its features at a half, a quarter
and an eighth of the finest of three grids, and a decoupled head predicts at each place of the grids
one box, whether there is an object, and its class. Training assigns places to objects by SimOTA.

Shapes in comments: B images, C channels, A places of all grids, M objects, K classes.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.boxes import Detections, from_centres, iou, suppressed

STRIDES = (8, 16, 32)  # pixels from one place of a grid to the next
EXPANSION = 16  # channels of the coarsest features for each of the stem
PRIOR = 0.01  # probability of an object, and of a class, before training
BOX_WEIGHT = 5.0  # weight of the boxes' term in the loss
IOU_WEIGHT = 3.0  # weight of the boxes in the cost of an assignment
FAR = 1e5  # cost of a place that is not both in the box and near its middle
NEAR = 2.5  # strides from the middle of a box, within which places may be assigned to it
MOST_ASSIGNED = 10  # places whose IoUs say how many an object takes
SUPPRESSION = 0.65  # IoU above which the less sure of two boxes of a class is left out
CANDIDATES = 1000  # the surest places of an image, which suppression compares
EPSILON = 1e-8


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 640  # pixels
    image_width: int = 640  # pixels
    num_channels: int = 3  # 3 for colours, 1 for grey
    num_classes: int = 80  # classes to tell apart
    width: int = 32  # channels of the stem; each of four stages doubles them
    depth: int = 1  # bottlenecks of a stage; the two in the middle have three times as many
    head_channels: int = 128  # channels of the head
    depthwise: bool = False  # whether 3 x 3 convolutions are split into depthwise and pointwise


class Convolution(nn.Module):
    """A convolution without a bias, batch normalization, and SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return F.silu(self.bn(self.conv(x)))


def spatial(inputs: int, outputs: int, stride: int, *, depthwise: bool) -> nn.Module:
    """Return a 3 x 3 convolution, or a depthwise one and a 1 x 1 convolution after it."""
    if not depthwise:
        return Convolution(inputs, outputs, 3, stride)
    return nn.Sequential(
        Convolution(inputs, inputs, 3, stride, groups=inputs), Convolution(inputs, outputs, 1)
    )


class Bottleneck(nn.Module):
    """A 1 x 1 and a 3 x 3 convolution, whose input may be added to the result."""

    def __init__(self, width: int, *, residual: bool, depthwise: bool) -> None:
        super().__init__()
        self.residual = residual
        self.conv1 = Convolution(width, width, 1)
        self.conv2 = spatial(width, width, 1, depthwise=depthwise)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.residual else y


class CrossStage(nn.Module):
    """Bottlenecks on half of the channels, beside a shortcut (Wang et al., arXiv:1911.11929)."""

    def __init__(
        self, inputs: int, outputs: int, depth: int, *, residual: bool, depthwise: bool
    ) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = Convolution(inputs, half, 1)
        self.conv2 = Convolution(inputs, half, 1)
        self.conv3 = Convolution(2 * half, outputs, 1)
        blocks = (Bottleneck(half, residual=residual, depthwise=depthwise) for _ in range(depth))
        self.m = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h, w)."""
        out: Tensor = self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), dim=1))
        return out


class PyramidPooling(nn.Module):
    """The greatest values of three neighbourhoods beside the features (He et al., 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Convolution(width, width // 2, 1)
        self.conv2 = Convolution(4 * (width // 2), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same shape."""
        x = self.conv1(x)
        pooled = [F.max_pool2d(x, side, stride=1, padding=side // 2) for side in (5, 9, 13)]
        out: Tensor = self.conv2(torch.cat((x, *pooled), dim=1))
        return out


class Backbone(nn.Module):
    """CSPDarknet: four stages that halve the image, after a stem of 2 x 2 pixels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        w, depth, split = config.width, config.depth, config.depthwise
        self.stem = Convolution(4 * config.num_channels, w, 3)
        stages = []
        for inputs, times in ((w, 1), (2 * w, 3), (4 * w, 3), (8 * w, 1)):
            last = inputs == 8 * w
            layers = [spatial(inputs, 2 * inputs, 2, depthwise=split)]
            layers += [PyramidPooling(2 * inputs)] if last else []
            shape = (2 * inputs, 2 * inputs, times * depth)
            layers.append(CrossStage(*shape, residual=not last, depthwise=split))
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features of the last three stages, (B, 4w, H / 8, W / 8) to (B, 16w, ...)."""
        corners = [images[..., y::2, x::2] for x in (0, 1) for y in (0, 1)]
        x = self.stem(torch.cat(corners, dim=1))  # (B, w, H / 2, W / 2)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1], features[2], features[3]


class Neck(nn.Module):
    """Features that go from coarse to fine and back (Liu et al., arXiv:1803.01534)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        w, depth, split = config.width, config.depth, config.depthwise

        def join(inputs: int, outputs: int) -> CrossStage:
            return CrossStage(inputs, outputs, depth, residual=False, depthwise=split)

        self.lateral_conv0, self.C3_p4 = Convolution(16 * w, 8 * w, 1), join(16 * w, 8 * w)
        self.reduce_conv1, self.C3_p3 = Convolution(8 * w, 4 * w, 1), join(8 * w, 4 * w)
        self.bu_conv2, self.C3_n3 = spatial(4 * w, 4 * w, 2, depthwise=split), join(8 * w, 8 * w)
        self.bu_conv1, self.C3_n4 = spatial(8 * w, 8 * w, 2, depthwise=split), join(16 * w, 16 * w)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> list[Tensor]:
        """Return features of the shapes of the inputs, of which each has seen the others."""
        top = self.lateral_conv0(coarse)  # (B, 8w, H / 32, W / 32)
        x = self.C3_p4(torch.cat((enlarged(top), middle), dim=1))
        side = self.reduce_conv1(x)  # (B, 4w, H / 16, W / 16)
        first = self.C3_p3(torch.cat((enlarged(side), fine), dim=1))  # (B, 4w, H / 8, W / 8)
        second = self.C3_n3(torch.cat((self.bu_conv2(first), side), dim=1))
        third = self.C3_n4(torch.cat((self.bu_conv1(second), top), dim=1))
        return [first, second, third]


def enlarged(x: Tensor) -> Tensor:
    """Return features with each value on 2 x 2 places."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """Boxes and objects from one branch and classes from another, on one of the grids."""

    def __init__(self, inputs: int, config: Config) -> None:
        super().__init__()
        width, split = config.head_channels, config.depthwise

        def branch() -> nn.Sequential:
            return nn.Sequential(*(spatial(width, width, 1, depthwise=split) for _ in range(2)))

        self.stem = Convolution(inputs, width, 1)
        self.cls_convs, self.reg_convs = branch(), branch()
        self.cls_preds = nn.Conv2d(width, config.num_classes, 1)
        self.reg_preds = nn.Conv2d(width, 4, 1)
        self.obj_preds = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, h * w, 4 + 1 + K): offsets of a box, and logits of an object and of K."""
        x = self.stem(x)
        boxes = self.reg_convs(x)
        classes = self.cls_preds(self.cls_convs(x))
        parts = (self.reg_preds(boxes), self.obj_preds(boxes), classes)
        # A copy, since FSDP warns of a view.
        return torch.cat(parts, dim=1).flatten(2).transpose(1, 2).contiguous()


class Model(nn.Module):
    """The detector."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.neck = Neck(config)
        self.heads = nn.ModuleList(
            Head(times * config.width, config) for times in (4, 8, EXPANSION)
        )
        self._init_weights()

    @property
    def layers(self) -> list[nn.Module]:
        """The blocks that sharding and recomputation take apart."""
        return [*self.backbone.stages, self.neck, *self.heads]

    def _init_weights(self) -> None:
        """Let each place begin with a small probability of an object and of each class."""
        for name, parameter in self.heads.named_parameters():
            if name.endswith(("cls_preds.bias", "obj_preds.bias")):
                nn.init.constant_(parameter, -math.log((1 - PRIOR) / PRIOR))

    def forward(
        self, images: Tensor, boxes: Tensor | None = None, classes: Tensor | None = None
    ) -> Any:
        """Return predictions (B, A, 4 + 1 + K), or with objects the loss and its targets' number.

        A prediction is a box (left, top, right, bottom) in pixels, the logit of an object, and
        those of the classes.

        Args:
            images: (B, C, H, W), values from -1 to 1.
            boxes: (B, M, 4), the objects' sides in pixels.
            classes: (B, M), -1 where there is no object.
        """
        features = self.neck(*self.backbone(images))
        raw = torch.cat([head(x) for head, x in zip(self.heads, features, strict=True)], dim=1)
        raw = raw.float()  # Pixels of a large image are too fine for bfloat16.
        places, strides = self.grids(raw.device)
        centres = (raw[..., :2] + places) * strides
        sizes = raw[..., 2:4].exp() * strides
        sides = from_centres(torch.cat((centres, sizes), dim=-1))
        predictions = torch.cat((sides, raw[..., 4:]), dim=-1)
        if boxes is None or classes is None:
            return predictions
        return self.loss(predictions, boxes, classes)

    def loss(self, predictions: Tensor, boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of an assigned place, and the number of such places, at least 1.

        5 (1 - IoU^2) + cross-entropies of an object at all places and of the classes at assigned
        ones, where the target of the right class is the IoU (arXiv:2107.08430, section 2).
        """
        grids = self.grids(predictions.device)
        assigned, shares = assign(predictions.detach(), boxes, classes, *grids)
        taken = assigned >= 0  # (B, A)
        which = assigned.clamp(min=0)
        targets = boxes.gather(1, which[..., None].expand(-1, -1, 4))  # (B, A, 4)
        right = F.one_hot(classes.gather(1, which).clamp(min=0), self.config.num_classes)
        of_boxes = BOX_WEIGHT * (1 - iou(predictions[..., :4], targets) ** 2)
        of_objects = cross_entropy(predictions[..., 4], taken.float())
        of_classes = cross_entropy(predictions[..., 5:], right * shares[..., None]).sum(-1)
        count = taken.sum().clamp(min=1)
        return (of_objects + taken * (of_boxes + of_classes)).sum() / count, count

    def grids(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return column and row of each place of the three grids, (A, 2), and its stride, (A, 1).

        A stride is in pixels, columns and rows are in strides.
        """
        places, strides = [], []
        for stride in STRIDES:
            sides = (self.config.image_height // stride, self.config.image_width // stride)
            rows, columns = (torch.arange(side, device=device) for side in sides)
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            places.append(torch.stack((x, y), dim=-1).view(-1, 2).float())
            strides.append(torch.full((len(places[-1]), 1), float(stride), device=device))
        return torch.cat(places), torch.cat(strides)

    def detections(self, predictions: Tensor, least: float, most: int) -> list[Detections]:
        """Return the objects of each image: surer than `least`, none twice, `most` at most.

        A score is the product of the probabilities of an object and of its class.
        """
        height, width = self.config.image_height, self.config.image_width
        limits = predictions.new_tensor([width, height, width, height])
        found = []
        for each in predictions:
            scores = each[:, 4:5].sigmoid() * each[:, 5:].sigmoid()  # (A, K)
            best, classes = scores.max(dim=1)
            order = best.argsort(descending=True, stable=True)[:CANDIDATES]
            order = order[best[order] > least]
            boxes = each[order, :4].clamp(min=0).minimum(limits)
            every = Detections(boxes, best[order], classes[order])
            found.append(Detections(*(part[:most] for part in suppressed(every, SUPPRESSION))))
        return found

    def num_params(self) -> int:
        """Return the number of weights; running statistics are none."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return what config.json needs beside `Config`."""
        return {"model_type": "yolox"}


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of each logit."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


@torch.no_grad()
def assign(
    predictions: Tensor, boxes: Tensor, classes: Tensor, places: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the object that each place is assigned to, (B, A), -1 for none, and their IoU, (B, A).

    SimOTA: an object takes the k places of least cost, where k is the sum of its ten largest IoUs,
    at least 1. The cost is the cross-entropy of its class and 3 times -log IoU, for places in its
    box or near its middle; those that are not both come last. A place that several objects take
    goes to the one of least cost.
    """
    middles = (places + 0.5) * strides  # (A, 2)
    there = classes >= 0  # (B, M)
    inside = within(middles, boxes)  # (B, M, A)
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2  # (B, M, 2)
    apart = (centres[:, :, None] - middles).abs().amax(-1)
    near = apart < NEAR * strides[:, 0]
    # A place may be assigned if it fits any object of the image, as the authors' code has it.
    open_ = ((inside | near) & there[..., None]).any(1, keepdim=True) & there[..., None]
    overlaps = iou(boxes[:, :, None], predictions[:, None, :, :4]) * open_  # (B, M, A)
    costs = class_costs(predictions[..., 4:], classes) - IOU_WEIGHT * (overlaps + EPSILON).log()
    costs = (costs + FAR * ~(inside & near)).masked_fill(~open_, math.inf)
    most = min(MOST_ASSIGNED, costs.size(-1))
    counts = overlaps.topk(most, dim=-1).values.sum(-1).int().clamp(min=1)  # (B, M)
    cheapest = costs.topk(most, dim=-1, largest=False)
    taken = torch.arange(most, device=costs.device) < counts[..., None]
    # Padding and images with fewer open places have infinite costs, which no object takes.
    taken &= cheapest.values.isfinite()
    chosen = torch.zeros_like(costs, dtype=torch.bool).scatter(-1, cheapest.indices, taken)
    takers = chosen.sum(1)  # (B, A)
    which = torch.where(takers > 1, costs.argmin(1), chosen.int().argmax(1))
    shares = overlaps.gather(1, which[:, None])[:, 0]
    return torch.where(takers > 0, which, -1), shares


def within(points: Tensor, boxes: Tensor) -> Tensor:
    """Return whether each of A points (A, 2) lies in each box (B, M, 4): (B, M, A)."""
    low, high = boxes[:, :, None, :2], boxes[:, :, None, 2:]
    return ((points > low) & (points < high)).all(-1)


def class_costs(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the cross-entropy of each object's class at each place, (B, M, A).

    The probability of a class is the root of its own and that of an object.

    Args:
        logits: (B, A, 1 + K), those of an object and of the classes.
        classes: (B, M).
    """
    chance = (logits[..., :1].sigmoid() * logits[..., 1:].sigmoid()).sqrt()  # (B, A, K)
    # log is bounded as in torch's own cross-entropy of probabilities.
    yes, no = chance.log().clamp(min=-100), (1 - chance).log().clamp(min=-100)
    index = classes.clamp(min=0)[:, None].expand(-1, chance.size(1), -1)  # (B, A, M)
    of_class = (no - yes).gather(2, index) - no.sum(-1, keepdim=True)
    return of_class.transpose(1, 2)
