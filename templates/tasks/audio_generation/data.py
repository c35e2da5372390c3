"""Read clips of sound, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH     shows what training will read

PATH is a folder of sound files (.wav, .flac, .ogg, .aiff). They are read at the model's rate, as
the mean of their channels, and cut into clips of one length; silence follows a shorter file. For a
model of captions, PATH/metadata.jsonl has a line for each file,
{"file_name": "1.wav", "text": "rain on a roof"}; metadata.csv and metadata.parquet work too. Or a
file's folder is named after its caption (PATH/rain/1.wav). Folders named train, val and test hold
these splits; a missing one is cut from train, whole files at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from model import conditions
from runtime.captioned import METADATA, listed_captions
from runtime.digests import digest, file_digests, split_of
from runtime.errors import fail, run
from runtime.listing import Listing, shown
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.sounds import (
    Sound,
    list_sounds,
    read_clip,
    say_changes,
    sound_of,
    survey,
)
from runtime.speech import spoken_digits
from runtime.splits import SPLITS, require_samples, shares_left, split_folders

BUNDLED = "spoken digits"
BUNDLED_RATE = 8000  # samples a second
LEAST_SHARE = 0.25  # share of a clip; a shorter rest of a file would be mostly silence


@dataclass(frozen=True)
class Config:
    """How sounds become clips."""

    seq_len: int = 1500
    """Frames of a training clip."""
    val_fraction: float = 0.01
    """Share of the files for validation during training."""
    test_fraction: float = 0.01
    """Share of the files that only eval.py reads."""

    def samples(self, model: ModelConfig) -> int:
        """Return the samples of a clip."""
        return self.seq_len * model.frame()


@dataclass(frozen=True)
class Split:
    """Some of the clips.

    Attributes:
        captions: The caption of each clip; "" without one.
        read: Returns the samples of a clip, (S,) of -1 to 1, by its place.
    """

    captions: list[str]
    read: Callable[[int], Tensor]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class Dataset:
    """Clips with captions in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all sounds and captions.
        splits: The clips by split.
        sources: What each clip of the test split is cut from, by number: clips of one file or of
            one voice depend on each other.
    """

    name: str
    sha256: str
    splits: dict[str, Split]
    sources: list[int]


def load_clips(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the clips of a folder, or the bundled ones, or stop if they do not fit the model."""
    if config.seq_len > model.max_seq_len:
        fail(
            f"a clip of {config.seq_len:,} frames exceeds the model's {model.max_seq_len:,}: lower "
            "seq_len."
        )
    data = _bundled(config, model) if path is None else _folder(config, path, model)
    require_samples(data.name, "clips", {split: len(each) for split, each in data.splits.items()})
    return data


def batch_at(
    split: Split, start: int, count: int, model: ModelConfig, seed: int
) -> tuple[Tensor, ...]:
    """Return clips (B, S) at some places of the training order, and their captions (B, L)."""
    # Seed and position decide the clips, so a resumed run continues with the same ones.
    places = [index for _, index in samples_at(start, count, len(split), seed)]
    return _batch(split, places, model)


def batches(split: Split, size: int, model: ModelConfig) -> Iterator[tuple[Tensor, ...]]:
    """Yield the clips of a split once, in batches, with their captions."""
    for start in range(0, len(split), size):
        yield _batch(split, range(start, min(start + size, len(split))), model)


def _batch(split: Split, places: Sequence[int], model: ModelConfig) -> tuple[Tensor, ...]:
    captions = conditions(model, [split.captions[place] for place in places])
    return torch.stack([split.read(place) for place in places]), *captions


