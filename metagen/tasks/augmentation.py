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
    """

    names: Mapping[str, tuple[str, ...]]
    usual: frozenset[str]
    all: frozenset[str]
    instead: Mapping[str, str]

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
        declared = key(KEY)
        words = declared if isinstance(declared, tuple) else ()
        hint = f"it has {', '.join(self.names)}"
        for word in (word for word in words if self._name(word) is None):
            yield Problem(f"{KEY}: the code of this task has no {word}", KEY, hint)
        named = {self._name(word) for word in words}
        for name, other in self.instead.items():
            if {name, other} <= named:
                sentence = f"{KEY}: {name} takes the place of {other}"
                yield Problem(sentence, KEY, "name one of the two")

    def _name(self, word: str) -> str | None:
        plain = word.lower().replace("-", "_").replace(" ", "_")
        return next((n for n, others in self.names.items() if plain in (n, *others)), None)
