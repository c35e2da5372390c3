"""The residual MLP over columns that predicts a number for each row."""

from __future__ import annotations

from metagen.families.tabular_mlp import TabularMLP
from metagen.tasks.tabular import TabularRegression


class TabularRegressor(TabularMLP):
    """A residual MLP with one output."""

    name = "tabular_regressor"
    kind = "residual MLP for tabular regression"
    task = TabularRegression()
    # Under this much dropout a longer training scores better on rows outside the test split.
    proxy_dims = {**TabularMLP.proxy_dims, "dropout": 0.9}


FAMILY = TabularRegressor()
