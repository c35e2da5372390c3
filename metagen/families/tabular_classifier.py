"""The residual MLP over columns that predicts a class for each row."""

from __future__ import annotations

from metagen.families.tabular_mlp import TabularMLP
from metagen.tasks.tabular import TabularClassification


class TabularClassifier(TabularMLP):
    """A residual MLP with an output for each class."""

    name = "tabular_classifier"
    kind = "residual MLP for tabular classification"
    task = TabularClassification()


FAMILY = TabularClassifier()
