"""Find the objects of an image with a trained checkpoint, and draw the mask of each.

    python infer.py --input photo.jpg                writes out/photo_drawn.png and photo.json
    python infer.py --input photo.jpg --least-score 0.8

Without --input, the image is from the validation split. Writes the image with a mask, a class and a
score for each object, and a list of them in COCO's form, with boxes and packed run lengths.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.drawing import colour_of, outlined
from runtime.errors import run
from runtime.instances import in_coco_form, pasted
from runtime.labels import read_labels
from runtime.listing import printable
from runtime.objects import Found
from runtime.pictures import picture_of, picture_option
from runtime.scripts import Setting, Trained, serving


@dataclass(frozen=True)
class Config:
    """How objects are found and drawn."""

    least_score: float = 0.5
    """Score from which an object is drawn and listed, from 0 to 1."""
    opacity: float = 0.5
    """Opacity of a mask over the image, from 0 to 1."""
    weight_bits: int = 16
    """Bits per weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def segment(
    model: Model, image: Tensor, least: float, size: tuple[int, int], scale: float
) -> Found:
    """Return the objects of an image, in the pixels of the whole one.

    Args:
        model: The network.
        image: (C, H, W), uint8, as the network takes it.
        least: Score from which an object counts.
        size: Height and width of the whole image.
        scale: Pixels of the network's image for each pixel of the whole one.
    """
    weight = next(model.parameters())
    found = model((image.float() / 127.5 - 1)[None].to(weight.device, weight.dtype))
    boxes, classes, scores, masks = (each[0].cpu() for each in found)
    sure = (classes >= 0) & (scores >= least)
    boxes = boxes[sure] / scale
    return Found(boxes, scores[sure], classes[sure], pasted(masks[sure], boxes, size))


def covered(pixels: Any, found: Found, opacity: float) -> Any:
    """Return an image (H, W, 3), bytes, with each object's mask in the colour of its class."""
    drawn = np.array(pixels, dtype=np.float32)
    assert found.masks is not None
    # The surest object comes last, over the others.
    for mask, number in reversed([*zip(found.masks.numpy(), found.classes.tolist(), strict=True)]):
        drawn[mask] = (1 - opacity) * drawn[mask] + opacity * np.array(colour_of(number))
    return drawn.round().astype(np.uint8)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write the objects of an image, and the image with their masks."""
    args, config = trained.args, trained.config
    # The image is read before the weights, so that a wrong path fails at once.
    name, whole, image, scale = picture_of(
        args.input, trained.model, lambda: load_scenes(trained.data, args.data, trained.model)
    )
    names = read_labels(trained.folder)
    dtype = torch.bfloat16 if config.weight_bits == 16 else torch.float32
    model = trained.load(lambda: Model(trained.model), dtype)
    found = segment(model, image, config.least_score, whole.shape[:2], scale)
    rows = in_coco_form(found, names)
    table, picture = args.out / f"{name}.json", args.out / f"{name}_drawn.png"
    args.out.mkdir(parents=True, exist_ok=True)
    table.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    labels = [f"{row['category']} {row['score']:.2f}" for row in rows]
    drawn = covered(whole, found, config.opacity)
    outlined(drawn, found.boxes, found.classes, labels).save(picture)
    print(f"wrote {table} and {picture}")
    for row in rows:
        print(f"{printable(row['category'])} {row['score']:.2f} at {row['bbox']}")
    if not rows:
        print(f"no object has a score of {config.least_score:g} or more")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=picture_option,
    settings={
        "least_score": Setting("score from which an object counts", float),
        "opacity": Setting("opacity of the masks", float),
        "weight_bits": Setting("bits per weight", int, (32, 16)),
    },
    data="the data whose validation image is used without --input",
)

if __name__ == "__main__":
    run(main)
