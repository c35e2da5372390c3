"""Labelled texts: a bundled set, or your own, cut into train, val and test splits.

    python data.py --data PATH                        shows what training will read
    python data.py prepare --data PATH --out texts    cuts the splits and trains a tokenizer, once

PATH is a .csv, .jsonl or .parquet file with the columns `text` and `label`, or a folder with one
for each split (train.csv, val.csv, test.csv). Without a tokenizer.json in that folder, training
makes the tokenizer of the train split, as `prepare` does.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.folders import prepare_options
from runtime.order import samples_at
from runtime.records import Record, cut, read_splits, records_digest
from runtime.sequences import TextTokenizer, find_tokenizer, prepare_records
from runtime.settings import load_config
from runtime.translations import translations

BUNDLED = "django_translations"
COLUMNS = ("text", "label")


@dataclass(frozen=True)
class Config:
    """How texts become samples."""

    max_len: int = 512
    """Tokens of a text with its [CLS] and [SEP]; of a longer text, training takes a random run."""
    val_fraction: float = 0.05
    """Share of a file on which training is watched."""
    test_fraction: float = 0.1
    """Share of a file that only eval.py reads."""
    token_split: float = 0.0
    """Share of a training text's tokens that are split into the two they were merged from."""


Sample = tuple[str, int]


@dataclass(frozen=True)
class Dataset:
    """Labelled texts in three splits.

    Attributes:
        name: What it is called in reports.
        sha256: Digest of all texts, their labels and splits.
        splits: Texts with the numbers of their labels, by split.
        labels: The labels in alphabetical order; a label's place is its number.
        tokenizer: Makes rows of tokens of texts.
    """

    name: str
    sha256: str
    splits: dict[str, list[Sample]]
    labels: tuple[str, ...]
    tokenizer: TextTokenizer


def load_dataset(
    config: Config, path: Path | None, model: ModelConfig, checkpoint: Path | None = None
) -> Dataset:
    """Return the texts of a path, or the bundled ones, or stop where they do not fit the model.

    Args:
        config: How they are cut.
        path: The data; None for the bundled set.
        model: Says how many classes and tokens there may be.
        checkpoint: The folder with the tokenizer of a trained model.
    """
    records = load_records(config, path)
    labels = tuple(sorted({record["label"] for each in records.values() for record in each}))
    name = path.name if path else BUNDLED
    if not 2 <= len(labels) <= model.num_classes:
        fail(
            f"{name} has {len(labels)} labels, and the model takes 2 to {model.num_classes}: set "
            "task.num_classes in the spec."
        )
    # A new label shifts the numbers of those behind it, so a checkpoint lists its own labels.
    numbers = {label: number for number, label in enumerate(labels)}
    splits = {
        split: [(record["text"], numbers[record["label"]]) for record in each]
        for split, each in records.items()
    }
    # A tokenizer trained on all texts would have entries for words of the test split.
    train = (text for text, _ in splits["train"])
    tokenizer = find_tokenizer(checkpoint, path, train, model.vocab_size)
    return Dataset(name, records_digest(records), splits, labels, tokenizer)


def load_records(config: Config, path: Path | None) -> dict[str, list[Record]]:
    """Return the records of each split."""
    if path is not None:
        return read_splits(path, COLUMNS, "text", config.val_fraction, config.test_fraction)
    records = [
        {"text": text, "label": language, "message": message}
        for message, texts in translations().items()
        for language, text in texts.items()
    ]
    # Translations of one message stay together: their names and numbers are often the same words.
    splits = cut(records, "message", config.val_fraction, config.test_fraction)
    return {
        split: [{column: record[column] for column in COLUMNS} for record in each]
        for split, each in splits.items()
    }


def rows(
    samples: Sequence[Sample], tokenizer: TextTokenizer, max_len: int
) -> tuple[Tensor, Tensor]:
    """Return tokens (B, T) and labels (B) of some samples."""
    tokens, _ = tokenizer.rows([text for text, _ in samples], max_len)
    return tokens, torch.tensor([label for _, label in samples])


def batch_at(
    data: Dataset, position: int, count: int, config: Config, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: tokens (B, T), labels (B).

    The position alone decides how a sample is varied, so a resumed run repeats it.
    """
    train = data.splits["train"]
    samples = [train[index] for _, index in samples_at(position, count, len(train), seed)]
    # Each sample has a generator of its own: any batch size then draws the same for it.
    draws = [random.Random(f"{seed} {place}") for place in range(position, position + count)]
    texts = [text for text, _ in samples]
    tokens = data.tokenizer.varied(texts, config.max_len, config.token_split, draws)
    return tokens, torch.tensor([label for _, label in samples])


def batches(
    data: Dataset, split: str, max_len: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the samples of a split in batches, in their order."""
    samples = data.splits[split]
    for start in range(0, len(samples), batch_size):
        yield rows(samples[start : start + batch_size], data.tokenizer, max_len)


def prepare(path: Path | None, out: Path, model: ModelConfig, config: Config) -> None:
    """Write the splits and a tokenizer to a folder that train.py then reads."""
    records = load_records(config, path)
    texts = (r["text"] for r in records["train"])
    prepare_records(out, records, texts, model.vocab_size)


def main() -> None:
    """Show a data set, or prepare one."""
    args = prepare_options(__doc__, data="texts (default: bundled set)", out="texts")
    size = args.size
    config, model = load_config(Config, "data", size), load_config(ModelConfig, "model", size)
    if args.command == "prepare":
        prepare(args.data, args.out, model, config)
        print(f"wrote {args.out}: train with `python train.py --size {size} --data {args.out}`")
        return
    data = load_dataset(config, args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    for split, samples in data.splits.items():
        counts = Counter(label for _, label in samples)
        shares = ", ".join(
            f"{data.labels[label]} {count:,}" for label, count in counts.most_common()
        )
        print(f"{split:>5}: {len(samples):,} texts: {shares}")


if __name__ == "__main__":
    run(main)
