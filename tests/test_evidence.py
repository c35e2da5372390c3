"""Results that a person edits pass a door; a typed number never counts as a measured one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import docs_fixtures as sample
from helpers.building import TINY, build, fake_measurements, tree

from metagen.docs import cards, paper
from metagen.engine import graph
from metagen.engine.statements import resting_on_edits
from metagen.errors import TaskError
from metagen.measure import evidence, sandbox, trial
from metagen.measure.evidence import EVIDENCE
from metagen.measure.results import BOUND, CURVE, FULL_RESULTS, HARNESS, REPORT, RESULTS
from metagen.spec import load

Rows = list[dict[str, Any]]
Change = Callable[[Any], object]
FULL = {
    "dataset": "cais/mmlu", "sha256": "ab" * 32, "split": "test", "n": 14042,
    "metric": "accuracy", "title": "accuracy", "unit": "share", "higher_is_better": True,
    "value": 0.6512, "steps": 300, "size": "full", "status": "measured", "origin": "typed",
}  # fmt: skip
HEAD = "step,train_loss,val_loss,learning_rate"
MMLU = ["evaluation.benchmarks=[MMLU]", "evaluation.seeds=1"]


def edited(change: Change, name: str = RESULTS) -> dict[str, Any]:
    """Return evidence.json after a change of a file that the build wrote."""
    content = json.loads(sample.desk().files[name])
    change(content)
    return written(json.dumps(content), name)


def written(text: str, name: str = RESULTS) -> dict[str, Any]:
    """Return evidence.json after a person gave a file another text."""
    desk = sample.desk()
    desk.own[name], desk.files[name] = desk.files[name], text.encode()
    content: dict[str, Any] = json.loads(evidence.evidence(desk)[EVIDENCE])
    return content


def refused(change: Change, name: str = RESULTS) -> str:
    """Return the message about a change; each problem is a sentence with a place and a step."""
    with pytest.raises(TaskError) as caught:
        edited(change, name)
    assert all(problem.place.startswith(name) for problem in caught.value.problems)
    assert all(problem.sentence.endswith(".") and problem.hint for problem in caught.value.problems)
    return str(caught.value)


def origins(content: dict[str, Any]) -> list[str]:
    return [row["origin"] for row in content["results"]]


def test_what_the_build_measured_says_so() -> None:
    content = edited(lambda rows: None)
    assert origins(content) == ["measured", "measured"]
    assert content["curve"] == "measured"


def test_a_result_that_a_person_adds_is_typed() -> None:
    assert origins(edited(lambda rows: rows[2].update(FULL))) == ["measured", "measured", "typed"]


@pytest.mark.parametrize("origin", ["measured", "imported"])
def test_a_typed_number_cannot_claim_another_origin(origin: str) -> None:
    message = refused(lambda rows: rows[2].update(FULL, origin=origin))
    assert f"Entry 3 (MMLU, accuracy, full): origin is '{origin}'" in message
    assert "set 'typed'" in message


def test_a_measured_number_that_is_changed_cannot_stay_measured() -> None:
    message = refused(lambda rows: rows[0].update(value=0.5))
    assert message.startswith("benchmarks/results.json#/0/origin: Entry 1 (held-out text")


def test_an_edit_of_the_order_types_nothing() -> None:
    assert origins(edited(lambda rows: rows.reverse())) == ["measured", "measured"]


def test_without_the_text_that_the_build_wrote_nothing_counts_as_measured() -> None:
    desk = sample.desk()
    desk.generated = lambda path: None  # type: ignore[method-assign,assignment]
    with pytest.raises(TaskError, match="but the build did not write this entry: set 'typed'"):
        evidence.evidence(desk)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"value": 7.5}, "value is 7.5; allowed: accuracy in 'share' is from 0 to 1"),
        ({"value": -0.1}, "value is -0.1; allowed"),
        ({"value": "0.65"}, "value is '0.65'; allowed: a finite number"),
        ({"value": None}, "value is null, but a result needs it"),
        ({"value": True}, "value is True; allowed"),
        ({"n": -3}, "n is -3; allowed: a whole number from 1"),
        ({"n": 0}, "n is 0; allowed"),
        ({"n": 2.5}, "n is 2.5; allowed"),
        ({"n": None}, "n is null, but a split is named"),
        ({"sha256": "zz"}, "sha256 is 'zz'; allowed: 64 hexadecimal digits"),
        ({"sha256": "AB" * 32}, "sha256 is"),
        ({"steps": 10**9}, "steps is 1,000,000,000, but the full model trains for"),
        ({"status": "done"}, "status is 'done'; allowed: measured, no score, not run"),
        ({"size": "huge"}, "size is 'huge'; allowed: proxy, full"),
        ({"size": "proxy"}, "command is null, but a result needs it"),
        ({"title": ""}, "title is ''; allowed"),
        ({"title": "x" * 999}, "title has 999 characters"),
        ({"title": "a\nb"}, "title has the control character"),
        ({"metric": 3}, "metric is 3; allowed"),
        ({"unit": "ratio", "value": -1}, "value is -1; allowed: accuracy in 'ratio' is at least 0"),
        ({"unit": "points", "value": 7.5}, "value is 7.5; allowed"),
        ({"baselines": {"chance": 25}}, "baselines.chance is 25; allowed"),
        ({"baselines": []}, "baselines is []; allowed: an object"),
        ({"interval": [0.7, 0.6]}, "interval is [0.7, 0.6]; allowed: [low, high]"),
        ({"interval": [0.1, 0.2]}, "interval is [0.1, 0.2], which does not contain the value"),
        ({"interval": [0.6, 1.2]}, "interval.1 is 1.2; allowed"),
        ({"seeds": {"1": 0.1, "2": 0.2}, "spread": 0.07}, "but the mean of the seeds is not"),
        ({"seeds": {"1": 0.6512}, "spread": 0.1}, "spread is 0.1, but the deviation"),
        ({"seeds": {"one": 0.6512}}, "seeds is 'one'; allowed: a seed"),
        ({"outcomes": {"chance": "wins"}}, "outcomes.chance is 'wins'; allowed: beats, loses"),
        ({"outcomes": {"chance": "beats"}}, "outcomes.chance names no baseline"),
        (
            {"baselines": {"chance": 0.7}, "outcomes": {"chance": "beats"},
             "differences": {"chance": [-0.1, -0.01]}},
            "outcomes.chance is 'beats', which its values and difference contradict",
        ),
        (
            {"baselines": {"chance": 0.25}, "outcomes": {"chance": "beats"}},
            "outcomes.chance is 'beats', which its values and difference contradict",
        ),
        ({"command": "python eval.py --size proxy"}, "command runs --size proxy, but the size"),
        ({"valeu": 0.7}, "valeu is no field of an entry"),
        ({"dataset": "pydoc_topics"}, "sha256 differs from that of another entry"),
        ({"status": "not run"}, "but the status is 'not run'"),
    ],
)  # fmt: skip
def test_an_impossible_entry_is_refused_by_file_entry_field_and_reason(
    change: dict[str, Any], sentence: str
) -> None:
    message = refused(lambda rows: rows[2].update({**FULL, **change}))
    assert sentence in message
    assert "benchmarks/results.json#/2/" in message
    assert "--discard-edits" in message


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.append({**rows[2], **FULL}), "benchmark is listed a second time"),
        (lambda rows: rows.extend([{**rows[2], **FULL}] * 2), "metric repeats the benchmark"),
        (lambda rows: rows.pop(0), "The entry held-out text, bits_per_byte, proxy is gone"),
        (lambda rows: rows.pop(2), "The entry MMLU is gone"),
        (lambda rows: rows[0].update(status="no score", origin="typed"), "proxy is gone"),
        (lambda rows: rows[2].pop("n"), "n is missing"),
        (lambda rows: rows.append({**rows[2], "benchmark": "GSM8K"}), "add only results"),
        (lambda rows: rows.append(7), "is 7; allowed: an object"),
        (lambda rows: rows[0].update(size="full", origin="typed"), "proxy is gone"),
    ],
)
def test_a_list_that_lacks_or_repeats_an_entry_is_refused(
    change: Callable[[Rows], object], sentence: str
) -> None:
    assert sentence in refused(change)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[{"benchmark": ',
            "benchmarks/results.json:1:16: This is not valid JSON: Expecting value",
        ),
        ('[{"n": 1, "n": 2}]', "an object has the name 'n' twice"),
        ('[{"value": NaN}]', "NaN is not a number of JSON"),
        ("{}", "must hold a list of entries"),
        ("[" * 100_000, "This is not valid JSON"),
        ('[{"n": ' + "1" * 5000 + "}]", "This is not valid JSON"),
    ],
)
def test_a_file_that_is_no_list_of_entries_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(TaskError) as caught:
        written(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("step,loss\n1,2\n", "benchmarks/curve.csv:1"),
        ("{head}\n5,1,,0\n5,1,,0\n", "benchmarks/curve.csv:3"),
        ("{head}\n5,nan,,0\n", "benchmarks/curve.csv:2"),
        ("{head}\n5,1,,-1\n", "benchmarks/curve.csv:2"),
        ("{head}\n5,1\n", "benchmarks/curve.csv:2"),
        ("{head}\n1.5,1,,0\n", "benchmarks/curve.csv:2"),
        ('{head}\n5,"1,,0\n', "benchmarks/curve.csv"),
    ],
)
def test_a_curve_that_is_no_record_of_a_training_is_refused(text: str, place: str) -> None:
    with pytest.raises(TaskError) as caught:
        written(text.format(head=HEAD), CURVE)
    assert caught.value.problems[0].place == place


def test_an_edited_curve_is_typed() -> None:
    curve = sample.desk().files[CURVE].decode()
    assert written(f"{curve}\n", CURVE)["curve"] == "measured"
    assert written(f"{curve}205,1.5,,0\n", CURVE)["curve"] == "typed"


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 201), ("n", 5), ("sha256", None), ("dataset", "other"), ("command", "make")],
)
def test_a_typed_score_of_the_proxy_keeps_the_data_and_the_training_of_the_build(
    field: str, value: object
) -> None:
    message = refused(lambda rows: rows[0].update({field: value, "origin": "typed"}))
    assert f"#/0/{field}: " in message
    assert "that of this build's proxy is" in message or "is gone" in message


def test_without_a_trained_proxy_none_can_be_typed() -> None:
    desk = sample.desk()
    typed = json.loads(desk.files[RESULTS])[0] | {"origin": "typed"}
    desk.own[RESULTS] = json.dumps([trial.entry("held-out text", "not measured")]).encode()
    desk.files[RESULTS] = json.dumps([typed]).encode()
    with pytest.raises(TaskError, match="size is 'proxy', but this build trained no proxy"):
        evidence.evidence(desk)


def test_a_figure_of_the_report_cannot_be_typed() -> None:
    figure = {"kind": "lines", "x": "step", "y": "loss", "series": []}
    message = refused(lambda file: file["report"].update(figure=figure), REPORT)
    assert "benchmarks/report.json#/report/figure: The figure was edited" in message


def test_every_task_that_states_a_result_waits_for_the_check() -> None:
    recipes = graph.of_spec(load(TINY)).recipes
    stating = [r for r in recipes if r.name.startswith(("docs:", "paper:", "release:"))]
    readers = [r for r in stating if {RESULTS, CURVE, *BOUND} & set(r.inputs)]
    assert len(readers) > 10
    assert [r.name for r in readers if EVIDENCE not in (*r.inputs, *r.targets)] == []


LM_EVAL = dict.fromkeys(HARNESS) | {"name": "lm-eval", "task": "mmlu"}
IMPORTED = {**FULL, "origin": "imported", "bound": True, "steps": 100}


def test_a_result_that_was_bound_is_as_the_build_wrote_it() -> None:
    desk = sample.desk()
    rows = json.loads(desk.files[RESULTS])
    rows[2].update(IMPORTED)
    desk.files[RESULTS] = json.dumps(rows).encode()
    content = json.loads(evidence.evidence(desk)[EVIDENCE])
    assert origins(content) == ["measured", "measured", "imported"]


def test_a_typed_score_needs_an_outcome_for_each_baseline() -> None:
    free: dict[str, Any] = {"seeds": {}, "spread": None, "interval": None, "differences": {}}
    message = refused(lambda rows: rows[0].update(free, outcomes={}, value=2.5, origin="typed"))
    assert "outcomes lacks 'unigram'; without a difference it is 'cannot tell'." in message
    every = dict.fromkeys(("unigram", "bigram", "5-gram"), "cannot tell")
    changes = {**free, "outcomes": every, "value": 2.5, "origin": "typed"}
    assert origins(edited(lambda rows: rows[0].update(changes)))[0] == "typed"


def test_a_typed_result_cannot_claim_to_be_bound() -> None:
    message = refused(lambda rows: rows[2].update(FULL, bound=True))
    assert "bound is true, but only a file of results that names the weights is bound." in message


def test_a_typed_result_cannot_contradict_an_imported_one() -> None:
    desk = sample.desk()
    rows = json.loads(desk.files[RESULTS])
    rows[2].update(IMPORTED)
    desk.own[RESULTS] = json.dumps(rows).encode()
    rows.append({**rows[2], **FULL, "bound": False, "dataset": "other", "value": 0.9})
    desk.files[RESULTS] = json.dumps(rows).encode()
    with pytest.raises(TaskError, match="value differs from the imported result of the same"):
        evidence.evidence(desk)


@pytest.mark.parametrize("path", BOUND)
def test_what_a_package_says_of_the_bound_training_cannot_be_edited(path: str) -> None:
    desk = sample.desk()
    desk.own[path], desk.files[path] = desk.files[path], desk.files[path] + b" "
    with pytest.raises(TaskError, match="This file was edited; it says what the bound files hold"):
        evidence.evidence(desk)


def test_a_declared_benchmark_that_was_bound_is_not_listed_as_not_run() -> None:
    desk = sample.desk()
    row = {**trial.entry("MMLU", "measured"), **IMPORTED, "harness": LM_EVAL}
    desk.files[FULL_RESULTS] = json.dumps([row]).encode()
    desk.files[REPORT] = json.dumps({"status": "not measured"}).encode()
    rows = json.loads(trial.results(desk)[RESULTS])
    assert [(row["benchmark"], row["status"]) for row in rows[1:]] == [
        ("MMLU", "measured"), ("HellaSwag", "not run"),
    ]  # fmt: skip


def test_a_malformed_result_of_the_full_model_is_refused() -> None:
    desk = sample.desk()
    desk.files[FULL_RESULTS] = json.dumps([{**trial.entry("MMLU", "measured"), "n": 0}]).encode()
    with pytest.raises(TaskError, match="n is 0; allowed"):
        trial.results(desk)


CARDS = ("model_card", "data_card", "eval_report", "limitations")


def documents(change: Change) -> dict[str, str]:
    """Return the cards and the paper's sections of results that were changed."""
    rows = json.loads(sample.desk().files[RESULTS])
    change(rows)
    desk = sample.desk(results=rows)
    cards_ = {name: next(iter(getattr(cards, name)(desk).values())).decode() for name in CARDS}
    sections = {name: paper.section(name)(desk) for name in paper.SECTIONS}
    return cards_ | {
        f"{n}.tex": made[f"paper/sections/{n}.tex"].decode() for n, made in sections.items()
    }


