"""Many specs on two machines that share a cache on a server; a kill; and another machine.

Each machine is a process with an out folder of its own. One is killed and started again: the plan
must name what it still has to do, and no more than the task at work is done twice. A machine that
comes later, with an empty folder, must run nothing and hold the same bytes, and its plan must say
so. Some packages are compared with clean builds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.cache_server import CacheServer, serving

from . import inside, outside
from .lab import Lab
from .tally import Tally

FULL = 1000
_LIMIT = 4 * 3600.0  # seconds of one machine
_CLEAN = 3  # packages compared with clean builds
# Few documents, so that a thousand packages take minutes.
_SETTINGS = ("bench=none", "outputs.artifacts=[limitations]")


def measure(lab: Lab) -> Tally:
    """Build variants of the specs on two machines, kill one, and build them on another."""
    tally = Tally("shards")
    tally.must_not("failed", "run twice", "run again", "plan inexact", "other bytes")
    with lab.folder() as folder, serving() as server:
        specs = variants(lab, folder / "specs", lab.size(FULL))
        tally.count("specs", len(specs))
        machines = [_Machine(folder, server, f"{number}/2") for number in (1, 2)]
        _killed(lab, machines, len(specs), tally)
        _other(_Machine(folder, server), machines, tally)
        for spec in lab.some(specs, "clean")[:_CLEAN]:
            _clean(lab, spec, folder / "later", tally)
        tally.count("entries on the server", len(server.content))
    return tally


def variants(lab: Lab, folder: Path, number: int) -> list[Path]:
    """Write copies of the specs, in turn, that differ in name, sizes, texts and seeds."""
    folder.mkdir()
    made = []
    for each in range(number):
        spec = lab.specs[each % len(lab.specs)]
        text = spec.read_text().replace(f"name: {spec.stem}\n", f"name: variant_{each}\n")
        text = text.replace('max: "10M"', f'max: "{5 + each % 50}M"')
        text = text.replace("seed: 42", f"seed: {each % 7}")
        made.append(folder / f"variant_{each}.yaml")
        made[-1].write_text(text)
    return made


class _Machine:
    """A process that builds a shard, or all specs, in a folder of its own."""

    def __init__(self, folder: Path, server: CacheServer, shard: str = "") -> None:
        name = shard.replace("/", "of") or "later"
        self.out, self.log, self._printed = (
            folder / f"{name}{end}" for end in ("", ".log", ".txt")
        )
        taken = ("--shard", shard) if shard else ()
        place = ("--out", str(self.out), "--cache", server.url)
        self._arguments = (str(folder / "specs"), *_SETTINGS, *place, *taken, "--json")

    def start(self) -> subprocess.Popen[Any]:
        command = outside.command("synth", *self._arguments, "--cache-upload")
        environment = outside.environment(FAKED_LOG=str(self.log))
        with self._printed.open("w") as printed:
            return subprocess.Popen(
                command, env=environment, stdout=printed, stderr=printed, start_new_session=True
            )

    def ended_well(self, process: subprocess.Popen[Any], tally: Tally) -> None:
        status = process.wait(_LIMIT)
        tally.check(status == 0, "failed", f"status {status}: {self._printed.read_text()[-600:]}")

    def plan(self) -> list[tuple[str, ...]]:
        """Return the tasks that `metagen plan` names, and what it says of them."""
        command = outside.command("plan", *self._arguments)
        told = subprocess.run(
            command, env=outside.environment(), capture_output=True, text=True, timeout=_LIMIT
        )
        return sorted(_tasks(told.stdout, "plan"))

    def done(self) -> list[tuple[str, ...]]:
        """Return the same of what the last build did."""
        return sorted(_tasks(self._printed.read_text(), "task"))

    def packages(self) -> int:
        """Return how many packages are complete."""
        ended = outside.noted(self.log, "ended")
        return sum(task.endswith("/manifest:manifest") for task in ended)


def _tasks(lines: str, kind: str) -> Iterator[tuple[str, ...]]:
    events = (json.loads(line) for line in lines.splitlines() if line.startswith("{"))
    yield from ((e["run"], e["task"], e["action"]) for e in events if e["event"] == kind)


def _killed(lab: Lab, machines: list[_Machine], specs: int, tally: Tally) -> None:
    """Run both shards; kill one on its way, and start it again when the other has ended."""
    first, second = machines
    share = lab.chance("kill").uniform(0.2, 0.8)
    processes = [machine.start() for machine in machines]
    while first.packages() < share * specs / 2 and processes[0].poll() is None:
        time.sleep(0.02)
    os.killpg(processes[0].pid, signal.SIGKILL)
    processes[0].wait()
    tally.count("killed machines")
    second.ended_well(processes[1], tally)
    planned = first.plan()
    first.ended_well(first.start(), tally)
    done = first.done()
    tally.count("tasks that the kill left", len(done))
    wrong = {task[:2] for task in planned} ^ {task[:2] for task in done}
    tally.check(not wrong, "plan inexact", f"after the kill: {sorted(wrong)[:5]}")
    _count_runs(machines, tally)


def _count_runs(machines: list[_Machine], tally: Tally) -> None:
    begun = sum((outside.noted(machine.log, "began") for machine in machines), start=_nothing())
    tally.count("tasks run", len(begun))
    twice = [task for task, times in begun.items() if times > 1]
    tally.count("tasks at work when killed", len(twice))
    tally.check(len(twice) <= 1, "run twice", str(twice[:5]))


def _nothing() -> Any:
    return outside.noted(Path("/nonexistent"), "began")


def _other(later: _Machine, machines: list[_Machine], tally: Tally) -> None:
    """Build everything on another machine, from the cache alone."""
    planned = later.plan()
    later.ended_well(later.start(), tally)
    done = later.done()
    tally.count("tasks restored", sum(action == "restore" for *_, action in done))
    again = outside.noted(later.log, "began")
    tally.check(not again, "run again", f"{len(again)} tasks: {sorted(again)[:5]}")
    tally.check(planned == done, "plan inexact", str(sorted(set(planned) ^ set(done))[:5]))
    expected = {path: data for machine in machines for path, data in _tree(machine.out)}
    wrong = inside.difference(dict(_tree(later.out)), expected)
    tally.check(not wrong, "other bytes", wrong[:600])


def _tree(out: Path) -> Iterator[tuple[str, bytes]]:
    yield from inside.tree(out).items()


def _clean(lab: Lab, spec: Path, out: Path, tally: Tally) -> None:
    run = f"run-{spec.stem}/"
    clean = inside.build(out.parent / f"clean-{spec.stem}", spec, _SETTINGS).tree
    built = {path: data for path, data in inside.tree(out).items() if path.startswith(run)}
    wrong = inside.difference(built, clean)
    tally.count("packages compared with clean builds")
    tally.check(not wrong, "other bytes", f"{spec.stem}: {wrong[:600]}")