def _bundled(config: Config, model: ModelConfig) -> Dataset:
    """Return spoken digits, with their names as captions; each voice is in one split."""
    # Sound of a lower rate would teach a larger model that high frequencies are silent.
    if model.sample_rate != BUNDLED_RATE:
        fail(f"{model.sample_rate:,} samples a second need your own sounds: name them with --data.")
    length, spoken = config.samples(model), spoken_digits(BUNDLED_RATE)
    clips = [each.samples[:length] for each in spoken]
    padded = [torch.from_numpy(np.pad(clip, (0, length - len(clip)))) for clip in clips]
    total = digest(*(f"{each.text}\0{each.split}".encode() for each in spoken), *map(bytes, clips))
    places = {s: [i for i, each in enumerate(spoken) if each.split == s] for s in SPLITS}
    splits = {
        s: _split([each.text for each in spoken], padded.__getitem__, places[s]) for s in SPLITS
    }
    # All digits of a voice follow each other.
    digits = len({each.text for each in spoken})
    return Dataset(
        BUNDLED, total, splits, [place // digits for place in range(len(places["test"]))]
    )


def _split(captions: Sequence[str], read: Callable[[int], Tensor], places: list[int]) -> Split:
    return Split([captions[place] for place in places], lambda index: read(places[index]))


def _folder(config: Config, folder: Path, model: ModelConfig) -> Dataset:
    """Return the clips of the files below a folder; all clips of a file are in one split."""
    found = list_sounds(folder)
    captions, named = _captions(found, needed=model.text_length > 0)
    sounds = [sound_of(path) for path in found.files if path in captions]
    say_changes(sounds, model.sample_rate)
    seconds = config.samples(model) / model.sample_rate
    _say_rest(folder, sounds, seconds)
    keys = file_digests([sound.path for sound in sounds])
    own = _splits(config, [named.get(sound.path) for sound in sounds], keys)
    cuts = [
        (place, start) for place, sound in enumerate(sounds) for start in _starts(sound, seconds)
    ]

    def read(index: int) -> Tensor:
        # Files are read when a batch needs them: a large folder does not fit in memory.
        place, start = cuts[index]
        return torch.from_numpy(read_clip(sounds[place], start, seconds, model.sample_rate))

    texts = [captions[sounds[place].path] for place, _ in cuts]
    places = {s: [i for i, (place, _) in enumerate(cuts) if own[place] == s] for s in SPLITS}
    sources = np.unique([cuts[i][0] for i in places["test"]], return_inverse=True)[1].tolist()
    splits = {s: _split(texts, read, places[s]) for s in SPLITS}
    return Dataset(folder.resolve().name, _digest(folder, captions, sounds, keys), splits, sources)


def _splits(config: Config, named: Sequence[str | None], keys: Sequence[str]) -> list[str]:
    """Return the split of each file: that of its folder, or one that its content decides."""
    left = shares_left(named, config.val_fraction, config.test_fraction)
    # Names of files do not decide the split, or a renamed file could move from train to test.
    return [
        split_of(key, *left) if split in (None, "train") else split
        for key, split in zip(keys, named, strict=True)
    ]


def _digest(
    folder: Path, captions: Mapping[Path, str], sounds: Sequence[Sound], keys: Sequence[str]
) -> str:
    """Return the digest of the files of a folder, by their names, captions and contents."""
    lines = (
        f"{sound.path.relative_to(folder).as_posix()}\0{captions[sound.path]}\0{key}\n"
        for sound, key in zip(sounds, keys, strict=True)
    )
    return digest(*(line.encode() for line in lines))


def _starts(sound: Sound, seconds: float) -> list[float]:
    """Return the seconds at which the clips of a sound begin; a short rest is left out."""
    whole, rest = divmod(sound.seconds / seconds, 1)
    count = int(whole) + (rest >= LEAST_SHARE or whole == 0)
    return [number * seconds for number in range(count)]


def _say_rest(folder: Path, sounds: Sequence[Sound], seconds: float) -> None:
    short = [each.path for each in sounds if each.seconds < seconds]
    if short:
        note(
            f"{folder}: {len(short):,} sounds are shorter than a clip of {seconds:.3g} seconds, "
            f"and silence follows them: {shown(folder, short)}."
        )


def _captions(found: Listing, *, needed: bool) -> tuple[dict[Path, str], dict[Path, str]]:
    """Return the caption and the split of each file of a folder, or stop at one without."""
    folder = found.folder
    parts = {path: path.relative_to(folder).parts for path in found.files}
    folders = split_folders(folder, {names[0] for names in parts.values() if len(names) > 1})
    splits = {path: folders[names[0]] for path, names in parts.items() if names[0] in folders}
    if not needed:
        return dict.fromkeys(found.files, ""), splits
    captions = listed_captions(found, "sound")
    if captions is not None:
        return captions, splits
    depth = 2 if folders else 1
    loose = [path for path, names in parts.items() if len(names) <= depth]
    if loose:
        fail(
            f"{shown(folder, loose[:1])} in {folder} has no caption: write {METADATA}.jsonl, or "
            "put it in a folder that is named after its caption."
        )
    return {path: names[-2] for path, names in parts.items()}, splits


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of sounds (default: spoken digits)").parse_args()
    model, config = (
        load_config(ModelConfig, "model", args.size),
        load_config(Config, "data", args.size),
    )
    data = load_clips(config, args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    seconds = config.samples(model) / model.sample_rate
    print(f"clips of {seconds:.3g} seconds: {config.seq_len:,} frames of {model.frame()} samples")
    if args.data:
        found = list_sounds(args.data)
        print(*survey([sound_of(path) for path in found.files]), *found.left_out(), sep="\n")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split):,} clips")
    captions = sorted({caption for split in data.splits.values() for caption in split.captions})
    if model.text_length:
        more = ", ..." if len(captions) > 10 else ""
        print(f"{len(captions):,} captions: {', '.join(map(repr, captions[:10]))}{more}")


if __name__ == "__main__":
    run(main)
