"""Who imports what in sympy, as interactions: modules are users, and imported names items."""

from collections import Counter

from runtime.modules import imported, module_texts

FEWEST = 5  # interactions of each user, and of each item
Pair = tuple[str, str]


def imported_names() -> list[Pair]:
    """Return the pairs of a module and a name that it imports from the package, sorted.

    A name is its module and itself, as `sympy.core.numbers:Integer`. Users and items with fewer
    than `FEWEST` pairs are left out, until none is (a 5-core). Tests and `__init__` are no users.
    """
    users = {name: text for name, text in module_texts().items() if not name.endswith(".")}
    pairs = {(user, f"{o}:{n}") for user, text in users.items() for o, n in imported(user, text)}
    return _core(sorted(pairs))


def _core(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs of users and items that have enough of them."""
    while True:
        users, items = (Counter(side) for side in zip(*pairs, strict=True))
        kept = [(u, i) for u, i in pairs if min(users[u], items[i]) >= FEWEST]
        if len(kept) == len(pairs):
            return kept
        pairs = kept
