"""Read images with questions and answers: bundled scenes of digits, or your own.

    python data.py --data PATH      shows what training will read

PATH is a file of rows, as JSONL, CSV or Parquet. Each row has an `image`, the path of an image file
from the folder of the rows on, a `prompt` and an `answer`. An image may have several rows. Or PATH
is a folder with one such file for each split, such as train.jsonl and test.jsonl; a missing split
is cut from train.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, split_of
from runtime.errors import fail, run
from runtime.formats import list_rows
from runtime.listing import printable
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.pixels import eight_bits, opened, survey
from runtime.questions import NAME as BUNDLED
from runtime.questions import questions
from runtime.records import read_records, split_files
from runtime.records import report as rows_report
from runtime.scenes import Scene
from runtime.settings import load_config
from runtime.splits import SPLITS, copies, require_samples, shares_left
from runtime.stored import digests_of
from runtime.tokenizer import END_OF_TEXT, BPETokenizer, open_bpe, train_bpe

COLUMNS = ("image", "prompt", "answer")
BYTES = 256  # A tokenizer has an entry for each byte.


@dataclass(frozen=True)
class Config:
    """How images, questions and answers become samples."""

    seq_len: int = 384
    """Longest sequence: the vectors of an image, a question and its answer."""
    val_fraction: float = 0.05
    """Share of the images for validation during training."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""

    def text(self, model: ModelConfig) -> int:
        """Return the tokens of a question and its answer, at most."""
        return self.seq_len - model.image_tokens()


@dataclass(frozen=True)
class Question:
    """A question about an image.

    Attributes:
        image: The image's file, or a composed scene.
        name: The image's digest; questions of one image share it, and its split.
        prompt: What is asked.
        answer: The right answer.
        kind: What a bundled question is about; "" for a user's.
    """

    image: Path | Scene
    name: str
    prompt: str
    answer: str
    kind: str = ""


@dataclass(frozen=True)
class Questions:
    """Questions in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all of them, and of their images.
        splits: The questions of each split.
        tokenizer: Turns texts into tokens.
        model: Sets the size and the channels of images.
        text: Tokens of a question and its answer, at most.
    """

    name: str
    sha256: str
    splits: dict[str, list[Question]]
    tokenizer: BPETokenizer
    model: ModelConfig
    text: int

    def images(self, some: Sequence[Question]) -> Tensor:
        """Return the images of some questions (B, C, side, side), values from -1 to 1."""
        # Files are decoded here, not when the data is loaded: a large folder does not fit in
        # memory. Questions of one image share what is read.
        side, channels = self.model.image_size, self.model.num_channels
        read = {q.name: q.image for q in some}
        pixels = {name: pixels_of(image, side, channels) for name, image in read.items()}
        return torch.stack([pixels[q.name] for q in some]).float() / 127.5 - 1

    def prompts(self, some: Sequence[Question]) -> list[list[int]]:
        """Return the tokens of some prompts."""
        # A line feed ends a prompt, as in PaliGemma, so that even an empty one has a token.
        return self.tokenizer.encode_batch([f"{q.prompt}\n" for q in some])

    def batch(self, some: Sequence[Question]) -> tuple[Tensor, ...]:
        """Return what a training pass reads of some questions.

        Returns:
            Images (B, C, side, side); tokens (B, T), a prompt, its answer and padding; the tokens
            of each prompt (B,); and targets (B, T): the token after each from the prompt's last to
            the answer's last, behind which the text ends, and -1 elsewhere.
        """
        prompts = self.prompts(some)
        answers = self.tokenizer.encode_batch([q.answer for q in some])
        longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        tokens = torch.full((len(some), longest), self.tokenizer.padding)
        targets = torch.full_like(tokens, -1)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            end = len(prompt) + len(answer)
            tokens[row, :end] = torch.tensor(prompt + answer)
            after = torch.tensor([*answer, self.tokenizer.end_of_text])
            targets[row, len(prompt) - 1 : end] = after
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        return self.images(some), tokens, lengths, targets


