"""Find the objects of an image with a trained checkpoint.

    python infer.py --input photo.jpg                writes out/photo_drawn.png and photo.json
    python infer.py --input photo.jpg --least-score 0.5

Without --input, the image is from the validation split. Writes the image with a box, a class and a
score for each object, and a list of them in COCO's form: left, top, width and height in pixels.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.drawing import outlined
from runtime.errors import run
from runtime.labels import read_labels
from runtime.listing import printable
from runtime.objects import Found
from runtime.pictures import picture_of, picture_option
from runtime.scripts import Setting, Trained, serving

MOST = 100  # objects of an image


@dataclass(frozen=True)
class Config:
    """How objects are found."""

    least_score: float = 0.3
    """Score from which an object is drawn and listed, from 0 to 1."""
    weight_bits: int = 16
    """Bits per weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def detect(model: Model, image: Tensor, least: float) -> Found:
    """Return the objects of an image (C, H, W), uint8, in its pixels."""
    weight = next(model.parameters())
    pixels = (image.float() / 127.5 - 1)[None].to(weight.device, weight.dtype)
    found = model.detections(model(pixels), least, MOST)[0]
    return Found(found.boxes.float().cpu(), found.scores.float().cpu(), found.classes.cpu())


def listed(found: Found, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return objects in COCO's form, the surest first."""
    rows = []
    for box, score, number in zip(found.boxes, found.scores, found.classes, strict=True):
        left, top, right, bottom = (round(side, 1) for side in box.tolist())
        sides = [left, top, round(right - left, 1), round(bottom - top, 1)]
        rows.append({"category": names[number], "score": round(float(score), 4), "bbox": sides})
    return rows


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write the objects of an image, and the image with them."""
    args, config = trained.args, trained.config
    # The image is read before the weights, so that a wrong path fails at once.
    name, whole, image, scale = picture_of(
        args.input, trained.model, lambda: load_scenes(trained.data, args.data, trained.model)
    )
    names = read_labels(trained.folder)
    dtype = torch.bfloat16 if config.weight_bits == 16 else torch.float32
    model = trained.load(lambda: Model(trained.model), dtype)
    found = detect(model, image, config.least_score)
    found = Found(found.boxes / scale, found.scores, found.classes)
    rows = listed(found, names)
    table, picture = args.out / f"{name}.json", args.out / f"{name}_drawn.png"
    args.out.mkdir(parents=True, exist_ok=True)
    table.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    labels = [f"{row['category']} {row['score']:.2f}" for row in rows]
    outlined(whole, found.boxes, found.classes, labels).save(Path(picture))
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
        "weight_bits": Setting("bits per weight", int, (32, 16)),
    },
    data="the data whose validation image is used without --input",
)

if __name__ == "__main__":
    run(main)
