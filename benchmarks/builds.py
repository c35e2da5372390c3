"""How long builds take when there is little to do: `python benchmarks/builds.py`.

Everything is a ratio within one run, so that the machine cancels out, of medians of interleaved
repetitions; each has the limit that it must keep.

no-op     a build with nothing to do, against `python -c "import doit, omegaconf, jinja2"`
edit      a build after an edit of `description`, against the same
many      a build with nothing to do of many specs in one out folder: ms a spec, peak memory
jobs      a cold build of eight specs with -n 2, against -n 1 (real measurements, no training)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parent.parent
SPECS = REPOSITORY / "specs" / "text"
METAGEN = (str(Path(sys.executable).parent / "metagen"),)
FAKED = (sys.executable, "-m", "tests.properties.faked")  # measurements that cost nothing
BARE = (sys.executable, "-c", "import doit, omegaconf, jinja2")
LIMITS = {"no-op": 1.5, "edit": 2.5, "ms a spec": 4.0, "MB": 400.0, "jobs": 0.6}
MEASURES = ("no-op", "edit", "many", "jobs")


def run(*command: str) -> tuple[float, float]:
    """Run a command that must succeed; return its seconds and its peak memory in MB."""
    started = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, used.ru_maxrss / 1000


def against_bare(folder: Path, repeat: int, kind: str) -> Iterator[tuple[str, float]]:
    """Yield the ratio of a small build to bare imports, each repeated in turn."""
    spec, out = str(SPECS / "text_llm_tiny.yaml"), str(folder / "out")
    run(*FAKED, "synth", spec, "--out", out)
    bare, built = [], []
    for number in range(repeat + 1):
        more = [f"description=edited {number} times"] if kind == "edit" else []
        bare.append(run(*BARE)[0])
        built.append(run(*METAGEN, "synth", spec, "--out", out, *more)[0])
    ratio = median(built[1:]) / median(bare[1:])  # the first of each warms the disk
    print(f"  {kind}: {median(built[1:]):.3f} s, bare imports {median(bare[1:]):.3f} s")
    yield kind, ratio


def many(folder: Path, repeat: int, number: int) -> Iterator[tuple[str, float]]:
    """Yield the time a spec and the memory of a build with nothing to do of many specs."""
    specs = copies(folder / "specs", number, [SPECS / "text_llm_tiny.yaml"])
    command = ("synth", str(specs), "--out", str(folder / "out"))
    run(*FAKED, *command, "-q", "--cache", str(folder / "cache"))
    runs = [run(*METAGEN, *command, "-q") for _ in range(repeat)]
    alone = [
        run(*METAGEN, "synth", str(next(specs.iterdir())), "--out", str(folder / "out"), "-q")[0]
        for _ in range(repeat)
    ]
    seconds = median(one for one, _ in runs)
    print(f"  {number} specs: {seconds:.2f} s, one of them {median(alone):.2f} s")
    yield "ms a spec", 1000 * seconds / number
    yield "MB", median(memory for _, memory in runs)


def jobs(folder: Path, repeat: int) -> Iterator[tuple[str, float]]:
    """Yield the ratio of a cold build of eight specs with two jobs to one with one job."""
    specs = copies(folder / "specs", 8, sorted(SPECS.glob("*.yaml")))
    times: dict[int, list[float]] = {1: [], 2: []}
    for number in range(repeat):
        for count, found in times.items():
            out = folder / f"out{number}-{count}"
            command = ("synth", str(specs), "--out", str(out), "-q", "bench=none")
            found.append(run(*METAGEN, *command, "-n", str(count))[0])
            shutil.rmtree(out)
    print(f"  eight specs: {median(times[1]):.1f} s, with -n 2 {median(times[2]):.1f} s")
    yield "jobs", median(times[2]) / median(times[1])


def copies(folder: Path, number: int, specs: list[Path]) -> Path:
    """Write copies of specs, in turn, each under a name of its own; return their folder."""
    folder.mkdir()
    for each in range(number):
        spec = specs[each % len(specs)]
        text = spec.read_text().replace(f"name: {spec.stem}", f"name: {spec.stem}_{each}")
        (folder / f"{spec.stem}_{each}.yaml").write_text(text)
    return folder


def measured(name: str, folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Yield each figure of a measure with its name."""
    if name == "many":
        return many(folder, min(given.repeat, 5), given.specs)
    if name == "jobs":
        return jobs(folder, max(1, given.repeat // 5))
    return against_bare(folder, given.repeat, name)


def main() -> int:
    """Measure, print, and return 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--repeat", type=int, default=15, help="repetitions of a short build (15)")
    parser.add_argument("--specs", type=int, default=1000, help="how many `many` are (1000)")
    given = parser.parse_args()
    slow = False
    for name in given.measures or MEASURES:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            for what, figure in measured(name, Path(folder), given):
                kept = figure <= LIMITS[what]
                slow |= not kept
                print(f"{what:<10} {figure:8.2f}  at most {LIMITS[what]:g}{'' if kept else '  !'}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
