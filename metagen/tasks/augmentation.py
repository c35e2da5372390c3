"""What `training.config.data_augmentation` may say, and what follows where it says little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from metagen.errors import Problem
from metagen.tasks.schedule import Lookup

KEY = "training.config.data_augmentation"


@dataclass(frozen=True)
class Augmentations:
    """The variations of training images that a task's code has.

    Attributes:
        names: The spellings of each, by its own name.
        usual: Those of a spec that declares none, which stay beside those of a list.
        all: Those of `data_augmentation: true`.
        instead: Those that take the place of a usual one, which a list must not name too.
        undone: Names that the field uses and the code does not have; they are left out, with a
            warning.
    """

    names: Mapping[str, tuple[str, ...]]
    usual: frozenset[str]
    all: frozenset[str]
    instead: Mapping[str, str]
    undone: frozenset[str] = frozenset()

    def chosen(self, key: Lookup) -> frozenset[str]:
        """Return the variations that a spec leads to; a list with a name adds to the usual ones."""
        declared = key(KEY)
        if declared is None:
            return self.usual
        if isinstance(declared, bool) or not declared:
            return self.all if declared else frozenset()
        named = frozenset(name for name in map(self._name, declared) if name)
        return named | (self.usual - {self.instead[n] for n in named if n in self.instead})

    def refused(self, key: Lookup) -> Iterator[Problem]:
        """Yield a problem for each declared variation that the code does not have."""
        words = _words(key)
        hint = f"it has {', '.join(self.names)}"
        for word in (w for w in words if self._name(w) is None and _plain(w) not in self.undone):
            yield Problem(f"{KEY}: the code of this task has no {word}", KEY, hint)
        named = {self._name(word) for word in words}
        for name, other in self.instead.items():
            if {name, other} <= named:
                sentence = f"{KEY}: {name} takes the place of {other}"
                yield Problem(sentence, KEY, "name one of the two")

    def left_out(self, key: Lookup) -> dict[str, str]:
        """Return why declared variations are left out, by the key; {} if none is."""
        names = [word for word in _words(key) if _plain(word) in self.undone]
        listed = " and ".join(names)
        return {KEY: f"the code has no {listed}; the rest of the list is done"} if names else {}

    def _name(self, word: str) -> str | None:
        plain = _plain(word)
        return next((n for n, others in self.names.items() if plain in (n, *others)), None)


def _words(key: Lookup) -> tuple[str, ...]:
    declared = key(KEY)
    return declared if isinstance(declared, tuple) else ()


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