def test_a_result_of_the_full_model_has_a_block_of_its_own() -> None:
    before, after = documents(lambda rows: None), documents(lambda rows: rows[2].update(FULL))
    no_run = re.compile(r"[Nn]o training run of the full model")
    for each in (before, after):
        assert sum(bool(no_run.search(text)) for text in each.values()) >= 4
    assert "no results of it" in before["eval_report"]
    assert not any("no results of it" in text for text in after.values())
    above, _, block = after["eval_report"].partition("## Results of the full model\n")
    stated = "`cais/mmlu`, split: test, n = 14,042 | typed by a person; stated, not bound"
    for text in (after["model_card"], block):
        assert f"| 0.6512 | not stated | | {stated}" in text
        assert f"data: `{'ab' * 32}`" in text
    assert "0.6512" not in above.split("\n---\n", 1)[-1]
    assert "0.6512" not in after["abstract.tex"]
    assert "0.6512 & not stated & typed by a person; stated, not bound" in after["evaluation.tex"]
    assert "MMLU, accuracy of the full model, 0.6512: typed by a person" in after["limitations"]


def test_the_header_of_the_card_has_scores_of_the_full_model_alone_and_marks_what_is_typed() -> (
    None
):
    card = documents(lambda rows: rows[2].update(FULL))["model_card"]
    (full,) = yaml.safe_load(card.split("---")[1])["model-index"]
    assert full["name"] == "text_llm_8b"
    (metric,) = full["results"][0]["metrics"]
    typed = "typed by a person, not measured by this build, stated, not bound"
    assert metric["name"] == f"MMLU, accuracy ({typed})"


