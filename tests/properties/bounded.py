"""Specs of any size: `explain` and `plan` answer, and neither takes long nor much memory.

The numbers of a spec are drawn from both ends of what their keys allow and beyond, and dimensions
of every family are pinned to them, one or several at once.
"""

from __future__ import annotations

import io
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from metagen import families
from metagen.engine import graph, query
from metagen.engine.terminal import Terminal
from metagen.errors import MetagenError
from metagen.sizing import explain
from metagen.spec import load
from metagen.spec.schema import keys

from .honest import first_of_each
from .lab import Lab
from .tally import Tally
from .values import setting

BYTES = 500_000_000
EXPLAIN, PLAN = 5.0, 10.0  # seconds of a processor
_FULL = 2000
_POWERS = (1, 2, 3, 8, 16, 64, 97, 1000, 1024, 4096, 9973, 10**5, 2**17, 720_720, 2**20)
_BEYOND = (10**9, 10**12, 999_999_999_999_999_999, 1e30, 0, -1, 0.5, 1e-9)
# The ends of what quantities with a unit may be.
_AMOUNTS: dict[str, tuple[Any, ...]] = {
    "constraints.parameter_budget.min": (1, 1000, 10**9, 10**12, 10**15),
    "constraints.parameter_budget.max": (1, 1000, 10**9, 10**12, 10**15),
    "constraints.memory_budget": (1, "1MB", "1GB", "1TB", 10**18),
    "constraints.context_window": (1, "8k", "1M", 2**30, 2**40, "infinite"),
    "constraints.prompt_length": (1, "8k", 2**30, 2**40),
    "constraints.throughput": ("0.000001 tok/s", "1000000000 tok/s", "1000000000 img/s"),
    "constraints.latency": ("1ns", "1ms", "1000000 s", "real-time"),
    "constraints.device": ("cpu", "mobile", "65536xH100-80GB-SXM", "edge"),
    "training.data.size": ("1 token", "1000000T tokens", "1 image", "1000T images"),
    "training.compute.hardware": ("1xA100", "1000000xH100"),
    "training.compute.duration": ("1 second", "100000 years"),
}


class Case(NamedTuple):
    """A spec and the settings that are laid over it."""

    spec: Path
    settings: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.spec.stem} {' '.join(self.settings)}"


def measure(lab: Lab) -> Tally:
    """Explain specs with numbers drawn from the ends of what may be written."""
    tally = Tally("bounded")
    tally.must_not("slow", "large", "crashed")
    chance, specs = lab.chance("bounded"), first_of_each(lab.specs)
    cases = [_drawn(specs, chance) for _ in range(lab.size(_FULL))]
    return lab.apart(tally, _of_case, cases)


def _drawn(specs: list[Path], chance: random.Random) -> Case:
    spec = chance.choice(specs)
    settings = [setting(*chance.choice(_numbers())) for _ in range(chance.choice((0, 0, 1, 1, 2)))]
    if not settings or chance.random() < 0.7:
        settings.append(setting("architecture.dims", _pinned(spec, chance)))
    return Case(spec, tuple(settings))


def _numbers() -> list[tuple[str, Any]]:
    """Return each key of a number with each of its ends."""
    ends = [(key, value) for key, values in _AMOUNTS.items() for value in values]
    for name, key in keys().items():
        schemas = [key.kind.json, *key.kind.json.get("anyOf", ())]
        most = next((each["maximum"] for each in schemas if "maximum" in each), None)
        if most is not None:
            ends += [(name, value) for value in (1, 0.001, 17, 10**6, most)]
    return ends


def _pinned(spec: Path, chance: random.Random) -> dict[str, Any]:
    """Return one to three dimensions of the family, small and huge."""
    family = families.named(families.route(load(spec).key))
    names = list({**family.dims, **family.formats})
    chosen = chance.sample(names, chance.choice((1, 1, 2, 3)))
    return {name: chance.choice(_POWERS if chance.random() < 0.95 else _BEYOND) for name in chosen}


def _of_case(lab: Lab, case: Case) -> Tally:
    tally = Tally("bounded")
    tally.count("specs")
    if _answers(_explain, EXPLAIN, case, tally):
        tally.count("explained")
        tally.count("planned", int(_answers(_plan, PLAN, case, tally)))
    return tally


def _answers(command: Callable[[Case], None], seconds: float, case: Case, tally: Tally) -> bool:
    """Run a command within bounds and return whether it answers, rather than refuse."""
    said = f"{command.__name__.strip('_')} {case}"
    try:
        with _within_bounds(seconds):
            command(case)
        return True
    except MetagenError:
        tally.count("refused")
    except _SlowError:
        tally.violated("slow", said)
    except MemoryError:
        tally.violated("large", said)
    except Exception as error:
        tally.violated("crashed", f"{said}: {error!r}")
    return False


def _explain(case: Case) -> None:
    for _ in explain.lines(graph.of_spec(load(case.spec, case.settings)).spec):
        pass


def _plan(case: Case) -> None:
    """Plan what a spec makes: the files of `blueprint/` and what they need, but no documents."""
    made = graph.of_spec(load(case.spec, case.settings))
    terminal = Terminal(io.StringIO(), quiet=True)
    for _ in query.dry_run(Path("/nonexistent"), [made], "blueprint", terminal):
        pass


class _SlowError(Exception):
    """The time of the processor is up."""


@contextmanager
def _within_bounds(seconds: float) -> Iterator[None]:
    """Stop what takes more seconds of a processor, or more memory than this process has."""

    def stop(*_: object) -> None:
        raise _SlowError

    before, limits = signal.signal(signal.SIGPROF, stop), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_held() + BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGPROF, before)


def _held() -> int:
    """Return the bytes of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
