"""The size of a table of tokens: the usual, or what leaves half of the parameters to the rest."""

from __future__ import annotations

from metagen.families.grid import floor_power

LEAST = 512  # entries
SHARE = 0.5  # of the parameters to fill, at most


def entries(usual: int, width: int, parameters: int) -> int:
    """Return the usual number of entries, or the largest power of two that leaves room.

    Args:
        usual: Entries of published models.
        width: Parameters of one entry.
        parameters: The count to fill.
    """
    room = SHARE * parameters / width
    return usual if usual <= room else max(LEAST, floor_power(room))


def reason(chosen: int, usual: int, width: int, parameters: int) -> str:
    """Return why a table has the entries that `entries` chose."""
    if chosen == usual:
        return f"the {usual:,} of published models, which are at most {SHARE:.0%} of the budget"
    more = f"the {usual:,} of published models are more than {SHARE:.0%} of the budget"
    if chosen * width <= SHARE * parameters:
        return f"{more}; the largest power of two that is not"
    return f"{more}; so is this, the smallest table that is tried"
