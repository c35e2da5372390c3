"""Let a portrait speak with a trained checkpoint.

    python infer.py                                                a bundled clip of the test split
    python infer.py --portrait face.png --speech speech.wav --prompt "a face that speaks"
    python infer.py --portrait clip.mp4 --speech clip.mp4          first frame and sound of a video

Writes an MP4 with sound: frames that are generated chunk by chunk, and the speech that was given,
at the model's rate and cut to the frames. The sound itself is not generated.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from data import Config as DataConfig
from data import clip_of, load_clips, scaled
from model import Config as ModelConfig
from model import Model, conditions
from runtime.chunks import animated
from runtime.errors import fail, run
from runtime.images import read_image
from runtime.listing import suffix_of
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.video import READERS, read_frames, read_sound, write_video


@dataclass(frozen=True)
class Config:
    """How portraits speak."""

    sampling_steps: int = 50
    """Steps from noise to frames; fewer are faster and rougher."""
    seed: int = 42
    """Seed of the noise."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


class Request(NamedTuple):
    """What is to speak: a portrait (C, H, W), a sound (S,), its spectra (F, 4, bands), a text."""

    portrait: Tensor
    sound: Tensor
    heard: Tensor
    text: str


def request_of(portrait: Path, speech: Path, text: str, model: ModelConfig) -> Request:
    """Return what files ask for, or stop."""
    size = (model.image_height, model.image_width)
    if suffix_of(portrait) in READERS:
        pixels = read_frames(portrait, size, model.image_channels, 1)
    else:
        pixels = read_image(portrait, size, model.image_channels)[None]
    sound = read_sound(speech, model.sample_rate)
    count = len(sound) // model.frame_samples
    if not count:
        fail(f"{speech} is shorter than a frame, {1 / model.frame_rate:.3g} s: give more speech.")
    clip = clip_of(pixels.expand(count, -1, -1, -1), sound, model)
    return Request(scaled(pixels)[:, 0], clip.sound, clip.heard, text)


def bundled_request(trained: Trained[Config, DataConfig, ModelConfig], text: str | None) -> Request:
    """Return the portrait, the sound and the caption of a bundled clip of the test split."""
    test = load_clips(trained.data, None, trained.model).splits["test"]
    clip, own = test.read(0), test.captions[0]
    return Request(
        scaled(clip.frames[:1])[:, 0], clip.sound, clip.heard, own if text is None else text
    )


def spoken(model: Model, request: Request, shift: float, config: Config) -> Tensor:
    """Return the frames of a request, (F, C, H, W) of -1 to 1."""
    device = next(model.parameters()).device
    caption = conditions(model.config, [request.text])
    portrait, heard = request.portrait[None].to(device), request.heard[None].to(device)
    way = (config.sampling_steps, shift, config.seed)
    return animated(model, portrait, heard, caption.to(device), way)[0].transpose(0, 1)


def options(group: Group) -> None:
    group.add_argument("--portrait", type=existing, metavar="FILE", help="an image, or a video")
    group.add_argument("--speech", type=existing, metavar="FILE", help="sound, or a video with it")
    group.add_argument("--prompt", metavar="TEXT", help="a caption (default: none)")
    group.add_argument("--video", type=Path, metavar="MP4", help="(default: OUT/spoken.mp4)")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write a video of a portrait that speaks, with the speech as its sound."""
    args, config, c = trained.args, trained.config, trained.model
    if bool(args.portrait) != bool(args.speech):
        fail("give both --portrait and --speech, or neither for a bundled clip.")
    # The files are checked before the weights are read, which may take minutes.
    if args.portrait:
        request = request_of(args.portrait, args.speech, args.prompt or "", c)
    else:
        request = bundled_request(trained, args.prompt)
    model = trained.load(lambda: Model(c), getattr(torch, config.dtype))
    frames = spoken(model, request, trained.data.shift, config)
    target = args.video or args.out / "spoken.mp4"
    sound = (request.sound, c.sample_rate)
    write_video(target, (frames.float() + 1) / 2, c.frame_rate, sound)
    seconds = len(frames) / c.frame_rate
    print(f"wrote {target}: {len(frames):,} generated frames, {seconds:.3g} s, with the speech")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("seed of the noise"),
        "sampling_steps": Setting("steps from noise to frames"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
