"""Every template and data file that metagen ships: a visible change rebuilds what is made of it."""

from __future__ import annotations

from pathlib import Path

from . import inside, leaf
from .inside import Build
from .lab import Lab
from .tally import Tally

_ADDED = {
    ".py": b'\n\nADDED = "by the harness"\n',
    ".md": b"\nAdded by the harness.\n",
    ".tex": b"\nAdded by the harness.\n",
    ".bib": b"\n% Added by the harness.\n",
}


def measure(lab: Lab) -> Tally:
    """Change every file, in a copy of the folders that metagen ships, and change it back."""
    tally = Tally("templates")
    tally.must_not("stale", "orphans", "missed", "needless", "not free to go back")
    with lab.folder() as folder, inside.shipped(folder) as shipped:
        begun = {spec: lab.begin(folder / "out" / spec.stem, spec) for spec in lab.specs}
        for path in lab.progress("templates", lab.some(_files(shipped), "templates")):
            tally.count("files")
            spec = _reader(begun, path, shipped)
            out, before = folder / "out" / spec.stem, begun[spec]
            original = path.read_bytes()
            path.write_bytes(_other(path, original))
            _measure(lab, path.relative_to(shipped).as_posix(), out, spec, before, tally)
            path.write_bytes(original)
            back = inside.build(out, spec)
            free = not back.log.ran and back.tree == before.tree
            tally.check(free, "not free to go back", str(path.name))
    return tally


def _measure(lab: Lab, label: str, out: Path, spec: Path, before: Build, tally: Tally) -> None:
    with lab.folder() as folder:
        clean = inside.build(folder / "clean", spec)
    there = inside.build(out, spec)
    if clean.status:
        tally.count("changes that do not build")
        tally.check(there.status == clean.status, "stale", f"{label} builds, and not from clean")
        return
    tally.count("files that reach the package", clean.tree != before.tree)
    leaf.judge(label, before, there, clean, tally)


def _reader(begun: dict[Path, Build], path: Path, shipped: Path) -> Path:
    """Return a spec whose package is made from a file; any spec when there is none."""
    source = f"source {path.relative_to(shipped).as_posix().removeprefix('metagen/')}"
    readers = (s for s, b in begun.items() if any(source in r for r in b.log.reads.values()))
    return next(readers, next(iter(begun)))


def _other(path: Path, data: bytes) -> bytes:
    """Return a file with something added; a table gets its last row again."""
    if path.suffix == ".csv":
        return data + data.splitlines(keepends=True)[-1]
    return data + _ADDED.get(path.suffix, b"\n# added by the harness\n")


def _files(shipped: Path) -> list[Path]:
    paths = [*(shipped / "templates").rglob("*"), *(shipped / "metagen").rglob("*.csv")]
    return sorted(p for p in paths if p.is_file() and "__pycache__" not in p.parts)
