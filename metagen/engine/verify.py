"""`metagen verify`: a package from a stranger, against its manifest and against a clean build.

Nothing of the package runs, no link in it is followed, and only regular files are read. An entry
that the manifest does not list is a finding, and the finding says what it would run in place of.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from metagen import entries, files, paths, programs
from metagen.docs import latex
from metagen.engine.binding import Binding, tells_of_training
from metagen.engine.desk import OBSERVED
from metagen.engine.graph import MANIFEST, RELEASE, RESOLVED, Graph, of_spec
from metagen.engine.inventory import HASHED, Inventory, shown
from metagen.engine.session import of_built
from metagen.engine.statements import resting_on_edits
from metagen.engine.training import KINDS
from metagen.errors import Problem, TaskError, UsageError
from metagen.filing import crate
from metagen.measure.trial import SEEN
from metagen.package.code import SCRIPTS
from metagen.spec import load

_CODE, _SHARED = "code/", "code/runtime/"
_BYTE_CODE, _TEX = "__pycache__", "paper/build"  # Made by running the scripts and by `make pdf`.
_FIELDS: Mapping[str, type] = {
    "path": str, "sha256": str, "bytes": int, "task": str, "made_from": list, "edited": bool,
}  # fmt: skip
_WORDS = {str: "text", int: "a whole number", list: "a list", bool: "true or false"}
_SHA256 = re.compile("[0-9a-f]{64}")
_ROWS_SHOWN = 20  # Problems of a manifest.
_NAMES_SHOWN = 5  # Scripts that a folder of byte code stands in for.
_DIFF_LINES = 20
# Another machine, as far as one can be another: five years on, on an island fourteen hours ahead.
_VARIED = {"PYTHONHASHSEED": "271828", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C"}
_CLOCK = "import time; now = time.time; time.time = lambda: now() + 5 * 365 * 86400; "
_MAIN = "import sys; from metagen.cli import main; main(sys.argv[1:])"
_RUN = "package"  # The clean build's run folder is named by this, whatever the package's is.
Rows = Mapping[str, Mapping[str, Any]]


def verify(run: Path, *, vary: bool, binding: Binding, unbuilt: list[str]) -> Iterator[str]:
    """Yield a line for each entry that its manifest, or a clean build elsewhere, contradicts.

    The first difference from the clean build is shown. After an edit of results, the typed numbers
    and the statements that rest on the edit come before it.

    Args:
        run: The folder of a package, of any name.
        vary: Rebuild under another hash seed, time zone, locale, folder, umask and clock.
        binding: The training folder and the results that the clean build uses.
        unbuilt: Receives the files that rest on a training run, where none is given here and the
            package tells of one: the manifest vouches for them, and a clean build cannot.

    Raises:
        TaskError: The manifest is malformed, or the package cannot be built again.
        UsageError: The folder holds no package.
    """
    here = Inventory.of(run)
    if RESOLVED not in here.files:
        sentence = f"This is no package: it has no file {RESOLVED}."
        raise UsageError(Problem(sentence, str(run), "Name the folder of a package."))
    rows = manifest(here)
    listed = {*rows, MANIFEST, latex.TARGET}
    yield from _not_files(here, listed)
    yield from _unlisted(here, listed)
    for path, row in rows.items():
        if not _matches(here, row):
            yield f"{shown(path)}: not as {MANIFEST} says"
    of_spec(load(run / RESOLVED))  # Refuses a spec that is not right.
    with programs.scratch() as folder:
        elsewhere = folder / ("über there" if vary else "out")
        clean = _rebuild(here, elsewhere, vary=vary, binding=binding)
        if binding.trained is None and tells_of_training(run):
            resting = _resting_on_training(clean)
            unbuilt += [p for p in here.files if p in resting or p.startswith(f"{RELEASE}/")]
            unbuilt.sort()
        yield from _differences(here, clean, rows, set(unbuilt))


def not_built(run: Path, unbuilt: Sequence[str]) -> str:
    """Return the line on the files that only a training run could build again."""
    names = ", ".join(unbuilt[:_NAMES_SHOWN])
    more = f" and {len(unbuilt) - _NAMES_SHOWN} more" if len(unbuilt) > _NAMES_SHOWN else ""
    return (
        f"{run}: {_files(len(unbuilt))} not built again, since the training run is not here: "
        f"{names}{more}; name its folder with --trained"
    )


def started(run: Path) -> Iterator[str]:
    """Yield a line for each script of a verified package: the files that starting it runs."""
    here = Inventory.of(run)
    for script in SCRIPTS:
        if b"__main__" in (here.read(script) or b""):
            runs = sorted(_imported(here, script))
            shared = [path for path in runs if path.startswith(_SHARED)]
            names = [path for path in runs if path not in shared]
            names += [f"{_files(len(shared))} of {_SHARED}"] if shared else []
            yield f"python {script} runs {', '.join(names)} and the libraries it imports"


def _imported(here: Inventory, script: str) -> set[str]:
    """Return a script, and the files of `code/` that it imports, directly or not."""
    known, pending = {script}, [script]
    while pending:
        for module in entries.parse(".py", here.read(pending.pop()) or b"")["imports"]:
            parts = module.split(".")
            stems = [_CODE + "/".join(parts[:end]) for end in range(1, len(parts) + 1)]
            sources = {f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py")}
            new = sources & here.files.keys() - known
            known |= new
            pending += new
    return known


def manifest(here: Inventory) -> Rows:
    """Return the rows of a package's manifest by their paths.

    Raises:
        TaskError: It is missing or malformed.
    """
    data = here.read(MANIFEST)
    place, hint = str(here.root / MANIFEST), "ask for the whole package, or build it again"
    try:
        rows = json.loads(data or b"")
    except (ValueError, RecursionError):
        raise TaskError(Problem("The manifest cannot be read.", place, hint)) from None
    if not isinstance(rows, list) or not rows:
        raise TaskError(Problem("The manifest is no list of files.", place, hint))
    flaws = [f"row {n}: {flaw}" for n, row in enumerate(rows, 1) if (flaw := _flaw(row))]
    if not flaws and len({row["path"] for row in rows}) < len(rows):
        flaws = ["two rows have the same path."]
    if flaws:
        raise TaskError(Problem(flaw, place, hint) for flaw in flaws[:_ROWS_SHOWN])
    return {row["path"]: row for row in rows}


def _flaw(row: Any) -> str:
    """Return what is wrong with a row of a manifest; "" for a right one."""
    if not isinstance(row, dict):
        return "this is no mapping."
    for name, right in _FIELDS.items():
        if name not in row:
            return f"the field {name!r} is missing."
        if type(row[name]) is not right:
            return f"the field {name!r} must be {_WORDS[right]}."
    if not files.is_inside(row["path"]):
        return f"the path {shown(row['path'])!r} is not one below the folder of the package."
    if not _SHA256.fullmatch(row["sha256"]):
        return "the field 'sha256' must be 64 hexadecimal digits."
    return ""


def _not_files(here: Inventory, listed: Iterable[str]) -> Iterator[str]:
    """Yield a line for each entry that is neither a regular file nor a folder."""
    sources = {path for path in listed if path in here.files}
    for path, kind in sorted(here.others.items()):
        yield f"{shown(path)}: {kind}; a package holds only files and folders{_runs(path, sources)}"


def _unlisted(here: Inventory, listed: Iterable[str]) -> Iterator[str]:
    """Yield a line for each file that the manifest does not list, or for the folder of several."""
    sources = {path for path in listed if path in here.files}
    for path, count in here.unlisted(listed).items():
        if count is None:
            yield f"{shown(path)}: {MANIFEST} does not list it{_runs(path, sources)}"
        elif path.rpartition("/")[2] == _BYTE_CODE:
            places = _byte_code(here, path, sources)
            yield f"{shown(path)}: byte code, {_files(count)}, not checked: {places}"
        elif path == _TEX:
            yield f"{path}: {_files(count)}, not checked: TeX reads them; {_remove('make pdf')}"
        else:
            what = f"a folder with {_files(count)} that {MANIFEST} does not list"
            yield f"{shown(path)}: {what}{_runs(path, sources)}"


def _files(count: int) -> str:
    return f"{count:,} file" + ("" if count == 1 else "s")


def _remove(command: str) -> str:
    return f"remove this folder before you run {command}"


def _byte_code(here: Inventory, folder: str, sources: set[str]) -> str:
    """Return which scripts Python may not read because of the byte code in a folder."""
    stems = {p.rpartition("/")[2].partition(".")[0] for p in here.files if p.startswith(folder)}
    above = folder.rpartition("/")[0]
    scripts = sorted({f"{above}/{stem}.py" for stem in stems} & sources)
    more = f" and {len(scripts) - _NAMES_SHOWN} more" if len(scripts) > _NAMES_SHOWN else ""
    names = ", ".join(scripts[:_NAMES_SHOWN]) + more or "a script"
    return f"Python may run it in place of {names}; {_remove('any of them')}"


def _runs(path: str, sources: set[str]) -> str:
    """Return what Python would run an unlisted entry of `code/` in place of; "" elsewhere."""
    above, _, name = path.rpartition("/")
    if not f"{above}/".startswith(_CODE):
        return ""
    module = name.partition(".")[0]
    if above.endswith(f"/{_BYTE_CODE}"):
        above = above.removesuffix(f"/{_BYTE_CODE}")
    source = f"{above}/{module}.py"
    if source in sources:
        return f"; Python may run it in place of {shown(source)}"
    dotted = ".".join([*above.split("/")[1:], module])
    return f"; Python runs it where a script or a library imports {shown(dotted)!r}"


def _matches(here: Inventory, row: Mapping[str, Any]) -> bool:
    same_size = here.files.get(row["path"]) == row["bytes"]
    return bool(same_size and here.sha256(row["path"]) == row["sha256"])


def _rebuild(here: Inventory, elsewhere: Path, *, vary: bool, binding: Binding) -> Path:
    """Build a package again from its resolved spec, in another process; return the run folder."""
    elsewhere.mkdir(parents=True)
    spec, seen = elsewhere / "spec.yaml", elsewhere / "seen"
    spec.write_bytes(here.read(RESOLVED) or b"")
    # Another machine, or another hour, trains at another speed; the package says at which.
    if (machine := here.read(SEEN)) is not None:
        (seen / SEEN).parent.mkdir(parents=True)
        (seen / SEEN).write_bytes(machine)
    bound = ["--trained", str(binding.trained)] if binding.trained else []
    bound += [part for path in binding.results for part in ("--results", str(path))]
    stages = ["release" if bound else "synth", *(["paper"] if latex.TARGET in here.files else [])]
    for stage in stages:
        jobs = ["-n", "2"] if vary else []
        line = [stage, spec.name, "--out", ".", "--run-id", _RUN, "-q", *jobs]
        line += bound if stage == "release" else []
        _metagen(line, elsewhere, vary, seen)
    return elsewhere / f"run-{_RUN}"


def _metagen(arguments: list[str], folder: Path, vary: bool, seen: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "METAGEN_CACHE"}
    environment["PYTHONPATH"] = str(paths.PACKAGE.parent)
    environment[OBSERVED] = str(seen)
    done = subprocess.run(
        [sys.executable, "-c", (_CLOCK if vary else "") + _MAIN, *arguments],
        cwd=folder,
        env=environment | (_VARIED if vary else {}),
        umask=0o077 if vary else -1,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TaskError(Problem("The clean build failed.", hint=done.stderr.strip()))


def _resting_on_training(clean: Path) -> set[str]:
    """Return the files that a training run changes, by the traces of a build without one.

    The manifest of a stranger is not asked, since it could name any file.
    """
    resting: set[str] = set()
    with of_built(clean) as engine:
        for recipe in engine.graph.in_order(engine.graph.recipes):
            read = engine.dependencies(recipe)
            if any(d.kind in KINDS or {d.name, d.file} & resting for d in read):
                resting.update(recipe.targets)
        return resting | _of_bound_graphs(engine.graph)


def _of_bound_graphs(graph: Graph) -> set[str]:
    """Return the files that only a package with a trained model has, and the list of all files."""
    # Whatever is bound, the tasks are these; only the names of shards follow from a checkpoint.
    bound = of_spec(graph.spec, _RUN, lambda run: Binding(Path(os.devnull)))
    return (bound.maker.keys() - graph.maker.keys()) | {crate.PATH}


def _differences(here: Inventory, clean: Path, rows: Rows, unbuilt: set[str]) -> Iterator[str]:
    there = Inventory.of(clean)
    paths = sorted({*there.files, *rows} - unbuilt)
    own, made = (
        {path: data for path in paths if (data := each.read(path)) is not None}
        for each in (here, there)
    )
    edited = {path for path, row in rows.items() if row["edited"]}
    yield from map(shown, resting_on_edits(own, made, edited))
    is_shown = False
    for path in paths:
        if path not in there.files:
            yield f"{shown(path)}: a clean build does not make it{_runs(path, set(there.files))}"
        elif path not in here.files:
            yield f"{path}: missing"
        elif (digest := here.sha256(path)) is None:
            yield f"{path}: it cannot be read, or has more than {HASHED:,} bytes"
        elif digest != there.sha256(path):
            by_hand = ", which was edited by hand" if path in edited else ""
            yield f"{path}: differs from a clean build{by_hand}"
            if not is_shown and path in own and path in made:
                yield from map(shown, _difference(path, made[path], own[path]))
            is_shown = True


def _difference(path: str, clean: bytes, here: bytes) -> Iterator[str]:
    """Yield the first lines of a text difference, or the position of the first other byte."""
    try:
        old, new = (data.decode().splitlines() for data in (clean, here))
    except UnicodeDecodeError:
        pairs = enumerate(zip(clean, here, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(clean), len(here)))
        yield f"  the first different byte is number {place:,}"
        return
    names = (f"clean/{path}", f"here/{path}")
    lines = difflib.unified_diff(old, new, *names, lineterm="", n=1)
    yield from (f"  {line}" for line in islice(lines, _DIFF_LINES))
