"""Build every spec, train its scaled-down model, and print how it did beside its baselines.

    python benchmarks/families.py [--bench quick|full] [--out DIR] [SPEC ...]

Prints the rows of docs/scores.md, with what can be said of each baseline, and the CPU time of a
training. Packages stay in the out folder (a temporary one by default), so that a second run only
trains what has changed.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metagen import paths
from metagen.measure import comparison

LIBRARIES = ("torch", "scikit-learn", "statsmodels", "river", "django", "nilearn")
MACHINE = Path("benchmarks/machine.json")
HEADER = (
    *("spec", "parameters", "of the budget", "metric", "proxy", "baselines"),
    "outcome, or what is beaten",
)


def main() -> None:
    """Build the specs of the command line, or all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("specs", nargs="*", type=Path, metavar="SPEC")
    parser.add_argument("--bench", choices=("quick", "full"), default="quick")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    specs = args.specs or sorted(paths.specs().rglob("*.yaml"))
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        failures = {spec.stem: built(spec, out, args.bench) for spec in specs}
        packages = [out / f"run-{name}" for name, failure in failures.items() if not failure]
        rows = [row for package in packages for row in rows_of(package)]
        times = [seconds(package) for package in packages if (package / MACHINE).is_file()]
    print(f"{platform.machine()}, Python {platform.python_version()}; {', '.join(installed())}\n")
    print(f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(
        "\nCPU seconds of the training with the first seed, and of its scoring:", *times, sep="\n"
    )
    for name, failure in failures.items():
        if failure:
            print(f"{name} failed: {failure}", file=sys.stderr)


def built(spec: Path, out: Path, bench: str) -> str:
    """Build a spec's package; return the last line of the error, or nothing."""
    metagen = Path(sys.executable).with_name("metagen")
    options = ("--out", out, "--run-id", spec.stem, f"evaluation.bench={bench}")
    command = [str(part) for part in (metagen, "synth", spec, *options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def rows_of(package: Path) -> Iterator[tuple[str, ...]]:
    """Yield a row for each metric of a package's benchmark; the first one names the package."""
    summary = json.loads((package / "docs" / "summary.json").read_text())
    parameters = summary["parameters"]
    share = parameters["budget_share"]
    name = package.name.removeprefix("run-")
    head = (name, f"{parameters['total']:,}", "-" if share is None else f"{share:.2%}")
    for row in summary["benchmarks"]:
        if row["status"] != "not run":
            yield (*head, *scores(row))
            head = ("", "", "")


def seconds(package: Path) -> str:
    """Return the CPU time of a package's training and of its scoring, with its name."""
    took = json.loads((package / MACHINE).read_text())["seconds"]
    return f"{package.name.removeprefix('run-')} {took['training']:.0f}, {took['scoring']:.0f}"


def scores(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return metric, mean and spread over seeds with the interval, baselines, and outcome."""
    if row["value"] is None:
        return "-", row["status"], "-", "-"
    baselines = ", ".join(f"{name} {value:.4g}" for name, value in row["baselines"].items())
    several = "" if row["spread"] is None else f" ± {row['spread']:.2g} ({len(row['seeds'])})"
    interval = " to ".join(f"{end:.4g}" for end in row["interval"] or ())
    value = ", ".join(filter(None, (f"{row['value']:.4g}{several}", interval)))
    return row["title"], value, baselines, beaten(row)


def beaten(row: dict[str, Any]) -> str:
    """Return which baselines a score beats, loses to, or cannot be told from."""
    if row["status"] != "measured":
        return str(row["status"])
    said = []
    for outcome in (comparison.BEATS, comparison.LOSES, comparison.CANNOT_TELL):
        names = [name for name, each in row["outcomes"].items() if each == outcome]
        said += [f"{outcome}: {', '.join(names)}"] if names else []
    return "; ".join(said)


def installed() -> Iterator[str]:
    """Yield the libraries that results depend on, with their versions."""
    for name in LIBRARIES:
        yield f"{name} {version(name)}"


if __name__ == "__main__":
    main()
