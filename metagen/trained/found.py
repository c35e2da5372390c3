"""A result that a file states: of which model it may be, and its entry of results.json."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metagen import paths
from metagen.errors import Problem
from metagen.measure import trial
from metagen.measure.results import (
    FULL,
    HARNESS,
    IMPORTED,
    MEASURED,
    STEPS_UNIT,
    Row,
    flaws,
    inconsistent,
)
from metagen.spec.findings import shown
from metagen.trained.door import refuse, settle
from metagen.trained.metrics import SHARE, metric

ELSEWHERE = "state a result of another form in a JSON file as docs/results.md describes it"
REMOVE = "correct or remove this entry, or leave the file out of --results"
PERCENT = "if the file states percent, divide by 100"
RERUN = "run the evaluation again on this checkpoint"
OTHER_MODEL = "leave the file out of --results, or run the evaluation on this checkpoint"
# What a checkpoint's folder and a package's own release are called.
_OWN = {"checkpoint", "release"}


@dataclass(frozen=True)
class Model:
    """The model that results must be of.

    Attributes:
        name: The name of the package.
        parameters: Their number.
        sha256: The digest of the bound weights; None if nothing is bound.
        step: The step of the bound checkpoint.
        seed: The seed of its training.
        finished: When the start that saved it ended; None if nothing says so.
        code: The sha256 of each script of the package, by its name in code/.
    """

    name: str
    parameters: int
    sha256: str | None = None
    step: int | None = None
    seed: int | None = None
    finished: datetime | None = None
    code: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """A value that a file states.

    Attributes:
        place: Where: the file, and the address in it.
        task: The name of the benchmark there.
        metric: The name of the metric there.
        value: Its value, unchecked.
        n: The number of samples, unchecked; None if the file does not say.
        standard_error: As the file has it; None for none.
        higher: Whether more is better; None: as the metric's name says.
        dataset: Name of the data; None: that of the task.
        split: The scored split; None if the file does not say.
        sha256: Digest of the data; None for none.
        bound: Whether the file names the digest of the bound weights.
        harness: What measured it; the fields of `HARNESS` that the file has.
        more: Further fields of the entry, such as an interval.
    """

    place: str
    task: Any
    metric: Any
    value: Any
    n: Any = None
    standard_error: Any = None
    higher: Any = None
    dataset: Any = None
    split: Any = None
    sha256: Any = None
    bound: bool = False
    harness: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def row(found: Found, benchmark: str, model: Model) -> Row:
    """Return the entry of a result under the name of a benchmark.

    Raises:
        TaskError: A value is of a wrong type, or outside of what its metric allows.
    """
    settle(_unnamed(found))
    known = metric(found.metric, found.task)
    entry = trial.entry(benchmark, MEASURED) | {
        "dataset": found.task if found.dataset is None else found.dataset,
        "sha256": found.sha256,
        "split": found.split if found.n is not None else None,
        "n": found.n,
        "n_unit": None if found.n is None else "samples",
        "metric": found.metric,
        "title": known.title,
        "unit": known.unit,
        "higher_is_better": known.higher if found.higher is None else found.higher,
        "value": found.value,
        "standard_error": _known(found.standard_error),
        "size": FULL,
        "origin": IMPORTED,
        "bound": found.bound,
        "harness": dict.fromkeys(HARNESS) | dict(found.harness),
        **dict(found.more),
    }
    if found.bound:
        entry |= {"seed": model.seed, "steps": model.step, "steps_unit": STEPS_UNIT} | {
            name: value for name, value in found.more.items() if name == "steps_unit"
        }
    settle(_problems(found, entry))
    return entry


def _unnamed(found: Found) -> Iterator[Problem]:
    for name in ("task", "metric"):
        if not isinstance(getattr(found, name), str):
            yield Problem(
                f"The {name} is {shown(getattr(found, name))}, no name.", found.place, REMOVE
            )


def _known(error: Any) -> Any:
    """Return a standard error; None for one that the harness could not compute."""
    unknown = error in ("N/A", "") or (isinstance(error, float) and math.isnan(error))
    return None if unknown else error


def _problems(found: Found, entry: Row) -> Iterator[Problem]:
    wrong = list(flaws(entry))
    for name, sentence in wrong or inconsistent(entry):
        high = type(found.value) in (int, float) and 1 < found.value <= 100
        hint = PERCENT if name == "value" and high and entry["unit"] == SHARE else REMOVE
        text = f"{shown(found.task)}, {shown(found.metric)}: {name or 'it'} {sentence}."
        yield Problem(text, found.place, hint)


def check_model(place: str, name: Any, model: Model) -> None:
    """Refuse a file whose model has another name than the package's, or than a checkpoint's folder.

    The last part of the name counts: `full_run/checkpoint`, `ORG/my-model`, `hf/ORG/my-model`.
    """
    if not isinstance(name, str) or not name.strip():
        return
    parts = [part for part in re.split(r"[/\\]", name.strip()) if part not in ("", ".")]
    last = parts[-1] if parts else ""
    if last not in _OWN and _plain(last) != _plain(model.name):
        sentence = f"These are results of the model {shown(name)}, and this package is of "
        refuse(f"{sentence}{shown(model.name)}.", place, OTHER_MODEL)


def _plain(name: str) -> str:
    return "".join(letter for letter in paths.slug(name).casefold() if letter.isalnum())


def check_count(place: str, count: Any, model: Model) -> None:
    """Refuse a file whose model has another number of parameters; None is not known."""
    if count is not None and (type(count) is not int or count != model.parameters):
        sentence = f"These are results of a model with {shown(count)} parameters, and this one has "
        refuse(f"{sentence}{model.parameters:,}.", place, OTHER_MODEL)


def check_digest(place: str, sha256: Any, model: Model) -> bool:
    """Return whether a file names the bound weights; refuse another digest, or none."""
    if sha256 is None:
        return False
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        sentence = f"The checkpoint's sha256 is {shown(sha256)}; allowed: 64 hexadecimal digits."
        refuse(sentence, place, REMOVE)
    if model.sha256 is None:
        return False
    if sha256 != model.sha256:
        sentence = f"These are results of the weights {sha256}, and the bound ones are "
        refuse(f"{sentence}{model.sha256}.", place, RERUN)
    return True


def check_time(place: str, when: Any, model: Model) -> None:
    """Refuse results that are older than the checkpoint; a time that is unreadable is not known."""
    try:
        number = type(when) in (int, float)
        time = datetime.fromtimestamp(when).astimezone() if number else datetime.fromisoformat(when)
    except (ValueError, OverflowError, OSError, TypeError):
        return
    if model.finished and time.tzinfo and time < model.finished:
        sentence = (
            f"This evaluation began at {time.isoformat()}, before the checkpoint was finished "
        )
        refuse(f"{sentence}at {model.finished.isoformat()}.", place, RERUN)
