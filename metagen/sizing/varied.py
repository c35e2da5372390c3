"""The same spec with some keys changed: what would have been, through the same door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from metagen.work import Desk


@dataclass(frozen=True)
class _Varied:
    """A desk that answers for some keys itself; whatever it passes on is recorded as ever."""

    desk: Desk
    changed: Mapping[str, Any]

    def key(self, name: str) -> Any:
        return self.changed[name] if name in self.changed else self.desk.key(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.desk, name)


def varied(desk: Desk, changed: Mapping[str, Any]) -> Desk:
    """Return a desk over the same spec, some of whose keys have other values."""
    return cast(Desk, _Varied(desk, changed))
