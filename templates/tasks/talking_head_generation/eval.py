"""Score what a checkpoint makes of the test split, and compare with simple predictions.

    python eval.py                                  the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_clips      the full model, on your clips

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split. Each
clip is generated from its portrait, its sound and its caption, chunk by chunk as infer.py does. The
frames are compared at no more than `side` rows and columns, so scores are comparable only within
one data set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Clip, Split, load_clips, scaled
from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model, conditions
from runtime.chunks import animated
from runtime.errors import run
from runtime.frames import psnr, shown, small
from runtime.lip_sync import LoudnessRidge, Mouth, loudness, mouth_of, mouth_values, sync
from runtime.report import Report, metric
from runtime.scores import Mean, Samples, Score
from runtime.scripts import Setting, Trained, scoring
from runtime.spectra import SILENCE

# The figure has a row for each of SHOWN_ROWS clips: SHOWN real frames, evenly spread, and those
# that were generated for them.
SHOWN, SHOWN_ROWS = 6, 6


@dataclass(frozen=True)
class Config:
    """How clips are generated and scored."""

    clips: int = 200
    """Clips of the test split that are generated, at most."""
    references: int = 1000
    """Clips of the training split that simple predictions are fitted on, at most."""
    batch_size: int = 8
    """Clips at once."""
    sampling_steps: int = 50
    """Steps from noise to frames."""
    side: int = 32
    """Largest side of the frames that are compared; larger ones are scaled down."""
    seed: int = 42
    """Seed of the noise."""


class Spoken(NamedTuple):
    """A real clip: frames (C, F, h, w) of 0 to 1, and how loud each frame is, (F,)."""

    frames: Tensor
    loud: Tensor


def some_of(split: Split, most: int) -> list[int]:
    """Return the places of clips of a split, at most so many, evenly spread over it."""
    count = min(len(split.lengths), most)
    return [index * len(split.lengths) // count for index in range(count)]


def spoken(clip: Clip, model: ModelConfig, side: int) -> Spoken:
    """Return a clip at the size that is compared."""
    return Spoken(
        small((scaled(clip.frames)[None] + 1) / 2, side)[0],
        loudness(clip.sound, model.frame_samples),
    )


def generated(
    network: Model,
    clips: Sequence[Clip],
    captions: Sequence[str],
    heard: Sequence[Tensor],
    way: tuple[int, float, int],
    config: Config,
) -> list[Tensor]:
    """Return what the model makes of the portraits of clips, each (C, F, h, w) of 0 to 1.

    Args:
        network: The model.
        clips: The clips, whose first frames are the portraits.
        captions: Their captions.
        heard: The spectra that each is to move with.
        way: What `animated` needs.
        config: Clips at once and the size to compare.
    """
    device, made = next(network.parameters()).device, []
    for start in range(0, len(clips), config.batch_size):
        some = slice(start, start + config.batch_size)
        longest = max(len(each.frames) for each in clips[some])
        sounds = torch.stack([_fitted(each, longest) for each in heard[some]])
        portraits = torch.cat([scaled(each.frames[:1])[None, :, 0] for each in clips[some]])
        texts = conditions(network.config, captions[some])
        portrait, sound, text = (each.to(device) for each in (portraits, sounds, texts))
        moving = animated(network, portrait, sound, text, way).cpu()
        drawn = small((moving + 1) / 2, config.side)
        lengths = [len(each.frames) for each in clips[some]]
        made += [frames[:, :length] for frames, length in zip(drawn, lengths, strict=True)]
    return made


def _fitted(heard: Tensor, frames: int) -> Tensor:
    """Return spectra of so many frames: they are cut, or silence follows them."""
    after = max(0, frames - len(heard))
    return F.pad(heard[:frames], (0, 0, 0, 0, 0, after), value=SILENCE)


def simple_predictions(train: Sequence[Spoken], real: Sequence[Spoken]) -> dict[str, list[Tensor]]:
    """Return what predictions without a network make of portraits and sounds, by their names."""
    ridge = LoudnessRidge(*zip(*train, strict=True))
    mean = torch.stack([each.frames.mean(1) for each in train]).mean(0)

    def each(predicted: Callable[[Spoken], Tensor]) -> list[Tensor]:
        return [predicted(clip).expand_as(clip.frames) for clip in real]

    return {
        "still image": each(lambda clip: clip.frames[:, :1]),
        "mean frame": each(lambda clip: mean[:, None]),
        "ridge regression": each(lambda clip: ridge(clip.frames[:, 0], clip.loud).clamp(0, 1)),
    }


def error_metric(
    name: str,
    title: str,
    drawn: Sequence[Tensor],
    others: Mapping[str, Sequence[Tensor]],
    real: Sequence[Spoken],
    seen: Callable[[Tensor, int], Tensor],
) -> dict[str, Any]:
    """Return the PSNR of what is `seen` of the frames of each clip, by its place."""

    def ratio(clips: Sequence[Tensor]) -> Score:
        pairs = zip(clips, real, strict=True)
        apart = [seen(frames - clip.frames, i) for i, (frames, clip) in enumerate(pairs)]
        return psnr([float(each.square().mean()) for each in apart])

    return metric(
        name,
        "dB",
        ratio(drawn),
        {other: ratio(clips) for other, clips in others.items()},
        Samples("clips", len(real)),
        title=title,
        higher_is_better=True,
        n=len(real),
        n_unit="clips",
    )


def sync_metric(
    drawn: Sequence[Tensor],
    others: Mapping[str, Sequence[Tensor]],
    real: Sequence[Spoken],
    mouths: Sequence[Mouth],
) -> dict[str, Any]:
    """Return the mean correlation of the mouth's opening with the loudness of the sound."""

    def score(clips: Sequence[Tensor]) -> Score:
        rows = zip(clips, mouths, real, strict=True)
        return Mean([sync(frames, mouth, clip.loud) for frames, mouth, clip in rows])

    return metric(
        "mouth_sync",
        "correlation",
        score(drawn),
        {
            **{other: score(clips) for other, clips in others.items()},
            "real clips": score([each.frames for each in real]),
        },
        Samples("clips", len(real)),
        title="correlation of mouth and loudness",
        higher_is_better=True,
        n=len(real),
        n_unit="clips",
    )


