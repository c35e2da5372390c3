"""A trained model as a repository of the Hugging Face Hub.

==========  =====================================================================
module      what it knows
==========  =====================================================================
forms       forms of the values of a card's metadata
hub         the Hub's rules for the metadata of a card, checked offline
==========  =====================================================================
"""

from metagen.families.family import Family
from metagen.work import Recipe


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that make `release/`; they are in the graph of a bound package only."""
    return ()
