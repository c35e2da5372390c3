"""What Mask R-CNN does with regions: it proposes, samples and reads them (arXiv:1703.06870).

All sizes and constants are those of torchvision's Mask R-CNN. Every image has the same number of
proposals and of detections, of which some may be empty, so that the shapes of a pass do not depend
on what an image shows.

Shapes in comments: B images, C channels, h x w places of a map, A anchors of a place, N anchors of
an image, P proposals, S sampled regions, M objects of an image, K classes beside the background, D
detections, R pixels a side of a mask.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.boxes import area, iou, survivors
from layers.convolution import Convolution
from layers.pyramid import FrozenNorm, Pyramid
from layers.region_heads import BINS, RATIOS, BoxHead, MaskHead, ProposalHead
from layers.residual import EXPANSION, Bottleneck
from layers.roi_align import flattened, roi_align
from layers.steps import clipped, decoded, encoded

STRIDES = (4, 8, 16, 32, 64)  # pixels from place to place, on each level of the pyramid
USUAL_SIDE = 7  # anchors of the finest level; a region of that size is read from the third level
PROPOSAL_OVERLAP = 0.7  # greatest IoU of two proposals that both stay
CLASS_OVERLAP = 0.5  # greatest IoU of two detections of a class that both stay
OBJECT = 0.7  # overlap with an object from which on an anchor is one
NOTHING = 0.3  # overlap below which an anchor is none
ANCHORS_SAMPLED = 256  # anchors of an image, up to half of them objects
REGION = 0.5  # overlap with an object from which on a region is one
OBJECTS_SHARE = 0.25  # share of objects among the sampled regions
LEAST_SIDE = 1e-2  # pixels; smaller boxes are dropped
LEAST_SCORE = 0.05  # score from which a region is a detection
WEIGHTS = (10, 5)  # factors of the ways and the logs of the box head's steps
BETA = 1 / 9  # Steps that are further off than this have a linear loss.
# The names of torchvision's modules, by those of the heads here.
HEADS = {
    "pyramid.inner": "backbone.fpn.inner_blocks.{}.0",
    "pyramid.outer": "backbone.fpn.layer_blocks.{}.0",
    "proposal_head.convolution": "rpn.head.conv.0.0",
    "proposal_head.objectness": "rpn.head.cls_logits",
    "proposal_head.steps": "rpn.head.bbox_pred",
    "box_head.first": "roi_heads.box_head.fc6",
    "box_head.second": "roi_heads.box_head.fc7",
    "box_head.classes": "roi_heads.box_predictor.cls_score",
    "box_head.steps": "roi_heads.box_predictor.bbox_pred",
    "mask_head.layers": "roi_heads.mask_head.{}.0",
    "mask_head.up": "roi_heads.mask_predictor.conv5_mask",
    "mask_head.classes": "roi_heads.mask_predictor.mask_fcn_logits",
}


class Detections(NamedTuple):
    """What was detected in images, the likeliest first.

    Attributes:
        boxes: (B, D, 4) left, top, right and bottom in pixels.
        classes: (B, D); -1 where fewer objects were detected.
        scores: (B, D) probability of the class.
        masks: (B, D, R, R) probability that a part of the box belongs to the object.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor


class Features(NamedTuple):
    """The pyramid of images as a table of places, as `roi_align` reads it.

    Attributes:
        table: (places of the four finer levels, C).
        sizes: Height and width of each of these levels.
        logits: Per level, (B, h * w * A), whether an anchor is an object.
        steps: Per level, (B, h * w * A, 4), from an anchor to the object's box.
        anchors: Per level, (h * w * A, 4).
    """

    table: Tensor
    sizes: list[tuple[int, int]]
    logits: list[Tensor]
    steps: list[Tensor]
    anchors: list[Tensor]


