"""A short version of each property that `python -m tests.properties` measures in full."""

from __future__ import annotations

import importlib
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.turns import in_turn

from metagen import files
from metagen.engine import verify
from metagen.engine.folder import Outputs
from metagen.measure import evidence
from metagen.spec import Spec
from tests.properties import PROPERTIES, consistent, inside, statements
from tests.properties.__main__ import main
from tests.properties.counted import counted
from tests.properties.histories import History
from tests.properties.lab import Lab, scratch, spec_files
from tests.properties.stated import Package
from tests.properties.tally import Tally, headline

QUICK = {
    "consistent": 1, "traced": 1, "leaf": 1, "nulls": 3, "types": 40,
    "statements": 4, "spoiled": 3, "evidence": 10, "corrupted": 56, "honest": 4, "bounded": 3,
    "tables": 40,
    "dates": 30, "strangers": 25, "packages": 8,
}  # fmt: skip
SLOWER = {
    "code": 1, "plan": 1, "templates": 2,
    "histories": 3, "edits": 2, "leaks": 1, "toctou": 1, "lint": 2,
    "altered": 2, "crash": 3, "release_crash": 12, "disk": 2,
    "concurrency": 1, "events": 3, "power": 3, "shards": 20,
}  # fmt: skip
MORE = {"leaf": 10}
LONG = {"repro": 1, "verify": 1}
ENOUGH = [spec for spec in spec_files() if spec.stem == "text_llm_tiny"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with scratch() as folder, inside.faked():
        yield Lab(ENOUGH, folder, quiet=True)


def measured(name: str, lab: Lab, number: int) -> Tally:
    module = importlib.import_module(f"tests.properties.{name}")
    tally: Tally = module.measure(replace(lab, number=number))
    return tally


def test_every_property_has_a_short_version() -> None:
    assert sorted([*QUICK, *SLOWER, *LONG]) == sorted(PROPERTIES)


@pytest.mark.parametrize("name", QUICK)
def test_property(name: str, lab: Lab) -> None:
    tally = measured(name, lab, QUICK[name])
    assert not tally.violations, tally.text()


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(("name", "number"), [*SLOWER.items(), *MORE.items()])
def test_property_in_more_cases(name: str, number: int, lab: Lab) -> None:
    tally = measured(name, lab, number)
    assert not tally.violations, tally.text()


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_long_property(name: str, lab: Lab) -> None:
    tally = measured(name, lab, LONG[name])
    assert not tally.violations, tally.text()


@pytest.fixture(scope="module")
def made(lab: Lab) -> Iterator[Path]:
    with lab.folder() as folder:
        assert not counted(folder, ENOUGH[0]).status
        yield folder / "run-text_llm_tiny"


@pytest.mark.parametrize(
    ("path", "old", "new", "check"),
    [
        ("code/train.py", "grad_clip: float = 1.0", "grad_clip: float = 2.0", consistent.settings),
        ("blueprint/params.json", '"total": 9964416', '"total": 9964417', consistent.parameters),
        (
            "blueprint/constraints.json",
            '"computed": 26089216',
            '"computed": 26089217',
            consistent.memory,
        ),
        (
            "blueprint/flops.json",
            '"forward_per_unit": ',
            '"forward_per_unit": 1',
            consistent.operations,
        ),
        ("code/launch/plan.json", '"batch_size": 1024', '"batch_size": 1000', consistent.batch),
        ("code/requirements.lock", "numpy==", "numpy==0", consistent.versions),
        ("code/data.py", '"pydoc_topics"', '"moon_phases"', consistent.names),
        ("README.md", "9,964,416", "9,964,417", consistent.documents),
        ("benchmarks/results.json", '"value": null', '"value": 0.5', consistent.results),
    ],
)
def test_a_quantity_with_two_values_is_found_out(
    path: str, old: str, new: str, check: consistent.Check, made: Path, tmp_path: Path
) -> None:
    package = tmp_path / made.name
    shutil.copytree(made, package)
    text = (package / path).read_text()
    assert old in text
    (package / path).write_text(text.replace(old, new))
    assert consistent.judge(Package(package), Tally("consistent"), check).violations


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The task is retrieval in the domain not declared.", "a sentence about a missing fact"),
        ("Trained on data of this size: .", "a sentence that is cut off"),
        ("It was measured. on one device.", "a sentence without a capital"),
        ("Declared, but not carried out here:\n\n## Next", "an announcement of nothing"),
        ("| A | B |\n| --- | ---: |\n\nMore.", "a table without rows"),
        ("A model () of text.", "empty brackets"),
        ("Licence: None", "a missing value"),
    ],
)
def test_a_statement_with_a_hole_is_found_out(text: str, kind: str) -> None:
    tally = Tally("statements")
    statements.read(text, "a card", tally)
    assert [violated for violated, _ in tally.violations] == [kind]


