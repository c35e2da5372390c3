"""Read video clips, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH     shows what training will read

PATH is a folder of video files (mp4, mov, webm, mkv, avi, mpeg, gif), in folders of its own if you
like. Folders named train, val and test hold these splits; a missing one is cut from train. A sample
is a window of frames that follow each other in one clip: the first are given, the rest are to be
generated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.bouncing import FRAMES, NAME, SIDE, bouncing_digits
from runtime.clips import Kept, Windows, cut, require_whole, survey, understood
from runtime.errors import fail, run
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.splits import require_samples
from runtime.video import Video, list_videos, read_frames


@dataclass(frozen=True)
class Config:
    """How clips become samples, and where noise is added."""

    frame_step: int = 1
    """Every so many frames of a file are read; more of them show faster motion."""
    shift: float = 3.0
    """How far the times of training and sampling are moved towards noise; 1 leaves them even."""
    val_fraction: float = 0.05
    """Share of the clips for validation during training."""
    test_fraction: float = 0.05
    """Share of the clips that only eval.py reads."""


@dataclass(frozen=True)
class Split(Windows):
    """Some of the clips, as windows of the model's length.

    Attributes:
        read: Returns a clip (frames, C, H, W), uint8, by its place.
    """

    read: Callable[[int], Tensor]

    def windows(self, indices: Sequence[int]) -> Tensor:
        """Return some windows, (B, C, frames, H, W) of -1 to 1."""
        cuts = []
        for clip, start in map(self.place_of, indices):
            cuts.append(self.read(clip)[start : start + self.window].transpose(0, 1))
        # Values from -1 to 1 have their centre at 0, like pure noise.
        return torch.stack(cuts).float() / 127.5 - 1


@dataclass(frozen=True)
class Dataset:
    """Clips in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all clips.
        splits: The clips by split.
    """

    name: str
    sha256: str
    splits: dict[str, Split]


def load_clips(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the clips of a folder, or the bundled ones, or stop if they do not fit the model.

    Args:
        config: Sizes of the splits, and which frames are read.
        path: The folder; None for the bundled clips.
        model: Sets the size of a frame and the length of a window.
    """
    data = _bundled(model) if path is None else _folder(config, path, model)
    windows = {split: len(each) for split, each in data.splits.items()}
    require_samples(data.name, f"windows of {model.num_frames} frames", windows)
    return data


def batch_at(
    split: Split, start: int, count: int, model: ModelConfig, seed: int
) -> tuple[Tensor, Tensor]:
    """Return given frames (B, C, G, H, W) at some places of the training order, and the rest."""
    # Seed and position decide the windows, so a resumed run continues with the same ones.
    return _cut(split.windows([i for _, i in samples_at(start, count, len(split), seed)]), model)


def batches(split: Split, size: int, model: ModelConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the windows of a split once, in batches."""
    for start in range(0, len(split), size):
        yield _cut(split.windows(range(start, min(start + size, len(split)))), model)


def _cut(windows: Tensor, model: ModelConfig) -> tuple[Tensor, Tensor]:
    return windows[:, :, : model.given_frames], windows[:, :, model.given_frames :]


def _split(
    model: ModelConfig, name: str, lengths: list[int], read: Callable[[int], Tensor]
) -> Split:
    """Return a split: training sees a window from each frame, scores see each frame once."""
    stride = 1 if name == "train" else model.num_frames - model.given_frames
    return Split(lengths, model.num_frames, stride, read)


def _bundled(model: ModelConfig) -> Dataset:
    """Return clips of two bouncing digits."""
    size = (model.image_height, model.image_width, model.image_channels)
    if size != (SIDE, SIDE, 1) or model.num_frames > FRAMES:
        fail("this size needs your own clips: name their folder with --data.")
    clips, sha256 = bouncing_digits()
    splits = {
        name: _split(model, name, [FRAMES] * len(each), each.__getitem__)
        for name, each in clips.items()
    }
    return Dataset(NAME, sha256, splits)


def _folder(config: Config, folder: Path, model: ModelConfig) -> Dataset:
    """Return the clips below a folder; copies of a file are in the same split."""
    length = _length(config)
    videos, named = survey(folder, length, model.num_frames)
    places, total = cut(folder, videos, named, (config.val_fraction, config.test_fraction))
    room, splits = Kept(_decoded(config, model)), {}
    for name, own in places.items():
        some = [videos[place] for place in own]
        splits[name] = _split(model, name, [*map(length, some)], room.of(some))
    return Dataset(folder.resolve().name, total, splits)


def _length(config: Config) -> Callable[[Video], int]:
    """Return how many frames of a clip are read."""
    return lambda video: -(-video.frames // config.frame_step)


def _decoded(config: Config, model: ModelConfig) -> Callable[[Video], Tensor]:
    """Return what decodes a clip, (frames, C, H, W)."""

    def decoded(video: Video) -> Tensor:
        size = (model.image_height, model.image_width)
        frames = read_frames(video.path, size, model.image_channels, None)
        require_whole(video, len(frames))
        return frames[:: config.frame_step]

    return decoded


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of clips (default: bouncing digits)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    config = load_config(Config, "data", args.size)
    data = load_clips(config, args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(
        f"windows of {model.num_frames} frames of {model.image_height} x {model.image_width}, "
        f"{model.image_channels} channels; {model.given_frames} frames are given"
    )
    if args.data:
        videos, _ = survey(args.data, _length(config), model.num_frames)
        print(*understood(videos, "they are not changed"), sep="\n")
        print(*list_videos(args.data).left_out(), sep="\n")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split.lengths):,} clips, {len(split):,} windows")


if __name__ == "__main__":
    run(main)