def figure(real: Sequence[Spoken], drawn: Sequence[Tensor]) -> dict[str, Any]:
    """Return rows of frames: real ones, and those that were generated for them, with a gap."""
    rows = []
    for clip, made in list(zip(real, drawn, strict=True))[:SHOWN_ROWS]:
        length = made.size(1)
        places = [round(i * (length - 1) / (SHOWN - 1)) for i in range(SHOWN)]
        gap = torch.ones_like(made[:, 0])
        cells = [*clip.frames[:, places].unbind(1), gap, *made[:, places].unbind(1)]
        rows.append([shown(cell) for cell in cells])
    blank = [""] * (SHOWN - 1)
    return {"kind": "images", "columns": ["real", *blank, "", "generated", *blank], "rows": rows}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by the clips that it makes of the test split's portraits and sounds."""
    config, model = trained.config, trained.model
    data = load_clips(trained.data, trained.args.data, model)
    network = trained.load(lambda: Model(model))
    train, test = data.splits["train"], data.splits["test"]
    places = some_of(test, config.clips)
    clips, captions = [test.read(i) for i in places], [test.captions[i] for i in places]
    real = [spoken(clip, model, config.side) for clip in clips]
    way = (config.sampling_steps, trained.data.shift, config.seed)
    heard = [clip.heard for clip in clips]
    drawn = generated(network, clips, captions, heard, way, config)
    known = [spoken(train.read(i), model, config.side) for i in some_of(train, config.references)]
    others = simple_predictions(known, real)
    # A control: what follows the sound gets worse with the sound of another clip.
    turned = [*heard[1:], heard[0]]
    others["sound of another clip"] = generated(network, clips, captions, turned, way, config)
    mouths = [mouth_of(*clip) for clip in real]

    def mouth(values: Tensor, place: int) -> Tensor:
        return mouth_values(values, mouths[place])

    rows = [
        error_metric("mouth_psnr", "PSNR of the mouth", drawn, others, real, mouth),
        error_metric("frame_psnr", "PSNR of the frame", drawn, others, real, lambda v, _: v),
        sync_metric(drawn, others, real, mouths),
    ]
    shown_clips = figure(real, drawn)
    return Report(data.name, data.sha256, len(real), rows, shown_clips, n_unit="clips")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled clips)",
    settings={
        "batch_size": Setting("clips at once"),
        "seed": Setting("seed of the noise"),
        "clips": Setting("test clips, at most, that are generated"),
        "sampling_steps": Setting("steps from noise to frames"),
    },
)

if __name__ == "__main__":
    run(main)
