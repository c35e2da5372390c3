"""The three splits of a data set: their names in files and folders, and their least sizes."""

import re
from collections.abc import Collection, Iterable, Mapping

from runtime.errors import fail

SPLITS = ("train", "val", "test")
"""Training learns from train and validates on val; only eval.py reads test."""

# The words that the Hub knows, by huggingface.co/docs/hub/datasets-file-names-and-splits.
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
# What may stand beside such a word in a folder's name, as in `training_set` and `Test Images`.
BESIDE = {"", "set", "split", "data", "dataset", "images", "masks", "of"}


def split_named(name: str, *, anywhere: bool = False) -> str | None:
    """Return the split that a name stands for in any case, such as Train, dev or test2017.

    Args:
        name: Of a folder, or of a file without its suffix.
        anywhere: Whether other words may stand in the name, as in imdb_train-00000-of-00001.
    """
    words = re.split(r"[^a-z]+", name.lower())
    splits = {WORDS[word] for word in words if word in WORDS}
    others = {word for word in words if word not in WORDS} - BESIDE
    return splits.pop() if len(splits) == 1 and (anywhere or not others) else None


def split_folders(path: object, names: Iterable[str]) -> dict[str, str]:
    """Return the split of each folder by its name, or nothing if the folders are no splits.

    Folders are splits if all their names are; it stops where only some names are.

    Args:
        path: Where they are, for errors.
        names: The names of the folders.
    """
    named = {name: split for name in sorted(names) if (split := split_named(name))}
    others = sorted(set(names) - set(named))
    if others and len(set(named.values())) > 1:
        fail(
            f"{path} has the splits {', '.join(named)} and beside them {', '.join(others)}: move "
            "what is no split out of it, or rename the folders if they are classes."
        )
    return {} if others else named


def shares_left(
    named: Collection[str | None], val_fraction: float, test_fraction: float
) -> tuple[float, float]:
    """Return the shares of train that become val and test: 0 for a split that the data names."""
    return 0.0 if "val" in named else val_fraction, 0.0 if "test" in named else test_fraction


def copies(keys: Mapping[str, Collection[object]]) -> int:
    """Return how many training samples val or test hold too, by the keys of each split's samples.

    Such samples make a score too good.
    """
    held_out = {key for split in ("val", "test") for key in keys[split]}
    return sum(key in held_out for key in keys["train"])


def in_order(length: int, val_fraction: float, test_fraction: float) -> dict[str, slice]:
    """Return the range of each split in ordered data, such as a text or a series.

    Test is at the end, after val, so that scored data is later than all training data.
    """
    test = length - int(length * test_fraction)
    val = test - int(length * val_fraction)
    return {"train": slice(0, val), "val": slice(val, test), "test": slice(test, length)}


def require_samples(
    name: str, things: str, sizes: Mapping[str, int], least: Mapping[str, int] | int = 1
) -> None:
    """Stop if a split is too small for training or scoring.

    Args:
        name: Name of the data.
        things: The counted things, such as "images".
        sizes: The count of each split.
        least: The least count of each split, or of all splits.
    """
    for split, size in sizes.items():
        need = least if isinstance(least, int) else least[split]
        if size < need:
            fail(
                f"{name} has too few {things}: its {split} split has {size:,}, but needs at least "
                f"{need:,}: use more data."
            )
