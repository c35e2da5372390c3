"""Where the numbers of documents come from: what is written of it, and `metagen trace`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from helpers import docs_fixtures as sample
from helpers import trained_states as trained
from helpers.fake_desk import FakeDesk
from helpers.turns import in_turn

from metagen import files
from metagen.cli import main
from metagen.docs import cards, paper, provenance
from metagen.docs.sources import FILES, SPEC
from metagen.measure.results import RESULTS
from metagen.work import Recipe
from tests.properties import traced
from tests.properties.tally import Tally

WRITERS = [
    recipe
    for recipe in (*cards.RECIPES, *paper.RECIPES)
    if any(path.startswith(provenance.FOLDER) for path in recipe.targets)
]
SOURCES = [
    Recipe("spec:resolved", lambda desk: {}, (), (SPEC,), ""),
    Recipe("measure:probe", lambda desk: {}, (), (FILES["params"], FILES["flops"]), ""),
    Recipe("blueprint:architecture", lambda desk: {}, (), (FILES["arch"],), ""),
    Recipe("blueprint:constraints", lambda desk: {}, (), (FILES["constraints"],), ""),
    Recipe("benchmarks:results", lambda desk: {}, (), (RESULTS,), ""),
    Recipe("trained:model", lambda desk: {}, (), (FILES["trained"], FILES["trained_curve"]), ""),
    Recipe("trained:plan", lambda desk: {}, (), (FILES["plan"], FILES["samples"]), ""),
    Recipe("code:lock", lambda desk: {}, (), (FILES["lock"],), ""),
]


def written(desk: FakeDesk) -> FakeDesk:
    """Return a desk with its documents and `docs/provenance.json` on it."""
    desk.files[SPEC] = yaml.safe_dump(nested(desk.keys)).encode()
    for recipe in WRITERS:
        desk.files.update(recipe.work(desk))
    desk.files.update(provenance.recipe([*WRITERS, *SOURCES]).work(desk))
    return desk


def nested(keys: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in keys.items():
        *above, leaf = key.split(".")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch[leaf] = list(value) if isinstance(value, tuple) else value
    return tree


@pytest.fixture(scope="module")
def made() -> FakeDesk:
    return written(sample.desk({"reproducibility.seed": 7}))


def rows(desk: FakeDesk, **where: str) -> list[dict[str, Any]]:
    every = json.loads(desk.files[provenance.TARGET])
    return [row for row in every if all(row[name] == value for name, value in where.items())]


def how(desk: FakeDesk, fact: str) -> str:
    (said,) = {row["how"] for row in rows(desk, fact=fact)}
    return str(said)


def test_each_numeral_of_each_document_has_a_source_that_holds_it(made: FakeDesk) -> None:
    tally = traced.hold(made, made.files, Tally("traced"))
    assert tally.counts["documents"] == len(WRITERS)
    assert tally.counts["entries"] > 300
    assert not tally.violations, tally.text()


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        (("docs/limitations.md", b"trained briefly", b"trained 3 times"), traced.KINDS[0]),
        (("paper/sections/abstract.tex", b"We describe", b"We describe 3 of"), traced.KINDS[0]),
        ((FILES["params"], b'"total": ', b'"total": 1'), traced.KINDS[1]),
        ((FILES["constraints"], b'"verdict": "met"', b'"verdict": "open"'), traced.KINDS[1]),
        ((provenance.TARGET, b'"printed": "128,256"', b'"printed": "128,257"'), traced.KINDS[2]),
    ],
)
def test_a_number_that_differs_from_its_source_is_found_out(
    made: FakeDesk, changed: tuple[str, bytes, bytes], kind: str
) -> None:
    path, old, new = changed
    assert old in made.files[path]
    desk = FakeDesk({**made.files, path: made.files[path].replace(old, new)}, made.keys)
    tally = traced.hold(desk, desk.files, Tally("traced"))
    assert kind in {violated for violated, _ in tally.violations}


def test_a_number_says_how_it_came(made: FakeDesk) -> None:
    assert how(made, "params.total") == "measured here"
    assert how(made, "arch.model.d_model") == "computed"
    assert how(made, "spec.training.data.size") == "declared in the spec"
    assert how(made, "lock.torch") == "read from the libraries installed here"
    assert how(made, "results.0.value") == "measured here"
    assert how(made, "term.digest") == "part of a name"


def test_a_default_of_the_spec_language_is_not_called_declared() -> None:
    seeds = [written(sample.desk({"reproducibility.seed": seed})) for seed in (42, 43)]
    assert [how(desk, "spec.reproducibility.seed") for desk in seeds] == [
        "default of a key of the spec",
        "declared in the spec",
    ]


def test_a_derived_number_names_its_entries_and_its_formula(made: FakeDesk) -> None:
    row = rows(made, fact="derived.met", document="README.md")[0]
    assert row["entries"] == ["blueprint/constraints.json#/*/verdict"]
    assert row["formula"] == "number of constraints with the verdict 'met'"
    assert row["how"] == f"computed: {row['formula']}"
    assert row["task"] == "blueprint:constraints"


def test_the_words_of_a_figure_have_entries(made: FakeDesk) -> None:
    named = [row for row in rows(made) if row["fact"].startswith("derived.alt_")]
    said = {row["fact"]: row["entries"] for row in named}
    assert said["derived.alt_learning_curve"]
    assert f"{FILES['curve']}#" in said["derived.alt_learning_curve"]
    assert all(said.values())


def test_an_entry_that_a_person_edited_is_typed_and_its_neighbours_are_not() -> None:
    desk = sample.desk()
    own = json.loads(desk.files[FILES["params"]])
    desk.own[FILES["params"]] = desk.files[FILES["params"]]
    desk.files[FILES["params"]] = files.json_bytes(own | {"total": 123_456_789})
    desk.changed = {FILES["params"]}
    written(desk)
    assert how(desk, "params.total") == "typed by a person"
    assert how(desk, "params.proxy_total") == "measured here"


def test_a_typed_result_is_typed() -> None:
    results = json.loads(sample.package()[RESULTS])
    desk = written(sample.desk(results=[results[0] | {"origin": "typed"}, *results[1:]]))
    assert how(desk, "results.0.value") == "typed by a person"
    assert how(desk, "results.1.value") == "measured here"


@pytest.mark.parametrize("state", in_turn(trained.STATES))
def test_each_numeral_has_its_source_in_every_state_of_the_training(state: str) -> None:
    made = written(trained.state(state))
    tally = traced.hold(made, made.files, Tally("traced"))
    assert not tally.violations, tally.text()


def test_a_number_of_the_trained_model_names_its_checkpoint_or_that_it_has_none() -> None:
    made = written(trained.state("stated beside bound"))
    checkpoint = f"checkpoint {trained.DIGEST}"
    assert how(made, "trained.losses.val") == f"imported (training run; {checkpoint})"
    assert how(made, "plan.0.actual") == f"imported (training run; {checkpoint})"
    assert how(made, "plan.0.planned") == "computed: code/launch/plan.json: units"
    fulls = [n for n, row in enumerate(json.loads(made.files[RESULTS])) if row["size"] == "full"]
    said = [how(made, f"results.{n}.value") for n in fulls]
    assert said == [
        f"imported (code/eval.py; {checkpoint})",
        "typed by a person; not bound to a checkpoint",
    ]
    harness = written(trained.state("imported results without checkpoint"))
    (number,) = [n for n, r in enumerate(json.loads(harness.files[RESULTS])) if r["size"] == "full"]
    said = [how(harness, f"results.{number}.value")]
    assert said == ["imported (lm-eval 0.4.9 results.json; not bound to a checkpoint)"]


def test_the_same_documents_have_the_same_provenance(made: FakeDesk) -> None:
    again = written(sample.desk({"reproducibility.seed": 7}))
    assert again.files[provenance.TARGET] == made.files[provenance.TARGET]
    documents = [row["document"] for row in rows(made)]
    assert documents == sorted(documents)


@pytest.fixture
def package(made: FakeDesk, tmp_path: Path) -> Path:
    """A package on the disk, of any name."""
    folder = tmp_path / "My package"
    makers = {target: each.name for each in (*WRITERS, *SOURCES) for target in each.targets}
    listed = [
        {"path": path, "sha256": files.sha256(data), "bytes": len(data), "edited": False,
         "task": makers.get(path, "some:task"),
         "made_from": ["key:name", "code:metagen.x", *(f"code/{n}.py" for n in "abcdef")]}
        for path, data in made.files.items()
    ]  # fmt: skip
    for path, data in (made.files | {"manifest.json": files.json_bytes(listed)}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def trace(package: Path, value: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["trace", str(package), value, *options])


@pytest.mark.parametrize(
    "value", ["2.87", "results.0.value", "benchmarks/results.json#/0/value", "2.87312"]
)
def test_a_value_is_traced_by_its_text_its_address_or_its_number(package: Path, value: str) -> None:
    told = trace(package, value)
    assert told.exit_code == 0, told.output
    assert "README.md, docs/eval_report.md, paper/sections/abstract.tex" in told.output
    digest = files.sha256((package / RESULTS).read_bytes())
    for line in (
        "  fact     results.0.value",
        "  value    2.87312 bit/byte",
        "  source   benchmarks/results.json#/0/value",
        f"  sha256   {digest}",
        "  task     benchmarks:results",
        "  read     spec: name, code/ (6 files)",
        "  how      measured here",
    ):
        assert line in told.output.splitlines()


def test_a_number_with_another_space_or_without_its_unit_is_the_same(package: Path) -> None:
    assert trace(package, "7.98B").output == trace(package, "7.98 B").output
    assert "7.98\u00a0B" in trace(package, "7.98B").output
    assert "fact     launch.usable_memory" in trace(package, "36.8").output


def test_several_matches_are_listed(package: Path) -> None:
    told = trace(package, "4,096", "--json")
    facts = {json.loads(line)["fact"] for line in told.output.splitlines()}
    assert {"arch.model.d_model", "arch.data.seq_len"} <= facts


def test_a_value_that_nothing_prints_is_a_sentence_with_the_nearest(package: Path) -> None:
    told = trace(package, "2.88")
    assert told.exit_code == 2
    assert "No document of this package prints '2.88'." in told.output
    assert "The nearest is '2.87'." in told.output
    assert "The nearest is 'params.total'." in trace(package, "params.totl").output


def test_a_source_that_changed_since_is_named(package: Path) -> None:
    path = package / FILES["params"]
    path.write_text(path.read_text().replace('"total": ', '"total": 1'))
    assert "the source does not hold this value now" in trace(package, "params.total").output
    path.unlink()
    assert "the file is missing" in trace(package, "params.total").output


def _row(**changed: Any) -> str:
    right = dict.fromkeys(provenance.FIELDS, "x") | {"entries": []}
    return json.dumps([right | changed])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[", "This file cannot be read."),
        ("[" * 100_000, "This file cannot be read."),
        ("{}", "This is no list"),
        ("[1]", "row 1: this is no mapping."),
        ("[{}]", "row 1: the field 'document' is missing."),
        (_row(printed=1), "row 1: the field 'printed' has a value of another type."),
        (_row(entries=[1]), "row 1: the field 'entries' must be a list of addresses."),
        (_row(source=None), "row 1: of the fields 'source' and 'pointer', one is null."),
        (_row(source="../../etc/passwd"), "is not one of a package"),
        (_row(document="/etc/passwd"), "is not one of a package"),
    ],
)
def test_a_provenance_of_a_stranger_is_checked(package: Path, text: str, expected: str) -> None:
    (package / provenance.TARGET).write_text(text)
    told = trace(package, "x")
    assert told.exit_code == 1
    assert expected in told.output
    assert "Traceback" not in told.output


def test_no_link_is_followed_and_no_control_character_reaches_the_terminal(
    package: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"total": "hidden"}')
    (package / FILES["params"]).unlink()
    (package / FILES["params"]).symlink_to(secret)
    told = trace(package, "params.total", "--json")
    assert json.loads(told.output.splitlines()[0])["sha256"] is None
    text = _row(printed="x\x1b[31m", how="\u202ered", source=SPEC, pointer="")
    (package / provenance.TARGET).write_text(text)
    assert not {"\x1b", "\u202e"} & set(trace(package, "x").output)
    (package / provenance.TARGET).unlink()
    os.mkfifo(package / provenance.TARGET)
    assert "does not say where its numbers come from" in trace(package, "x").output
