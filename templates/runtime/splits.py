"""The three splits of a data set, and their least sizes."""

from collections.abc import Mapping

from runtime.errors import fail

SPLITS = ("train", "val", "test")
"""Training learns from train and validates on val; only eval.py reads test."""


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
