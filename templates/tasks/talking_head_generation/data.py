"""Read clips of people who speak, bundled or your own, and cut them into train, val and test.

    python data.py --data PATH     shows what training will read

PATH is a folder of video files with sound (mp4, mov, webm, mkv, avi, mpeg), in folders of its own
if you like. PATH/metadata.jsonl may have a caption for each, {"file_name": "1.mp4", "text": "a
woman speaks"}; metadata.csv and metadata.parquet work too. Folders named train, val and test hold
these splits; a missing one is cut from train. The first frame of a clip is its portrait. A sample
is a chunk of frames that follow each other, with the frames and the sound around it; before the
first frame, the portrait stands still in silence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model import Config as ModelConfig
from model import conditions
from runtime.captioned import listed_captions
from runtime.chunks import sound_of_chunk
from runtime.clips import Kept, Windows, cut, require_whole, survey, understood
from runtime.errors import fail, run
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.spectra import TICKS, frame_spectra
from runtime.splits import require_samples
from runtime.talking_heads import FRAME_RATE, NAME, SAMPLE_RATE, SIDE, talking_heads
from runtime.video import Video, list_videos, read_frames, read_sound

SHOWN_CAPTIONS = 10


@dataclass(frozen=True)
class Config:
    """How clips become samples, and where noise is added."""

    shift: float = 3.0
    """How far the times of training and sampling are moved towards noise; 1 leaves them even."""
    val_fraction: float = 0.05
    """Share of the clips for validation during training."""
    test_fraction: float = 0.05
    """Share of the clips that only eval.py reads."""


class Clip(NamedTuple):
    """A clip at the model's size and rates.

    Attributes:
        frames: (F, C, H, W), uint8.
        sound: (S,) of -1 to 1, as many samples as its frames have.
        heard: The spectra of its frames, (F, 4, bands).
    """

    frames: Tensor
    sound: Tensor
    heard: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(each.nbytes for each in self)


class Chunk(NamedTuple):
    """Chunks as the model reads them; the names are those of its arguments."""

    portrait: Tensor
    given: Tensor
    following: Tensor
    sound: Tensor
    caption: Tensor


@dataclass(frozen=True)
class Split(Windows):
    """Some of the clips, as chunks of the model's length.

    Attributes:
        captions: The caption of each clip; "" without one.
        read: Returns a clip by its place.
    """

    captions: Sequence[str]
    read: Callable[[int], Clip]


@dataclass(frozen=True)
class Dataset:
    """Clips in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all clips and captions.
        splits: The clips by split.
    """

    name: str
    sha256: str
    splits: dict[str, Split]


def load_clips(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the clips of a folder, or the bundled ones, or stop if they do not fit the model.

    Args:
        config: Sizes of the splits.
        path: The folder; None for the bundled clips.
        model: Sets the size of a frame, the rates and the length of a chunk.
    """
    data = _bundled(model) if path is None else _folder(config, path, model)
    chunks = {split: len(each) for split, each in data.splits.items()}
    require_samples(data.name, f"chunks of {model.made_frames} frames", chunks)
    return data


def batch_at(
    split: Split, start: int, count: int, model: ModelConfig, seed: int
) -> tuple[Tensor, ...]:
    """Return chunks at some places of the training order."""
    # Seed and position decide the chunks, so a resumed run continues with the same ones.
    return chunks(split, [i for _, i in samples_at(start, count, len(split), seed)], model)


def batches(split: Split, size: int, model: ModelConfig) -> Iterator[tuple[Tensor, ...]]:
    """Yield the chunks of a split once, in batches."""
    for start in range(0, len(split), size):
        yield chunks(split, range(start, min(start + size, len(split))), model)


def chunks(split: Split, indices: Sequence[int], model: ModelConfig) -> Chunk:
    """Return some chunks."""
    parts, captions = [], []
    for place, start in map(split.place_of, indices):
        frames, _, spectra = split.read(place)
        given = frames[[max(0, i) for i in range(start - model.given_frames, start)]]
        following = frames[start : start + model.made_frames]
        heard = sound_of_chunk(spectra, start, model)
        pixels = (scaled(each) for each in (frames[:1], given, following))
        parts.append((*pixels, heard))
        captions.append(split.captions[place])
    portrait, given, following, heard = map(torch.stack, zip(*parts, strict=True))
    return Chunk(portrait[:, :, 0], given, following, heard, conditions(model, captions))


def empty_chunks(model: ModelConfig, samples: int) -> Chunk:
    """Return chunks of zeros."""
    size = (model.image_height, model.image_width)
    frames = torch.zeros(samples, model.image_channels, model.num_frames, *size)
    lengths = [model.given_frames, model.made_frames]
    given, following = torch.split(frames, lengths, dim=2)
    heard = model.num_frames + 2 * model.audio_reach
    sound = torch.zeros(samples, heard, TICKS, model.bands)
    captions = conditions(model, [""] * samples)
    return Chunk(frames[:, :, 0], given, following, sound, captions)


