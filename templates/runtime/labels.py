"""The names of a classifier's classes: in a checkpoint, and where a split lacks some."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from runtime.errors import fail
from runtime.listing import printable
from runtime.notes import note
from runtime.settings import read_json

MOST_SHOWN = 20  # names in a sentence


def class_names(labels: Sequence[str], outputs: int) -> dict[str, dict[str, str | int]]:
    """Return the entries of config.json by which transformers names what a classifier predicts.

    A model may have more outputs than the data has labels, and transformers needs a name for each.
    """
    names = (*labels, *(f"LABEL_{number}" for number in range(len(labels), outputs)))
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }


def labels_of(used: Mapping[str, Sequence[str]], name: str, sample: str) -> tuple[str, ...]:
    """Return the names of the classes, numbers in their order, or stop if there is only one.

    Args:
        used: The class of each sample, by split; a class without a training sample is still one.
        name: Name of the data, for notes and errors.
        sample: What a sample is, such as "graph".
    """
    found = {label for each in used.values() for label in each}
    numbers = all(label.isdecimal() for label in found)
    labels = tuple(sorted(found, key=int if numbers else str))
    if len(labels) < 2:
        fail(f"{name} has only the class {labels[0]!r}: a classifier needs at least two.")
    for split in ("val", "test"):
        absent = untested(labels, map(labels.index, used[split]))
        say_untested(f"{name} has no {split} {sample}", absent)
    return labels


def require_outputs(labels: Sequence[str], outputs: int) -> None:
    """Stop if the full model has not one output for each class of the data."""
    if len(labels) != outputs:
        fail(
            f"the data has {len(labels)} classes, and the full model has {outputs}: give data with "
            "that many by --data, or set task.num_classes in the spec."
        )


def untested(labels: Sequence[str], numbers: Iterable[int]) -> list[str]:
    """Return the names of the classes that are not among the numbers of a split's samples."""
    present = set(numbers)
    return [label for number, label in enumerate(labels) if number not in present]


def say_untested(what: str, absent: Sequence[str]) -> None:
    """Say of which classes a split has no sample; `what` is such as "pets has no test image"."""
    if absent:
        more = f" and {len(absent) - MOST_SHOWN:,} more" if len(absent) > MOST_SHOWN else ""
        kind, it = ("class", "it") if len(absent) == 1 else ("classes", "them")
        names = ", ".join(map(printable, absent[:MOST_SHOWN])) + more
        note(f"{what} of the {kind} {names}, so no score covers {it}.")


def read_labels(folder: Path) -> tuple[str, ...]:
    """Return the names of a checkpoint's classes, or stop."""
    names = read_json(folder / "config.json").get("id2label")
    if not isinstance(names, dict) or set(names) != {str(n) for n in range(len(names))}:
        fail(f"{folder / 'config.json'} names no classes: choose a checkpoint of this task.")
    return tuple(str(names[str(number)]) for number in range(len(names)))
