"""RT-DETR, a detector that predicts a set of objects (Zhao et al., 2024, arXiv:2304.08069).

A residual network makes maps of three resolutions, a hybrid encoder mixes them, and the pixels that
look most like an object become queries, which a decoder turns into boxes and classes. Training
matches predictions and objects one to one, so that no object is found twice and nothing needs to
be suppressed afterwards.

Shapes in comments: B images, C channels, T pixels of all maps, Q queries, N noisy queries,
M objects, K classes, S stages of prediction (the selection of queries, then each decoder layer).
Boxes are center x, center y, width and height, as shares of the image, where nothing else is said.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.boxes import Detections, from_centres, giou, iou, to_centres
from layers.convolution import Convolution
from layers.deformable import DeformableAttention
from layers.matching import assignment
from layers.resnet_d import EXPANSION, Backbone

LEVELS = 3  # maps at an eighth, a sixteenth and a thirty-second of the image's sides
SMALLEST = 0.05  # side of the box that a pixel of the finest map starts from, as a share
EDGE = 0.01  # Pixels nearer to the edge than this share of the image start no query.
WAVELENGTHS = 10_000  # the longest of a position's waves, in pixels of a map times 2 pi
LEAST = 1e-5  # A box's share of the image is at least this, and at most 1 minus this.
TINY = 1e-8  # keeps a quotient or a logarithm finite
MOST = 1e6  # a cost that no match has
PRIOR = 0.01  # probability of each class before training
LABEL_NOISE = 0.25  # share of noisy queries with a random class
BOX_COST, OVERLAP_COST, CLASS_COST = 5.0, 2.0, 2.0  # weights of the matching, and of the loss
MATCH_ALPHA, LOSS_ALPHA, GAMMA = 0.25, 0.75, 2.0  # weights of the focal terms


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 640  # pixels
    image_width: int = 640  # pixels
    num_channels: int = 3  # 3 for colours, 1 for grey
    num_classes: int = 80  # classes of objects
    num_queries: int = 300  # objects that are predicted for an image, at most
    width: int = 64  # channels of the backbone's first stage; each stage doubles them
    bottleneck: bool = True  # blocks of three convolutions, narrow within, or of two plain ones
    depth_1: int = 3  # blocks of the first stage
    depth_2: int = 4  # blocks of the second stage
    depth_3: int = 6  # blocks of the third stage
    depth_4: int = 3  # blocks of the fourth stage
    d_encoder: int = 256  # channels of each map of the hybrid encoder
    d_encoder_ff: int = 1024  # inner width of the encoder's feed-forward layer
    d_fusion: int = 256  # channels within a fusion of two maps
    fusion_blocks: int = 3  # blocks of a fusion
    d_model: int = 256  # width of a query
    d_ff: int = 1024  # inner width of the decoder's feed-forward layers
    n_layers: int = 6  # decoder layers
    n_heads: int = 8  # attention heads of encoder and decoder
    n_points: int = 4  # places of each map that a head of a query reads
    num_denoising: int = 100  # noisy copies of objects that training restores, about


class Predictions(NamedTuple):
    """What the model predicts of a batch of images.

    Attributes:
        logits: (S, B, Q, K) of each class; a query may have none.
        boxes: (S, B, Q, 4).
    """

    logits: Tensor
    boxes: Tensor


class Noise(NamedTuple):
    """Noisy copies of the objects of a batch, from which training restores them.

    Attributes:
        groups: Near copies of each object; there are as many farther away.
        classes: (B, N) the classes that the queries are told, K where there is no object.
        boxes: (B, N, 4).
        near: (groups * M,) the queries that are near their object, in the order of the objects.
        allowed: (N + Q, N + Q) whether a query (row) attends to a query (column).
    """

    groups: int
    classes: Tensor
    boxes: Tensor
    near: Tensor
    allowed: Tensor


class SelfAttention(nn.Module):
    """Attention whose queries and keys see a position, and whose values do not."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, position: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Map (B, T, width), with positions of that shape; `allowed` (T, T) says who sees whom."""
        placed = x + position
        q, k, v = (
            part(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D)
            for part, inputs in ((self.q_proj, placed), (self.k_proj, placed), (self.v_proj, x))
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out


class EncoderLayer(nn.Module):
    """A Transformer layer over the pixels of the coarsest map."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, d, h, w) to (B, d, h, w)."""
        _, channels, height, width = x.shape
        pixels = x.flatten(2).transpose(1, 2)  # (B, h * w, d)
        position = waves(height, width, channels, x.device).to(x.dtype)
        pixels = self.self_attn_layer_norm(pixels + self.self_attn(pixels, position))
        widened = self.fc2(F.gelu(self.fc1(pixels)))
        out: Tensor = self.final_layer_norm(pixels + widened)
        return out.transpose(1, 2).reshape(x.shape)


class Fusion(nn.Module):
    """Two maps in one: a path of re-parameterizable blocks beside a path of one convolution."""

    def __init__(self, width: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = Convolution(2 * width, inner, 1)
        self.conv2 = Convolution(2 * width, inner, 1)
        self.bottlenecks = nn.ModuleList(TwoKernels(inner) for _ in range(blocks))
        self.conv3 = None if inner == width else Convolution(inner, width, 1)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        """Map two (B, width, h, w) to one."""
        both = torch.cat((one, two), 1)
        deep = F.silu(self.conv1(both))
        for block in self.bottlenecks:
            deep = block(deep)
        out: Tensor = deep + F.silu(self.conv2(both))
        return out if self.conv3 is None else F.silu(self.conv3(out))


class TwoKernels(nn.Module):
    """A 3 x 3 and a 1 x 1 convolution side by side (RepVGG, arXiv:2101.03697)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Convolution(width, width, 3)
        self.conv2 = Convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to (B, width, h, w)."""
        return F.silu(self.conv1(x) + self.conv2(x))


class HybridEncoder(nn.Module):
    """Attention within the coarsest map, then convolutions from coarse to fine and back."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        outputs = EXPANSION if c.bottleneck else 1
        widths = [outputs * c.width * 2**stage for stage in (1, 2, 3)]
        d, steps = c.d_encoder, range(LEVELS - 1)
        self.inputs = nn.ModuleList(Convolution(width, d, 1) for width in widths)
        self.attention = EncoderLayer(d, c.d_encoder_ff, c.n_heads)
        self.laterals = nn.ModuleList(Convolution(d, d, 1) for _ in steps)
        fusion = (d, c.d_fusion, c.fusion_blocks)
        self.ups = nn.ModuleList(Fusion(*fusion) for _ in steps)
        self.strides = nn.ModuleList(Convolution(d, d, 3, 2) for _ in steps)
        self.downs = nn.ModuleList(Fusion(*fusion) for _ in steps)
        self.outputs = nn.ModuleList(Convolution(d, c.d_model, 1) for _ in widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map three maps to as many of d_model channels, the finest first."""
        *finer, coarsest = (layer(x) for layer, x in zip(self.inputs, maps, strict=True))
        x = self.attention(coarsest)
        laterals = []  # maps from the coarsest to the finest but one
        for lateral, up, beside in zip(self.laterals, self.ups, reversed(finer), strict=True):
            x = F.silu(lateral(x))
            laterals.append(x)
            x = up(F.interpolate(x, size=beside.shape[2:]), beside)
        mixed = [x]
        for stride, down, beside in zip(self.strides, self.downs, reversed(laterals), strict=True):
            mixed.append(down(F.silu(stride(mixed[-1])), beside))
        return [layer(x) for layer, x in zip(self.outputs, mixed, strict=True)]


class Perceptron(nn.Module):
    """Linear layers with rectifiers between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(itertools.starmap(nn.Linear, itertools.pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., first width) to (..., last width)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


class DecoderLayer(nn.Module):
    """Queries attend to each other, read the maps around their boxes, and pass an MLP."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        d = c.d_model
        self.self_attn = SelfAttention(d, c.n_heads)
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.encoder_attn = DeformableAttention(d, c.n_heads, LEVELS, c.n_points)
        self.encoder_attn_layer_norm = nn.LayerNorm(d)
        self.fc1, self.fc2 = nn.Linear(d, c.d_ff), nn.Linear(c.d_ff, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        boxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        allowed: Tensor | None,
    ) -> Tensor:
        """Map queries (B, Q, d) with positions of that shape; boxes are (B, Q, 4)."""
        x = self.self_attn_layer_norm(x + self.self_attn(x, position, allowed))
        read = self.encoder_attn(x + position, boxes, memory, sizes)
        x = self.encoder_attn_layer_norm(x + read)
        widened = self.fc2(F.relu(self.fc1(x)))
        out: Tensor = self.final_layer_norm(x + widened)
        return out


class Model(nn.Module):
    """The detector; a checkpoint opens as transformers' RTDetrForObjectDetection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config
        d, classes = c.d_model, c.num_classes
        self.backbone = Backbone(c)
        self.encoder = HybridEncoder(c)
        self.denoising_class_embed = nn.Embedding(classes + 1, d, padding_idx=classes)
        self.enc_output = nn.Linear(d, d)
        self.enc_norm = nn.LayerNorm(d)
        self.enc_score_head = nn.Linear(d, classes)
        self.enc_bbox_head = Perceptron(d, d, d, 4)
        self.query_pos_head = Perceptron(4, 2 * d, d)
        self.layers = nn.ModuleList(DecoderLayer(c) for _ in range(c.n_layers))
        self.class_embed = nn.ModuleList(nn.Linear(d, classes) for _ in range(c.n_layers))
        self.bbox_embed = nn.ModuleList(Perceptron(d, d, d, 4) for _ in range(c.n_layers))
        self._init_weights()

    def _init_weights(self) -> None:
        """Start with rare objects and with boxes that no layer moves; kernels as ResNet's."""
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for head in (self.enc_score_head, *self.class_embed):
            nn.init.xavier_uniform_(head.weight)
            nn.init.constant_(head.bias, -math.log(1 / PRIOR - 1))
        for boxes in (self.enc_bbox_head, *self.bbox_embed):
            nn.init.zeros_(boxes.layers[-1].weight)
            nn.init.zeros_(boxes.layers[-1].bias)
        nn.init.xavier_uniform_(self.denoising_class_embed.weight[:-1])

    def forward(
        self, images: Tensor, boxes: Tensor | None = None, classes: Tensor | None = None
    ) -> Any:
        """Return `Predictions`, or with the true objects the loss and the number of objects.

        Args:
            images: (B, C, height, width), values from -1 to 1.
            boxes: (B, M, 4), left, top, right and bottom in pixels.
            classes: (B, M), -1 after the last object of an image.
        """
        memory, sizes = self.remember(images)
        queries, logits, starts = self.select(memory, sizes)
        if boxes is None or classes is None:
            every = self.decode(queries, starts, memory, sizes)
            return Predictions(*map(joined, (logits, starts), every))
        objects, extra = self.as_shares(boxes), logits.new_zeros(())
        if self.training and self.config.num_denoising:
            noise = self.noise(objects, classes)
            restored, every = self.decode_noisy(noise, queries, starts, memory, sizes)
            extra = restoring_loss(*restored, noise, objects, classes)
        else:
            every = self.decode(queries, starts, memory, sizes)
        found = Predictions(*map(joined, (logits, starts), every))
        count = (classes >= 0).sum().clamp(min=1)
        return (matched_loss(*found, objects, classes) + extra) / count, count

    def remember(self, images: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
        """Return the pixels (B, T, d) of all maps, and height and width of each map."""
        maps = self.encoder(self.backbone(images))
        sizes = [(x.size(2), x.size(3)) for x in maps]
        return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1), sizes

    def select(
        self, memory: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pixels that look most like an object, (B, Q, d), their logits and boxes."""
        starts, inside = anchors(sizes, memory.device)
        pixels = self.enc_norm(self.enc_output(memory * inside.to(memory.dtype)))
        logits = self.enc_score_head(pixels)  # (B, T, K)
        boxes = self.enc_bbox_head(pixels).float() + starts
        best = logits.amax(-1).topk(self.config.num_queries, 1).indices.unsqueeze(-1)  # (B, Q, 1)
        # The decoder's loss reaches the encoder through what queries read, not through the queries.
        queries, logits, boxes = (
            each.gather(1, best.expand(-1, -1, each.size(-1))) for each in (pixels, logits, boxes)
        )
        return queries.detach(), logits, boxes.sigmoid()

    def decode(
        self,
        x: Tensor,
        boxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        allowed: Tensor | None = None,
    ) -> Predictions:
        """Return what each layer predicts for queries (B, Q, d) that start at boxes (B, Q, 4)."""
        logits, refined = [], []
        for layer, class_head, box_head in zip(
            self.layers, self.class_embed, self.bbox_embed, strict=True
        ):
            boxes = boxes.detach()  # Each layer learns its own correction only.
            position = self.query_pos_head(boxes.to(x.dtype))
            x = layer(x, position, boxes, memory, sizes, allowed)
            boxes = (box_head(x).float() + boxes.logit(LEAST)).sigmoid()
            logits.append(class_head(x))
            refined.append(boxes)
        return Predictions(torch.stack(logits), torch.stack(refined))

    def decode_noisy(
        self,
        noise: Noise,
        x: Tensor,
        boxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
    ) -> tuple[Predictions, Predictions]:
        """Return what the decoder predicts for noisy queries, and for the others."""
        told = self.denoising_class_embed(noise.classes).to(x.dtype)
        x, boxes = torch.cat((told, x), 1), torch.cat((noise.boxes, boxes), 1)
        every, count = self.decode(x, boxes, memory, sizes, noise.allowed), told.size(1)
        few = Predictions(*(each[:, :, :count] for each in every))
        return few, Predictions(*(each[:, :, count:] for each in every))

    @torch.no_grad()
    def noise(self, objects: Tensor, classes: Tensor) -> Noise:
        """Return noisy copies of objects (B, M, 4) and (B, M), for contrastive denoising.

        Each group has a near copy of each object, whose sides move by less than half its width or
        height, and a farther copy, which is no object (Zhang et al., 2023, arXiv:2203.03605).
        """
        many, none = classes.size(1), self.config.num_classes
        groups = max(1, self.config.num_denoising // many)
        order = torch.arange(2 * groups * many, device=classes.device)
        far = order // many % 2  # (N,)
        told = torch.where(classes < 0, none, classes).repeat(1, 2 * groups)
        swapped = (told < none) & (torch.rand(told.shape, device=told.device) < LABEL_NOISE)
        told = torch.where(swapped, torch.randint_like(told, none), told)
        exact = objects.repeat(1, 2 * groups, 1)
        sign = torch.randint_like(exact, 2) * 2 - 1
        moved = sign * (torch.rand_like(exact) + far[:, None])  # half widths and heights
        sides = from_centres(exact) + moved * exact[..., 2:].repeat(1, 1, 2) / 2
        boxes = to_centres(sides.clamp(0, 1)).clamp(0, 1)
        group = order // (2 * many)
        group = torch.cat((group, group.new_full((self.config.num_queries,), -1)))
        # No query sees a noisy one, which gives its object away; groups do not see each other.
        allowed = (group == -1) | (group[:, None] == group)
        return Noise(groups, told, boxes, order.view(groups, 2, many)[:, 0].flatten(), allowed)

    def as_shares(self, boxes: Tensor) -> Tensor:
        """Return boxes (..., 4) given by left, top, right and bottom in pixels as the model's."""
        return to_centres(boxes.float()) / self._sides(boxes)

    def _sides(self, like: Tensor) -> Tensor:
        return like.new_tensor(2 * [self.config.image_width, self.config.image_height]).float()

    @torch.no_grad()
    def detections(self, predictions: Predictions, least: float, most: int) -> list[Detections]:
        """Return the objects of each image: surer than `least`, `most` at most, the surest first.

        They are pairs of a query and a class. Nothing is suppressed: training lets one query alone
        be an object.
        """
        logits, boxes = (each[-1].float() for each in predictions)
        many = min(most, self.config.num_queries)
        scores, best = logits.sigmoid().flatten(1).topk(many, 1)  # (B, most)
        queries, classes = best // logits.size(-1), best % logits.size(-1)
        boxes = boxes.gather(1, queries.unsqueeze(-1).expand(-1, -1, 4))
        boxes = from_centres(boxes).clamp(0, 1) * self._sides(boxes)
        found = []
        for parts in zip(boxes, scores, classes, strict=True):
            surer = parts[1] > least
            found.append(Detections(*(part[surer] for part in parts)))
        return found

    def num_params(self) -> int:
        """Return the number of weights; running statistics are none."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in transformers' RTDetrForObjectDetection."""
        return checkpoint_name(name, self.backbone.depths)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as RT-DETR."""
        c = self.config
        outputs = EXPANSION if c.bottleneck else 1
        widths = [outputs * c.width * 2**stage for stage in range(4)]
        return {
            "architectures": ["RTDetrForObjectDetection"],
            "model_type": "rt_detr",
            "backbone_config": {
                "model_type": "rt_detr_resnet",
                "num_channels": c.num_channels,
                "embedding_size": c.width,
                "hidden_sizes": widths,
                "depths": list(self.backbone.depths),
                "layer_type": "bottleneck" if c.bottleneck else "basic",
                "out_indices": [2, 3, 4],
            },
            "freeze_backbone_batch_norms": False,
            "encoder_in_channels": widths[1:],
            "encoder_hidden_dim": c.d_encoder,
            "encoder_ffn_dim": c.d_encoder_ff,
            "encoder_attention_heads": c.n_heads,
            "hidden_expansion": c.d_fusion / c.d_encoder,
            "decoder_in_channels": LEVELS * [c.d_encoder],
            "d_model": c.d_model,
            "decoder_ffn_dim": c.d_ff,
            "decoder_layers": c.n_layers,
            "decoder_attention_heads": c.n_heads,
            "decoder_n_points": c.n_points,
            "num_queries": c.num_queries,
            "num_denoising": c.num_denoising,
        }


def joined(first: Tensor, rest: Tensor) -> Tensor:
    """Return the stage (B, ...) before the others (S - 1, B, ...)."""
    return torch.cat((first[None], rest))


def waves(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Return sine and cosine of each row and column at falling frequencies, (height * width, d)."""
    steps = torch.arange(channels // 4, device=device) / (channels // 4)
    rates = 1 / WAVELENGTHS**steps
    rows = torch.arange(height, device=device).repeat_interleave(width)[:, None] * rates
    columns = torch.arange(width, device=device).repeat(height)[:, None] * rates
    return torch.cat((rows.sin(), rows.cos(), columns.sin(), columns.cos()), 1)


def anchors(sizes: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the logits of the box (T, 4) that each pixel starts from, and if it may (T, 1)."""
    boxes = []
    for level, (height, width) in enumerate(sizes):
        x = (torch.arange(width, device=device) + 0.5).repeat(height) / width
        y = (torch.arange(height, device=device) + 0.5).repeat_interleave(width) / height
        side = torch.full_like(x, SMALLEST * 2**level)
        boxes.append(torch.stack((x, y, side, side), 1))
    every = torch.cat(boxes)
    inside = ((every > EDGE) & (every < 1 - EDGE)).all(1, keepdim=True)
    return every.logit().where(inside, torch.finfo(every.dtype).max), inside


@torch.no_grad()
def matching_costs(logits: Tensor, found: Tensor, objects: Tensor, classes: Tensor) -> Tensor:
    """Return the cost of each query for each object, (S, B, Q, M).

    It sums the L1 distance of the boxes, minus the generalized IoU, and how much the focal loss of
    the class falls when the query is the object.
    """
    index = classes.clamp(min=0)[:, None].expand(*logits.shape[:3], -1)  # (S, B, Q, M)
    p = logits.sigmoid().gather(-1, index)
    as_object = -MATCH_ALPHA * (1 - p) ** GAMMA * (p + TINY).log()
    as_none = -(1 - MATCH_ALPHA) * p**GAMMA * (1 - p + TINY).log()
    distance = (found.unsqueeze(-2) - objects[:, None]).abs().sum(-1)
    overlap = giou(from_centres(found).unsqueeze(-2), from_centres(objects)[:, None])
    return CLASS_COST * (as_object - as_none) + BOX_COST * distance - OVERLAP_COST * overlap


def matched_loss(logits: Tensor, boxes: Tensor, objects: Tensor, classes: Tensor) -> Tensor:
    """Return the summed loss of all stages, each matched with the objects by itself.

    Args:
        logits: (S, B, Q, K).
        boxes: (S, B, Q, 4).
        objects: (B, M, 4) true boxes.
        classes: (B, M), -1 where there is no object.
    """
    logits = logits.float()
    query = matches(matching_costs(logits, boxes, objects, classes), classes)
    return set_loss(logits, boxes, query, objects, classes)


# An operator of its own has a shape without numbers, which counting memory needs.
@torch.library.custom_op("rt_detr::matches", mutates_args=())
def matches(costs: Tensor, classes: Tensor) -> Tensor:
    """Return the query of each object (S, B, M), of least total cost; -1 of one without.

    Args:
        costs: (S, B, Q, M), of each query for each object.
        classes: (B, M), -1 after the last object of an image.
    """
    # What is not finite must not stop the matching: training stops at the loss.
    table = costs.nan_to_num(MOST, MOST, MOST).double().cpu().numpy()
    counts = (classes >= 0).sum(1).tolist()
    found = np.full((len(table), *classes.shape), -1)
    for stage, image in np.ndindex(found.shape[:2]):
        each = table[stage, image, :, : counts[image]]  # (Q, objects)
        if each.shape[0] < each.shape[1]:
            found[stage, image, assignment(each)] = np.arange(len(each))
        else:
            found[stage, image, : counts[image]] = assignment(each.T)
    return torch.from_numpy(found).to(costs.device)


@matches.register_fake
def _shape(costs: Tensor, classes: Tensor) -> Tensor:
    return classes.new_empty((len(costs), *classes.shape))


def restoring_loss(
    logits: Tensor, boxes: Tensor, noise: Noise, objects: Tensor, classes: Tensor
) -> Tensor:
    """Return the summed loss of noisy queries for each group; shapes as above, with N queries."""
    several = classes.repeat(1, noise.groups)  # (B, groups * M)
    query = torch.where(several < 0, -1, noise.near).expand(len(logits), -1, -1)
    objects = objects.repeat(1, noise.groups, 1)
    return set_loss(logits.float(), boxes, query, objects, several) / noise.groups


def set_loss(
    logits: Tensor, boxes: Tensor, query: Tensor, objects: Tensor, classes: Tensor
) -> Tensor:
    """Return the summed loss of queries, of which some are to be objects and the rest are none.

    Classes have a varifocal loss (Zhang et al., 2021, arXiv:2008.13367), whose target is the IoU
    with the object; boxes the L1 distance and the generalized IoU.

    Args:
        logits: (S, B, Q, K).
        boxes: (S, B, Q, 4).
        query: (S, B, M) the query of each object, -1 for none.
        objects: (B, M, 4).
        classes: (B, M), of which only those with a query count.
    """
    true, place = (query >= 0).float(), query.clamp(min=0)  # (S, B, M)
    found = boxes.gather(2, place.unsqueeze(-1).expand(-1, -1, -1, 4))  # (S, B, M, 4)
    sides = from_centres(found), from_centres(objects)
    cell = place * logits.size(-1) + classes.clamp(min=0)
    flat = logits.flatten(2)  # (S, B, Q * K)
    # An object without a query adds 0 to a cell that may be another's.
    goal = torch.zeros_like(flat).scatter_add(2, cell, true * iou(*sides).detach())
    right = torch.zeros_like(flat).scatter_add(2, cell, true)
    weight = LOSS_ALPHA * flat.detach().sigmoid() ** GAMMA * (1 - right) + goal
    ranks = F.binary_cross_entropy_with_logits(flat, goal, weight, reduction="sum")
    distance = (true.unsqueeze(-1) * (found - objects).abs()).sum()
    return ranks + BOX_COST * distance + OVERLAP_COST * (true * (1 - giou(*sides))).sum()


# Names of modules in transformers, by the names in this file.
NAMES = {
    "backbone.stem": "model.backbone.model.embedder.embedder",
    "encoder.inputs": "model.encoder_input_proj",
    "encoder.attention": "model.encoder.aifi.0.layers.0",
    "encoder.laterals": "model.encoder.lateral_convs",
    "encoder.ups": "model.encoder.fpn_blocks",
    "encoder.strides": "model.encoder.downsample_convs",
    "encoder.downs": "model.encoder.pan_blocks",
    "encoder.outputs": "model.decoder_input_proj",
    "enc_output": "model.enc_output.0",
    "enc_norm": "model.enc_output.1",
    "query_pos_head": "model.decoder.query_pos_head",
    "layers": "model.decoder.layers",
    "class_embed": "model.decoder.class_embed",
    "bbox_embed": "model.decoder.bbox_embed",
}


def checkpoint_name(name: str, depths: Sequence[int]) -> str:
    """Return the name of a tensor in transformers' RTDetrForObjectDetection."""
    if name.startswith("backbone.blocks."):
        return _block_name(name.removeprefix("backbone.blocks."), depths)
    prefix = next((each for each in NAMES if name.startswith(f"{each}.")), "")
    rest = name.removeprefix(f"{prefix}.")
    if prefix in ("encoder.inputs", "encoder.outputs"):
        rest = rest.replace("convolution", "0").replace("normalization", "1")
    elif not prefix.startswith("backbone"):
        rest = rest.replace("convolution", "conv").replace("normalization", "norm")
    return f"{NAMES.get(prefix, 'model')}.{rest.replace('fc', 'mlp.fc')}"


def _block_name(name: str, depths: Sequence[int]) -> str:
    number, rest = name.split(".", 1)
    ends = list(itertools.accumulate(depths))
    stage = next(stage for stage, end in enumerate(ends) if int(number) < end)
    place = int(number) - (ends[stage - 1] if stage else 0)
    # A shortcut with a stride is behind a pooling.
    rest = rest.replace("shortcut.project", "shortcut.1" if stage else "shortcut")
    return f"model.backbone.model.encoder.stages.{stage}.layers.{place}.{rest}"
