"""Read sounds with their texts, bundled or your own, in train, val and test splits.

    python data.py --data PATH     shows what training will read

PATH is a folder of sound files (.wav, .flac, .ogg, .aiff) with metadata.jsonl, a row for each file,
{"file_name": "1.wav", "text": "what is said"}; metadata.csv and metadata.parquet work too, and a
`speaker_id` in each row tells who speaks. Or it is a folder of LibriSpeech, with its *.trans.txt.
Folders named train, val and test hold these splits; a missing one is cut from train, all sounds of
a speaker together where the data tells who speaks. Sounds are read at the model's rate, as the mean
of their channels; silence follows a short one, and one longer than the model's clip is left out.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import END_OF_TEXT, START
from model import Config as ModelConfig
from runtime.digests import digest, file_digests, split_of, uniform
from runtime.errors import fail, run
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.sounds import list_sounds, read_clip, say_changes, sound_of, survey
from runtime.speech import spoken_numbers
from runtime.speech_features import log_mel_features
from runtime.splits import SPLITS, require_samples, shares_left
from runtime.tokenizer import END_OF_TEXT as END_OF_TEXT_NAME
from runtime.tokenizer import BPETokenizer, open_bpe, train_bpe
from runtime.transcripts import Transcript, read_transcripts

BUNDLED = "spoken digits in a row"
BUNDLED_RATE = 8000  # samples a second
MOST_DIGITS = 4
OF_A_VOICE = {"train": 10, "val": 4, "test": 8}  # utterances of each voice
NOISE = 100.0  # the power of a voice over that of the noise
START_NAME = "<|startoftranscript|>"
NO_TARGET = -100  # what cross-entropy leaves out


@dataclass(frozen=True)
class Config:
    """How sounds and texts become samples."""

    masked_bands: int = 27
    """Most bands in a row that training hides of a clip."""
    masked_frames: int = 100
    """Most frames in a row that training hides of a clip."""
    val_fraction: float = 0.01
    """Share of the speakers, or sounds, for validation during training."""
    test_fraction: float = 0.01
    """Share of the speakers, or sounds, that only eval.py reads."""


class Words:
    """Tokenizer of texts by byte-level BPE, with the two entries that the model needs."""

    def __init__(self, library: BPETokenizer, place: str) -> None:
        """Take a tokenizer, or stop if the model cannot use it; errors name the place."""
        entries = library.entries()
        if (entries.get(END_OF_TEXT_NAME), entries.get(START_NAME)) != (END_OF_TEXT, START):
            fail(f"{place} does not begin with {END_OF_TEXT_NAME}, {START_NAME}: use train.py's.")
        self.library = library

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        # A leading blank makes a word at the start the same token as elsewhere.
        return self.library.encode(f" {text.strip()}")

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self.library.decode(tokens).strip()


def words_of_checkpoint(folder: Path, model: ModelConfig) -> Words:
    """Return the tokenizer of a checkpoint, or stop if it is not that of the model."""
    library = open_bpe(folder / "tokenizer.json")
    if library.vocab_size > model.vocab_size:
        fail(
            f"the tokenizer of {folder} has {library.vocab_size:,} entries, but the model has "
            f"{model.vocab_size:,}: choose the checkpoint of this model."
        )
    return Words(library, str(folder / "tokenizer.json"))


def train_words(texts: Iterable[str], vocab_size: int) -> Words:
    """Return a tokenizer that is trained on some texts."""
    special = (END_OF_TEXT_NAME, START_NAME)
    trained = train_bpe((f" {text.strip()}" for text in texts), vocab_size, special)
    return Words(BPETokenizer(trained), "the tokenizer")


@dataclass(frozen=True)
class Split:
    """Some of the sounds.

    Attributes:
        texts: The text of each.
        read: Returns the samples of a sound, (S,) of -1 to 1, by its place.
    """

    texts: list[str]
    read: Callable[[int], Tensor]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Dataset:
    """Sounds with texts in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all sounds and texts.
        splits: The sounds by split.
        speakers: Who speaks in each sound of the test split, by number; None where it is not known.
        words: The tokenizer.
        model: Sets the length and the form of the spectrograms.
    """

    name: str
    sha256: str
    splits: dict[str, Split]
    speakers: list[int] | None
    words: Words
    model: ModelConfig


def load_speech(
    config: Config, path: Path | None, model: ModelConfig, checkpoint: Path | None = None
) -> Dataset:
    """Return the sounds of a folder, or the bundled ones, or stop if they do not fit.

    Args:
        config: Sizes of the splits.
        path: The folder; None for the bundled set.
        model: Sets the length of a clip and the vocabulary.
        checkpoint: The folder with the tokenizer of a trained model; None to train one on the
            training texts.
    """
    name = path.resolve().name if path else BUNDLED
    sha256, splits, speakers = _folder(config, path, model) if path else _bundled(model)
    require_samples(name, "sounds with text", {s: len(each) for s, each in splits.items()})
    words = (
        words_of_checkpoint(checkpoint, model)
        if checkpoint
        else train_words(splits["train"].texts, model.vocab_size)
    )
    for split in ("train", "val"):
        splits[split] = _fitting(name, split, splits[split], words, model)
    return Dataset(name, sha256, splits, speakers, words, model)


def _fitting(name: str, split: str, own: Split, words: Words, model: ModelConfig) -> Split:
    """Return the sounds of a split whose text the model can write, or stop if there are none."""
    kept = [i for i, text in enumerate(own.texts) if _is_written(words.encode(text), model)]
    if len(kept) < len(own):
        note(
            f"{name}: {len(own) - len(kept):,} sounds of {split} are left out: the model cannot "
            "write so long a text of one clip."
        )
    require_samples(name, "sounds with a text that is short enough", {split: len(kept)})
    return _part(own.texts, own.read, kept)


def _is_written(tokens: Sequence[int], model: ModelConfig) -> bool:
    """Return whether a text has room: in the decoder with its end, and among CTC's positions."""
    # Between two equal tokens CTC needs a blank.
    repeats = sum(a == b for a, b in itertools.pairwise(tokens))
    room = len(tokens) + 1 <= model.text_length or not model.n_decoder_layers
    return room and len(tokens) + repeats <= model.audio_positions


