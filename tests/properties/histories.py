"""Random histories: whatever happened before, a build ends in the bytes of a clean one.

Hypothesis draws the steps. They edit the spec, the outputs, the templates and the code of metagen,
damage the engine's state and the cache, interrupt and kill builds, build side by side, run plain
doit, collect garbage, and take the out folder elsewhere. These must hold after each build:

- Without edits by hand, the package equals a clean build of the same spec by the same templates;
  a spec that does not build from scratch fails with the same status.
- With them, the manifest has the sha256 of each file as it is.
- The build after it runs nothing, and neither does one of a spec that was built before.
- No error is a traceback.

A history ends at its first violation, which is reported with all steps up to it.
"""

from __future__ import annotations

import functools
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from metagen import files
from metagen.errors import DONE, USAGE

from . import inside, mutants, outside
from .disturbances import TRICKS, WAYS, Trick, Way, damage_some, name
from .history import PRISTINE, Cleans, Record, Violation, edited, is_clean
from .lab import Lab
from .tally import Tally

FULL = 200
STEPS = 10
_WRITES = 30  # writes of a build, at one of which it is interrupted
_SYNTH = ("synth",)
_DOIT = (
    _SYNTH, ("-n", "2", "synth"), ("run", "--always", "docs"), ("clean",), ("clean", "docs"),
    ("run", "--single", "docs:{run}/model_card"), ("code:{run}/model",), ("forget",),
    ("{out}/run-{run}/code/model.py",), ("forget", "blueprint"), ("ignore", "code"), ("reset-dep",),
)  # fmt: skip
_LOOKS = (
    ("list", "--all", "--status"), ("info", "docs:{run}/model_card"), ("list", "docs"),
    ("info", "synth"), ("info", "synth:{run}"), ("dumpdb",),
)  # fmt: skip
_BOUND = 100_000  # bytes of a cache after its garbage was collected
# An integer takes one draw, where Hypothesis's own random numbers take one each.
CHANCE = st.integers(0, 2**32 - 1).map(random.Random)


class Interrupted(BaseException):
    """Ends a build in this process at one of its writes."""


def measure(lab: Lab) -> Tally:
    """Let Hypothesis draw histories; each process draws its share from a seed of its own."""
    tally = Tally("histories")
    tally.must_not(
        "stale",
        "not settled",
        "ran on the way back",
        "unseen edits",
        "unbounded",
        "wrote",
        "tracebacks",
    )
    return lab.apart(tally, _of_some, lab.shares(range(lab.size(FULL))))


