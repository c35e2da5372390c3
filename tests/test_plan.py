"""A plan names exactly what a build will then make, with causes as a person would say them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.building import TINY, build, fake_measurements, ran, tree

from metagen.cli import main
from metagen.engine.causes import Cause, file_changed, sentence, value_changed
from metagen.measure import sandbox

pytestmark = pytest.mark.usefixtures("figures_drawn_once")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "run", fake_measurements)
        build(out)
    return out


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "out"))


def metagen(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def planned(*arguments: object) -> list[dict[str, object]]:
    told = metagen("plan", TINY, "--json", *arguments)
    assert told.exit_code == 0, told.output
    events = [json.loads(line) for line in told.output.splitlines()]
    assert events[-1] == {"event": "end", "status": 0}
    return [event for event in events if event["event"] == "plan"]


def test_a_plan_of_what_is_current_is_empty(out: Path) -> None:
    assert metagen("plan", TINY, "--out", out).output == ""


def test_a_plan_names_files_and_causes(out: Path) -> None:
    told = metagen("plan", TINY, "--out", out, "description=Another").output
    assert "run-text_llm_tiny/README.md: description changed\n" in told


def test_a_change_is_traced_back_to_the_keys_of_the_spec(out: Path) -> None:
    told = metagen("plan", TINY, "--out", out, "constraints.parameter_budget.max=9M").output
    assert (
        "run-text_llm_tiny/code/model.py: blueprint/architecture.yaml changed, "
        "by constraints.parameter_budget.max 10M -> 9M\n"
    ) in told


@pytest.mark.parametrize(
    "override",
    [
        pytest.param("constraints.context_window=1k", marks=[pytest.mark.slow, pytest.mark.ci]),
        "seed=7",
        "license=gpl-3.0",
    ],
)
def test_a_plan_is_exactly_what_then_runs(out: Path, override: str) -> None:
    promised = {str(event["task"]) for event in planned("--out", out, override)}
    assert promised
    assert promised == ran(build(out, overrides=[override]))


def test_a_plan_writes_nothing(out: Path, tmp_path: Path) -> None:
    before, state = tree(out), sorted((out / ".metagen").rglob("*"))
    planned("--out", out, "seed=7")
    planned("--out", tmp_path / "nowhere")
    assert (tree(out), sorted((out / ".metagen").rglob("*"))) == (before, state)
    assert not (tmp_path / "nowhere").exists()


def test_a_dry_run_is_a_plan(out: Path) -> None:
    arguments = (TINY, "--out", out, "license=gpl-3.0")
    assert metagen("synth", *arguments, "--dry-run").output == metagen("plan", *arguments).output


def test_an_edited_file_is_planned_as_kept_and_what_follows_names_it(out: Path) -> None:
    model = out / "run-text_llm_tiny" / "code" / "model.py"
    model.write_text(model.read_text() + "\nEDITED = True\n")
    told = metagen("plan", TINY, "--out", out).output
    assert "code/model.py: edited by hand, kept\n" in told
    assert told.startswith(
        "warning: run-text_llm_tiny: measure:probe runs code/model.py, edited by hand\n"
    )
    assert told.count("warning:") == 1
    assert "blueprint/params.json: code/model.py edited by hand\n" in told


def test_a_way_back_is_planned_as_restored(out: Path) -> None:
    build(out, overrides=["license=gpl-3.0"])
    told = metagen("plan", TINY, "--out", out).output
    assert "spec_resolved.yaml: restored, license gpl-3.0 -> mit\n" in told


def test_files_that_changed_for_one_reason_are_named_together() -> None:
    edit = value_changed("seed", "1", "2")
    causes = [edit, file_changed("a.json", [edit]), file_changed("b.json", [edit])]
    assert sentence(causes) == "seed 1 -> 2; a.json, b.json changed, by seed 1 -> 2"
    many = (Cause(f"{name}.json changed", (f"key {name}",)) for name in "abcde")
    assert sentence(many).endswith("; c.json changed, by key c and 2 more")


def test_many_items_are_counted() -> None:
    assert sentence([Cause(letter) for letter in "abcde"]) == "a, b, c and 2 more"


def test_a_long_value_is_not_shown() -> None:
    assert str(value_changed("description", "x" * 70, "y")) == "description changed"
