"""Continue a video with a trained checkpoint.

    python infer.py                                      a bundled clip of the test split
    python infer.py --input clip.mp4 --samples 4         your clip, four times, side by side
    python infer.py --input clip.mp4 --frames 48         a longer continuation

Writes an MP4: the frames that were given, then the generated ones. Where more frames are requested
than the model generates at once, its last ones are given to it again.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_clips
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.flow import sample
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.video import look_at, read_frames, write_video

RATE = 8.0  # frames a second where the input has no rate


@dataclass(frozen=True)
class Config:
    """How videos are continued."""

    samples: int = 1
    """Continuations, side by side."""
    frames: int = 16
    """Frames to generate."""
    sampling_steps: int = 50
    """Steps from noise to frames; fewer are faster and rougher, and one gives the mean of all
    continuations."""
    seed: int = 42
    """Seed of the noise."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def continued(model: Model, given: Tensor, data: DataConfig, config: Config) -> Tensor:
    """Return frames that follow given ones, (B, C, frames, H, W) of -1 to 1."""
    c, made = model.config, 0
    # Noise is drawn on the CPU: a seed gives the same frames on every device.
    generator = torch.Generator().manual_seed(config.seed)
    size = (len(given), c.image_channels, c.num_frames - c.given_frames, *given.shape[3:])
    clip = given
    while made < config.frames:
        predict = partial(model, clip[:, :, -c.given_frames :])
        noise = torch.randn(size, generator=generator).to(given.device)
        drawn = sample(predict, noise, config.sampling_steps, data.shift)
        clip, made = torch.cat((clip, drawn.clamp(-1, 1)), dim=2), made + size[2]
    return clip[:, :, given.size(2) :][:, :, : config.frames]


def given_frames(path: Path, model: ModelConfig) -> tuple[Tensor, float]:
    """Return the last frames of a file, (C, given_frames, H, W) of -1 to 1, and its rate."""
    size = (model.image_height, model.image_width)
    frames = read_frames(path, size, model.image_channels, None)[-model.given_frames :]
    if len(frames) < model.given_frames:
        fail(f"{path} has {len(frames)} frames, and {model.given_frames} are to be continued.")
    return frames.transpose(0, 1).float() / 127.5 - 1, look_at(path).rate or RATE


def options(group: Group) -> None:
    group.add_argument("--input", type=existing, metavar="FILE", help="the video to continue")
    group.add_argument("--video", type=Path, metavar="MP4", help="(default: OUT/continued.mp4)")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write a video with the given frames and what follows them, each sample in its column."""
    args, config = trained.args, trained.config
    if args.input:
        given, rate = given_frames(args.input, trained.model)
    else:
        test = load_clips(trained.data, None, trained.model).splits["test"]
        given, rate = test.windows([0])[0, :, : trained.model.given_frames], RATE
    # The clip is checked before the weights are read, which may take minutes.
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    rows = given.to(trained.device).expand(config.samples, *given.shape)
    clip = torch.cat((rows, continued(model, rows, trained.data, config)), dim=2)
    beside = torch.cat(list(clip), dim=-1).transpose(0, 1)  # (F, C, H, samples * W)
    target = args.video or args.out / "continued.mp4"
    write_video(target, (beside.float() + 1) / 2, rate)
    print(f"wrote {target}: {given.size(1)} given frames and {config.frames} generated")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("seed of the noise"),
        "samples": Setting("continuations, side by side"),
        "frames": Setting("frames to generate"),
        "sampling_steps": Setting("steps from noise to frames"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
