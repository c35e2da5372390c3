"""The plan is exact: it names the tasks that the next build runs, those alone, each with a cause.

Before every build of another value of a leaf key, and before other changes, the plan is made;
the build must then do what was planned, and the plan must have left no trace.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metagen.engine import query
from metagen.engine.terminal import Terminal
from metagen.errors import USAGE, SpecError

from . import inside, leaf, outside, values
from .lab import Lab
from .tally import Tally

_Planned = Mapping[str, tuple[str, Sequence[str]]]  # by task: the action and its causes


def measure(lab: Lab) -> Tally:
    """Plan and build every leaf key's edit and the way back, then changes of other kinds."""
    tally = Tally("plan")
    tally.must_not("inexact", "without a cause", "cause without the key", "traces left")
    lab.apart(tally, _of_one_spec, leaf.by_spec(lab))
    return lab.apart(tally, _changed, lab.specs)


def _of_one_spec(lab: Lab, cases: list[leaf.Case]) -> Tally:
    tally, spec = Tally("plan"), cases[0].spec
    with lab.folder() as folder:
        _step(f"{spec.stem} cold", folder / "out", spec, [], tally)
        for case in lab.progress("plan", cases):
            _edited(lab, case, folder / "out", tally)
    return tally


def _edited(lab: Lab, case: leaf.Case, out: Path, tally: Tally) -> None:
    """Plan and build the first other value of a key that a model fits, and go back."""
    for raw in values.buildable(case.spec, case.key, lab.chance(str(case))):
        setting = values.setting(case.key, raw)
        label = f"{case.spec.stem} {setting}"
        try:
            planned = _step(label, out, case.spec, [setting], tally)
        except SpecError as error:
            status = inside.build(out, case.spec, [setting]).status
            tally.count("plans of what no model fits")
            tally.check(status == USAGE, "inexact", f"{label}: {error}, and builds: {status}")
            continue
        _causes(label, planned, case.key, tally)
        _step(f"{case.spec.stem} back from {setting}", out, case.spec, [], tally)
        return


def _changed(lab: Lab, spec: Path) -> Tally:
    """Plan after deleted and edited outputs, after another seed, and after nothing at all."""
    tally, chance = Tally("plan"), lab.chance(f"plan {spec.stem}")
    with lab.folder() as folder:
        out = folder / "out"
        lab.begin(out, spec)
        for word in ("delete", "edit", "delete", "edit", "none", "delete")[: lab.size(6)]:
            _change(word, chance.choice(sorted(p for p in out.glob("run-*/**/*") if p.is_file())))
            settings = [f"seed={chance.randrange(3)}"]
            _step(f"{spec.stem} {word}", out, spec, settings, tally)
        _command(out, spec, tally)
    return tally


def _change(word: str, path: Path) -> None:
    if word == "delete":
        path.unlink()
    elif word == "edit" and path.suffix in {".md", ".tex", ".py"}:
        path.write_bytes(path.read_bytes() + b"\n# by hand\n")


def _step(label: str, out: Path, spec: Path, settings: list[str], tally: Tally) -> _Planned:
    """Plan, build, compare."""
    before = outside.files_of(out)
    planned = _plan(out, spec, settings)
    tally.check(outside.files_of(out) == before, "traces left", label)
    built = inside.build(out, spec, settings)
    done = {task: o.action for task, o in built.outcomes.items() if o.action != "current"}
    actions = {task: action for task, (action, _) in planned.items()}
    differ = {t: (actions.get(t), done.get(t)) for t in actions.keys() | done.keys()}
    wrong = {t: pair for t, pair in differ.items() if pair[0] != pair[1]}
    tally.count("plans")
    tally.count("tasks planned", len(planned))
    if built.status not in (0, 3, 5):
        tally.count("plans of what fails")
        return planned
    tally.check(not wrong, "inexact", f"{label}: planned and done {wrong}")
    ran = {task for task, action in actions.items() if action == "run"}
    tally.check(ran == built.log.ran, "inexact", f"{label}: {sorted(ran ^ built.log.ran)}")
    mute = [] if "cold" in label else [t for t, (_, causes) in planned.items() if not causes]
    tally.check(not mute, "without a cause", f"{label}: {mute}")
    return planned


def _plan(out: Path, spec: Path, settings: list[str]) -> _Planned:
    planned = {}
    result = query.dry_run(out, [inside.package(spec, settings)], "synth", Terminal(io.StringIO()))
    for _, pairs in result:
        for recipe, outcome in pairs:
            planned[recipe.name] = (outcome.action, [str(cause) for cause in outcome.causes])
    return planned


def _causes(label: str, planned: _Planned, key: str, tally: Tally) -> None:
    """Every cause of an edit of one key leads to that key."""
    for task, (_, causes) in planned.items():
        named = any(key in cause for cause in causes)
        tally.check(named, "cause without the key", f"{label}: {task} <- {', '.join(causes)}")


def _command(out: Path, spec: Path, tally: Tally) -> None:
    """`metagen plan` and `synth --dry-run` tell the same as JSON, and write nothing."""
    arguments = (str(spec), "--run-id", spec.stem, "--out", str(out), "description=planned")
    planned, before = _plan(out, spec, ["description=planned"]), outside.files_of(out)
    for command in (("plan", *arguments), ("synth", "--dry-run", *arguments)):
        result = outside.metagen(*command, "--json")
        events = [_event(line) for line in result.stdout.splitlines()]
        tasks = {e["task"]: (e["action"], e["causes"]) for e in events if e["event"] == "plan"}
        label = f"{spec.stem} {command[:2]}: {result.stderr[-200:]} {result.stdout[-200:]}"
        tally.check(tasks == dict(planned), "inexact", label)
    tally.check(outside.files_of(out) == before, "traces left", f"{spec.stem} command")


def _event(line: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        event = {"event": "no JSON"}
    return event