def _part(texts: Sequence[str], read: Callable[[int], Tensor], places: Sequence[int]) -> Split:
    return Split([texts[place] for place in places], lambda index: read(places[index]))


Parts = tuple[str, dict[str, Split], list[int] | None]


def _bundled(model: ModelConfig) -> Parts:
    """Return digits in a row with noise; each voice is in one split."""
    if model.sample_rate != BUNDLED_RATE:
        fail(f"{model.sample_rate:,} samples a second need your own sounds: name them with --data.")
    spoken = spoken_numbers(BUNDLED_RATE, MOST_DIGITS, OF_A_VOICE)
    longest = max(len(each.samples) for each in spoken)
    if longest > model.samples():
        fail(
            f"a clip of {model.samples():,} samples is shorter than the longest bundled one, "
            f"{longest:,}: name your own sounds with --data."
        )
    draw = np.random.default_rng(0)
    waves = []
    for each in spoken:
        loud = np.sqrt((each.samples**2).mean() / NOISE)
        padded = np.pad(each.samples, (0, model.samples() - len(each.samples)))
        noisy = padded + loud * draw.standard_normal(len(padded), dtype=np.float32)
        waves.append(torch.from_numpy(noisy.astype(np.float32)))
    total = digest(
        *(f"{each.text}\0{each.split}".encode() for each in spoken),
        *(each.samples.tobytes() for each in spoken),
    )
    texts = [each.text for each in spoken]
    places = {s: [i for i, each in enumerate(spoken) if each.split == s] for s in SPLITS}
    splits = {s: _part(texts, waves.__getitem__, own) for s, own in places.items()}
    return total, splits, _numbers([spoken[place].voice for place in places["test"]])


def _numbers(names: Sequence[str]) -> list[int]:
    """Return the number of each name, in the order in which they first occur."""
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [known[name] for name in names]


def _folder(config: Config, folder: Path, model: ModelConfig) -> Parts:
    """Return the digest, the splits and the speakers of a folder's sounds."""
    found = list_sounds(folder)
    every = read_transcripts(found)
    sounds = [sound_of(each.path) for each in every]
    say_changes(sounds, model.sample_rate)
    seconds = model.samples() / model.sample_rate
    short = [i for i, sound in enumerate(sounds) if sound.seconds <= seconds]
    if len(short) < len(every):
        note(
            f"{folder}: {len(every) - len(short):,} sounds are left out, which are longer than the "
            f"{seconds:g} seconds of a clip: cut them, with the text of each part."
        )
    every, sounds = [every[i] for i in short], [sounds[i] for i in short]
    keys = file_digests([each.path for each in every])
    own = _splits(config, folder, every, keys)

    def read(index: int) -> Tensor:
        # Files are read when a batch needs them: a large folder does not fit in memory.
        return torch.from_numpy(read_clip(sounds[index], 0, seconds, model.sample_rate))

    total = digest(
        *(
            f"{each.path.relative_to(folder).as_posix()}\0{each.text}\0{each.speaker}\0{key}\n".encode()
            for each, key in zip(every, keys, strict=True)
        )
    )
    places = {s: [i for i, split in enumerate(own) if split == s] for s in SPLITS}
    texts = [each.text for each in every]
    splits = {s: _part(texts, read, places[s]) for s in SPLITS}
    who = [every[place].speaker for place in places["test"]]
    return total, splits, _numbers(who) if all(who) else None


