"""Draw images with a trained checkpoint.

    python infer.py                                        a row for each class, or one without text
    python infer.py --prompt three --guidance 3            images of one class, or of one text
    python infer.py --input captions.txt --samples 4       a row for each line of a file

Writes a PNG with a row of images for each caption.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model, conditions
from runtime.diffusion import guided, sample, signal
from runtime.errors import fail, run
from runtime.images import write_image
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.settings import read_json

ROWS = 16  # largest number of classes that are drawn without --prompt
SHOWN_SIDE = 64  # smaller images are enlarged to at least this side


@dataclass(frozen=True)
class Config:
    """How images are drawn."""

    samples: int = 1
    """Images of each caption."""
    sampling_steps: int = 50
    """Noise levels per image; fewer are faster and rougher."""
    guidance: float = 5.0
    """Strength of the caption; 1 samples the model's own distribution in half the time; more
    follows the caption more closely, and reduces variety."""
    seed: int = 42
    """Seed of the noise."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def draw(
    model: Model, condition: Tensor, nothing: Tensor, data: DataConfig, config: Config
) -> Tensor:
    """Return an image of each condition, (B, C, H, W) of 0 to 1."""
    c, device = model.config, condition.device
    # The checkpoint draws at the size of its training images only.
    size = (len(condition), c.image_channels, c.image_height, c.image_width)
    # Noise is drawn on the CPU: a seed gives the same image on every device.
    noise = torch.randn(size, generator=torch.Generator().manual_seed(config.seed)).to(device)
    left = signal(data.noise_schedule, data.timesteps).to(device)
    # Guidance runs the model twice per step, with and without the caption.
    predict = guided(model, condition, nothing, config.guidance)
    return (sample(predict, noise, left, config.sampling_steps) + 1) / 2  # -1..1 to 0..1


def grid(rows: Sequence[Tensor]) -> Tensor:
    """Return rows of images (B, C, H, W) as one image, with a white line between them."""
    height, width = rows[0].shape[2:]
    # Whole factors keep the pixels of a small image square and sharp.
    times = math.ceil(SHOWN_SIDE / max(height, width))
    # Repeated pixels show what the model drew; interpolation would add smoothness of its own.
    large = [row.repeat_interleave(times, 2).repeat_interleave(times, 3) for row in rows]
    framed = [F.pad(row, (1, 1, 1, 1), value=1.0) for row in large]
    return torch.cat([torch.cat(list(row), dim=2) for row in framed], dim=1)


def captions_of(args: argparse.Namespace, classes: Sequence[str]) -> list[str]:
    """Return the captions of the options; without any, each class, or the empty caption."""
    if args.prompt is not None:
        return [args.prompt]
    if args.input is None:
        # The empty caption stands for no condition: training replaced some captions by it.
        return list(classes[:ROWS]) or [""]
    try:
        lines = args.input.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{args.input} cannot be read as UTF-8 text: {error}.")
    captions = [line.strip() for line in lines if line.strip()]
    return captions or fail(f"{args.input} has no captions: write one per line.")


def options(group: Group) -> None:
    what = group.add_mutually_exclusive_group()
    what.add_argument("--prompt", metavar="TEXT", help="the caption, or the name of a class")
    what.add_argument("--input", type=existing, metavar="FILE", help="captions, one per line")
    group.add_argument("--image", type=Path, metavar="PNG", help="(default: OUT/samples.png)")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write an image with a row of samples for each caption."""
    args, config, data = trained.args, trained.config, trained.data
    if config.sampling_steps > data.timesteps:
        fail(f"there are {data.timesteps} noise levels: set --sampling-steps to at most that.")
    # The checkpoint lists its classes in the order of their numbers; a model of free captions has
    # none.
    classes = read_json(trained.folder / "config.json").get("classes", [])
    captions = captions_of(args, classes)
    try:
        given, nothing = (
            conditions(trained.model, each, classes).to(trained.device) for each in (captions, [""])
        )
    except ValueError as error:
        fail(f"the model does not know this caption: {error}.")
    # Captions are checked before the weights are read, which may take minutes.
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    rows = []
    for place in range(len(captions)):
        own, none = (e.repeat_interleave(config.samples, 0) for e in (given[[place]], nothing))
        # Each row has a seed of its own, so the images of a row do not depend on the rows above.
        drawn = draw(model, own, none, data, replace(config, seed=config.seed + place))
        rows.append(drawn.float().cpu())  # (samples, C, H, W)
    target = args.image or args.out / "samples.png"
    write_image(target, grid(rows))
    for place, caption in enumerate(captions, start=1):
        print(f"row {place}: {caption or 'no caption'}")
    print(f"wrote {target}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("seed of the noise"),
        "samples": Setting("images of each caption"),
        "sampling_steps": Setting("noise levels per image"),
        "guidance": Setting("strength of the caption; 1 takes half the time", float),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
