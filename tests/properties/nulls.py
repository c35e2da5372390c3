"""Edits that change nothing: another way to write the same spec must run no task."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from metagen.spec import load
from metagen.spec.declared import nested
from metagen.spec.schema import keys

from . import inside
from .lab import Lab
from .tally import Tally

Writer = Callable[[Path], str]


def _raw(spec: Path) -> dict[str, Any]:
    return yaml.load(spec.read_bytes(), Loader=yaml.CSafeLoader)


def _dumped(content: Any, **options: Any) -> str:
    return yaml.dump(content, sort_keys=False, allow_unicode=True, width=1000, **options)


def _comment(spec: Path) -> str:
    lines = spec.read_text().splitlines()
    return "# first\n" + "\n".join(f"{line}  # more" if line else "#" for line in lines) + "\n# end"


def _blank_lines(spec: Path) -> str:
    return "\n\n" + spec.read_text().replace("\n", "\n\n") + "\n\n"


def _crlf(spec: Path) -> str:
    return spec.read_text().replace("\n", "\r\n")


def _order(spec: Path) -> str:
    return _dumped(_reversed(_raw(spec)))


def _reversed(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {key: _reversed(content[key]) for key in reversed(list(content))}


class _Quoted(yaml.SafeDumper):
    """Quotes all strings, doubly."""


_Quoted.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def _quotes(spec: Path) -> str:
    return _dumped(_raw(spec), Dumper=_Quoted)


class _Aliased(yaml.SafeDumper):
    """Writes equal lists and words once, and an alias wherever they come again."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._same: dict[str, Any] = {}

    def represent_data(self, data: Any) -> Any:
        """Represent equal data by one node."""
        if isinstance(data, (list, str)):
            data = self._same.setdefault(repr(data), data)
        return super().represent_data(data)

    def ignore_aliases(self, data: Any) -> bool:
        """Let lists and words have aliases."""
        return not isinstance(data, (list, str))


def _aliases(spec: Path) -> str:
    text = _dumped(_raw(spec), Dumper=_Aliased)
    return text if "*" in text else text + "# nothing stands twice\n"


def _flow(spec: Path) -> str:
    return _dumped(_raw(spec), default_flow_style=True)


def _json(spec: Path) -> str:
    return json.dumps(_raw(spec))


def _defaults(spec: Path) -> str:
    """Write out every default."""
    given = load(spec)
    written = {key: keys()[key].default for key in keys() if given.source(key) == "default"}
    defaults = nested({key: value for key, value in written.items() if value is not None})
    return _dumped(_joined(_raw(spec), defaults))


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {**other, **one}
    for key in one.keys() & other.keys():
        if isinstance(one[key], Mapping) and isinstance(other[key], Mapping):
            both[key] = _joined(one[key], other[key])
    return both


def _nulls(spec: Path) -> str:
    """Write out that every key without a value has none."""
    given = load(spec)
    absent = {key: None for key in keys() if given.key(key) is None}
    return _dumped(_joined(_raw(spec), nested(absent)))


def _typed(spec: Path) -> str:
    """Write the values as the package's spec_resolved.yaml has them: 8B as 8000000000."""
    return _dumped(load(spec).tree())


def _mark(spec: Path) -> str:
    return "\ufeff---\n" + spec.read_text() + "...\n"


FORMS: dict[str, Writer] = {
    form.__name__.strip("_"): form
    for form in (_comment, _blank_lines, _crlf, _order, _quotes, _aliases, _flow, _json,
                 _defaults, _nulls, _typed, _mark)
}  # fmt: skip


def measure(lab: Lab) -> Tally:
    """Build every form of every spec over the plain one."""
    tally = Tally("nulls")
    tally.must_not("ran", "other bytes")
    cases = [(spec, form) for spec in lab.specs for form in (*FORMS, "touched", "renamed")]
    return lab.apart(tally, _of_one_form, sorted(lab.some(cases, "nulls")))


def _of_one_form(lab: Lab, case: tuple[Path, str]) -> Tally:
    tally = Tally("nulls")
    with lab.folder() as folder:
        _measure(lab, *case, folder, tally)
    return tally


def _measure(lab: Lab, spec: Path, form: str, folder: Path, tally: Tally) -> None:
    name = "renamed.yml" if form == "renamed" else spec.name
    copy = folder / name
    copy.write_text(spec.read_text())
    before = lab.begin(folder / "out", spec)
    if form in FORMS:
        copy.write_bytes(FORMS[form](spec).encode())
    os.utime(copy, (1, 1))
    after = inside.build(folder / "out", copy, run_id=spec.stem)
    tally.count("forms")
    tally.check(not after.log.ran, "ran", f"{spec.stem} {form}: {sorted(after.log.ran)}")
    wrong = inside.difference(after.tree, before.tree)
    tally.check(not wrong, "other bytes", f"{spec.stem} {form}: {wrong}")
