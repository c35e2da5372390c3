"""`metagen release` and `doit release`: what they bind, what they refuse, and `--train`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.toy import FakeSpec, Unchanged
from helpers.trained_run import write_run

from metagen import files
from metagen.cli import main
from metagen.engine import binding, doors, full, session
from metagen.engine.binding import NOTHING, Binding, Change
from metagen.engine.graph import Graph, known_in
from metagen.engine.ledger import Ledger
from metagen.engine.session import Options, Session
from metagen.engine.terminal import Terminal
from metagen.engine.workspace import StateFolder
from metagen.errors import MetagenError, TaskError, UsageError
from metagen.measure.results import FULL_MODEL
from metagen.work import Desk, Recipe

SPEC = Path("a.yaml")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "full_run")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def record(out: Path, bound: Binding) -> None:
    with closing(Ledger(StateFolder(out).ledger)) as ledger:
        binding.write(ledger, out, "run-toy", bound)


def after(out: Path, change: Change) -> Binding:
    return change.over(out, [SPEC])("run-toy")


def problem(error: pytest.ExceptionInfo[MetagenError]) -> str:
    return str(error.value.problems[0])


# What is bound


def test_a_binding_is_kept_until_another_replaces_it(out: Path, run: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text("{}")
    record(out, after(out, Change(run, (scores,))))
    assert known_in(out)("run-toy") == Binding(run, (scores,))
    assert after(out, Change()) == Binding(run, (scores,))
    other = write_run(tmp_path / "other_run")
    assert after(out, Change(other)) == Binding(other)  # Results are of one checkpoint.
    assert after(out, Change(results=(scores,))) == Binding(run, (scores,))
    record(out, after(out, Change(unbind=True)))
    assert known_in(out)("run-toy") == NOTHING


def test_a_training_inside_the_out_folder_moves_with_it(out: Path, tmp_path: Path) -> None:
    record(out, Binding(write_run(out / "training-toy")))
    out.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert known_in(moved)("run-toy") == Binding(moved / "training-toy")


def test_nothing_to_release_is_said_with_the_next_step(out: Path) -> None:
    with pytest.raises(UsageError) as error:
        after(out, Change())
    assert "No training is bound to run-toy.\n  name the folder" in problem(error)


@pytest.mark.parametrize("what", ["trained", "results"])
def test_what_was_bound_and_is_gone_is_named(out: Path, run: Path, what: str) -> None:
    gone = run.with_name("gone")
    record(out, Binding(gone) if what == "trained" else Binding(run, (gone,)))
    with pytest.raises(UsageError, match="gone") as error:
        after(out, Change())
    assert ("--unbind" if what == "trained" else "--results") in problem(error)
    assert after(out, Change(unbind=True)) == NOTHING


def test_one_training_is_not_bound_to_two_specs(out: Path, run: Path) -> None:
    with pytest.raises(UsageError, match="belongs to one spec, and 2 are given"):
        Change(run).over(out, [SPEC, Path("b.yaml")])
    with pytest.raises(UsageError, match="--unbind takes no --trained"):
        Change(run, unbind=True).over(out, [SPEC])


def test_a_trained_package_without_its_ledger_is_never_made_untrained(out: Path) -> None:
    model = out / "run-toy" / FULL_MODEL
    model.parent.mkdir(parents=True)
    model.write_text('{"status": "not trained"}')
    assert known_in(out)("run-toy") == NOTHING
    model.write_text('{"status": "partial"}')
    with pytest.raises(UsageError, match="no training folder is bound to it"):
        known_in(out)("run-toy")
    record(out, NOTHING)  # As after --unbind.
    assert known_in(out)("run-toy") == NOTHING


@pytest.mark.parametrize("text", ["", "[]", '{"status": {}}', "[" * 100_000, '{"a": 1}'])
def test_a_strangers_model_json_never_ends_in_a_traceback(out: Path, text: str) -> None:
    model = out / "run-toy" / FULL_MODEL
    model.parent.mkdir(parents=True)
    model.write_text(text)
    if text == '{"status": {}}':
        with pytest.raises(UsageError):
            known_in(out)("run-toy")
    else:
        assert known_in(out)("run-toy") == NOTHING


def test_a_build_notices_that_another_bound_a_run_meanwhile(out: Path, run: Path) -> None:
    graph = Graph(FakeSpec(), "run-toy", ())  # type: ignore[arg-type]
    record(out, Binding(run))
    late = Session(out, [graph], Terminal(quiet=True), Options(""))
    with pytest.raises(TaskError, match="has bound another training run meanwhile"):
        late.begin()


# The command lines


def test_doit_takes_results_twice_or_joined_by_commas() -> None:
    given = ["release", "results=a", "results=b,c", "trained=full_run", "seed=1", "seed=2"]
    expected = {"results": "a,b,c", "trained": "full_run", "seed": "2"}
    assert doors._variables(given) == expected


@pytest.mark.parametrize(
    "options",
    [
        ("--train", "--unbind"),
        ("--train", "--trained", "x"),
        ("--data", "x"),
        ("--train", "--dry-run"),
        ("--unbind", "--results", "x"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    line = ["release", "specs/text/text_llm_tiny.yaml", "--out", str(tmp_path / "out"), *options]
    told = CliRunner().invoke(main, line)
    assert told.exit_code == 2, told.output
    assert told.output.startswith("error: ")
    assert not (tmp_path / "out").exists()


# --train

TRAIN = """
import json, os, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
print(f"step {STEPS}/{STEPS}: train loss 1.0", file=sys.stderr)
(out / "checkpoint").mkdir(parents=True, exist_ok=True)
(out / "checkpoint" / "model.safetensors").write_text("weights after STEPS")
(out / "checkpoint" / "state.json").write_text('{"step": STEPS}')
with (out / "commands").open("a") as log:
    print(*sys.argv, file=log)