def pixels_of(image: Path | Scene, side: int, channels: int) -> Tensor:
    """Return an image as (channels, side, side), uint8, or stop.

    A photograph is first turned upright by its EXIF data. Its sides are scaled apart, as PaliGemma
    does: nothing is cut off, since a question may be about it.
    """
    from PIL import Image

    if isinstance(image, Scene):
        return torch.from_numpy(image.pixels).expand(channels, -1, -1)
    with opened(image) as file:
        square = eight_bits(file, channels).resize((side, side), Image.Resampling.BICUBIC)
        array = torch.from_numpy(np.array(square, dtype=np.uint8))
    return array.unsqueeze(0) if array.dim() == 2 else array.permute(2, 0, 1).contiguous()


def load_questions(
    config: Config, path: Path | None, model: ModelConfig, checkpoint: Path | None = None
) -> Questions:
    """Return the questions of a path, or the bundled ones, or stop if they do not fit.

    Args:
        config: Sizes of the splits, and the longest text.
        path: A file of rows, or a folder with one for each split; None for the bundled questions.
        model: Sets the size of images and the vocabulary.
        checkpoint: The folder with the tokenizer of a trained model; None to train a tokenizer on
            the training texts.
    """
    _check_room(config, model)
    splits, sha256 = bundled(model) if path is None else _read(config, path, model.num_channels)
    name = BUNDLED if path is None else path.resolve().name
    require_samples(name, "questions", {split: len(each) for split, each in splits.items()})
    # Texts of val and test would give the tokenizer entries for words that training never saw.
    tokenizer = tokenizer_of(checkpoint, splits["train"], model)
    whole = Questions(name, sha256, splits, tokenizer, model, config.text(model))
    _check_lengths(whole)
    return whole


def _check_room(config: Config, model: ModelConfig) -> None:
    vectors = model.image_tokens()
    if not vectors + 2 <= config.seq_len <= model.max_seq_len:
        fail(
            f"seq_len is {config.seq_len:,}, and must be from {vectors + 2:,}, an image and two "
            f"tokens, to the model's {model.max_seq_len:,}: set it in code/config.json."
        )


def _check_lengths(whole: Questions) -> None:
    """Stop at a question that does not fit: a prompt that is cut would ask something else."""
    for each in whole.splits.values():
        answers = whole.tokenizer.encode_batch([q.answer for q in each])
        for question, prompt, answer in zip(each, whole.prompts(each), answers, strict=True):
            if len(prompt) + len(answer) > whole.text:
                fail(
                    f"{whole.name}: the prompt {question.prompt[:40]!a} and its answer have "
                    f"{len(prompt) + len(answer):,} tokens, and {whole.text:,} fit beside the "
                    "image: shorten them, or raise seq_len in code/config.json."
                )


def tokenizer_of(
    checkpoint: Path | None, train: Iterable[Question], model: ModelConfig
) -> BPETokenizer:
    """Return the tokenizer of a checkpoint, or a new one that is trained on texts; or stop."""
    if checkpoint is None:
        if model.vocab_size <= BYTES:
            fail(f"{model.vocab_size} entries cannot hold {BYTES} bytes and {END_OF_TEXT}.")
        texts = [text for q in train for text in (f"{q.prompt}\n", q.answer)]
        return BPETokenizer(train_bpe(texts, model.vocab_size))
    # A trained model keeps its own tokenizer: other ids would select other embeddings.
    tokenizer = open_bpe(checkpoint / "tokenizer.json")
    if tokenizer.vocab_size > model.vocab_size:
        fail(
            f"the tokenizer of {checkpoint} has {tokenizer.vocab_size:,} entries, and the model "
            f"{model.vocab_size:,}: choose the checkpoint of this model."
        )
    return tokenizer


