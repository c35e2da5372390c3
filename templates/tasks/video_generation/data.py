"""Read video clips, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH     shows what training will read

PATH is a folder of video files (mp4, mov, webm, mkv, avi, mpeg, gif), in folders of its own if you
like. Folders named train, val and test hold these splits; a missing one is cut from train. A sample
is a window of frames that follow each other in one clip: the first are given, the rest are to be
generated.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import Config as ModelConfig
from runtime.bouncing import FRAMES, NAME, SIDE, bouncing_digits
from runtime.digests import digest, file_digests, split_of
from runtime.errors import fail, run
from runtime.listing import shown
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left, split_folders
from runtime.video import Video, list_videos, look_at, read_frames

SHOWN = 5  # sizes that data.py lists
KEPT_BYTES = 2**31  # cache for decoded clips; with more, later epochs read fewer files again


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
class Split:
    """Some of the clips, as windows of the model's length.

    Attributes:
        lengths: The frames of each clip.
        read: Returns a clip (frames, C, H, W), uint8, by its place.
        window: Frames of a sample.
        stride: Frames from the start of a window to that of the next.
    """

    lengths: Sequence[int]
    read: Callable[[int], Tensor]
    window: int
    stride: int

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """How many windows the clips up to each have together, (clips,)."""
        return np.cumsum([(n - self.window) // self.stride + 1 for n in self.lengths])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.lengths) else 0

    def place_of(self, index: int) -> tuple[int, int]:
        """Return the clip of a window, and its first frame there."""
        clip = int(np.searchsorted(self.ends, index, side="right"))
        before = int(self.ends[clip - 1]) if clip else 0
        return clip, (index - before) * self.stride

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
    return Split(lengths, read, model.num_frames, stride)


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
    videos, named = survey(config, folder, model)
    # Names of files do not decide the split, or a renamed clip could move from train to test.
    keys = file_digests([each.path for each in videos])
    left = shares_left(named, config.val_fraction, config.test_fraction)
    rows: dict[str, list[Video]] = {split: [] for split in SPLITS}
    for video, key, own in zip(videos, keys, named, strict=True):
        cut = split_of(key, *left) if own in (None, "train") else own
        rows[str(cut)].append(video)
    names = [each.path.relative_to(folder).as_posix() for each in videos]
    total = digest(*(f"{name}\0{key}\n".encode() for name, key in zip(names, keys, strict=True)))
    room = Clips(config, model)
    splits = {
        name: _split(model, name, [_length(config, each) for each in some], room.of(some))
        for name, some in rows.items()
    }
    return Dataset(folder.resolve().name, total, splits)


def survey(
    config: Config, folder: Path, model: ModelConfig
) -> tuple[list[Video], list[str | None]]:
    """Return the clips of a folder that are long enough, and the split of each one's folder."""
    videos = [look_at(path) for path in list_videos(folder).files]
    short = [each.path for each in videos if _length(config, each) < model.num_frames]
    if short:
        note(
            f"{folder}: {len(short):,} clips have fewer than {model.num_frames} frames and are "
            f"left out: {shown(folder, short)}."
        )
    kept = [each for each in videos if _length(config, each) >= model.num_frames]
    names = [each.path.relative_to(folder).parts for each in kept]
    splits = split_folders(folder, {parts[0] for parts in names if len(parts) > 1})
    return kept, [splits.get(parts[0]) if len(parts) > 1 else None for parts in names]


def _length(config: Config, video: Video) -> int:
    """Return how many frames of a clip are read."""
    return -(-video.frames // config.frame_step)


class Clips:
    """Clips that are decoded on demand, and kept while there is room."""

    def __init__(self, config: Config, model: ModelConfig) -> None:
        self._step, self._channels = config.frame_step, model.image_channels
        self._size = (model.image_height, model.image_width)
        self._kept: dict[Path, Tensor] = {}
        self._room = KEPT_BYTES

    def of(self, videos: Sequence[Video]) -> Callable[[int], Tensor]:
        """Return what reads a clip (frames, C, H, W) by its place among some."""
        return lambda place: self._read(videos[place])

    def _read(self, video: Video) -> Tensor:
        if video.path in self._kept:
            return self._kept[video.path]
        frames = read_frames(video.path, self._size, self._channels, None)
        if len(frames) < video.frames:
            fail(
                f"{video.path} breaks off: {len(frames):,} of its {video.frames:,} frames can be "
                "decoded: copy it again, or remove it."
            )
        frames = frames[:: self._step]
        if frames.nbytes <= self._room:
            self._room -= frames.nbytes
            self._kept[video.path] = frames
        return frames


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
        print(*_understood(survey(config, args.data, model)[0]), sep="\n")
        print(*list_videos(args.data).left_out(), sep="\n")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split.lengths):,} clips, {len(split):,} windows")


def _understood(videos: Sequence[Video]) -> Iterator[str]:
    """Yield what the files are like: sizes, rates and lengths."""
    sizes = Counter(f"{each.width} x {each.height}" for each in videos)
    listed = ", ".join(f"{count:,} of {size}" for size, count in sizes.most_common(SHOWN))
    more = ", ..." if len(sizes) > SHOWN else ""
    yield f"files: {listed}{more}; frames are scaled and cut to the model's size"
    rates = sorted({round(each.rate, 2) for each in videos})
    lengths = sorted(each.frames for each in videos)
    yield f"frames a second: {rates[0]:g} to {rates[-1]:g}; they are not changed"
    yield f"frames of a file: {lengths[0]:,} to {lengths[-1]:,}"


if __name__ == "__main__":
    run(main)
