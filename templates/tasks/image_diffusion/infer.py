"""Draw images with a trained checkpoint.

    python infer.py                                        a row for each class, or without caption
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
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.diffusion import guided, sample, signal
from runtime.errors import fail, run
from runtime.images import write_image
from runtime.options import existing, positive, shared_options, sized
from runtime.settings import load_config, read_json

ROWS = 16  # of classes, where no caption is given
SHOWN_SIDE = 64  # pixels that a small image is enlarged to, at least


@dataclass(frozen=True)
class Config:
    """How images are drawn."""

    samples: int = 1
    """Images of a caption."""
    sampling_steps: int = 50
    """Noise levels that an image passes through."""
    guidance: float = 5.0
    """Strength of the caption; 1 is the model's own distribution, and takes half the time."""
    seed: int = 42
    """Of the noise."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def draw(
    model: Model, condition: Tensor, nothing: Tensor, data: DataConfig, config: Config
) -> Tensor:
    """Return an image of each condition, (B, C, H, W) of 0 to 1."""
    c, device = model.config, condition.device
    size = (len(condition), c.image_channels, c.image_height, c.image_width)
    noise = torch.randn(size, generator=torch.Generator().manual_seed(config.seed)).to(device)
    left = signal(data.noise_schedule, data.timesteps).to(device)
    predict = guided(model, condition, nothing, config.guidance)
    return (sample(predict, noise, left, config.sampling_steps) + 1) / 2


def grid(rows: Sequence[Tensor]) -> Tensor:
    """Return rows of images (B, C, H, W) as one image, with a white line between them."""
    height, width = rows[0].shape[2:]
    times = math.ceil(SHOWN_SIDE / max(height, width))
    large = [row.repeat_interleave(times, 2).repeat_interleave(times, 3) for row in rows]
    framed = [F.pad(row, (1, 1, 1, 1), value=1.0) for row in large]
    return torch.cat([torch.cat(list(row), dim=2) for row in framed], dim=1)


def captions_of(args: argparse.Namespace, classes: Sequence[str]) -> list[str]:
    """Return the captions to draw: of the options, or else each class, or none."""
    if args.prompt is not None:
        return [args.prompt]
    if args.input is None:
        return list(classes[:ROWS]) or [""]
    try:
        lines = args.input.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{args.input} cannot be read as UTF-8 text: {error}.")
    found = [line.strip() for line in lines if line.strip()]
    return found or fail(f"{args.input} holds no caption.")


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(__doc__, seed=f"of the noise {sized(proxy, full, 'seed')}")
    group = parser.add_argument_group("options of infer.py")
    what = group.add_mutually_exclusive_group()
    what.add_argument("--prompt", metavar="TEXT", help="the caption, or the name of a class")
    what.add_argument("--input", type=existing, metavar="FILE", help="captions, one a line")
    group.add_argument("--image", type=Path, metavar="PNG", help="(default: OUT/samples.png)")
    for name, kind, text in (
        ("samples", positive, "images of a caption"),
        ("sampling_steps", positive, "noise levels that an image passes through"),
        ("guidance", float, "strength of the caption; 1 is none, and takes half the time"),
    ):
        option, note = f"--{name.replace('_', '-')}", sized(proxy, full, name)
        group.add_argument(option, type=kind, metavar="X", help=f"{text} {note}")
    group.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        help=f"of weights and arithmetic {sized(proxy, full, 'dtype')}",
    )
    return parser.parse_args()


def main() -> None:
    """Write a grid of images."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    data = load_config(DataConfig, "data", args.size)
    if not 0 <= config.guidance < math.inf:
        fail("--guidance must not be negative, and not be infinite.")
    if config.sampling_steps > data.timesteps:
        fail(f"there are {data.timesteps} noise levels: --sampling-steps is at most that.")
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    classes = read_json(folder / "config.json").get("classes", [])
    captions = captions_of(args, classes)
    try:
        told, nothing = (conditions(model_config, c, classes).to(device) for c in (captions, [""]))
    except ValueError as error:
        fail(f"this cannot be drawn: {error}.")
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, torch.bfloat16 if config.dtype == "bfloat16" else torch.float32)
    rows = []
    for place in range(len(captions)):
        own, none = (each.repeat_interleave(config.samples, 0) for each in (told[[place]], nothing))
        drawn = draw(model, own, none, data, replace(config, seed=config.seed + place))
        rows.append(drawn.float().cpu())
    target = args.image or args.out / "samples.png"
    write_image(target, grid(rows))
    for place, caption in enumerate(captions, start=1):
        print(f"row {place}: {caption or 'no caption'}")
    print(f"wrote {target}")


if __name__ == "__main__":
    run(main)