def bundled(model: ModelConfig) -> tuple[dict[str, list[Question]], str]:
    """Return the questions about composed scenes, and the digest of the scenes; or stop."""
    made, sha256 = questions()
    side = made["train"][0][0].pixels.shape[0]
    if model.image_size != side:
        fail(
            f"{BUNDLED} has images of {side} x {side} pixels, and the model takes "
            f"{model.image_size} x {model.image_size}: use --data."
        )
    splits = {
        split: [
            Question(scene, digest(scene.pixels.tobytes()), each.prompt, each.answer, each.kind)
            for scene, about in scenes
            for each in about
        ]
        for split, scenes in made.items()
    }
    return splits, sha256


def _read(config: Config, path: Path, channels: int) -> tuple[dict[str, list[Question]], str]:
    """Return the questions of a user's path, and their digest, or stop."""
    files = split_files(list_rows(path)) if path.is_dir() else {"train": [path]}
    if not files["train"]:
        fail(f"{path} has no file of rows, such as train.jsonl.")
    rows = [
        (split, _image(file, row["image"]), row)
        for split, every in files.items()
        for file in every
        for row in read_records(file, COLUMNS)
    ]
    images = list(dict.fromkeys(image for _, image, _ in rows))
    survey(images).say(channels)
    keys = dict(zip(images, digests_of(images), strict=True))
    left = shares_left(files.keys(), config.val_fraction, config.test_fraction)
    splits: dict[str, list[Question]] = {split: [] for split in SPLITS}
    for split, image, row in rows:
        # The image's bytes decide the split, so that all its questions are in the same one.
        own = split_of(keys[image], *left) if split == "train" else split
        question = Question(image, keys[image], row["prompt"], row["answer"])
        splits[own].append(question)
    _say_copies(path, splits)
    parts = ("\0".join((s, q.name, q.prompt, q.answer)) for s in SPLITS for q in splits[s])
    return splits, digest("\n".join(parts).encode())


def _image(file: Path, name: str) -> Path:
    """Return the image that a row names, or stop if it lies outside of the folder of the rows.

    Data from a stranger must not bring other files of this machine into training, and a link may
    lead to any.
    """
    place = file.parent / name
    inside = place.resolve().is_relative_to(file.parent.resolve())
    steps = [place, *place.parents]
    below = steps[: steps.index(file.parent)] if file.parent in steps else steps
    if not inside or any(step.is_symlink() for step in below) or not place.is_file():
        fail(
            f"{file} names the image {printable(name)}, which is no file below {file.parent}, or a "
            "link: put the image itself there, and write its path from that folder on."
        )
    return place


def _say_copies(path: Path, splits: dict[str, list[Question]]) -> None:
    """Say how many training questions are about an image of val or test too."""
    twice = copies({split: [each.name for each in some] for split, some in splits.items()})
    if twice:
        note(f"{path}: {twice:,} questions of train are about an image of val or test.")


def batch_at(whole: Questions, position: int, count: int, seed: int) -> tuple[Tensor, ...]:
    """Return the training questions at some positions of the order, as `Questions.batch` does."""
    train = whole.splits["train"]
    places = samples_at(position, count, len(train), seed)
    return whole.batch([train[index] for _, index in places])


def batches(whole: Questions, split: str, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the questions of a split once, in batches."""
    every = whole.splits[split]
    for start in range(0, len(every), size):
        yield whole.batch(every[start : start + size])


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="rows with images (default: bundled scenes)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    whole = load_questions(load_config(Config, "data", args.size), args.data, model)
    print(f"{whole.name}, sha256 {whole.sha256}")
    print(f"tokenizer: {whole.tokenizer.vocab_size:,} entries, of the training texts")
    if args.data:
        print(*rows_report(args.data), sep="\n")
        files = {q.image for every in whole.splits.values() for q in every}
        print(*survey([each for each in sorted(files, key=str) if isinstance(each, Path)]).lines())
    for split, every in whole.splits.items():
        first, images = every[0], len({q.name for q in every})
        common, count = Counter(q.answer for q in every).most_common(1)[0]
        print(
            f"{split:>5}: {len(every):,} questions about {images:,} images, such as "
            f"{first.prompt[:60]!a} {first.answer[:40]!a}; {count:,} have the answer "
            f"{common[:40]!a}"
        )


if __name__ == "__main__":
    run(main)