def _splits(
    config: Config, folder: Path, every: Sequence[Transcript], keys: Sequence[str]
) -> list[str]:
    """Return the split of each sound: that of its folder, or one by speaker, or by file."""
    named = [each.split for each in every]
    left = shares_left(named, config.val_fraction, config.test_fraction)
    who = [each.speaker for each in every]
    # Names of files do not decide the split, or a renamed file could move from train to test.
    by = [f"speaker {each}" for each in who] if all(who) else keys
    cut = {key: split_of(key, *left) for key in by}
    if all(who):
        _fill(cut, left)
    pairs = zip(by, named, strict=True)
    made = [cut[key] if split in (None, "train") else split for key, split in pairs]
    if all(who) and len(set(made)) < len(SPLITS):
        note(f"{folder} has too few speakers: each split needs one of its own.")
    return made


def _fill(cut: dict[str, str], left: tuple[float, float]) -> None:
    """Give a speaker of train to a split that has a share and got none, as happens with few."""
    for split, share in zip(("val", "test"), left, strict=True):
        train = sorted(key for key, own in cut.items() if own == "train")
        if share and split not in cut.values() and len(train) > 1:
            cut[min(train, key=uniform)] = split


def features(waves: Tensor, model: ModelConfig) -> Tensor:
    """Return the log-mel spectrograms (B, M, F) of clips (B, S)."""
    c = model
    return log_mel_features(waves, c.sample_rate, c.n_fft, c.hop_length, c.n_mels)


Batch = tuple[Tensor, Tensor, Tensor]
"""Spectrograms (B, M, F); tokens that the decoder reads, and those that follow them, (B, T) each.

The first begin with START; the others end with END_OF_TEXT, and NO_TARGET fills them up.
"""


def batch_of(data: Dataset, split: Split, places: Sequence[int]) -> Batch:
    """Return some sounds of a split as a batch."""
    audio = features(torch.stack([split.read(place) for place in places]), data.model)
    rows = [data.words.encode(split.texts[place]) for place in places]
    length = 1 + max(map(len, rows))
    before = [[START, *row, *[END_OF_TEXT] * (length - 1 - len(row))] for row in rows]
    after = [[*row, END_OF_TEXT, *[NO_TARGET] * (length - 1 - len(row))] for row in rows]
    return audio, torch.tensor(before), torch.tensor(after)


def batch_at(data: Dataset, config: Config, start: int, count: int, seed: int) -> Batch:
    """Return the training sounds at some places of the order, each partly hidden."""
    # Seed and position decide what is hidden, so a resumed run continues with the same clips.
    train = data.splits["train"]
    places = [index for _, index in samples_at(start, count, len(train), seed)]
    audio, before, after = batch_of(data, train, places)
    for clip, place in zip(audio, range(start, start + count), strict=True):
        hide(clip, config, random.Random(f"{seed} {place}"))
    return audio, before, after


def hide(clip: Tensor, config: Config, draw: random.Random) -> None:
    """Set some bands and some frames of a spectrogram (M, F) to its mean.

    SpecAugment (Park et al., 2019, arXiv:1904.08779, section 2), one mask of each.
    """
    mean = clip.mean()
    for axis, most in ((0, config.masked_bands), (1, config.masked_frames)):
        width = draw.randint(0, min(most, clip.size(axis)))
        first = draw.randint(0, clip.size(axis) - width)
        clip.narrow(axis, first, width).fill_(mean)


def batches(data: Dataset, split: str, size: int) -> Iterator[Batch]:
    """Yield the sounds of a split once, in batches."""
    own = data.splits[split]
    for start in range(0, len(own), size):
        yield batch_of(data, own, range(start, min(start + size, len(own))))


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of sounds with texts (default: digits)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_speech(load_config(Config, "data", args.size), args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(f"clips of {model.samples() / model.sample_rate:.3g} seconds, {model.frames():,} frames")
    print(f"tokenizer: {data.words.library.vocab_size:,} entries, of the training texts")
    if args.data:
        found = list_sounds(args.data)
        print(*survey([sound_of(path) for path in found.files]), *found.left_out(), sep="\n")
    for name, split in data.splits.items():
        words = sum(len(text.split()) for text in split.texts)
        print(f"{name:>5}: {len(split):,} sounds, {words:,} words, such as {split.texts[0]!a}")


if __name__ == "__main__":
    run(main)
