"""The three splits of a data set: what they are called, and how large each must be."""

from collections.abc import Mapping

from runtime.errors import fail

SPLITS = ("train", "val", "test")
"""Training learns from train and is watched on val; only eval.py reads test."""


def in_order(length: int, val_fraction: float, test_fraction: float) -> dict[str, slice]:
    """Return the place of each split in data that has an order, such as a text or a series.

    Test stands at the end, after val: so what is scored is later than all that was learned.
    """
    test = length - int(length * test_fraction)
    val = test - int(length * val_fraction)
    return {"train": slice(0, val), "val": slice(val, test), "test": slice(test, length)}


def require_samples(
    name: str, things: str, sizes: Mapping[str, int], least: Mapping[str, int] | int = 1
) -> None:
    """Stop where a split is too small to train on or to score.

    Args:
        name: What the data is called.
        things: What is counted, such as "images".
        sizes: The count of each split.
        least: What each split needs, or all of them.
    """
    for split, size in sizes.items():
        need = least if isinstance(least, int) else least[split]
        if size < need:
            fail(
                f"{name} has too few {things}: its {split} split has {size:,}, and needs at least "
                f"{need:,}."
            )