def _of_some(lab: Lab, share: Sequence[int]) -> Tally:
    tally, cleans = Tally("histories"), Cleans()
    rules = settings(
        max_examples=len(share), stateful_step_count=STEPS + 1, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @seed(f"{lab.seed}:{share[0]}")
    def begin() -> History:
        return History(lab, cleans, tally)

    run_state_machine_as_test(begin, settings=rules)
    return tally


def step(**draws: st.SearchStrategy[Any]) -> Callable[[Callable[..., str]], Any]:
    """Make a rule of a method that returns what it did, in words."""

    def made(method: Callable[..., str]) -> Any:
        @functools.wraps(method)
        def take(history: History, **drawn: Any) -> None:
            history.take(method.__name__, lambda: method(history, **drawn))

        return rule(**draws)(take)

    return made


class History(RuleBasedStateMachine, Record):
    """One history: its steps, each a rule that Hypothesis may draw."""

    def __init__(self, lab: Lab, cleans: Cleans, tally: Tally) -> None:
        RuleBasedStateMachine.__init__(self)
        Record.__init__(self, lab, cleans, tally)
        self.over = False
        self.steps: list[str] = []
        self.resources = ExitStack()

    @initialize(chance=CHANCE)
    def begin(self, chance: random.Random) -> None:
        """Copy what metagen ships; begin with a package, in an empty folder, or beside a cache."""
        self.tally.count("histories")
        self.folder = self.resources.enter_context(self.lab.folder())
        self.shipped = self.resources.enter_context(inside.shipped(self.folder))
        self.sources = self.digest()
        self.spec, self.out = chance.choice(self.lab.specs), self.folder / "out"
        begun = self.lab.begin(self.folder / "begun", self.spec)
        self.cleans[self.spec, ((), PRISTINE)] = begun
        reads = {read for task in begun.log.reads.values() for read in task}
        self.templates = sorted(r.split()[1] for r in reads if r.startswith("source templates/"))
        begins = chance.choice(("with a package", "in an empty folder", "beside a cache"))
        self.out = self.folder / ("begun" if begins == "with a package" else "out")
        self.cache = self.folder / "cache" if begins == "beside a cache" else None
        self.steps.append(f"{self.spec.stem} {begins}")

    def teardown(self) -> None:
        """Build once more, by the shipped spec if the edits together build nothing."""
        if self.steps:
            self.take("end", self._end)
        self.resources.close()

    def take(self, kind: str, action: Callable[[], str]) -> None:
        """Take a step unless the history is over; a violation or an error ends it."""
        if self.over:
            return
        self.tally.count("steps")
        self.tally.count(kind.replace("_", " "))
        try:
            self.steps.append(action())
        except Violation as violation:
            self._ends(*violation.args, step=kind)
        except Exception as error:
            self._ends("tracebacks", repr(error), step=kind)

    def _ends(self, kind: str, case: str, step: str) -> None:
        self.over = True
        number = self.tally.counts["histories"]
        lines = (f"history {number}", *self.steps, f"{step}: {case}")
        self.tally.violated(kind, "\n        ".join(lines))

    @step(chance=CHANCE)
    def edit_spec(self, chance: random.Random) -> str:
        return self.edit(chance)

    @step(chance=CHANCE)
    def undo_edit_of_spec(self, chance: random.Random) -> str:
        if not self.overrides:
            return "no edit to undo"
        key = chance.choice(sorted(self.overrides))
        del self.overrides[key]
        return f"undo {key}"

    @step(number=st.integers(0, 4))
    def change_seed(self, number: int) -> str:
        self.overrides["reproducibility.seed"] = f"reproducibility.seed={number}"
        return f"seed {number}"

    @step(chance=CHANCE)
    def go_back(self, chance: random.Random) -> str:
        """Build the shipped spec or one that was built before."""
        self.overrides = dict(chance.choice([{}, *self.visited.values()]))
        return f"back to {list(self.overrides.values())}: {self.build_and_judge()}"

    @step()
    def build(self) -> str:
        return f"build: {self.build_and_judge()}"

    @step()
    def discard_edits(self) -> str:
        return f"build, edits discarded: {self.build_and_judge(discard_edits=True)}"

    @step(chance=CHANCE)
    def delete_output(self, chance: random.Random) -> str:
        path = self.output(chance)
        if path:
            path.unlink()
        return f"delete {path and path.name}"

    @step(chance=CHANCE)
    def truncate_output(self, chance: random.Random) -> str:
        path = self.output(chance)
        if path:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            self.edits.add(path.name)
        return f"truncate {path and path.name}"

    @step(chance=CHANCE, trick=st.sampled_from(TRICKS))
    def edit_output(self, chance: random.Random, trick: Trick) -> str:
        path = self.output(chance)
        if path:
            trick(path, edited(path.read_bytes()))
            self.edits.add(path.name)
        return f"edit {path and path.name}, {name(trick)}"

    @step(chance=CHANCE, trick=st.sampled_from(TRICKS))
    def change_template(self, chance: random.Random, trick: Trick) -> str:
        path = self.shipped / chance.choice(self.templates)
        self.change(path, edited(path.read_bytes()), trick)
        return f"change {path.name}, {name(trick)}"

    @step(chance=CHANCE, trick=st.sampled_from(TRICKS))
    def change_code(self, chance: random.Random, trick: Trick) -> str:
        """Change a definition of metagen; a text that must not be cut off is written plainly."""
        package = self.shipped / "metagen"
        place = chance.choice(mutants.definitions(package))
        path = package / place.file
        with mutants.changed(package, place):
            after = path.read_bytes()
        trick = trick if len(after) <= path.stat().st_size else TRICKS[0]
        self.change(path, after, trick)
        return f"change {place}, {name(trick)}"

    @step()
    def undo_changes_of_sources(self) -> str:
        for path, data in self.originals.items():
            path.write_bytes(data)
        self.sources = self.digest()
        return "undo changes of templates and code"

    @step(chance=CHANCE)
    def damage(self, chance: random.Random) -> str:
        self.standing, self.lossy = None, True
        places = [self.out / ".metagen", *([self.cache] if self.cache else [])]
        return f"damage: {damage_some(chance.choice(places), chance)}"

    @step(way=st.sampled_from(WAYS))
    def take_elsewhere(self, way: Way) -> str:
        """Move or copy the out folder, and build there."""
        if not self.out.exists():
            return "nothing to take elsewhere"
        to = self.folder / f"place {len(self.steps)}"
        to.mkdir()
        self.out = way(self.out, to)
        return f"{name(way)}: {self.build_and_judge()}"

    @step()
    def begin_another_folder(self) -> str:
        """Build in an empty folder: beside a cache, what was built before must run nothing."""
        self.out, self.standing = self.folder / f"place {len(self.steps)}", None
        self.edits.clear()
        if not self.cache:
            self.visited.clear()
        return f"another folder: {self.build_and_judge()}"

    @step()
    def collect_garbage(self) -> str:
        """Delete what no record refers to: ways back stay free, but not those from the cache."""
        bound = ("--cache", str(self.cache), "--keep", str(_BOUND)) if self.cache else ()
        result = outside.metagen("gc", "--out", str(self.out), *bound)
        self.must(is_clean(result.stderr), "tracebacks", f"gc: {result.stderr[-600:]}")
        refused = result.returncode == USAGE  # The mark of the cache was damaged.
        files = self.cache.rglob("*") if bound and not refused else ()
        size = sum(p.stat().st_size for p in files if p.is_file())
        self.must(size <= _BOUND, "unbounded", f"{size:,} bytes are left of the cache")
        self.lossy |= bool(self.cache)
        return f"gc: {result.returncode}"

    @step(words=st.sampled_from(_DOIT))
    def run_doit(self, words: Sequence[str]) -> str:
        """Run plain doit; after `synth` without edits by hand the package stands."""
        if self.cache:
            return "no doit: it has no cache"
        result = self.doit(words)
        done = words == _SYNTH and result.returncode == DONE and not self.edits
        self.standing, self.lossy = self.key() if done else None, True
        return f"doit {' '.join(words)}: {result.returncode}"

    @step(words=st.sampled_from(_LOOKS))
    def look_with_doit(self, words: Sequence[str]) -> str:
        before = inside.tree(self.out)
        result = self.doit(words)
        self.must(inside.tree(self.out) == before, "wrote", f"doit {' '.join(words)}")
        return f"doit {' '.join(words)}: {result.returncode}"

    @step(chance=CHANCE, writes=st.integers(0, _WRITES), before=st.booleans())
    def interrupt(self, chance: random.Random, writes: int, before: bool) -> str:
        """Interrupt a build before or after one of its writes."""
        edit, real = self.edit(chance), files.write_atomic
        left = [None] * writes

        def write(*arguments: Any, **options: Any) -> None:
            if before and not left:
                raise Interrupted
            real(*arguments, **options)
            if not left:
                raise Interrupted
            left.pop()

        try:
            with mock.patch.object(files, "write_atomic", write):
                status = str(self.result().status)
        except Interrupted:
            status = f"interrupted {'before' if before else 'after'} write {writes}"
        self.standing = None
        return f"{edit}, build: {status}"

    @step(chance=CHANCE)
    def kill(self, chance: random.Random) -> str:
        edit, seconds = self.edit(chance), 0.5 + 3 * chance.random()
        process = self.start()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.standing = None
        return f"{edit}, build: killed after {seconds:.1f} s"

    @step(chance=CHANCE)
    def build_side_by_side(self, chance: random.Random) -> str:
        edit, more = self.edit(chance), f"reproducibility.seed={chance.randrange(5)}"
        processes = [self.start(), self.start(more)]
        texts = ["\n".join(process.communicate()) for process in processes]
        self.standing = None
        for text in texts:
            self.must(is_clean(text), "tracebacks", f"side by side with {more}: {text[-600:]}")
        statuses = [process.returncode for process in processes]
        return f"{edit}, build beside {more}: {statuses}"

    def _end(self) -> str:
        status = self.build_and_judge(discard_edits=True)
        if status == DONE:
            return "done"
        self.tally.count("histories whose edits build nothing")
        self.overrides.clear()
        return (
            f"end: {status}; back to the shipped spec: {self.build_and_judge(discard_edits=True)}"
        )
