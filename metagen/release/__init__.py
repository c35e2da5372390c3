"""A trained model as a repository of the Hugging Face Hub.

==========  =====================================================================
"""`release/`: the repository of the trained model for the Hub."""

from metagen.families.family import Family
from metagen.work import Recipe


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that make `release/`; they are in the graph of a bound package only."""
    return ()
