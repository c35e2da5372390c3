"""Write a clip with a trained checkpoint: the continuation of a sound, or one of its own.

    python infer.py                                      a clip from nothing
    python infer.py --input clip.wav --frames 100        what follows a sound
    python infer.py --prompt three --sound three.wav     a clip of a caption

Writes a WAV file, which begins with the sound that it continues. Only a model of captions takes
--prompt.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model, conditions, generate
from runtime.device import in_bfloat16
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.sounds import read_clip, sound_of, write_sound

PIECE = 512  # frames that the codec turns into samples at once
MARGIN = 16  # Frames beside them, whose samples are cut: the codec sees a little past each frame.


@dataclass(frozen=True)
class Config:
    """How a clip is drawn."""

    frames: int = 500
    """Frames to add."""
    temperature: float = 1.0
    """Divisor of the logits: lower values favour likely tokens; 0 always takes the likeliest."""
    top_k: int = 250
    """Number of likeliest tokens to draw from; 0 for all."""
    seed: int = 42
    """Seed of the draws."""
    dtype: str = "bfloat16"
    """Format of weights and arithmetic; auto is float32, as trained, on a CPU."""


@torch.inference_mode()
def sound(model: Model, codes: Tensor) -> NDArray[np.float32]:
    """Return the samples (S,) of the codes (K, T) of a clip."""
    hop, frames, parts = model.config.frame(), codes.size(1), []
    step = PIECE - 2 * MARGIN
    for begin in range(0, frames, step):
        first, end = max(0, begin - MARGIN), min(frames, begin + step)
        piece = codes[None, :, first : min(frames, end + MARGIN)]
        wave = model.codec.decode(piece)[0, 0].float().cpu()
        parts.append(wave[(begin - first) * hop : (end - first) * hop])
    return np.asarray(torch.cat(parts).numpy())


def options(group: Group) -> None:
    group.add_argument("--input", type=existing, metavar="FILE", help="a sound to continue")
    group.add_argument("--prompt", metavar="TEXT", help="a caption of the clip")
    group.add_argument("--sound", type=Path, metavar="WAV", help="(default: OUT/clip.wav)")


def prompt(trained: Trained[Config, DataConfig, ModelConfig]) -> Tensor | None:
    """Return the samples (1, 1, S) of --input in whole frames, or stop if they do not fit."""
    args, model, added = trained.args, trained.model, trained.config.frames
    if args.prompt is not None and not model.text_length:
        fail("this model has no captions: leave --prompt out.")
    read = sound_of(args.input) if args.input else None
    given = int(read.seconds * model.sample_rate) // model.frame() if read else 0
    if given + added > model.max_seq_len:
        fail(
            f"{given:,} frames of sound and {added:,} more exceed the model's "
            f"{model.max_seq_len:,}: give a shorter sound, or lower --frames."
        )
    if read is None:
        return None
    if not given:
        fail(f"{args.input} is shorter than a frame, {model.frame()} samples: give a longer sound.")
    seconds = given * model.frame() / model.sample_rate
    return torch.from_numpy(read_clip(read, 0, seconds, model.sample_rate))[None, None]


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write a clip."""
    args, config, c = trained.args, trained.config, trained.model
    wave = prompt(trained)
    low = in_bfloat16(trained.device, config.dtype)
    model = trained.load(lambda: Model(c), torch.bfloat16 if low else torch.float32)
    start = torch.zeros(1, c.n_codebooks, 0, dtype=torch.int64, device=trained.device)
    if wave is not None:
        with torch.inference_mode():
            start = model.codec.encode(wave.to(trained.device, model.codec.codebooks.dtype))
    texts = [each.to(trained.device) for each in conditions(c, [args.prompt or ""])]
    text = texts[0] if texts else None
    codes = generate(
        model, start, text, config.frames, config.temperature, config.top_k, config.seed
    )
    target = args.sound or args.out / "clip.wav"
    write_sound(target, sound(model, codes[0]), c.sample_rate)
    frames, hop = codes.size(2), c.frame()
    print(f"wrote {target}: {frames:,} frames, {frames * hop / c.sample_rate:.2f} seconds")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "seed": Setting("seed of the draws"),
        "frames": Setting("frames to add"),
        "temperature": Setting("0 takes the likeliest token; higher values vary more", float),
        "top_k": Setting("number of likeliest tokens to draw from; 0 for all", int),
        "dtype": Setting("auto: float32 on a CPU", str, ("auto", "float32", "bfloat16")),
    },
)

if __name__ == "__main__":
    run(main)
