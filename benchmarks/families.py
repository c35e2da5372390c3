"""Build every spec, train its scaled-down model, and print how it did beside its baselines.

    python benchmarks/families.py [--bench quick|full] [--out DIR] [SPEC ...]

Prints a Markdown table, with what can be said of each baseline. Packages stay in
the out folder (a temporary one by default), so that a second run only trains what has changed.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metagen import paths
from metagen.docs import wording
from metagen.measure import comparison

LIBRARIES = ("torch", "scikit-learn", "statsmodels", "river", "django", "nilearn")
HEADER = (
    *("spec", "parameters", "of the budget", "metric", "proxy, mean ± spread (seeds)"),
    *("95 % interval", "baselines", "outcome", "seconds"),
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
        rows = [row for spec in specs for row in built(spec, args.out or Path(scratch), args.bench)]
    print(f"{platform.machine()}, Python {platform.python_version()}; {', '.join(installed())}\n")
    print(f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def built(spec: Path, out: Path, bench: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for each metric of a spec's benchmark."""
    began = time.perf_counter()
    metagen = Path(sys.executable).with_name("metagen")
    options = ("--out", out, "--run-id", spec.stem, f"evaluation.bench={bench}")
    command = [str(part) for part in (metagen, "synth", spec, *options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = f"{time.perf_counter() - began:.0f}"
    if done.returncode:
        yield (
            spec.stem,
            "",
            "",
            "",
            f"failed: {done.stderr.strip().splitlines()[-1]}",
            "",
            "",
            "",
            "",
        )
        return
    summary = json.loads((out / f"run-{spec.stem}" / "docs" / "summary.json").read_text())
    parameters = summary["parameters"]
    share = parameters["budget_share"]
    head = (spec.stem, f"{parameters['total']:,}", "-" if share is None else f"{share:.2%}")
    for row in summary["benchmarks"]:
        if row["status"] != "not run":
            yield (*head, *scores(row), seconds)


def scores(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Return metric, mean and spread over seeds, interval, baselines, and the comparison."""
    if row["value"] is None:
        return "-", row["status"], "-", "-", "-"
    baselines = ", ".join(f"{name} {value:.4g}" for name, value in row["baselines"].items())
    metric = wording.write(row["metric"], "", "words")
    spread = "" if row["spread"] is None else f" ± {row['spread']:.2g}"
    interval = " to ".join(f"{end:.4g}" for end in row["interval"] or ()) or "none"
    value = f"{row['value']:.4g}{spread} ({len(row['seeds'])})"
    return metric, value, interval, baselines, beaten(row)


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
