"""Edits of generated files by hand: none is lost, none goes unreported.

Scripted edits of files drawn by chance: kept, merged with new text elsewhere in the file, in
conflict with new text on the same line (status 5), and discarded (with a backup). At last a real
edit of code/model.py, with real measurements: counts, card and paper must follow.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metagen import paths

from . import inside, values
from .inside import Build, Tree
from .lab import Lab
from .tally import Tally

FULL = 40
_COMMENTS = {".md": "<!-- by hand -->", ".tex": "% by hand", ".bib": "% by hand"}


@dataclass
class _Scene:
    """A spec, clean builds of it and of other specs, and the run folder's name."""

    lab: Lab
    spec: Path
    clean: Build
    others: dict[str, Build]

    @property
    def run(self) -> str:
        """The run folder."""
        return f"run-{self.spec.stem}"


def measure(lab: Lab) -> Tally:
    """Take each kind of edit in turn, then the real one."""
    tally = Tally("edits")
    tally.must_not("lost", "unreported", "not merged", "wrong status", "not clean after discarding")
    scene = _scene(lab)
    kinds = (_kept, _merged, _conflict, _discarded)
    for number in lab.progress("edits", range(lab.size(FULL))):
        with lab.folder() as folder:
            kinds[number % len(kinds)](scene, folder / "out", lab.chance(f"edits {number}"), tally)
            tally.count("edits")
    if lab.number is None:
        with lab.folder() as folder:
            _real(folder, tally)
    return tally


def _scene(lab: Lab) -> _Scene:
    spec = lab.specs[-1]
    keys = ("description", "constraints.parameter_budget.max", "license", "version", "authors")
    chance = lab.chance("edits")
    pairs = [(key, raw) for key in keys for raw in values.buildable(spec, key, chance, 1)]
    settings = [values.setting(key, raw) for key, raw in pairs]
    with lab.folder() as folder:
        clean = lab.begin(folder / "clean", spec)
        others = {s: inside.build(folder / f"o{n}", spec, [s]) for n, s in enumerate(settings)}
    return _Scene(lab, spec, clean, others)


def _kept(scene: _Scene, out: Path, chance: random.Random, tally: Tally) -> None:
    """An edit stays, is reported, and goes when the user takes it back."""
    scene.lab.begin(out, scene.spec)
    path = chance.choice(sorted(scene.clean.tree))
    mine = _commented(path, scene.clean.tree[path])
    (out / path).write_bytes(mine)
    built = inside.build(out, scene.spec)
    tally.check(built.tree[path] == mine, "lost", path)
    tally.check(built.status == 0, "wrong status", f"{path}: {built.status} {built.output[-300:]}")
    if path.endswith("manifest.json"):
        return
    name = path.removeprefix(f"{scene.run}/")
    rows = {row["path"]: row for row in json.loads(built.tree[f"{scene.run}/manifest.json"])}
    reported = name in built.output and rows[name]["edited"]
    tally.check(reported, "unreported", f"{path}: {built.output[-300:]}")
    again = inside.build(out, scene.spec)
    tally.check(not again.log.ran, "not settled", f"{path}: {again.log.ran}")
    (out / path).write_bytes(scene.clean.tree[path])
    back = inside.build(out, scene.spec)
    wrong = inside.difference(back.tree, scene.clean.tree)
    tally.check(not wrong, "not clean after taking it back", f"{path}: {wrong}")


def _merged(scene: _Scene, out: Path, chance: random.Random, tally: Tally) -> None:
    """An edit and new text on other lines are both in the result."""
    setting, path, lines = chance.choice(list(_mergeable(scene)))
    line = chance.choice(lines)
    scene.lab.begin(out, scene.spec)
    mine = _with_line(scene.clean.tree[path], line, b" by hand")
    (out / path).write_bytes(mine)
    built = inside.build(out, scene.spec, [setting])
    expected = _with_line(scene.others[setting].tree[path], line, b" by hand")
    label = f"{path} line {line!r}, {setting}"
    tally.check(built.tree[path] == expected, "not merged", f"{label}: status {built.status}")
    tally.check(built.status == 0, "wrong status", f"{label}: {built.status} {built.output[-300:]}")


def _conflict(scene: _Scene, out: Path, chance: random.Random, tally: Tally) -> None:
    """An edit of a line that changes itself stays; the new text lies beside, and status is 5."""
    setting, path, line = chance.choice(list(_contested(scene)))
    scene.lab.begin(out, scene.spec)
    mine = _with_line(scene.clean.tree[path], line, b" by hand")
    (out / path).write_bytes(mine)
    label, new = f"{path} line {line!r}, {setting}", scene.others[setting].tree[path]
    for _ in range(2):
        built = inside.build(out, scene.spec, [setting])
        tally.check(built.tree.get(path) == mine, "lost", label)
        tally.check(built.tree.get(f"{path}.new") == new, "lost", f"{label}: the new text")
        named = built.status == 5 and f"{path}.new".removeprefix(f"{scene.run}/") in built.output
        tally.check(named, "wrong status", f"{label}: {built.status} {built.output[-300:]}")
    (out / f"{path}.new").unlink()
    built = inside.build(out, scene.spec, [setting])
    settled = built.status == 0 and built.tree[path] == mine
    tally.check(settled, "wrong status", f"{label}: {built.status} once solved")
    _discard(scene, out, [setting], scene.others[setting].tree, mine, label, tally)


