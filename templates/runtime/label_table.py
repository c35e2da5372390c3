"""The table that infer.py prints of a classifier: a line for each sample, as CSV."""

import csv
import sys
from collections.abc import Iterable, Sequence

from torch import Tensor


def print_labels(
    heading: str, names: Iterable[object], shares: Tensor, labels: Sequence[str], digits: int
) -> None:
    """Print the likeliest class of each sample, and the probability of every class.

    Args:
        heading: Of the first column: what a sample is, such as "graph".
        names: The cells of this column: the names of the samples, or their numbers.
        shares: (samples, K), the probability of each class; classes without a label have none.
        labels: The names of the classes.
        digits: Digits of a printed probability after the point.
    """
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow([heading, "label", *(f"p({label})" for label in labels)])
    for name, each in zip(names, shares.tolist(), strict=True):
        best = max(range(len(labels)), key=each.__getitem__)
        table.writerow([name, labels[best], *(f"{share:.{digits}f}" for share in each)])