class RegionNetwork(nn.Module):
    """The backbone, its pyramid, and all that finds objects and draws their masks."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.depths = (config.depth_1, config.depth_2, config.depth_3, config.depth_4)
        norm = FrozenNorm if config.frozen_norm else nn.BatchNorm2d
        self.stem = Convolution(config.num_channels, config.width, 7, 2, norm)
        self.layers = nn.ModuleList()
        inputs, outputs = config.width, []
        for stage, depth in enumerate(self.depths):
            width = config.width * 2**stage
            for index in range(depth):
                stride = 2 if stage and index == 0 else 1
                self.layers.append(Bottleneck(inputs, width, stride, norm))
                inputs = EXPANSION * width
            outputs.append(inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        classes, channels = config.num_classes + 1, config.fpn_channels
        self.pyramid = Pyramid(outputs, channels)
        self.proposal_head = ProposalHead(channels)
        self.box_head = BoxHead(channels, config.d_hidden, classes)
        self.mask_head = MaskHead(channels, config.mask_depth, classes)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Return the levels of the pyramid, the finest first."""
        levels: list[Tensor] = self.pyramid(self.stages(images))
        return levels

    def features(self, levels: list[Tensor]) -> Features:
        """Return the levels as the heads read them, with what the proposal network tells."""
        # (B, h * w * A) and (B, h * w * A, 4) of each level
        logits, steps = zip(*map(self.proposal_head, levels), strict=True)
        anchors = [
            _anchors(level, stride, self.config.anchor_size * 2**index)
            for index, (level, stride) in enumerate(zip(levels, STRIDES, strict=True))
        ]
        # Regions are read from all levels but the coarsest, which only has proposals.
        sizes = [(level.size(2), level.size(3)) for level in levels[:-1]]
        return Features(flattened(levels[:-1]), sizes, [*logits], [*steps], anchors)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return the features of each stage, (B, 4 * width, height / 4, width / 4) at first."""
        x = F.relu(self.stem(images))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        ends, features = {sum(self.depths[: n + 1]) for n in range(4)}, []
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if number in ends:
                features.append(x)
        return features

    @torch.no_grad()
    def proposed(self, features: Features, most: int) -> tuple[Tensor, Tensor]:
        """Return the likeliest boxes of images (B, P, 4), and whether each is one (B, P)."""
        boxes, scores = [], []
        for logits, steps, anchors in zip(
            features.logits, features.steps, features.anchors, strict=True
        ):
            top, index = logits.topk(min(most, logits.size(1)))  # (B, n)
            found = decoded(_at(steps, index), anchors[index])
            found = clipped(found, self.config.image_height, self.config.image_width)
            stays = survivors(found, None, PROPOSAL_OVERLAP) & _wide(found)
            boxes.append(found)
            scores.append(top.masked_fill(~stays, -torch.inf))
        score, all_boxes = torch.cat(scores, 1), torch.cat(boxes, 1)
        best, index = score.topk(min(most, score.size(1)))
        return _at(all_boxes, index), best > -torch.inf

    def regions(self, features: Features, boxes: Tensor, side: int) -> Tensor:
        """Return the features (B * regions, C, side, side) of boxes (B, regions, 4)."""
        # A region of the usual side is read from the third level, one half as long from the second.
        sides = area(boxes).sqrt() / (USUAL_SIDE * self.config.anchor_size)
        last = len(features.sizes) - 1
        # The small number keeps a side that rounding made a little shorter on its level.
        levels = (2 + sides.log2() + 1e-6).floor().clamp(0, last).long().flatten()
        strides = torch.tensor(STRIDES, device=boxes.device)[levels]
        images = _counted(boxes)[:, None].expand(boxes.shape[:2]).flatten()
        places = boxes.flatten(0, 1) / strides[:, None]
        return roi_align(features.table, features.sizes, images, levels, places, side)

    def detected(self, features: Features) -> Detections:
        """Return the objects of images, and draw their masks."""
        proposals, real = self.proposed(features, self.config.num_proposals)
        logits, steps = self.box_head(self.regions(features, proposals, BINS))
        shape = proposals.shape[:2]
        # (B, P, K) the probability of each class
        chances = logits.softmax(-1)[:, 1:].unflatten(0, shape) * real[..., None]
        classes = chances.size(-1)
        scores, index = chances.flatten(1).topk(min(self.config.num_proposals, shape[1] * classes))
        region, kind = index // classes, index % classes
        steps = steps.unflatten(0, shape).flatten(1, 2)  # (B, P * (K + 1), 4)
        step = _at(steps, region * (classes + 1) + kind + 1)
        boxes = decoded(step, _at(proposals, region), WEIGHTS)
        boxes = clipped(boxes, self.config.image_height, self.config.image_width)
        good = (scores > LEAST_SCORE) & _wide(boxes)
        # Boxes that are left out are a class of their own, and suppress no other.
        kind = kind.masked_fill(~good, -1)
        stays = survivors(boxes, kind, CLASS_OVERLAP) & good
        most = min(self.config.num_detections, scores.size(1))
        scores, index = (scores * stays).topk(most)  # (B, D)
        boxes, kind = _at(boxes, index), kind.gather(1, index).masked_fill(scores == 0, -1)
        pixels = self.mask_head(self.regions(features, boxes, self.config.mask_resolution // 2))
        chosen = pixels[_counted(pixels), kind.flatten() + 1]
        return Detections(boxes, kind, scores, chosen.float().sigmoid().unflatten(0, kind.shape))

    def losses(
        self, features: Features, boxes: Tensor, classes: Tensor, masks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the losses of objectness, proposals, classes, boxes and masks, means of images."""
        first = self.proposal_losses(features, boxes, classes)
        proposals, real = self.proposed(features, 2 * self.config.num_proposals)
        # Objects are proposals too, so that the heads see some good ones from the first step on.
        regions, real = torch.cat((proposals, boxes), 1), torch.cat((real, classes >= 0), 1)
        where, match, kind, counts = self.sampled(regions, real, boxes, classes)
        logits, steps = self.box_head(self.regions(features, where, BINS))
        shape = kind.shape  # (B, S)
        each = F.cross_entropy(logits, kind.flatten(), reduction="none").view(shape)
        of_classes = _mean(each, counts)
        objects = _at(boxes, match)  # (B, S, 4)
        towards = encoded(objects, where, WEIGHTS)
        step = steps[_counted(steps), kind.flatten().clamp(min=0)].view_as(towards)
        of_boxes = _mean(_smooth(step, towards, kind > 0), counts)
        # The first places have the regions of objects.
        most = int(OBJECTS_SHARE * self.config.num_sampled)
        of_masks = self.mask_loss(features, where[:, :most], match[:, :most], kind[:, :most], masks)
        return *first, of_classes, of_boxes, of_masks

    def proposal_losses(
        self, features: Features, boxes: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the objectness of anchors, and of the steps from them."""
        anchors = torch.cat(features.anchors)  # (N, 4)
        logits, steps = torch.cat(features.logits, 1), torch.cat(features.steps, 1)
        shared = iou(boxes[:, :, None], anchors).masked_fill(
            (classes < 0)[..., None], -1
        )  # (B, M, N)
        best, match = shared.max(1)  # (B, N)
        # An object that no anchor fits has those that fit it best.
        nearest = (shared == shared.amax(2, keepdim=True)) & (shared > 0)
        objects = (best >= OBJECT) | nearest.any(1)
        nothing = (best < NOTHING) & ~objects
        positive = _drawn(objects, ANCHORS_SAMPLED // 2)
        negative = _drawn(nothing, ANCHORS_SAMPLED, positive.sum(1))
        chosen = positive | negative
        wrong = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
        towards = encoded(_at(boxes, match), anchors)
        count = chosen.sum(1)
        return _mean(wrong * chosen, count), _mean(_smooth(steps, towards, positive), count)

    @torch.no_grad()
    def sampled(
        self, regions: Tensor, real: Tensor, boxes: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw the regions that the heads learn from, those of objects first.

        Returns:
            Their boxes (B, S, 4), the number of each one's object (B, S), its class (B, S), which
            is 0 for none and -100 where there are too few regions, and their number (B,).
        """
        shared = iou(boxes[:, :, None], regions[:, None])
        shared = shared.masked_fill((classes < 0)[..., None], -1)
        best, match = shared.max(1)  # (B, P + M)
        size = self.config.num_sampled
        positive = _drawn((best >= REGION) & real, int(OBJECTS_SHARE * size))
        negative = _drawn((best < REGION) & real, size, positive.sum(1))
        order = 2 * positive.byte() + negative.byte()
        order, index = order.sort(dim=1, descending=True, stable=True)
        order, index = order[:, :size], index[:, :size]
        match = match.gather(1, index)
        kind = (classes.gather(1, match) + 1) * (order == 2)
        return _at(regions, index), match, kind.masked_fill(order == 0, -100), (order > 0).sum(1)

    def mask_loss(
        self, features: Features, where: Tensor, match: Tensor, kind: Tensor, masks: Tensor
    ) -> Tensor:
        """Return the loss of the masks of regions (B, S, 4), for the classes of their objects."""
        side = self.config.mask_resolution
        logits = self.mask_head(self.regions(features, where, side // 2))
        chosen = logits[_counted(logits), kind.flatten().clamp(min=0)]
        _, objects, height, width = masks.shape
        # The mask of each object is read as an image of one channel.
        table, number = flattened([masks.flatten(0, 1)[:, None].to(where.dtype)]), _counted(masks)
        number = (number[:, None] * objects + match).flatten()
        level, places = torch.zeros_like(number), where.flatten(0, 1)
        truth = roi_align(table, [(height, width)], number, level, places, side)[:, 0]
        wrong = F.binary_cross_entropy_with_logits(chosen.float(), truth, reduction="none")
        each = wrong.mean((1, 2)).view_as(kind) * (kind > 0)
        return _mean(each, (kind > 0).sum(1))

    def num_params(self) -> int:
        """Return the number of weights; running statistics are none."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in torchvision's Mask R-CNN."""
        head, _, rest = name.partition(".")
        if head == "stem":
            part, kind = rest.split(".")
            return f"backbone.body.{'conv1' if part == 'convolution' else 'bn1'}.{kind}"
        if head == "layers":
            return f"backbone.body.{self._block_name(rest)}"
        part, *places, kind = rest.split(".")
        return f"{HEADS[f'{head}.{part}'].format(*places)}.{kind}"

    def _block_name(self, name: str) -> str:
        number, part, layer, kind = name.split(".")
        stage, place = 0, int(number)
        while place >= self.depths[stage]:
            place -= self.depths[stage]
            stage += 1
        norm = layer == "normalization"
        if part == "shortcut":
            return f"layer{stage + 1}.{place}.downsample.{int(norm)}.{kind}"
        order = ("narrow", "mix", "widen").index(part) + 1
        return f"layer{stage + 1}.{place}.{'bn' if norm else 'conv'}{order}.{kind}"


def _anchors(level: Tensor, stride: int, size: int) -> Tensor:
    """Return the anchors (h * w * A, 4) of a level (B, C, h, w), whole pixels around its places."""
    height, width = level.shape[-2:]
    tall = torch.tensor(RATIOS, device=level.device).sqrt()
    halves = torch.stack((-size / tall, -size * tall, size / tall, size * tall), 1) / 2
    rows = torch.arange(height, device=level.device) * stride
    columns = torch.arange(width, device=level.device) * stride
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack((x, y, x, y), -1)[:, :, None]  # (h, w, 1, 4)
    return (centres + halves.round()).flatten(0, 2)


def _counted(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor's first dimension, from 0."""
    return torch.arange(len(tensor), device=tensor.device)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """Return (B, n, 4) of (B, N, 4), at the places (B, n)."""
    return values.gather(1, index[..., None].expand(*index.shape, values.size(-1)))


def _wide(boxes: Tensor) -> Tensor:
    """Return whether both sides of boxes (..., 4) are long enough to be kept."""
    return (boxes[..., 2:] - boxes[..., :2] >= LEAST_SIDE).all(-1)


def _drawn(those: Tensor, most: int, taken: Tensor | None = None) -> Tensor:
    """Draw of each image some of those places (B, N): `most`, less what is taken (B,)."""
    keys = torch.rand(those.shape, device=those.device) * those
    best, index = keys.topk(min(most, keys.size(1)))
    chosen = best > 0
    if taken is not None:
        chosen &= torch.arange(best.size(1), device=those.device) < most - taken[:, None]
    return torch.zeros_like(those).scatter(1, index, chosen)


def _smooth(steps: Tensor, towards: Tensor, counted: Tensor) -> Tensor:
    """Return the smooth L1 loss (B, N) of steps (B, N, 4), 0 where they do not count."""
    # A place without an object has steps towards nothing, which may be infinite.
    towards = torch.where(counted[..., None], towards, steps.detach())
    return F.smooth_l1_loss(steps, towards, beta=BETA, reduction="none").sum(-1)


def _mean(losses: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over images of losses (B, N), each divided by its image's count (B,)."""
    return (losses.sum(1) / counts.clamp(min=1)).mean()
