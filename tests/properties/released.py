"""A toy release as a process: `python -m tests.properties.released OUT TRAINED`.

Its tasks do with files what those of a real release do: they read, link, copy and list the weights
of a bound training folder. They cost next to nothing, so that a kill hits the engine at work.

RELEASED_LOG     a file that gets a line as the process begins
RELEASED_COPIES  any text: no hard links, as between two file systems
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from metagen import files
from metagen.engine import doors, session
from metagen.engine.binding import Binding
from metagen.engine.graph import Graph
from metagen.engine.session import Options, Session
from metagen.engine.terminal import Terminal, exit_on_signals
from metagen.work import Desk, Large, Output, Recipe
from tests.helpers.toy import FakeSpec, Unchanged

SHARDS = tuple(f"model-{number}.safetensors" for number in range(1, 4))
_LINKED, _MADE = (tuple(f"release/{each}/{name}" for name in SHARDS) for each in ("linked", "made"))


def model(desk: Desk) -> dict[str, bytes]:
    """Say what the run left, as `trained/model.json` does."""
    digests = [desk.trained_digest(f"checkpoint/{name}") for name in SHARDS]
    steps = json.loads(desk.trained("run.json"))["steps"]
    return {"trained/model.json": files.json_bytes({"steps": steps, "files": digests})}


def linked(desk: Desk) -> Mapping[str, Output]:
    """Take the weights over as they are."""
    pairs = zip(_LINKED, (f"checkpoint/{name}" for name in SHARDS), strict=True)
    return {to: Large(desk.trained_place(of), desk.trained_digest(of)) for to, of in pairs}


def made(desk: Desk) -> Mapping[str, Output]:
    """Write the weights anew, one after the other."""
    outputs: dict[str, Output] = {}
    for to, name in zip(_MADE, SHARDS, strict=True):
        data = desk.trained_place(f"checkpoint/{name}").read_bytes()
        desk.trained_digest(f"checkpoint/{name}")
        place = desk.scratch() / name
        place.write_bytes(bytes(255 - byte for byte in data[:4096]) + data[4096:])
        outputs[to] = Large(place, "")
    return outputs | {"release/index.json": files.json_bytes(sorted(outputs))}


def card(desk: Desk) -> dict[str, bytes]:
    """Print a number of the model, and one of the results."""
    steps = desk.entry("trained/model.json", "steps")
    results = [json.loads(data)["value"] for _, data in desk.results()]
    return {"release/README.md": f"{steps} steps, {results}\n".encode()}


def listing(desk: Desk) -> dict[str, bytes]:
    """List the release with its digests, as the manifest does."""
    paths = (*_LINKED, *_MADE, "release/index.json", "release/README.md")
    return {"manifest.json": files.json_bytes({path: desk.digest(path) for path in paths})}


RECIPES = (
    Recipe("trained:model", model, (), ("trained/model.json",), ""),
    Recipe("release:linked", linked, ("trained/model.json",), _LINKED, ""),
    Recipe("release:made", made, ("trained/model.json",), (*_MADE, "release/index.json"), ""),
    Recipe("release:card", card, ("trained/model.json",), ("release/README.md",), ""),
    Recipe(
        "manifest:manifest",
        listing,
        (*_LINKED, *_MADE, "release/index.json", "release/README.md"),
        ("manifest.json",),
        "",
    ),
)


def main(out: Path, trained: Path, results: Path) -> int:
    """Build the toy release; return the exit status."""
    binding = Binding.of(trained, (results,))
    graph = Graph(FakeSpec(), "run-toy", RECIPES, (), binding)  # type: ignore[arg-type]
    options = Options("", rebind=True)
    exit_on_signals()
    with mock.patch.object(session, "Environment", Unchanged):
        return doors.run(Session(out, [graph], Terminal(), options), "synth")


def note(text: str) -> None:
    """Append a line to the log."""
    with Path(os.environ["RELEASED_LOG"]).open("a") as log:
        log.write(f"{text} {time.monotonic()}\n")


if __name__ == "__main__":
    if os.environ.get("RELEASED_COPIES"):
        os.link = mock.Mock(side_effect=OSError(errno.EXDEV, "Invalid cross-device link"))
    note("main begins")
    status = main(*map(Path, sys.argv[1:]))
    note("main ends")
    sys.exit(status)
