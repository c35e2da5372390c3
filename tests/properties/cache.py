"""A cache that out folders share: a new folder runs nothing; a damaged cache costs only runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import inside, outside, values
from .disturbances import DAMAGES, name
from .lab import Lab
from .tally import Tally

FULL = 40


def measure(lab: Lab) -> Tally:
    """Build every spec in a second folder beside a cache; damage and shrink the cache."""
    tally = Tally("cache")
    tally.must_not("ran beside a cache", "other bytes", "tracebacks")
    with lab.folder() as folder:
        for spec in lab.specs:
            _shared(spec, folder, tally)
        for number in lab.progress("cache", range(lab.size(FULL))):
            with lab.folder() as place:
                _damaged(lab, number, folder, place, tally)
        _collected(lab, folder, tally)
    return tally


def _shared(spec: Path, folder: Path, tally: Tally) -> None:
    cache = folder / "cache"
    first = inside.build(folder / f"{spec.stem} one", spec, cache=cache)
    second = inside.build(folder / f"{spec.stem} two", spec, cache=cache)
    third = inside.build(folder / f"{spec.stem} two", spec, cache=cache)
    tally.count("folders beside a cache")
    for built in (second, third):
        ran = sorted(built.log.ran)
        tally.check(not ran, "ran beside a cache", f"{spec.stem}: {ran}")
        wrong = inside.difference(built.tree, first.tree)
        tally.check(not wrong, "other bytes", f"{spec.stem}: {wrong}")


def _damaged(lab: Lab, number: int, folder: Path, place: Path, tally: Tally) -> None:
    """Damage some files of a cache; a build beside it, of the same or an edited spec, is clean."""
    chance, spec = lab.chance(f"cache {number}"), lab.specs[number % len(lab.specs)]
    cache = Path(shutil.copytree(folder / "cache", place / "cache"))
    paths = sorted(p for p in cache.rglob("*") if p.is_file())
    damages = []
    for path in chance.sample(paths, min(len(paths), chance.choice((1, 5, 50)))):
        damage = chance.choice(DAMAGES)
        damage(path, chance)
        damages.append(f"{path.relative_to(cache)} {name(damage)}")
    settings = ["description=beside a damaged cache"] if number % 2 else []
    label = f"#{number} {', '.join(damages[:3])}"
    tally.count("damaged caches")
    try:
        built = inside.build(place / "out", spec, settings, cache=cache)
    except Exception as error:
        tally.violated("tracebacks", f"{label}: {error!r}")
        return
    clean = inside.build(place / "clean", spec, settings)
    wrong = inside.difference(built.tree, clean.tree)
    right = not wrong and built.status == 0
    tally.check(right, "other bytes", f"{label}: {built.status} {built.output[-200:]} {wrong}")


def _collected(lab: Lab, folder: Path, tally: Tally) -> None:
    """`metagen gc` of an out folder keeps ways back free; that of a cache keeps to its bound."""
    spec, chance = lab.specs[-1], lab.chance("cache gc")
    out, cache = folder / "gc", folder / "cache"
    setting = values.setting("license", values.buildable(spec, "license", chance, 1)[0])
    before = inside.build(out, spec, cache=cache)
    inside.build(out, spec, [setting], cache=cache)
    result = outside.metagen("gc", "--out", str(out), "--cache", str(cache), "--keep", "100KB")
    tally.check(result.returncode == 0, "tracebacks", f"gc: {result.stderr[-300:]}")
    size = sum(p.stat().st_size for p in cache.rglob("*") if p.is_file())
    tally.check(size <= 100_000, "unbounded", f"{size:,} bytes are left of at most 100,000")
    back = inside.build(out, spec)
    free = not back.log.ran and back.tree == before.tree
    tally.check(free, "ran after gc", f"{sorted(back.log.ran)}")
    there = inside.build(folder / "after gc", spec, cache=cache)
    wrong = inside.difference(there.tree, before.tree)
    tally.check(not wrong, "other bytes", f"beside a shrunk cache: {wrong}")
