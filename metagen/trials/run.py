"""A trial to its outcome: by a training in the sandbox, or from the cache of what was run.

The key of a training is the sha256 of all that decides its result: each file of the code, the
settings, and the versions of Python and of the libraries that the code requires. Its outcome goes
to the cache when it has ended, in one step; a training that was stopped leaves nothing there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from metagen.engine.cache import Cache, Shared
from metagen.engine.digest import version
from metagen.engine.engine import Warn
from metagen.engine.ledger import Trace
from metagen.engine.session import opened
from metagen.errors import Problem, UsageError
from metagen.files import canonical, json_bytes, sha256, sha256_of
from metagen.measure import sandbox
from metagen.measure.training import Left, trained
from metagen.trials import counted
from metagen.trials.outcome import Outcome, Point
from metagen.trials.trial import CONFIG, Trial

Watch = Callable[[int, int, float], None]  # Steps done, steps in all, and the validation loss.
_OUTCOME = "outcome.json"
_COUNTER, _COUNTING = Path(counted.__file__), "counted.py"
_REQUIREMENTS = "code/requirements.txt"
_NO_LIMIT = 1e8  # seconds; a user who waits no longer stops the command
_FORMAT = 1  # Part of every key: what an older metagen stored is not read.
_VALIDATION = re.compile(r"validation (\S+)")
_MACHINE = ("--size", "proxy", "--device", "cpu", "--threads", "1")
_COUNTED = ("model", "data")  # Sections of the settings that a count reads.
_TRAINED = (*_COUNTED, "train")


def cache_in(place: Path | str, warn: Warn = lambda problems: None) -> Cache:
    """Return the cache in a folder, which is made, or on a server; builds may use the same one.

    Args:
        place: The folder, or the URL of the server.
        warn: Told of the first fault of a server, which costs a training and nothing else.

    Raises:
        UsageError: The folder holds files of somebody else, or the URL is malformed.
    """
    shared = Shared.of_environment(str(place))
    assert shared
    return opened(shared, warn)


def _unwatched(done: int, steps: int, val_loss: float) -> None:
    """Let a training go on."""


def run(
    package: Mapping[str, bytes],
    trial: Trial,
    cache: Cache,
    watch: Watch = _unwatched,
    python: sandbox.Python | None = None,
) -> Outcome:
    """Return the outcome of a trial; the same trial is trained once.

    Args:
        package: The files of `code/`, as `package_of` returns them.
        trial: What to train.
        cache: Where outcomes are kept.
        watch: Called at each validation, with its loss to three decimals. An exception that it
            raises ends the training. What the cache has is replayed, so it sees the same.
        python: What runs the code; `warm.python` saves time where trainings are short.

    Raises:
        TaskError: The code of the package failed; the error shows its last output.
    """
    files = {**package, CONFIG: json_bytes({"proxy": trial.settings})}
    key = _key(files, trial, _TRAINED, _digest_of(trial.data) if trial.data else "")
    stored = _stored(cache, key, _OUTCOME)
    if stored is None:
        outcome = _trained(files, trial, cache, watch, python)
        _store(cache, key, _OUTCOME, json_bytes(outcome.content()))
        return outcome
    outcome = Outcome.of(json.loads(stored))
    for point in outcome.curve:
        watch(point.step, trial.steps, float(f"{point.val_loss:.3f}"))
    return outcome


def counts(package: Mapping[str, bytes], trial: Trial, cache: Cache) -> dict[str, int]:
    """Return `parameters`, and the `flops` of an update on one sample, without a training."""
    files = {**package, CONFIG: json_bytes({"proxy": trial.settings})}
    key = _key(files, trial, _COUNTED)
    stored = _stored(cache, key, counted.COUNTS)
    if stored is None:
        counting = {**files, f"code/{_COUNTING}": _COUNTER.read_bytes()}
        command = (f"code/{_COUNTING}", counted.ALONE)
        left = sandbox.run(command, counting, (counted.COUNTS,), timeout=_NO_LIMIT)
        stored = left[counted.COUNTS]
        _store(cache, key, counted.COUNTS, stored)
    found: dict[str, int] = json.loads(stored)
    return found


@lru_cache(maxsize=16)
def _digest_of(data: Path) -> str:
    """Return the digest of all files of the data, which is read once in a process.

    Raises:
        UsageError: There is nothing at the path.
    """
    if not data.exists():
        raise UsageError(Problem("There is no such file or folder.", str(data), "correct --data"))
    inside = sorted(p for p in data.rglob("*") if p.is_file()) if data.is_dir() else [data]
    return sha256(canonical([[str(p.relative_to(data)), sha256_of(p)] for p in inside]).encode())


def _key(
    files: Mapping[str, bytes], trial: Trial, sections: tuple[str, ...], data: str = ""
) -> str:
    """Return the sha256 of all that decides the result of a run that reads some settings."""
    settings = {name: trial.settings[name] for name in sections}
    code = {name: sha256(data) for name, data in files.items() if name != CONFIG}
    listed = files.get(_REQUIREMENTS, b"").decode().split()
    names = {"python", "torch", "numpy", *(re.split("[<>=~]", line)[0] for line in listed)}
    versions = {name: version(name) for name in sorted(names)}
    return sha256(canonical([_FORMAT, code, settings, versions, data]).encode())


def _trained(
    files: Mapping[str, bytes],
    trial: Trial,
    cache: Cache,
    watch: Watch,
    python: sandbox.Python | None,
) -> Outcome:
    def progress(done: int, steps: int, note: str) -> None:
        if match := _VALIDATION.search(note):
            watch(done, steps, float(match[1]))

    data = ("--data", str(trial.data.resolve())) if trial.data else ()
    arguments = ("--steps", str(trial.steps), "--seed", str(trial.seed), *_MACHINE, *data)
    key = _key(files, trial, _COUNTED)
    counts = _stored(cache, key, counted.COUNTS)
    if counts is None:
        # The process that trains has torch in memory anyway, so it is the one that counts.
        counting = {**files, f"code/{_COUNTING}": _COUNTER.read_bytes()}
        command, more = (_COUNTING, *arguments), (counted.COUNTS,)
        left = trained(counting, command, progress, more, _NO_LIMIT, python)
        counts = left.more[counted.COUNTS]
        _store(cache, key, counted.COUNTS, counts)
    else:
        left = trained(files, ("train.py", *arguments), progress, (), _NO_LIMIT, python)
    return _outcome(left, trial, json.loads(counts))


def _outcome(left: Left, trial: Trial, counts: Mapping[str, int]) -> Outcome:
    speeds = [name for name in left.curve[-1] if name.endswith("_per_second") or name == "mfu"]
    metrics = {name: value for name, value in left.curve[-1].items() if name not in speeds}
    samples = trial.steps * trial.settings["train"]["batch_size"]
    rows = (line for line in left.curve if line.get("val_loss") is not None)
    return Outcome(
        val_loss=metrics["val_loss"],
        curve=tuple(Point(line["step"], line["val_loss"]) for line in rows),
        metrics=metrics,
        parameters=counts["parameters"],
        flops=samples * counts["flops"],
        samples=samples,
        units=left.run["units"],
        unit=left.run["unit"],
        data=left.run["data"],
        seconds=left.seconds["training"],
        memory=left.run["memory_peak"],
    )


def _stored(cache: Cache, key: str, name: str) -> bytes | None:
    # A key holds all that a run read, so that its trace has no dependencies beside.
    found = cache.find(key, lambda kind, name: "")
    return found[1].get(name) if found else None


def _store(cache: Cache, key: str, name: str, data: bytes) -> None:
    cache.put(key, Trace((), {name: sha256(data)}, {}), {name: data})