if FAILS and "--resume" not in sys.argv:
    sys.exit("killed")
"""
EVAL = """
import pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
with (out / "commands").open("a") as log:
    print(*sys.argv, file=log)
"""


def train_here(out: Path, *, total: int = 1, data: Path | None = None, **values: object) -> int:
    """Train with scripts that only pretend to; return the exit status."""

    def scripts(desk: Desk) -> dict[str, bytes]:
        code = TRAIN.replace("STEPS", str(desk.key("size"))).replace("FAILS", str(desk.key("text")))
        plan = {"modes": [{"parallel": "ddp", "total": total}], "steps": 5}
        made = {"code/train.py": code.encode(), "code/eval.py": EVAL.encode()}
        return made | {"code/launch/plan.json": files.json_bytes(plan)}

    targets = ("code/train.py", "code/eval.py", "code/launch/plan.json")
    code = Recipe("code:scripts", scripts, (), targets, "")
    spec = FakeSpec(**{"text": False, "size": 5} | values)
    graph = full.graph_of(Graph(spec, "run-toy", (code,)), out, data)  # type: ignore[arg-type]
    built = Session(out, [graph], Terminal(quiet=True), Options("", trains=True))
    try:
        return doors.run(built, graph.task_name(graph.recipes[-1]))
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "Environment", Unchanged)


def commands(out: Path) -> list[str]:
    log = out / "training-toy" / "commands"
    return log.read_text().splitlines() if log.is_file() else []


def test_the_training_runs_once_and_is_scored(out: Path) -> None:
    options = "--size full --out ../../training-toy"
    assert train_here(out) == 0
    assert commands(out) == [f"train.py {options}", f"eval.py {options}"]
    assert train_here(out) == 0
    assert len(commands(out)) == 2


def test_a_training_that_was_killed_is_resumed(out: Path) -> None:
    assert train_here(out, text=True, size=4) == 1
    assert train_here(out, text=True, size=4) == 0
    assert [line.split()[-1] for line in commands(out)] == [
        "../../training-toy", "--resume", "../../training-toy",
    ]  # fmt: skip


def test_a_finished_training_whose_scoring_was_killed_is_only_scored(out: Path) -> None:
    assert train_here(out, text=True, size=5) == 1  # The plan has five steps, and all are done.
    assert train_here(out, text=True, size=5) == 0
    assert [line.split()[0] for line in commands(out)] == ["train.py", "eval.py"]


def test_other_code_trains_anew_and_keeps_the_old_weights(out: Path) -> None:
    assert train_here(out) == 0
    assert train_here(out, size=6) == 0
    weights = "checkpoint/model.safetensors"
    assert (out / "training-toy" / weights).read_text() == "weights after 6"
    assert (out / "training-toy.1" / weights).read_text() == "weights after 5"


def test_other_data_trains_anew_and_a_lost_checkpoint_too(out: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts"
    data.mkdir()
    (data / "a.txt").write_text("one")
    assert train_here(out, data=data) == 0
    assert train_here(out, data=data) == 0
    assert len(commands(out)) == 2
    (data / "a.txt").write_text("two")
    assert train_here(out, data=data) == 0
    assert (out / "training-toy.1").is_dir()
    (out / "training-toy/checkpoint/state.json").unlink()
    assert train_here(out, data=data) == 0
    assert [line.split()[0] for line in commands(out)] == ["train.py", "eval.py"] * 2


def test_a_model_that_does_not_fit_this_machine_is_refused(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_here(out, total=10**18) == 1
    assert "The training needs at least 1000 PB of memory" in capsys.readouterr().err
    assert not (out / "training-toy").exists()


def test_a_training_leaves_no_byte_code_beside_the_scripts(out: Path) -> None:
    assert train_here(out) == 0
    inside = {p.relative_to(out).as_posix() for p in (out / "run-toy").rglob("*") if p.is_file()}
    assert inside == {
        f"run-toy/code/{name}" for name in ("train.py", "eval.py", "launch/plan.json")
    }
    assert json.loads((out / "training-toy" / "begun_with.json").read_text())["sha256"]
