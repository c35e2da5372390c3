"""The names of a classifier's classes in a checkpoint."""

from collections.abc import Sequence


def class_names(labels: Sequence[str], outputs: int) -> dict[str, dict[str, str | int]]:
    """Return the entries of config.json by which transformers names what a classifier predicts.

    A model may have more outputs than the data has labels, and transformers needs a name for each.
    """
    names = (*labels, *(f"LABEL_{number}" for number in range(len(labels), outputs)))
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
