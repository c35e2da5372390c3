"""Read labelled texts, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH                        shows what training will read
    python data.py prepare --data PATH --out texts    saves the splits and a tokenizer, once

PATH is a .csv, .tsv, .json, .jsonl, .parquet or .arrow file with the columns `text` and `label`, or
a folder with such files for each split, also in the names of the Hugging Face Hub; a missing split
is cut from train. `prepare` takes columns of other names. Without a tokenizer.json in the folder,
training makes the tokenizer of the train split, as `prepare` does.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.labels import say_untested, untested
from runtime.listing import printable
from runtime.preparation import preparing
from runtime.records import Names, Record, cut, read_splits, records_digest, report
from runtime.sequences import TextTokenizer, find_tokenizer, prepare_records
from runtime.text_batches import Sample
from runtime.translations import translations

BUNDLED = "django_translations"
UNKNOWN = "-1"  # how data sets of the Hub write a label that is kept secret
COLUMNS = ("text", "label")


@dataclass(frozen=True)
class Config:
    """How texts become samples."""

    max_len: int = 512
    """Tokens of a text with its [CLS] and [SEP]; training takes a random part of a longer text."""
    val_fraction: float = 0.05
    """Share of a file for validation during training."""
    test_fraction: float = 0.1
    """Share of a file that only eval.py reads."""
    token_split: float = 0.0
    """Share of a training text's tokens to split into the two tokens that they were merged from."""


@dataclass(frozen=True)
class Dataset:
    """Labelled texts in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all texts, their labels and splits.
        splits: Texts with the numbers of their labels, by split.
        labels: The labels in alphabetical order; a label's place is its number.
        tokenizer: Turns texts into rows of tokens.
    """

    name: str
    sha256: str
    splits: dict[str, list[Sample]]
    labels: tuple[str, ...]
    tokenizer: TextTokenizer


def load_dataset(
    config: Config,
    path: Path | None,
    model: ModelConfig,
    checkpoint: Path | None = None,
    names: Names | None = None,
) -> Dataset:
    """Return the texts of a path, or the bundled ones, or stop if they do not fit the model.

    Args:
        config: Sizes of the splits, and how samples vary.
        path: The data; None for the bundled set.
        model: Limits the number of classes and the vocabulary.
        checkpoint: The folder with the tokenizer of a trained model.
        names: The columns that the data has under other names.
    """
    name, records = path.name if path else BUNDLED, load_records(config, path, names)
    labels = labels_of(records, name, model)
    # A new label shifts the numbers of later ones, so a checkpoint lists its own labels.
    numbers = {label: number for number, label in enumerate(labels)}
    for split in ("val", "test"):
        absent = untested(labels, (numbers[record["label"]] for record in records[split]))
        say_untested(f"{name} has no {split} text", absent)
    splits = {
        split: [(record["text"], numbers[record["label"]]) for record in each]
        for split, each in records.items()
    }
    # A tokenizer trained on all texts would have entries for words of the test split.
    train = (text for text, _ in splits["train"])
    tokenizer = find_tokenizer(checkpoint, path, train, model.vocab_size)
    return Dataset(name, records_digest(records), splits, labels, tokenizer)


def labels_of(records: dict[str, list[Record]], name: str, model: ModelConfig) -> tuple[str, ...]:
    """Return the labels in alphabetical order, or stop if the model has no output for one."""
    for split, each in records.items():
        if {record["label"] for record in each} == {UNKNOWN}:
            fail(
                f"{name}: each label of {split} is {UNKNOWN}, which stands for an unknown one: "
                "leave its file out, and the split is cut from train."
            )
    # Labels of all splits count: a label without a training text is still a class.
    labels = tuple(sorted({record["label"] for each in records.values() for record in each}))
    # A model may have more outputs than the data has labels; the extra ones stay unused.
    if not 2 <= len(labels) <= model.num_classes:
        fail(
            f"{name} has {len(labels)} labels, and the model takes 2 to {model.num_classes}: set "
            "task.num_classes in the spec."
        )
    return labels


def load_records(
    config: Config, path: Path | None, names: Names | None = None
) -> dict[str, list[Record]]:
    """Return the records of each split; without a path, those of the bundled set."""
    if path is not None:
        shares = config.val_fraction, config.test_fraction
        return read_splits(path, COLUMNS, "text", *shares, names)
    records = [
        {"text": text, "label": language, "message": message}
        for message, texts in translations().items()
        for language, text in texts.items()
    ]
    # Translations of a message are in one split, because they share names and numbers: a model
    # could recognize a test message by them.
    # A digest of the message decides the split, so new messages move no old ones.
    splits = cut(records, "message", config.val_fraction, config.test_fraction)
    # The message only cuts the splits; a model must not read it.
    return {
        split: [{column: record[column] for column in COLUMNS} for record in each]
        for split, each in splits.items()
    }


def prepare(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Write the splits and a tokenizer to a folder that train.py then reads."""
    records = load_records(config, args.data, args.names)
    # The tokenizer learns from training texts alone: test words must stay unknown to it.
    texts = (r["text"] for r in records["train"])
    prepare_records(args.out, records, texts, model.vocab_size)


def show(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Print the splits of a data set."""
    data = load_dataset(config, args.data, model, names=args.names)
    print(f"{data.name}, sha256 {data.sha256}")
    for line in report(args.data):
        print(line)
    for split, samples in data.splits.items():
        # Unequal classes are easy to see here; they make accuracy misleading.
        counts = Counter(label for _, label in samples)
        shares = ", ".join(
            f"{printable(data.labels[label])} {count:,}" for label, count in counts.most_common()
        )
        print(f"{split:>5}: {len(samples):,} texts: {shares}")


main = preparing(
    __doc__,
    (Config, ModelConfig),
    show,
    prepare,
    data="texts (default: bundled set)",
    out="texts",
    columns=COLUMNS,
)

if __name__ == "__main__":
    run(main)