def _discarded(scene: _Scene, out: Path, chance: random.Random, tally: Tally) -> None:
    """An edit that is given up leaves a backup, and the package is clean."""
    scene.lab.begin(out, scene.spec)
    path = chance.choice(sorted(scene.clean.tree))
    mine = _commented(path, scene.clean.tree[path])
    (out / path).write_bytes(mine)
    if chance.random() < 0.5:
        inside.build(out, scene.spec)
    _discard(scene, out, [], scene.clean.tree, mine, path, tally)


def _discard(
    scene: _Scene, out: Path, settings: list[str], clean: Tree, mine: bytes, label: str,
    tally: Tally,
) -> None:  # fmt: skip
    built = inside.build(out, scene.spec, settings, discard_edits=True)
    wrong = inside.difference(built.tree, clean)
    tally.check(not wrong, "not clean after discarding", f"{label}: {wrong}")
    backups = [p.read_bytes() for p in (out / ".metagen" / "backup").rglob("*") if p.is_file()]
    tally.check(mine in backups, "lost", f"{label}: no backup")


def _commented(path: str, data: bytes) -> bytes:
    """Return a file with a comment at its end, or white space where there are no comments."""
    if path.endswith((".json", ".pdf", ".csv")):
        return data + b"\n"
    return data + f"{_COMMENTS.get(Path(path).suffix, '# by hand')}\n".encode()


def _mergeable(scene: _Scene) -> Iterator[tuple[str, str, list[bytes]]]:
    """Yield settings, text files that they change, and lines there that they leave alone."""
    for setting, path, before, after in _changes(scene):
        unique = [line for line in before if line.strip() and before.count(line) == 1]
        lines = [line for line in unique if after.count(line) == 1 and _apart(before, after, line)]
        if lines:
            yield setting, path, lines


def _apart(before: list[bytes], after: list[bytes], line: bytes) -> bool:
    """Tell whether both neighbours of a line are the same in both texts."""
    at, then = before.index(line), after.index(line)
    return before[max(0, at - 1) : at + 2] == after[max(0, then - 1) : then + 2]


def _contested(scene: _Scene) -> Iterator[tuple[str, str, bytes]]:
    """Yield settings, text files, and single lines there that they change."""
    for setting, path, before, after in _changes(scene):
        for tag, i1, i2, _, _ in difflib.SequenceMatcher(None, before, after).get_opcodes():
            if tag == "replace" and before.count(before[i1]) == 1 and i2 - i1 == 1:
                yield setting, path, before[i1]


def _changes(scene: _Scene) -> Iterator[tuple[str, str, list[bytes], list[bytes]]]:
    for setting, other in scene.others.items():
        for path in sorted(scene.clean.tree):
            old, new = scene.clean.tree[path], other.tree.get(path, b"")
            if old != new and path.endswith((".md", ".tex", ".bib")):
                yield setting, path, old.splitlines(), new.splitlines()


def _with_line(data: bytes, line: bytes, added: bytes) -> bytes:
    return data.replace(line + b"\n", line + added + b"\n", 1)


def _real(folder: Path, tally: Tally) -> None:
    """Double the feed-forward width in a model's code: what is measured follows everywhere."""
    spec = paths.specs() / "text" / "text_llm_tiny.yaml"
    run = folder / "out" / "run-text_llm_tiny"
    _measured(spec, folder)
    before = {path: (run / path).read_bytes() for path in _FOLLOWING}
    total = json.loads(before["blueprint/params.json"])["total"]
    model = run / "code" / "model.py"
    text = model.read_text()
    model.write_text(text.replace(_WIDTH, f"        d_ff *= 2\n{_WIDTH}"))
    tally.check(text.count(_WIDTH) == 1, "does not follow", "the edit does not fit the model")
    result = _measured(spec, folder)
    label = f"a real edit: status {result.returncode} {result.stderr[-300:]}"
    reported = result.returncode == 0 and "code/model.py, kept" in result.stdout
    tally.check(reported, "unreported", label)
    more = json.loads((run / "blueprint/params.json").read_bytes())["total"]
    tally.check(more > total, "does not follow", f"{total} parameters became {more}")
    for path, data in before.items():
        follows = (run / path).read_bytes() != data
        tally.check(follows, "does not follow", f"code/model.py edited: {path} stays")
    card = (run / "README.md").read_text()
    tally.check(f"{more:,}" in card, "does not follow", f"the card does not say {more:,}")
    tally.count("real edits")


_WIDTH = "        self.gate_proj = nn.Linear(d_model, d_ff, bias=False)\n"
_FOLLOWING = (
    "blueprint/params.json", "blueprint/flops.json", "benchmarks/report.json",
    "README.md", "docs/summary.json", "paper/sections/abstract.tex", "manifest.json",
)  # fmt: skip


def _measured(spec: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "metagen"), "synth", str(spec), "--out", "out"]
    return subprocess.run(
        command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False
    )
