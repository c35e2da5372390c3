"""What changed in a package since the build before, from the traces of its manifest.

The manifest lists each file with its sha256, and the store has the files of earlier builds by their
sha256. So the manifest before the present one is the package before this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from metagen import entries, families
from metagen.engine.graph import MANIFEST, RESOLVED
from metagen.engine.ledger import Ledger, RunLedger
from metagen.engine.store import Store
from metagen.engine.terminal import SUMMARY
from metagen.engine.workspace import StateFolder

_TASK = "manifest:manifest"
_NONE = "none"


class Change(NamedTuple):
    """A value that changed: its name, and both values as text."""

    name: str
    before: str
    now: str


@dataclass(frozen=True)
class Changes:
    """How a package differs from the one before it.

    Attributes:
        values: What changed in the keys of the spec, the design and the verdicts, by these titles.
        files: What happened to each file that is not the same: `new`, `changed` or `removed`.
    """

    values: dict[str, tuple[Change, ...]]
    files: dict[str, str]


def since_last(run: Path) -> Changes | None:
    """Return the changes of the package in a run folder; None if no earlier one is known."""
    place = run.resolve()
    state = StateFolder(place.parent)
    with closing(Ledger.copy(state.ledger)) as ledger:
        traces = RunLedger(ledger, place.name).traces(_TASK)
    digests = list(dict.fromkeys(trace.outputs.get(MANIFEST, "") for trace in traces))
    store = Store(state.store, state.scratch)
    listed = [_listed(store.get(digest)) for digest in digests[:2]]
    if len(listed) < 2 or not all(listed):
        return None
    now, before = listed
    return Changes(_values(store, before, now), _files(before, now))


def _listed(manifest: bytes | None) -> dict[str, str]:
    """Return the sha256 of each file that a manifest lists; {} for one that is lost."""
    return {row["path"]: row["sha256"] for row in json.loads(manifest or b"[]")}


def _files(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    kinds = {
        path: "new" if path not in before else "removed" if path not in now else "changed"
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path)
    }
    return {path: kind for path, kind in kinds.items() if not path.startswith("docs/provenance/")}


def _values(
    store: Store, before: Mapping[str, str], now: Mapping[str, str]
) -> dict[str, tuple[Change, ...]]:
    values = {}
    for title, (path, read) in _READERS.items():
        both = [store.get(listed.get(path, "")) for listed in (before, now)]
        if both[0] != both[1]:
            values[title] = tuple(
                differences(*(read(entries.parse(path, d or b"{}")) for d in both))
            )
    return {title: changes for title, changes in values.items() if changes}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Change]:
    """Yield the values of two mappings that are not the same, with `none` for what is missing."""
    for name in dict.fromkeys([*one, *other]):
        before, now = one.get(name, _NONE), other.get(name, _NONE)
        if before != now:
            yield Change(name, _text(before), _text(now))


def _text(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value in (None, [], {}):
        return _NONE
    return f"{value:,}" if whole else str(value)


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree with their dotted names."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _keys(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict(flat(content))


def settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of architecture.yaml by dotted name, without the reasons."""
    return dict(flat({n: s for n, s in content.items() if n not in ("proxy", "decisions")}))


def _figures(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the summary says: the size, the verdict on each constraint, and the scores."""
    verdicts = {
        row["constraint"].replace("_", " "): f"{verdict.replace('_', ' ')}: {row['sentence']}"
        for verdict, rows in content.get("constraints", {}).items()
        if verdict not in ("not_declared", "figure")
        for row in rows
    }
    scores = {
        ", ".join(filter(None, (row["benchmark"], row["title"]))): row["sentence"]
        for row in content.get("benchmarks", ())
    }
    return {"parameters": content.get("parameters", {}).get("total"), **verdicts, **scores}


_READERS: dict[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "Keys of the spec": (RESOLVED, _keys),
    "Dimensions and settings": (families.ARCHITECTURE, settings),
    "Verdicts and results": (SUMMARY, _figures),
}