def scaled(frames: Tensor) -> Tensor:
    """Return frames (F, C, H, W), uint8, as (C, F, H, W) of -1 to 1."""
    # Values from -1 to 1 have their centre at 0, like pure noise.
    return frames.transpose(0, 1).float() / 127.5 - 1


def _split(
    model: ModelConfig,
    name: str,
    lengths: Sequence[int],
    captions: Sequence[str],
    read: Callable[[int], Clip],
) -> Split:
    """Return a split: training sees a chunk from each frame, validation sees each frame once."""
    stride = 1 if name == "train" else model.made_frames
    return Split(lengths, model.made_frames, stride, captions, read)


def _bundled(model: ModelConfig) -> Dataset:
    """Return drawn heads that speak."""
    size = (model.image_height, model.image_width, model.image_channels)
    rates = (model.frame_rate, model.sample_rate)
    if size != (SIDE, SIDE, 3) or rates != (FRAME_RATE, SAMPLE_RATE):
        fail("this size needs your own clips: name their folder with --data.")
    heads, sha256 = talking_heads()
    splits = {}
    for name, some in heads.items():
        clips = [
            clip_of(torch.from_numpy(each.frames), torch.from_numpy(each.samples / 2**15), model)
            for each in some
        ]
        lengths, captions = [len(each.frames) for each in clips], [each.caption for each in some]
        splits[name] = _split(model, name, lengths, captions, clips.__getitem__)
    return Dataset(NAME, sha256, splits)


def _folder(config: Config, folder: Path, model: ModelConfig) -> Dataset:
    """Return the clips below a folder; copies of a file are in the same split."""
    length = _length(model)
    videos, named = survey(folder, length, model.made_frames)
    listed = listed_captions(list_videos(folder), "video") or {}
    captions = [listed.get(each.path, "") for each in videos]
    shares = (config.val_fraction, config.test_fraction)
    places, total = cut(folder, videos, named, shares, captions)
    room, splits = Kept(lambda video: _decoded(video, model)), {}
    for name, own in places.items():
        some = [videos[place] for place in own]
        texts = [captions[place] for place in own]
        splits[name] = _split(model, name, [*map(length, some)], texts, room.of(some))
    return Dataset(folder.resolve().name, total, splits)


def _length(model: ModelConfig) -> Callable[[Video], int]:
    """Return how many frames a clip has at the model's rate."""

    def length(video: Video) -> int:
        if not video.rate:
            fail(f"{video.path} does not say its frames a second: convert it to MP4.")
        return int(video.frames / video.rate * model.frame_rate + 1e-6)

    return length


def _decoded(video: Video, model: ModelConfig) -> Clip:
    """Return a clip at the model's size and rates; its sound is cut, or silence follows it."""
    size, count = (model.image_height, model.image_width), _length(model)(video)
    frames = read_frames(video.path, size, model.image_channels, None)
    require_whole(video, len(frames))
    shown = [int(i * video.rate / model.frame_rate + 1e-6) for i in range(count)]
    return clip_of(frames[shown], read_sound(video.path, model.sample_rate), model)


def clip_of(frames: Tensor, sound: Tensor, model: ModelConfig) -> Clip:
    """Return a clip of frames and a sound, which is cut to them, or which silence follows."""
    samples = len(frames) * model.frame_samples
    fitted = F.pad(sound.float()[:samples], (0, max(0, samples - len(sound))))
    return Clip(frames, fitted, frame_spectra(fitted, model.sample_rate, model.frame_samples))


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of clips (default: drawn heads)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_clips(load_config(Config, "data", args.size), args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(
        f"chunks of {model.made_frames} frames of {model.image_height} x {model.image_width}, "
        f"{model.image_channels} channels, after {model.given_frames} given ones; "
        f"{model.frame_rate} frames and {model.sample_rate:,} samples a second"
    )
    if args.data:
        videos, _ = survey(args.data, _length(model), model.made_frames)
        print(*understood(videos, "those nearest in time are taken"), sep="\n")
        print(*list_videos(args.data).left_out(), sep="\n")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split.lengths):,} clips, {len(split):,} chunks")
    captions = sorted({each for split in data.splits.values() for each in split.captions})
    more = ", ..." if len(captions) > SHOWN_CAPTIONS else ""
    print(f"{len(captions):,} captions: {', '.join(map(repr, captions[:SHOWN_CAPTIONS]))}{more}")


if __name__ == "__main__":
    run(main)