def test_a_verdict_that_a_decision_restates_is_one_value(made: Path, tmp_path: Path) -> None:
    package = tmp_path / made.name
    shutil.copytree(made, package)
    plan = package / "blueprint/architecture.yaml"
    plan.write_text(f"{plan.read_text()}- {{name: memory_budget, value: 1, reason: small}}\n")
    tally = Tally("consistent")
    consistent.judge(Package(package), tally, consistent.restated)
    assert tally.counts["restated verdicts"] == 1


@pytest.mark.parametrize("name", in_turn(["text_llm_70b", "image_vit_base"]))
def test_a_plan_of_many_devices_is_what_the_verdicts_are_about(name: str, lab: Lab) -> None:
    specs = [spec for spec in spec_files() if spec.stem == name]
    tally = consistent.measure(replace(lab, specs=specs, number=1))
    assert not tally.violations, tally.text()


@pytest.mark.slow
@pytest.mark.ci
def test_an_engine_that_sees_no_change_is_found_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spec, "digest", lambda spec, name: "always the same")
    tally = measured("leaf", lab, 2)
    assert tally.counts["stale"]
    assert tally.counts["missed"]


@pytest.mark.slow
@pytest.mark.ci
def test_an_engine_that_always_builds_is_found_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spec, "digest", lambda spec, name: str(random.random()))
    tally = measured("leaf", lab, 1)
    assert tally.counts["needless"]
    assert tally.counts["not free to go back"]


def test_a_door_that_lets_every_result_pass_is_found_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for check in ("flaws", "doubts", "removed"):
        monkeypatch.setattr(evidence, check, lambda *_: iter(()))
    tally = measured("evidence", lab, 4)
    assert tally.counts["false statements"] or tally.counts["unnamed"]


def test_a_verify_that_looks_at_listed_files_only_is_found_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for check in ("_unlisted", "_not_files"):
        monkeypatch.setattr(verify, check, lambda *_: iter(()))
    assert measured("packages", lab, 8).counts["accepted"]


def test_a_build_that_follows_links_is_found_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "obstacle", lambda root, name: "")
    tally = measured("packages", lab, 12)
    assert tally.counts["touched"] or tally.counts["own mistakes"]


@pytest.mark.slow
@pytest.mark.ci
def test_histories_notice_an_output_that_stays_deleted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outputs, "in_place", lambda *_: True)
    history = History(lab, {}, Tally("histories"))
    history.begin(chance=random.Random(1))
    history.build()
    history.delete_output(chance=random.Random(1))
    history.build()
    history.teardown()
    assert history.tally.counts["stale"] == 1


def test_the_headline_says_what_was_measured_and_no_more() -> None:
    leaf, crash = Tally("leaf"), Tally("crash")
    leaf.counts.update(keys=260, runs=200, stale=0, orphans=0, **{"same bytes": 5})
    assert headline({"leaf": leaf}, 4) == (
        "260 leaf keys in 4 specs: 0 stale, 0 orphans, waste 2.5 %."
    )
    crash.counts.update(kills=200, stale=1, stuck=0)
    assert headline({"crash": crash}, 4) == "200 kills: 1 stale, 0 stuck."
    assert headline({}, 4) == ""


def test_the_command_ends_with_the_headline_and_a_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["types", "--n", "3", "--seed", "1", "--json"]) == 0
    assert '"property": "types"' in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["leef"])
