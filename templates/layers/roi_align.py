"""RoIAlign: the features of regions, read between places (He et al., 2017, arXiv:1703.06870)."""

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = 2  # points a side of each bin, whose mean is its feature


def flattened(maps: list[Tensor]) -> Tensor:
    """Return feature maps (B, C, h, w) as one table, a row for each place.

    Returns:
        (places, C), one map after another, and of a map one image after another.
    """
    return torch.cat([each.permute(0, 2, 3, 1).flatten(0, 2) for each in maps])


def roi_align(
    table: Tensor,
    sizes: list[tuple[int, int]],
    images: Tensor,
    levels: Tensor,
    boxes: Tensor,
    side: int,
) -> Tensor:
    """Return the features of regions: in each bin the mean of points that are read bilinearly.

    Each bin is a weighted sum of rows of the table, so that no point's own features are kept.

    Args:
        table: What `flattened` returned, (places, C).
        sizes: Height and width of each of its maps.
        images: (regions,) the image of a region.
        levels: (regions,) the map that it is read from.
        boxes: (regions, 4) its left, top, right and bottom, in places of that map.
        side: Bins a side.

    Returns:
        (regions, C, side, side).
    """
    heights, widths = torch.tensor(sizes, device=boxes.device).unbind(1)  # (maps,) each
    places = heights * widths
    # A map's rows begin after those of the maps before it, an image's after those before it.
    count = len(table) // int(sum(height * width for height, width in sizes))
    begin = (places.cumsum(0) - places)[levels] * count + places[levels] * images
    columns, across = _points(boxes[:, 0], boxes[:, 2], widths[levels], side)
    rows, down = _points(boxes[:, 1], boxes[:, 3], heights[levels], side)
    first = begin[:, None, None] + rows * widths[levels][:, None, None]
    # (regions, side, side, rows of a bin's points, columns of a bin's points)
    index = first[:, :, None, :, None] + columns[:, None, :, None, :]
    weights = down[:, :, None, :, None] * across[:, None, :, None, :]
    per_bin = index.size(3) ** 2
    index, weights = index.view(-1, per_bin), weights.view(-1, per_bin).to(table.dtype)
    bins = F.embedding_bag(index, table, per_sample_weights=weights, mode="sum")
    return bins.view(-1, side, side, table.size(1)).permute(0, 3, 1, 2)


def _points(low: Tensor, high: Tensor, size: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the two places around each point along one direction, and their weights.

    Args:
        low: (regions,) where they begin, in places.
        high: (regions,) where they end; a region is at least one place long.
        size: (regions,) places of the map.
        side: Bins of a region.

    Returns:
        (regions, side, 2 * SAMPLES) twice.
    """
    steps = torch.arange(side * SAMPLES, device=low.device)
    length = (high - low).clamp(min=1)
    at = low[:, None] + (steps + 0.5) / (side * SAMPLES) * length[:, None]
    last = (size - 1)[:, None]
    # Points up to one place outside read the border; those beyond read nothing.
    inside = (at >= -1) & (at <= size[:, None])
    at = torch.minimum(at.clamp(min=0), last)
    before = at.floor().long()
    share = at - before
    around = torch.stack((before, torch.minimum(before + 1, last)), -1)
    weights = torch.stack((1 - share, share), -1) * inside[..., None] / SAMPLES
    shape = (len(low), side, 2 * SAMPLES)
    return around.view(shape), weights.view(shape)
