"""Which interactions are held out of training: the latest of all, or the last two of each user."""

import numpy as np
from numpy.typing import NDArray

from runtime.digests import uniform
from runtime.interactions import Integers, Interactions
from runtime.notes import note
from runtime.splits import in_order

HELD_OUT = 2  # interactions of a user without which it has no history


def splits_of(
    every: Interactions, holdout: str, val_fraction: float, test_fraction: float
) -> Integers:
    """Return the split of each row by its place in SPLITS, (M,).

    Args:
        every: The interactions.
        holdout: `time` holds out the latest of all; `last`, the last two of each user.
        val_fraction: Share of the rows that become val, if they are held out by time.
        test_fraction: Share that becomes test.
    """
    if every.times is not None and holdout == "time":
        # Rows of one time are in one split, so that no training row is later than a scored one.
        cuts = in_order(len(every), val_fraction, test_fraction)
        starts = [cuts["val"].start, cuts["test"].start]
        bounds = every.times[np.minimum(starts, len(every) - 1)]
        return np.searchsorted(bounds, every.times, side="right").astype(np.int64)
    order = np.arange(len(every), dtype=np.float64)
    if every.times is None:
        note(f"{every.name}: no column of times: a digest picks the items that are held out.")
        pairs = zip(every.users[every.user], every.items[every.item], strict=True)
        order = np.array([uniform(f"{user}\0{item}") for user, item in pairs])
    return _last_of_each(every.user, order)


def _last_of_each(user: Integers, order: NDArray[np.float64]) -> Integers:
    """Return test for the last row of each user, val for the one before it, else train."""
    rows = np.lexsort((order, user))
    counts = np.bincount(user)
    after = np.cumsum(counts)[user[rows]] - np.arange(len(rows))  # 1 for the last row of a user
    split = np.zeros(len(rows), np.int64)
    # A user with too few rows has all of them in train.
    held = (after <= HELD_OUT) & (counts[user[rows]] > HELD_OUT)
    split[rows[held]] = HELD_OUT + 1 - after[held]
    return split
