"""Print the text of a sound with a trained checkpoint.

    python infer.py --input speech.wav                   its text
    python infer.py --input speech.wav --beams 1         the likeliest token each time

A sound that is longer than the model's clip is cut into clips, each where it is quietest; the text
of each clip is printed on a line of its own, behind the second at which it begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import features, words_of_checkpoint
from model import Config as ModelConfig
from model import Model, transcribe
from runtime.device import in_bfloat16
from runtime.errors import run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.sounds import Samples, Sound, read_clip, sound_of

LAST = 0.25  # share of a clip, the end, in which a longer sound is cut
QUIET = 0.05  # seconds over which its loudness is measured


@dataclass(frozen=True)
class Config:
    """How a text is searched for."""

    beams: int = 5
    """Texts that the search keeps; with 1 it takes the likeliest token each time."""
    dtype: str = "bfloat16"
    """Format of weights and arithmetic; auto is float32, as trained, on a CPU."""


def clips(sound: Sound, model: ModelConfig) -> Iterator[tuple[float, Samples]]:
    """Yield the clips of a sound: the second at which each begins, and its samples (S,)."""
    rate, longest = model.sample_rate, model.samples() / model.sample_rate
    start = 0.0
    while start < sound.seconds:
        wave = read_clip(sound, start, longest, rate)
        rest = sound.seconds - start
        end = longest if rest <= longest else quietest(wave, rate) / rate
        # What lies behind the cut is of the next clip.
        wave[round(end * rate) :] = 0
        yield start, wave
        start += end


def quietest(wave: NDArray[np.float32], rate: int) -> int:
    """Return the sample in the last part of a clip around which it is quietest."""
    step = max(1, round(QUIET * rate))
    first = int(len(wave) * (1 - LAST)) // step
    pieces = wave[: len(wave) // step * step].reshape(-1, step)
    loud = np.square(pieces[first:]).sum(1)
    return int((first + int(loud.argmin())) * step + step // 2)


def options(group: Group) -> None:
    group.add_argument("--input", type=existing, required=True, metavar="FILE", help="a sound")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the text of a sound."""
    config, c = trained.config, trained.model
    sound = sound_of(trained.args.input)
    words = words_of_checkpoint(trained.folder, c)
    low = in_bfloat16(trained.device, config.dtype)
    model = trained.load(lambda: Model(c), torch.bfloat16 if low else torch.float32)
    whole = sound.seconds <= c.samples() / c.sample_rate
    for start, wave in clips(sound, c):
        audio = features(torch.from_numpy(wave)[None], c).to(trained.device)
        (tokens,) = transcribe(
            model, audio.to(torch.bfloat16 if low else audio.dtype), config.beams
        )
        text = " ".join(words.decode(tokens).split())
        print(text if whole else f"{start:.1f}\t{text}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "beams": Setting("texts that the search keeps; 1 takes the likeliest token"),
        "dtype": Setting("auto: float32 on a CPU", str, ("auto", "float32", "bfloat16")),
    },
)

if __name__ == "__main__":
    run(main)
