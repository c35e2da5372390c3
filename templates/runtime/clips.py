"""Clips of video in a folder: which are read, their splits, their windows, and what is kept."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.digests import digest, file_digests, split_of
from runtime.errors import fail
from runtime.listing import shown
from runtime.notes import note
from runtime.splits import SPLITS, shares_left, split_folders
from runtime.video import Video, list_videos, look_at

SHOWN = 5  # sizes that data.py lists
KEPT_BYTES = 2**31  # cache for decoded clips; with more, later epochs read fewer files again


@dataclass(frozen=True)
class Windows:
    """Windows of one length in clips.

    Attributes:
        lengths: The frames of each clip.
        window: Frames of a sample.
        stride: Frames from the start of a window to that of the next.
    """

    lengths: Sequence[int]
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


class Sized(Protocol):
    """What has a size in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


Clip = TypeVar("Clip", bound=Sized)


class Kept(Generic[Clip]):
    """Clips that are decoded on demand, and kept while there is room."""

    def __init__(self, decoded: Callable[[Video], Clip]) -> None:
        self._decoded = decoded
        self._kept: dict[Path, Clip] = {}
        self._room = KEPT_BYTES

    def of(self, videos: Sequence[Video]) -> Callable[[int], Clip]:
        """Return what reads a clip by its place among some."""
        return lambda place: self._read(videos[place])

    def _read(self, video: Video) -> Clip:
        if video.path in self._kept:
            return self._kept[video.path]
        clip = self._decoded(video)
        if clip.nbytes <= self._room:
            self._room -= clip.nbytes
            self._kept[video.path] = clip
        return clip


def survey(
    folder: Path, length: Callable[[Video], int], least: int
) -> tuple[list[Video], list[str | None]]:
    """Return the clips of a folder that are long enough, and the split of each one's folder."""
    videos = [look_at(path) for path in list_videos(folder).files]
    short = [each.path for each in videos if length(each) < least]
    if short:
        note(
            f"{folder}: {len(short):,} clips have fewer than {least} frames and are left out: "
            f"{shown(folder, short)}."
        )
    kept = [each for each in videos if length(each) >= least]
    names = [each.path.relative_to(folder).parts for each in kept]
    splits = split_folders(folder, {parts[0] for parts in names if len(parts) > 1})
    return kept, [splits.get(parts[0]) if len(parts) > 1 else None for parts in names]


def cut(
    folder: Path,
    videos: Sequence[Video],
    named: Sequence[str | None],
    shares: tuple[float, float],
    texts: Sequence[str] = (),
) -> tuple[dict[str, list[int]], str]:
    """Return the places of the clips of each split, and a digest; copies are in the same split.

    Args:
        folder: Where the clips are.
        videos: The clips.
        named: The split of each one's folder.
        shares: The shares of val and test of those that no folder decides.
        texts: What the digest has of each clip besides.
    """
    # Names of files do not decide the split, or a renamed clip could move from train to test.
    keys = file_digests([each.path for each in videos])
    left = shares_left(named, *shares)
    places: dict[str, list[int]] = {split: [] for split in SPLITS}
    for place, (key, own) in enumerate(zip(keys, named, strict=True)):
        places[str(split_of(key, *left) if own in (None, "train") else own)].append(place)
    names = [each.path.relative_to(folder).as_posix() for each in videos]
    said = [f"\0{text}" for text in texts] or [""] * len(names)
    rows = zip(names, keys, said, strict=True)
    return places, digest(*(f"{name}\0{key}{text}\n".encode() for name, key, text in rows))


def require_whole(video: Video, decoded: int) -> None:
    """Stop if fewer frames of a clip can be decoded than it has."""
    if decoded < video.frames:
        fail(
            f"{video.path} breaks off: {decoded:,} of its {video.frames:,} frames can be decoded: "
            "copy it again, or remove it."
        )


def understood(videos: Sequence[Video], rates: str) -> Iterator[str]:
    """Yield the sizes, rates and lengths of files; `rates` says what becomes of their rates."""
    sizes = Counter(f"{each.width} x {each.height}" for each in videos)
    listed = ", ".join(f"{count:,} of {size}" for size, count in sizes.most_common(SHOWN))
    more = ", ..." if len(sizes) > SHOWN else ""
    yield f"files: {listed}{more}; frames are scaled and cut to the model's size"
    every = sorted({round(each.rate, 2) for each in videos})
    lengths = sorted(each.frames for each in videos)
    yield f"frames a second: {every[0]:g} to {every[-1]:g}; {rates}"
    yield f"frames of a file: {lengths[0]:,} to {lengths[-1]:,}"
