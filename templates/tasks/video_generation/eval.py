"""Score what a checkpoint makes of the test split, and compare with simple predictions.

    python eval.py                                  the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_clips      the full model, on your clips

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split. The
frames are compared at no more than `side` rows and columns, so scores are comparable only within
one data set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import Split, load_clips
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.flow import sample
from runtime.frames import psnr, shown, small
from runtime.frechet import components, frechet_distance
from runtime.motion import Ridge, copy_last, global_motion, mean_frame
from runtime.report import Report, metric
from runtime.scores import Samples, Score
from runtime.scripts import Setting, Trained, scoring

# The figure has a row for each of SHOWN_ROWS clips: given frames, real ones, a generated
# continuation and the expected one, SHOWN frames of each, with gaps.
SHOWN, SHOWN_ROWS = 2, 8


@dataclass(frozen=True)
class Config:
    """How frames are generated and scored."""

    references: int = 2000
    """Largest number of training windows, and of test windows, in a comparison."""
    samples: int = 1000
    """Test windows, at most, that are continued from noise; fewer raise the distance."""
    batch_size: int = 8
    """Windows at once."""
    sampling_steps: int = 50
    """Steps from noise to frames."""
    side: int = 32
    """Largest side of the frames that are compared; larger ones are scaled down."""
    components: int = 32
    """Principal components of training frames that distributions are compared in."""
    seed: int = 42
    """Seed of the noise."""


@dataclass(frozen=True)
class Windows:
    """Windows of a split, (N, C, frames, side, side) of 0 to 1, cut in given and following frames.

    Attributes:
        given: The frames that are given.
        following: The frames that are generated.
        clips: The number of each window's clip.
    """

    given: Tensor
    following: Tensor
    clips: list[int]


@torch.no_grad()
def generated(
    model: Model, split: Split, indices: list[int], steps: int, shift: float, config: Config
) -> Tensor:
    """Return the continuation of some windows, (N, C, K, side, side) of 0 to 1."""
    c, device = model.config, next(model.parameters()).device
    generator, parts = torch.Generator().manual_seed(config.seed), []
    for start in range(0, len(indices), config.batch_size):
        windows = split.windows(indices[start : start + config.batch_size])
        # Noise is drawn on the CPU, so that every device starts from the same noise.
        noise = torch.randn(windows[:, :, c.given_frames :].shape, generator=generator)
        predict = partial(model, windows[:, :, : c.given_frames].to(device))
        drawn = sample(predict, noise.to(device), steps, shift)
        parts.append(small((drawn.clamp(-1, 1).cpu() + 1) / 2, config.side))
    return torch.cat(parts)


def spread(split: Split, most: int) -> list[int]:
    """Return windows of a split, at most so many, evenly spread over it."""
    count = min(len(split), most)
    return [index * len(split) // count for index in range(count)]


def windows_of(split: Split, indices: list[int], given: int, side: int) -> Windows:
    """Return some windows of a split."""
    # Windows are scaled down one by one: those of a full model would fill the memory.
    each = torch.cat([small((split.windows([i]) + 1) / 2, side) for i in indices])
    clips = [split.place_of(index)[0] for index in indices]
    return Windows(each[:, :, :given], each[:, :, given:], clips)


def simple_predictions(train: Windows, given: Tensor) -> dict[str, Tensor]:
    """Return what predictions without a network make of given frames, by their names."""
    count = train.following.size(2)
    frames = torch.cat((train.given, train.following), dim=2)
    others = {
        "copy of the last frame": copy_last(given, count),
        "mean frame": mean_frame(frames, given, count),
        "ridge regression": Ridge(train.given, train.following)(given).clamp(0, 1),
    }
    if given.size(2) > 1:  # A single frame does not show how things move.
        others["global motion"] = global_motion(given, count)
    return others


def error_metric(
    name: str, title: str, expected: Tensor, others: Mapping[str, Tensor], real: Windows, last: int
) -> dict[str, Any]:
    """Return the PSNR of the expected frames, up to the `last`-th that follows."""
    target = real.following[:, :, :last]
    clips = np.unique(real.clips, return_inverse=True)[1]

    def ratio(frames: Tensor) -> Score:
        return psnr((frames[:, :, :last] - target).square().flatten(1).mean(1))

    return metric(
        name,
        "dB",
        ratio(expected),
        {each: ratio(frames) for each, frames in others.items()},
        # Windows of a clip show the same things, so they are drawn together.
        Samples("windows", len(clips), clips, "clips"),
        title=title,
        higher_is_better=True,
    )


def distribution_metric(
    drawn: Tensor, others: Mapping[str, Tensor], real: Windows, train: Windows, count: int
) -> dict[str, Any]:
    """Return the Fréchet distance between generated and real motion, all frames of a window.

    What is compared is the change from frame to frame: a still copy of a real frame is no video.
    `real training clips` are no model: they show the best score that is possible.
    """
    axes = components(_changes(train.given, train.following), count)
    target = _changes(real.given, real.following) @ axes  # (N, K)

    def distance(given: Tensor, frames: Tensor) -> Score:
        return frechet_distance(_changes(given, frames) @ axes, target)

    first = slice(len(drawn))
    return metric(
        "frechet_distance",
        "squared distance",
        distance(real.given, drawn),
        {
            **{name: distance(real.given, frames) for name, frames in others.items()},
            "real training clips": distance(train.given[first], train.following[first]),
        },
        Samples("windows", len(target), np.unique(real.clips, return_inverse=True)[1], "clips"),
        title="Fréchet distance of motion",
        higher_is_better=False,
        n=len(target),
        n_unit="windows",
    )


def _changes(given: Tensor, following: Tensor) -> Tensor:
    """Return the change of each following frame from the frame before it, (N, numbers)."""
    return torch.cat((given[:, :, -1:], following), dim=2).diff(dim=2).flatten(1).double()


def figure(real: Windows, drawn: Tensor, expected: Tensor) -> dict[str, Any]:
    """Return rows of frames: given, real, generated and expected ones, with gaps."""
    # The last windows of clips in the middle of a figure's row repeat; each clip is shown once.
    firsts = [i for i, clip in enumerate(real.clips) if clip not in real.clips[:i]][:SHOWN_ROWS]
    gap = [torch.ones_like(real.given[0, :, 0])]
    parts = (
        real.given[:, :, -SHOWN:],
        *(f[:, :, :SHOWN] for f in (real.following, drawn, expected)),
    )
    columns: list[str] = []
    for name, frames in zip(("given", "real", "generated", "expected"), parts, strict=True):
        columns += [name, *[""] * frames.size(2)]
    rows = []
    for row in firsts:
        cells = [[*frames[row].transpose(0, 1), *gap] for frames in parts]
        rows.append([shown(cell) for cells_of in cells for cell in cells_of][:-1])
    return {"kind": "images", "columns": columns[:-1], "rows": rows}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by its continuations of the test split's windows."""
    config, given, shift = trained.config, trained.model.given_frames, trained.data.shift
    data = load_clips(trained.data, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    test = data.splits["test"]
    every = spread(test, config.references)
    each = slice(None, None, -(-len(every) // config.samples))

    def read(split: Split, indices: list[int]) -> Windows:
        return windows_of(split, indices, given, config.side)

    def made(indices: list[int], steps: int) -> Tensor:
        return generated(model, test, indices, steps, shift, config)

    train = read(data.splits["train"], spread(data.splits["train"], config.references))
    real = read(test, every)
    others = simple_predictions(train, real.given)
    few = Windows(real.given[each], real.following[each], real.clips[each])
    fewer = {name: frames[each] for name, frames in others.items()}
    # One step along the mean velocity gives the mean of all continuations, which errs least.
    expected, drawn = made(every, 1), made(every[each], config.sampling_steps)
    last = real.following.size(2)
    titles = {"next_frame": ("next frame", 1), "continuation": ("continuation", last)}
    rows = [
        *(
            error_metric(f"{name}_psnr", f"PSNR of the {title}", expected, others, real, until)
            for name, (title, until) in titles.items()
        ),
        distribution_metric(drawn, fewer, few, train, config.components),
    ]
    shown = figure(few, drawn, expected[each])
    return Report(data.name, data.sha256, len(every), rows, shown, n_unit="windows")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled clips)",
    settings={
        "batch_size": Setting("windows at once"),
        "seed": Setting("seed of the noise"),
        "samples": Setting("test windows, at most, that are continued from noise"),
        "sampling_steps": Setting("steps from noise to frames"),
    },
)

if __name__ == "__main__":
    run(main)
