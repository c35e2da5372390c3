"""Segment an image with a trained checkpoint: the class of each pixel, and each thing apart.

    python infer.py --input photo.jpg
    python infer.py --input photo.jpg --least-score 0.8

Without --input, the image is from the validation split. Writes a map and a list of its segments in
COCO's panoptic form, as out/photo_segments.png and out/photo.json, and the image with the segments
drawn over it, out/photo_drawn.png.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.coco_panoptic import boxes_of
from runtime.drawing import colour_of, outlined
from runtime.errors import run
from runtime.instances import pasted
from runtime.labels import read_labels
from runtime.listing import printable
from runtime.objects import Found
from runtime.pictures import picture_of, picture_option
from runtime.scripts import Setting, Trained, serving
from runtime.segments import Segments, colours_of, merged


@dataclass(frozen=True)
class Config:
    """How segments are found and drawn."""

    least_score: float = 0.5
    """Score from which a thing counts, from 0 to 1."""
    least_area: int = 4096
    """Pixels of the network's image from which on stuff counts."""
    opacity: float = 0.5
    """Opacity of a segment over the image, from 0 to 1."""
    weight_bits: int = 16
    """Bits per weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def segment(
    model: Model, image: Tensor, config: Config, size: tuple[int, int], scale: float
) -> Segments:
    """Return the segments of an image, in the pixels of the whole one.

    Args:
        model: The network.
        image: (C, H, W), uint8, as the network takes it.
        config: What counts.
        size: Height and width of the whole image.
        scale: Pixels of the network's image for each pixel of the whole one.
    """
    weight = next(model.parameters())
    told = model((image.float() / 127.5 - 1)[None].to(weight.device, weight.dtype))
    boxes, classes, scores, masks = (each[0].float().cpu() for each in told[:4])
    real = classes >= 0
    boxes = boxes[real] / scale
    found = Found(boxes, scores[real], classes[real].long(), pasted(masks[real], boxes, size))
    stuff = stuff_of(told.stuff.float().cpu(), (image.size(1), image.size(2)), size, scale)
    least_area = config.least_area / scale**2
    return merged(found, stuff, model.config.num_classes, config.least_score, least_area)


def stuff_of(logits: Tensor, read: tuple[int, int], size: tuple[int, int], scale: float) -> Tensor:
    """Return the stuff of each pixel (H, W) of a whole image, 0 for things.

    Args:
        logits: (1, classes, h, w), of the image as the network read it, with what fills it up.
        read: Height and width of that image.
        size: Those of the whole one.
        scale: Pixels of the former for each pixel of the latter.
    """
    fine = F.interpolate(logits, size=read, mode="bilinear", align_corners=False)
    height, width = (max(1, round(side * scale)) for side in size)
    shown = fine[:, :, :height, :width]
    return F.interpolate(shown, size=size, mode="bilinear", align_corners=False)[0].argmax(0)


def listed(segments: Segments, things: int, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return segments as COCO's panoptic form lists them, with names and scores."""
    masks = segments.numbers == torch.arange(1, len(segments.classes) + 1)[:, None, None]
    boxes = boxes_of(masks)
    rows = []
    for number, (kind, score) in enumerate(
        zip(segments.classes.tolist(), segments.scores.tolist(), strict=True)
    ):
        left, top, right, bottom = boxes[number].int().tolist()
        row = {
            "id": number + 1,
            "category_id": kind,
            "category": names[kind],
            "isthing": int(kind < things),
            "area": int(masks[number].sum()),
            "bbox": [left, top, right - left, bottom - top],
        }
        rows.append({**row, "score": round(score, 4)} if kind < things else row)
    return rows


def covered(pixels: Any, segments: Segments, things: int, opacity: float) -> Any:
    """Return an image (H, W, 3), bytes, with segments: stuff has the colour of its class."""
    drawn = np.array(pixels, dtype=np.float32)
    for number, kind in enumerate(segments.classes.tolist(), start=1):
        mask = (segments.numbers == number).numpy()
        colour = np.array(colour_of(kind if kind >= things else things + number), np.float32)
        drawn[mask] = (1 - opacity) * drawn[mask] + opacity * colour
    return drawn.round().astype(np.uint8)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write the segments of an image as a map and as a list, and the image with them."""
    from PIL import Image

    args, config = trained.args, trained.config
    # The image is read before the weights, so that a wrong path fails at once.
    name, whole, image, scale = picture_of(
        args.input, trained.model, lambda: load_scenes(trained.data, args.data, trained.model)
    )
    names, things = read_labels(trained.folder), trained.model.num_classes
    dtype = torch.bfloat16 if config.weight_bits == 16 else torch.float32
    model = trained.load(lambda: Model(trained.model), dtype)
    segments = segment(model, image, config, whole.shape[:2], scale)
    rows = listed(segments, things, names)
    table, chart, picture = (
        args.out / f"{name}{end}" for end in (".json", "_segments.png", "_drawn.png")
    )
    args.out.mkdir(parents=True, exist_ok=True)
    content = {"file_name": chart.name, "segments_info": rows}
    table.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    Image.fromarray(colours_of(segments.numbers)).save(chart)
    drawn = covered(whole, segments, things, config.opacity)
    outlined(drawn, *_boxes(rows)).save(picture)
    print(f"wrote {chart}, {table} and {picture}")
    pixels = whole.shape[0] * whole.shape[1]
    for row in rows:
        sure = f" {row['score']:.2f}" if row["isthing"] else ""
        print(f"{printable(row['category'])}{sure}: {row['area'] / pixels:.1%} of the image")
    if not rows:
        print(f"no thing has a score of {config.least_score:g} or more, and no stuff is found")


def _boxes(rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor, list[str]]:
    """Return the boxes of the things among segments, the colours' numbers, and labels."""
    things = [row for row in rows if row["isthing"]]
    sides = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in things)]
    labels = [f"{row['category']} {row['score']:.2f}" for row in things]
    numbers = torch.tensor([row["category_id"] for row in things], dtype=torch.int64)
    return torch.tensor(sides, dtype=torch.float32).reshape(-1, 4), numbers, labels


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=picture_option,
    settings={
        "least_score": Setting("score from which a thing counts", float),
        "opacity": Setting("opacity of the segments", float),
        "weight_bits": Setting("bits per weight", int, (32, 16)),
    },
    data="the data whose validation image is used without --input",
)

if __name__ == "__main__":
    run(main)
