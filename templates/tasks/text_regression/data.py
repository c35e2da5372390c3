"""Read texts with a number each, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH                        shows what training will read
    python data.py --data PATH --target price         if the numbers are in another column
    python data.py prepare --data PATH --out texts    saves the splits and a tokenizer, once

PATH is a .csv, .tsv, .json, .jsonl, .parquet or .arrow file with the columns `text` and `target`,
or a folder with such files for each split, also in the names of the Hugging Face Hub; a missing
split is cut from train. `prepare` takes a column of texts with another name. Without a
tokenizer.json in the folder, training makes the tokenizer of the train split, as `prepare` does.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.preparation import preparing
from runtime.records import Names, Record, cut, read_splits, records_digest, report
from runtime.sdf import solubilities
from runtime.sequences import TextTokenizer, find_tokenizer, prepare_records
from runtime.tables import described
from runtime.targets import (
    TARGET,
    Target,
    Values,
    by_split,
    numbers_of,
    target_of,
    target_option,
)
from runtime.text_batches import Sample

BUNDLED = "solubility_of_names"
SOLUBILITY = "solubility in log mol/l"
TEXT = "text"
SHOWN = 40  # characters of a text in an error


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
    """Texts in three splits, with a number each.

    Attributes:
        name: Name in reports.
        sha256: Digest of all texts, their numbers and splits.
        target: What the numbers are, and their scale over the train split.
        splits: Texts with their numbers on that scale, by split.
        values: The numbers themselves, by split.
        tokenizer: Turns texts into rows of tokens.
    """

    name: str
    sha256: str
    target: Target
    splits: dict[str, list[Sample]]
    values: dict[str, Values]
    tokenizer: TextTokenizer


def load_dataset(
    config: Config,
    path: Path | None,
    column: str,
    model: ModelConfig,
    checkpoint: Path | None = None,
    names: Names | None = None,
) -> Dataset:
    """Return the texts of a path, or the bundled ones, or stop.

    Args:
        config: Sizes of the splits, and how samples vary.
        path: The data; None for the bundled set.
        column: The column of the numbers in the data of a path.
        model: Limits the vocabulary.
        checkpoint: The folder with the tokenizer of a trained model.
        names: The columns that the data has under other names.
    """
    if path is None and column not in (TARGET, SOLUBILITY):
        fail(f"the bundled texts have no {column!r}: name the data that has it by --data.")
    name, column = (path.name, column) if path else (BUNDLED, SOLUBILITY)
    records = load_records(config, path, column, names)
    values = numbers(records, Path(name), column)
    target = target_of(name, column, values["train"])
    splits: dict[str, list[Sample]] = {}
    for split, each in records.items():
        scaled = target.standardized(values[split]).tolist()
        splits[split] = [*zip((record[TEXT] for record in each), scaled, strict=True)]
    # A tokenizer trained on all texts would have entries for words of the test split.
    train = (text for text, _ in splits["train"])
    tokenizer = find_tokenizer(checkpoint, path, train, model.vocab_size)
    return Dataset(name, records_digest(records), target, splits, values, tokenizer)


def numbers(records: dict[str, list[Record]], name: Path, column: str) -> dict[str, Values]:
    """Return the numbers of each split, or stop at a text without one."""
    # All splits are read in one way: a decimal comma in one of them tells how to read the others.
    every = [record for each in records.values() for record in each]
    words = [record[column] for record in every]
    places = [f"{name}, the text {record[TEXT][:SHOWN]!r}" for record in every]
    sizes = {split: len(each) for split, each in records.items()}
    return by_split(numbers_of(name, column, words, places), sizes)


def load_records(
    config: Config, path: Path | None, column: str, names: Names | None = None
) -> dict[str, list[Record]]:
    """Return the records of each split; without a path, those of the bundled set."""
    if path is not None:
        shares = config.val_fraction, config.test_fraction
        return read_splits(path, (TEXT, column), TEXT, *shares, names)
    records = [
        {TEXT: name, column: solubility, "formula": formula}
        for name, formula, solubility in solubilities()
    ]
    # Isomers differ little in their names and their solubility, so they are in one split.
    splits = cut(records, "formula", config.val_fraction, config.test_fraction)
    # The formula only cuts the splits; a model must not read it.
    return {
        split: [{name: record[name] for name in (TEXT, column)} for record in each]
        for split, each in splits.items()
    }


def show(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Print the splits of a data set."""
    data = load_dataset(config, args.data, args.target, model, names=args.names)
    print(f"{data.name}, sha256 {data.sha256}")
    for line in report(args.data):
        print(line)
    target = data.target
    print(f"target: {target.name}, mean {target.mean:.4g}, deviation {target.std:.4g} in train")
    for split, values in data.values.items():
        # Unequal ranges are easy to see here; a test split beyond train's is a harder task.
        print(f"{split:>5}: {len(values):,} texts, {described(target.name, values)}")


def prepare(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Write the splits and a tokenizer to a folder that train.py then reads."""
    data = load_dataset(config, args.data, args.target, model, names=args.names)
    records = load_records(config, args.data, data.target.name, args.names)
    # The tokenizer learns from training texts alone: test words must stay unknown to it.
    texts = (record[TEXT] for record in records["train"])
    prepare_records(args.out, records, texts, model.vocab_size)


main = preparing(
    __doc__,
    (Config, ModelConfig),
    show,
    prepare,
    data="texts (default: bundled set)",
    out="texts",
    columns=(TEXT,),
    options=target_option,
)

if __name__ == "__main__":
    run(main)
