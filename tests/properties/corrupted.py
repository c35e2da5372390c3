"""Corrupted training folders and result files: none makes a false statement; each has a sentence.

A training folder that fits the package, and a result file of each form, get one of the changes
of `corruptions`: of another model or seed, of another checkpoint, swapped, doubled, in other units,
cut off, edited, without a part, hostile, or plausible. Then they are taken in as a build takes them
in. A refusal names a file and the next step. What is taken says only what its files say, as a
reader of its own finds out here: each number lies in the file that it names, and a result is bound
only where the file names the digest of the weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from metagen.errors import MetagenError
from metagen.trained import model, results
from tests.helpers import bound, harness_files

from .corruptions import CHANGES, LOG, RUN, SCORES, STATE, WEIGHTS, Case, Change, nothing
from .lab import Lab
from .tally import Tally

FULL = 400
NAMES = ("lm_eval", "lm_eval_of_2023", "lighteval", "inspect", "every_eval_ever", "plain")


def measure(lab: Lab) -> Tally:
    """Corrupt a training folder or result files, and take them in."""
    tally = Tally("corrupted")
    tally.must_not("false statements", "without a sentence", "tracebacks", "refused unchanged")
    return lab.apart(tally, _one, range(lab.size(FULL)))


def _one(lab: Lab, number: int) -> Tally:
    tally, change = Tally("corrupted"), CHANGES[number % len(CHANGES)]
    with lab.folder() as place:
        bound.training(place / "run")
        files = {f"{name}.json": getattr(harness_files, name)() for name in NAMES}
        given = {name: harness_files.encoded(content) for name, content in files.items()}
        case = Case(place / "run", given, lab.chance(f"corrupted {number}"))
        # Two forms state the same benchmark with other values, so one file is given at a time.
        name = case.chance.choice(sorted(given))
        case.given = {name: given[name]}
        change(case)
        tally.count("inputs")
        _judge(f"#{number} {change.__name__} {sorted(case.given)}", case, change, tally)
    return tally


def _judge(label: str, case: Case, change: Change, tally: Tally) -> None:
    try:
        taken = _taken(case)
    except MetagenError as error:
        tally.count("refused")
        tally.check(change is not nothing, "refused unchanged", f"{label}: {error}")
        named = all(_is_whole(problem) for problem in error.problems)
        tally.check(named, "without a sentence", f"{label}: {error}")
    except Exception:
        tally.violated("tracebacks", f"{label}: {traceback.format_exc()[-600:]}")
    else:
        tally.count("taken")
        if case.wrong:
            tally.violated("false statements", f"{label}: taken")
        for wrong in _false(case, *taken):
            tally.violated("false statements", f"{label}: {wrong}")


def _is_whole(problem: Any) -> bool:
    return bool(problem.place and problem.hint and re.search(r"[.!]$", problem.sentence))


def _taken(case: Case) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    desk = bound.desk(case.folder, case.given)
    desk.package |= model.model(desk)
    rows = json.loads(results.results(desk)["trained/results.json"])
    return json.loads(desk.package["trained/model.json"]), rows


def _false(case: Case, found: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what is stated and is not in the files."""
    data = (case.folder / WEIGHTS).read_bytes()
    sha256, state = hashlib.sha256(data).hexdigest(), case.content(STATE)
    log = [
        json.loads(line) for line in (case.folder / LOG).read_text().splitlines()[: state["step"]]
    ]
    own = {
        "checkpoint.sha256": (found["checkpoint"]["sha256"], sha256),
        "checkpoint.step": (found["checkpoint"]["step"], state["step"]),
        "checkpoint.parameters": (found["checkpoint"]["parameters"], bound.TOTAL),
        "seed": (found["seed"], bound.SEED),
        "losses.train": (found["losses"]["train"], log[-1]["train_loss"]),
        "status": (found["status"], "trained" if state["step"] >= bound.STEPS else "partial"),
    }
    own |= _of_the_run(case, found) if found["starts"] else {}
    yield from (
        f"{name} is {a!r}, and {b!r} in the files" for name, (a, b) in own.items() if a != b
    )
    for row in rows:
        yield from _of_a_result(case, row, sha256)


def _of_the_run(case: Case, found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    starts = case.content(RUN)["starts"]
    starts = starts[max(n for n, each in enumerate(starts) if each["steps"]["from"] == 0) :]
    own = {name.removeprefix("code/"): hashlib.sha256(data).hexdigest()
           for name, data in bound.package().items() if name.startswith("code/")}  # fmt: skip
    same = all(own.get(n) == s for each in starts for n, s in each["code"].items())
    pairs = {"code.same": (found["code"]["same"], same if all(e["code"] for e in starts) else None)}
    for name in ("wall", "device"):
        stated = found["seconds"][name]
        parts = [each["seconds"][name] for each in starts]
        if stated is not None:
            pairs[f"seconds.{name}"] = (stated, sum(parts))
    if found["units"] is not None:
        pairs["units"] = (found["units"], sum(each["units"] for each in starts))
    return pairs


def _of_a_result(case: Case, row: dict[str, Any], sha256: str) -> Iterator[str]:
    name = row["harness"]["file"]
    data = (case.folder / SCORES).read_bytes() if name == SCORES else case.given[name]
    stated = _numbers(json.loads(data))
    if row["harness"]["sha256"] != hashlib.sha256(data).hexdigest():
        yield f"{name} has another digest than stated"
    for field in ("value", "standard_error"):
        if row[field] is not None and row[field] not in stated:
            yield f"{field} {row[field]} is not in {name}"
    if type(row["value"]) not in (int, float) or not math.isfinite(row["value"]):
        yield f"impossible: {row}"
    if row["unit"] == "share" and not -1e-6 <= row["value"] <= 1 + 1e-6:
        yield f"no share: {row['value']}"
    if row["n"] is not None and (type(row["n"]) is not int or row["n"] < 1):
        yield f"impossible n: {row['n']}"
    if row["bound"] and sha256 not in data.decode():
        yield f"{name} does not name the weights"
    if (row["size"], row["origin"]) != ("full", "imported"):
        yield f"{row['size']}, {row['origin']}"


def _numbers(content: Any) -> set[float]:
    if isinstance(content, (dict, list)):
        parts = content.values() if isinstance(content, dict) else content
        return set().union(*map(_numbers, parts))
    return {content} if type(content) in (int, float) else set()
