"""The harness: `python -m tests.properties [PROPERTY...]` measures what builds promise."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import PROPERTIES, inside
from .lab import Lab, scratch, spec_files
from .tally import Tally, headline


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure properties, print their counts and the headline; 1 when one is violated."""
    given = _parser().parse_args(arguments)
    specs = spec_files(given.specs)
    tallies: dict[str, Tally] = {}
    with scratch() as root, inside.faked():
        lab = Lab(specs, root, given.n, given.seed, given.json, given.jobs)
        for name in given.properties or PROPERTIES:
            tallies[name] = _measured(name, lab, as_json=given.json)
    if not given.json:
        print(headline(tallies, len(specs)))
    return int(any(tally.violations for tally in tallies.values()))


def _measured(name: str, lab: Lab, *, as_json: bool) -> Tally:
    started = time.monotonic()
    tally: Tally = importlib.import_module(f"{__package__}.{name}").measure(lab)
    text = tally.json() if as_json else f"{tally.text()}  [{time.monotonic() - started:.0f} s]"
    print(text, flush=True)
    return tally


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    parser.add_argument(
        "properties", nargs="*", metavar="PROPERTY", choices=[[], *PROPERTIES],
        help=f"what to measure; by default all: {', '.join(PROPERTIES)}",
    )  # fmt: skip
    parser.add_argument("--n", type=int, help="cases of each property; by default all")
    parser.add_argument("--seed", type=int, default=7, help="what chance is drawn from (7)")
    parser.add_argument(
        "--specs", type=Path, nargs="+", default=[], help="specs, or folders of them (specs/)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure cases (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a property")
    return parser


if __name__ == "__main__":
    sys.exit(main())