def test_a_typed_score_of_the_proxy_is_marked_wherever_it_stands() -> None:
    after = documents(lambda rows: rows[0].update(value=2.5, seeds={}, spread=None, origin="typed"))
    typed = ("model_card", "eval_report", "abstract.tex", "evaluation.tex", "limitations")
    for name in (*typed, "limitations.tex"):
        assert "typed by a person, not measured by this build" in after[name], name
    before = documents(lambda rows: None)
    assert not any("typed" in text for text in before.values())


def files_of(run: Path) -> dict[str, bytes]:
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in run.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.ci
def test_edits_of_a_package_are_typed_kept_or_refused_before_a_document_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    build(tmp_path, overrides=MMLU)
    (run,) = tmp_path.glob("run-*")
    clean = files_of(run)
    report, results = run / REPORT, run / RESULTS

    def rows() -> Rows:
        content: Rows = json.loads(results.read_text())
        return content

    said, added = json.loads(report.read_text()), rows()
    said["report"]["metrics"][0]["value"] = 0.5
    added[1].update(FULL)
    report.write_text(json.dumps(said))
    results.write_text(json.dumps(added, indent=2) + "\n")
    build(tmp_path, overrides=MMLU)
    assert [(row["value"], row["origin"]) for row in rows()] == [(0.5, "typed"), (0.6512, "typed")]

    here = files_of(run)
    stated = list(resting_on_edits(here, clean, {RESULTS, REPORT}))
    assert f"{RESULTS}: MMLU, accuracy, full: 0.6512 was typed, not measured by the build" in stated
    assert any(s.startswith("README.md:") and "0.6512" in s for s in stated)
    assert list(resting_on_edits(here, clean, {"code/model.py"})) == []

    before = tree(tmp_path)
    added[1].update(value=7.5)
    results.write_text(json.dumps(added, indent=2))
    with pytest.raises(TaskError, match=r"value is 7\.5; allowed: accuracy in 'share'"):
        build(tmp_path, overrides=MMLU)
    kept = {path: data for path, data in tree(tmp_path).items() if not path.endswith(RESULTS)}
    assert kept == {path: before[path] for path in kept}
