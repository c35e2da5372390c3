"""Read pairs of texts with the same meaning, bundled or your own, and cut them into splits.

    python data.py --data PATH                        shows what training will read
    python data.py prepare --data PATH --out pairs    saves the splits and a tokenizer, once

PATH is a .csv, .tsv, .json, .jsonl, .parquet or .arrow file with the columns `text_a` and `text_b`,
or a folder with such files for each split, also in the names of the Hugging Face Hub; a missing
split is cut from train. `prepare` takes columns of other names. Without a tokenizer.json in the
folder, training makes the tokenizer of the train split, as `prepare` does.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.order import samples_at
from runtime.preparation import preparing
from runtime.records import Names, Record, cut, read_splits, records_digest, report
from runtime.sequences import TextTokenizer, find_tokenizer, prepare_records
from runtime.translations import translations

BUNDLED = "django_translation_pairs"
COLUMNS = ("text_a", "text_b")


@dataclass(frozen=True)
class Config:
    """How texts become samples."""

    max_len: int = 512
    """Tokens of a text with its [CLS] and [SEP]; the rest of a longer text is dropped."""
    val_fraction: float = 0.05
    """Share of a file for validation during training."""
    test_fraction: float = 0.1
    """Share of a file that only eval.py reads."""


@dataclass(frozen=True)
class Pair:
    """Two texts that belong together.

    Attributes:
        texts: The texts.
        meanings: A number for each text; training never treats texts with equal numbers as wrong
            answers for each other.
        pool: Scoring searches the partner of a text among the pairs of the same pool.
    """

    texts: tuple[str, str]
    meanings: tuple[int, int]
    pool: str


@dataclass(frozen=True)
class Dataset:
    """Pairs of texts in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all pairs and their splits.
        splits: Pairs by split.
        tokenizer: Turns texts into rows of tokens.
    """

    name: str
    sha256: str
    splits: dict[str, list[Pair]]
    tokenizer: TextTokenizer


def load_dataset(
    config: Config,
    path: Path | None,
    model: ModelConfig,
    checkpoint: Path | None = None,
    names: Names | None = None,
) -> Dataset:
    """Return the pairs of a path, or the bundled ones, or stop if they do not fit the model.

    Args:
        config: Sizes of the splits.
        path: The data; None for the bundled set.
        model: Limits the vocabulary.
        checkpoint: The folder with the tokenizer of a trained model.
        names: The columns that the data has under other names.
    """
    records = load_records(config, path, names)
    splits = {split: pairs(each) for split, each in records.items()}
    # Each text trains the tokenizer once, although the bundled set pairs it with each other
    # language.
    texts = dict.fromkeys(text for pair in splits["train"] for text in pair.texts)
    # A contrast needs two pairs of different texts; with fewer, there is no wrong answer.
    if len(texts) < 4:
        fail(f"{path} has {len(texts)} different texts in its train split: give more pairs.")
    # A trained model keeps its own tokenizer: other ids would select other embeddings.
    tokenizer = find_tokenizer(checkpoint, path, texts, model.vocab_size)
    name = path.name if path else BUNDLED
    return Dataset(name, records_digest(records), splits, tokenizer)


def load_records(
    config: Config, path: Path | None, names: Names | None = None
) -> dict[str, list[Record]]:
    """Return the records of each split; in the bundled set they also have a meaning and a pool."""
    if path is not None:
        shares = config.val_fraction, config.test_fraction
        return read_splits(path, COLUMNS, "text_a", *shares, names)
    records = [
        {"text_a": texts[a], "text_b": texts[b], "meaning": message, "pool": f"{a}-{b}"}
        for message, texts in translations().items()
        # All pairs of languages train, so a text also meets languages other than English.
        for a, b in itertools.combinations(texts, 2)
    ]
    # All pairs of a message are in one split, so no text of the test split was trained on.
    return cut(records, "meaning", config.val_fraction, config.test_fraction)


def pairs(records: Sequence[Record]) -> list[Pair]:
    """Return the pairs of records; a text without a meaning gets one of its own."""
    # Translations of a message mean the same, so none of them is a wrong answer for another one.
    numbers: dict[str, int] = {}
    paired = []
    for record in records:
        texts = record["text_a"], record["text_b"]
        # Equal texts share a number even in a user's file, where a text may have several partners.
        a, b = (numbers.setdefault(record.get("meaning", text), len(numbers)) for text in texts)
        paired.append(Pair(texts, (a, b), record.get("pool", "")))
    return paired


def rows(
    chosen: Sequence[Pair], parts: Sequence[int], tokenizer: TextTokenizer, max_len: int
) -> tuple[Tensor, Tensor]:
    """Return tokens (B, 2, T) of pairs, and marks (B, 3): part of the update, and two meanings."""
    # Both texts of a pair are padded together, so one pass of the model encodes the whole batch.
    tokens, _ = tokenizer.rows([text for pair in chosen for text in pair.texts], max_len)
    # The loss contrasts only pairs of one part, and never two texts of one meaning.
    marks = [(part, *pair.meanings) for part, pair in zip(parts, chosen, strict=True)]
    return tokens.view(-1, 2, tokens.size(1)), torch.tensor(marks)  # (B, 2, T), (B, 3)


def batch_at(
    data: Dataset, position: int, count: int, part: int, max_len: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order, as `rows` does.

    Args:
        data: The pairs.
        position: The first position.
        count: The number of samples.
        part: Consecutive pairs that are contrasted: the text_b of each is a wrong answer for all
            others.
        max_len: Largest number of tokens in a text.
        seed: Seed of the order.
    """
    train = data.splits["train"]
    # Seed and position decide the samples, so a resumed run continues with the same ones.
    chosen = [train[index] for _, index in samples_at(position, count, len(train), seed)]
    # The position of a pair decides its part, so the parts do not depend on the number of
    # processes. More pairs per part give more wrong answers, which makes the task harder and the
    # vectors better.
    parts = [place // part for place in range(position, position + count)]
    return rows(chosen, parts, data.tokenizer, max_len)


def batches(
    data: Dataset, split: str, max_len: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the pairs of a split in shuffled batches, so that few in a batch share a meaning."""
    every = data.splits[split]
    for start in range(0, len(every), batch_size):
        # The seed is fixed: batches that change would make the losses of two steps incomparable.
        places = samples_at(start, min(batch_size, len(every) - start), len(every), seed=0)
        chosen = [every[index] for _, index in places]
        yield rows(chosen, [0] * len(chosen), data.tokenizer, max_len)


def prepare(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Write the splits and a tokenizer to a folder that train.py then reads."""
    records = load_records(config, args.data, args.names)
    # The tokenizer learns from training texts alone: test words must stay unknown to it.
    texts = dict.fromkeys(record[column] for record in records["train"] for column in COLUMNS)
    prepare_records(args.out, records, texts, model.vocab_size)


def show(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Print the splits of a data set."""
    data = load_dataset(config, args.data, model, names=args.names)
    print(f"{data.name}, sha256 {data.sha256}")
    for line in report(args.data):
        print(line)
    for split, every in data.splits.items():
        # A text may be in several pairs, so texts are counted apart from pairs.
        texts = {text for pair in every for text in pair.texts}
        print(f"{split:>5}: {len(every):,} pairs of {len(texts):,} texts")


main = preparing(
    __doc__,
    (Config, ModelConfig),
    show,
    prepare,
    data="pairs (default: bundled set)",
    out="pairs",
    columns=COLUMNS,
)

if __name__ == "__main__":
    run(main)
