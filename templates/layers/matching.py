"""Matching of predictions with objects."""

import numpy as np


def assignment(costs: np.ndarray) -> np.ndarray:
    """Return the column of each row, all different, with the least sum of costs.

    Each row in turn follows the shortest path over matched columns and their rows to a free column,
    and the rows on that path move on by one column (Kuhn, 1955; Jonker & Volgenant, 1987). Prices
    of rows and columns keep the length of each further step at 0 or more.

    Args:
        costs: (rows, columns) finite numbers; there are at least as many columns as rows.
    """
    rows, columns = costs.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner, taken = np.full(columns, -1), np.full(rows, -1)
    for row in range(rows):
        length, before = np.full(columns, np.inf), np.full(columns, -1)
        reached = np.zeros(columns, dtype=bool)
        here, walked = row, 0.0
        while True:
            through = walked + costs[here] - row_price[here] - column_price
            shorter = ~reached & (through < length)
            length[shorter], before[shorter] = through[shorter], here
            column = int(np.where(reached, np.inf, length).argmin())
            reached[column], walked = True, length[column]
            if owner[column] < 0:
                break
            here = owner[column]
        row_price[row] += walked
        matched = reached & (owner >= 0)
        row_price[owner[matched]] += walked - length[matched]
        column_price[reached] -= walked - length[reached]
        while column >= 0:
            here = before[column]
            owner[column], taken[here], column = here, column, taken[here]
    return taken
