"""Results of harnesses become entries with their harness; those of another model are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import bound, harness_files
from helpers.bound import change
from helpers.harness_files import encoded

from metagen import files
from metagen.errors import TaskError
from metagen.tasks import harness
from metagen.trained import metrics, results

Rows = list[dict[str, Any]]
Change = Callable[[Any], object]
MMLU = {"evaluation.benchmarks": "[MMLU, SciQ, GSM8K]"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bound.training(tmp_path / "full_run")
    return tmp_path / "full_run"


def taken(folder: Path | None, *given: Any, keys: dict[str, Any] | None = None) -> Rows:
    """Return the results of a training folder, and of files given as name and content."""
    pairs = [given[at : at + 2] for at in range(0, len(given), 2)]
    named = {name: c if isinstance(c, bytes) else encoded(c) for name, c in pairs}
    desk = bound.desk(folder, named, keys)
    desk.package |= bound.checked(folder is not None)
    rows: Rows = json.loads(results.results(desk)["trained/results.json"])
    return rows


def refused(folder: Path | None, *given: Any) -> str:
    with pytest.raises(TaskError) as caught:
        taken(folder, *given)
    for problem in caught.value.problems:
        assert problem.place
        assert problem.hint
        assert problem.sentence.endswith(".")
    return str(caught.value)


def changed(content: Any, change: Change) -> Any:
    content = copy.deepcopy(content)
    change(content)
    return content


def of(rows: Rows, benchmark: str, metric: str | None = None) -> dict[str, Any]:
    (row,) = [r for r in rows if r["benchmark"] == benchmark and metric in (None, r["metric"])]
    return row


def test_without_a_training_there_are_no_results() -> None:
    assert taken(None) == []


def test_the_scores_of_the_folder_are_bound(folder: Path) -> None:
    (row,) = taken(folder)
    assert (row["metric"], row["value"], row["n"]) == ("bits_per_byte", 2.5, 90)
    assert (row["bound"], row["origin"], row["size"]) == (True, "imported", "full")
    assert (row["seed"], row["steps"], row["standard_error"]) == (bound.SEED, bound.STEPS, 0.05)
    assert row["outcomes"] == {"unigram": "beats", "bigram": "beats"}
    assert row["harness"]["name"] == "eval.py"
    assert row["harness"]["sha256"] == files.sha256((folder / "scores.json").read_bytes())


def test_results_of_lm_eval_keep_how_they_were_measured(folder: Path) -> None:
    data = encoded(harness_files.lm_eval())
    rows = taken(folder, "lm_eval_out/results_2026.json", data, keys=MMLU)
    row = of(rows, "MMLU")
    assert (row["value"], row["standard_error"], row["n"]) == (0.255, 0.02, 200)
    assert (row["title"], row["unit"], row["higher_is_better"]) == ("accuracy", "share", True)
    assert row["bound"] is False
    assert row["steps"] is None
    assert row["harness"] == {
        "name": "lm-eval", "version": "0.4.9.2", "commit": "1f84a09f", "task": "mmlu",
        "task_version": "2", "num_fewshot": 5, "template_sha256": harness_files.TEMPLATE,
        "file": "lm_eval_out/results_2026.json", "sha256": files.sha256(data),
    }  # fmt: skip


def test_the_parts_of_a_group_with_a_score_are_left_out(folder: Path) -> None:
    rows = taken(folder, "results_1.json", harness_files.lm_eval(), keys=MMLU)
    assert [(row["benchmark"], row["metric"]) for row in rows[1:]] == [
        ("MMLU", "acc"), ("SciQ", "acc"), ("SciQ", "acc_norm"),
    ]  # fmt: skip


def test_the_parts_of_a_group_without_a_score_are_kept(folder: Path) -> None:
    content = changed(
        harness_files.lm_eval(), lambda c: c["results"].update(mmlu={" ": " ", "alias": "mmlu"})
    )
    rows = taken(folder, "results_1.json", content)
    assert {row["benchmark"] for row in rows[1:]} == {"mmlu_anatomy", "mmlu_law", "sciq"}


def test_a_standard_error_that_was_not_computed_is_null(folder: Path) -> None:
    rows = taken(folder, "results_1.json", harness_files.lm_eval())
    assert of(rows, "sciq", "acc_norm")["standard_error"] is None
    rows = taken(folder, "results_1.json", harness_files.lighteval())
    assert of(rows, "mmlu")["standard_error"] is None


def test_an_older_lm_eval_is_read(folder: Path) -> None:
    row = of(taken(folder, "out.json", harness_files.lm_eval_of_2023()), "sciq", "acc")
    assert (row["value"], row["standard_error"]) == (0.3, 0.01)
    assert row["harness"]["num_fewshot"] == 2
    assert row["n"] is row["split"] is None


def test_results_of_lighteval_are_read(folder: Path) -> None:
    rows = taken(folder, "results_1.json", harness_files.lighteval(), keys=MMLU)
    assert [(row["benchmark"], row["metric"]) for row in rows[1:]] == [
        ("MMLU", "acc"), ("glue:cola", "mcc"),
    ]  # fmt: skip
    row = of(rows, "glue:cola")
    assert (row["n"], row["split"], row["dataset"]) == (1043, "validation", "nyu-mll/glue")
    assert row["harness"]["num_fewshot"] == 0
    assert row["harness"]["commit"] is None


def test_a_log_of_inspect_is_read(folder: Path) -> None:
    row = of(taken(folder, "log.json", harness_files.inspect()), "pubmedqa")
    assert (row["value"], row["standard_error"], row["n"]) == (0.4, 0.02, 500)
    assert row["harness"]["commit"] == "abc1234"
    assert row["harness"]["version"] == "0.3.108"


@pytest.mark.parametrize("make", [harness_files.every_eval_ever, harness_files.plain])
def test_a_file_that_names_the_weights_is_bound(folder: Path, make: Callable[..., Any]) -> None:
    data = (folder / "checkpoint" / "model.safetensors").read_bytes()
    assert taken(folder, "a.json", make(files.sha256(data)))[1]["bound"] is True
    assert taken(folder, "a.json", make())[1]["bound"] is False
    assert "These are results of the weights" in refused(folder, "a.json", make("ab" * 32))


def test_the_report_of_eval_alone_names_no_weights(folder: Path) -> None:
    (folder / "scores.json").unlink()
    (row,) = taken(folder, "report.json", bound.report())
    assert (row["bound"], row["value"], row["steps"]) == (False, 2.5, None)


def test_a_metric_may_have_data_of_its_own_and_be_no_score(folder: Path) -> None:
    report = bound.report()
    own = {"dataset": "weekly", "sha256": "ef" * 32, "n": 7, "n_unit": "series", "split": None}
    distance = {"metric": "nearest", "title": "nearest example", "status": "no score"}
    distance |= {"higher_is_better": None, "unit": "distance", "value": 1.5, "baselines": {}}
    report["metrics"] += [
        report["metrics"][0] | {"metric": "bits", "baselines": {}, "differences": {}} | own,
        distance,
    ]
    change(folder / "scores.json", "scores", 0, "report", to=report)
    first, second, third = taken(folder)
    assert {name: second[name] for name in own} == own
    assert [row["n"] for row in (first, third)] == [90, 90]
    assert [row["status"] for row in (first, second, third)] == ["measured"] * 2 + ["no score"]


def test_results_without_a_checkpoint_are_stated(folder: Path) -> None:
    rows = taken(None, "a.json", harness_files.plain("ab" * 32))
    assert [row["bound"] for row in rows] == [False]


def test_what_lies_beside_the_results_is_not_read(folder: Path) -> None:
    beside = ("samples_mmlu_2026.jsonl", b"{", "details_a.parquet", b"PAR1", "samples_x.json", b"[")
    given = ("out/results_1.json", harness_files.lm_eval())
    assert taken(folder, *given, *beside) == taken(folder, *given)


def test_one_result_in_two_files_is_one_and_bound_if_one_is(folder: Path) -> None:
    sha256 = files.sha256((folder / "checkpoint" / "model.safetensors").read_bytes())
    rows = taken(folder, "a.json", harness_files.plain(), "b.json", harness_files.plain(sha256))
    assert of(rows, "HellaSwag")["bound"] is True


def test_two_numbers_of_examples_are_two_results(folder: Path) -> None:
    other = changed(
        harness_files.plain(), lambda c: c["results"][0].update(num_fewshot=5, value=0.4)
    )
    rows = taken(folder, "a.json", harness_files.plain(), "b.json", other)
    assert [row["value"] for row in rows[1:]] == [0.31, 0.4]


def test_two_values_of_one_result_are_refused(folder: Path) -> None:
    other = changed(harness_files.plain(), lambda c: c["results"][0].update(value=0.4))
    message = refused(folder, "a.json", harness_files.plain(), "b.json", other)
    assert "HellaSwag, acc_norm: the value is 0.31 in a.json#/results/0, and 0.4 here." in message


def test_results_that_are_percent_say_so(folder: Path) -> None:
    other = changed(
        harness_files.plain(),
        lambda c: c["results"][0].update(value=31.0, unit="percent", standard_error=0.4),
    )
    row = of(taken(folder, "a.json", other), "HellaSwag")
    assert (row["value"], row["unit"]) == (31.0, "percent")


def test_scores_of_earlier_checkpoints_are_not_of_this_one(folder: Path) -> None:
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    earlier = bound.score("ef" * 32, step=2, value=3.5)
    change(folder / "scores.json", "scores", to=[earlier, *scores])
    assert [row["value"] for row in taken(folder)] == [2.5]


def test_scores_of_an_edited_script_say_so(folder: Path) -> None:
    change(folder / "scores.json", "scores", 0, "code", "eval.py", to="0" * 64)
    (row,) = taken(folder)
    assert (row["bound"], row["harness"]["name"]) == (True, "eval.py, edited")


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([bound.score("ef" * 32, step=2)], "This score is of the weights efefef"),
        ([bound.score("ef" * 32)], "This score is of the weights efefef"),
        ([bound.score("zz")], "sha256 is 'zz'; allowed: 64 hexadecimal digits"),
        ([7], "This must be an object, and is 7."),
        ([{**bound.score("ef" * 32), "report": 7}], "This score is of the weights"),
    ],
)
def test_stale_scores_are_refused(folder: Path, scores: list[Any], sentence: str) -> None:
    change(folder / "scores.json", "scores", to=scores)
    assert sentence in refused(folder)


@pytest.mark.parametrize(
    ("way", "value", "sentence"),
    [
        (("size",), "proxy", "These weights are the full model's of step 6, not proxy size"),
        (("checkpoint", "step"), 9, "not full size, step 9"),
        (("report",), [], "This must be an object, and is []."),
        (("report", "metrics"), [], "This must be a list of metrics."),
        (("report", "metrics", 0, "value"), "2.5", "value is '2.5'; allowed: a finite number"),
        (("report", "metrics", 0, "value"), -2.5, "value is -2.5; allowed: bits per byte"),
        (("report", "metrics", 0, "value"), 2.7, "interval is [2.4, 2.6], which does not contain"),
        (("report", "metrics", 0, "baselines"), {"a": None}, "baselines.a is None; allowed"),
        (("report", "metrics", 0, "interval"), [3, 2], "interval is [3, 2]; allowed"),
        (("report", "metrics", 0, "title"), "a\nb", "has the control character"),
        (("report", "n"), 0, "n is 0; allowed: a whole number from 1"),
        (("report", "sha256"), "x", "sha256 is 'x'; allowed: 64"),
    ],
)
def test_an_impossible_score_is_refused(
    folder: Path, way: tuple[Any, ...], value: Any, sentence: str
) -> None:
    change(folder / "scores.json", "scores", 0, *way, to=value)
    assert sentence in refused(folder)


@pytest.mark.parametrize(
    ("make", "edit", "sentence"),
    [
        ("lm_eval", lambda c: c["results"]["sciq"].update({"acc,none": 65.12}), "value is 65.12"),
        ("lm_eval", lambda c: c["results"]["sciq"].update({"acc,none": 65.12}), "divide by 100"),
        (
            "lm_eval",
            lambda c: c["results"]["sciq"].update({"acc,none": float("nan")}),
            "value is nan",
        ),
        ("lm_eval", lambda c: c["results"]["sciq"].update({"acc,none": -0.1}), "value is -0.1"),
        ("lm_eval", lambda c: c["results"]["sciq"].update({"acc,none": "0.3"}), "value is '0.3'"),
        ("lm_eval", lambda c: c["results"]["sciq"].update({"acc,none": True}), "value is True"),
        ("lm_eval", lambda c: c["results"].update(sciq=[0.3]), "must be an object of metrics"),
        ("lm_eval", lambda c: c["n-samples"]["sciq"].update(effective=0), "n is 0; allowed"),
        ("lm_eval", lambda c: c["n-samples"]["sciq"].update(effective=-1), "n is -1; allowed"),
        ("lm_eval", lambda c: c["n-shot"].update(sciq=-1), "num_fewshot"),
        (
            "lm_eval",
            lambda c: c["results"]["sciq"].update({"acc_stderr,none": 3.0}),
            "standard_error is 3.0, too large for a share",
        ),
        (
            "lm_eval",
            lambda c: c["results"]["sciq"].update({"acc_stderr,none": -1}),
            "standard_error is -1; allowed",
        ),
        (
            "lm_eval",
            lambda c: c["config"].update(model_num_parameters=93069280),
            "results of a model with 93069280 parameters, and this one has 49.",
        ),
        ("lm_eval", lambda c: c.update(model_name="org/gpt2"), "results of the model 'org/gpt2'"),
        ("lm_eval", lambda c: c.update(date=harness_files.BEFORE), "before the checkpoint was"),
        ("lm_eval", lambda c: c.update(chat_template_sha="zz"), "harness.template_sha256 is 'zz'"),
        (
            "lm_eval",
            lambda c: c["configs"]["sciq"].update(dataset_path="a\nb"),
            "control character",
        ),
        ("lm_eval", lambda c: c.update(lm_eval_version=["x"]), "harness.version is ['x']"),
        (
            "lm_eval_of_2023",
            lambda c: c["config"].update(model_args="pretrained=a/b"),
            "model 'a/b'",
        ),
        (
            "lighteval",
            lambda c: c["config_general"].update(model_name="HuggingFaceTB/SmolLM2"),
            "results of the model 'HuggingFaceTB/SmolLM2'",
        ),
        ("lighteval", lambda c: c["results"]["glue:cola|0"].update(acc=24.0), "value is 24.0"),
        ("lighteval", lambda c: c.update(results=[]), "must be an object of tasks"),
        ("inspect", lambda c: c.update(status="error"), "has the status 'error', not 'success'"),
        ("inspect", lambda c: c["eval"].update(model="openai/gpt-4o"), "model 'openai/gpt-4o'"),
        (
            "inspect",
            lambda c: c["eval"].update(model_args={"model_path": "runs/gpt-4o"}),
            "model 'runs/gpt-4o'",
        ),
        ("inspect", lambda c: c["eval"].update(created="2026-04-01T00:00:00+00:00"), "before the"),
        ("inspect", lambda c: c["eval"].update(task=7), "The task is 7, no name."),
        ("inspect", lambda c: c["results"].update(scores=None), "must be a list of scores"),
        (
            "every_eval_ever",
            lambda c: c["model_info"].update(id="a/b"),
            "results of the model 'a/b'",
        ),
        (
            "every_eval_ever",
            lambda c: c["evaluation_results"][0]["score_details"].update(score=44.86),
            "value is 44.86",
        ),
        ("every_eval_ever", lambda c: c.update(evaluation_results=[1]), "must be an object of a"),
        ("plain", lambda c: c.update(version=2), "The version is 2; allowed: 1."),
        ("plain", lambda c: c.update(checkpoint_sha256="zz"), "sha256 is 'zz'; allowed: 64"),
        ("plain", lambda c: c["results"][0].update(sterr=1), "'sterr' is no field here"),
        ("plain", lambda c: c["results"][0].pop("value"), "The field value is missing."),
        ("plain", lambda c: c["results"][0].update(metric="taste"), "higher_is_better is null"),
        ("plain", lambda c: c["results"][0].update(dataset_sha256="x"), "sha256 is 'x'"),
        ("plain", lambda c: c["results"][0].update(benchmark="<b>" * 99), "has 297 characters"),
        ("plain", lambda c: c.update(parameters=7), "results of a model with 7 parameters"),
        ("plain", lambda c: c.update(results=[7]), "This is 7, and must be an object."),
    ],
)
def test_a_wrong_file_is_refused(folder: Path, make: str, edit: Change, sentence: str) -> None:
    content = changed(getattr(harness_files, make)(), edit)
    message = refused(folder, "out/results_1.json", content)
    assert sentence in message
    assert "out/results_1.json" in message


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"results": {"a": {"acc,none": 0.1', "This is not valid JSON, or it is cut short"),
        (b'{"results": {}, "results": {}}', "has the name 'results' twice"),
        (b"[" * 100_000, "This is not valid JSON"),
        (b"\xff\xfe\x00", "This is not valid JSON"),
        (b"{}", "No known harness writes such a file."),
        (b"[1]", "No known harness writes such a file."),
        (b"9" * 5000, "This is not valid JSON"),
    ],
)
def test_an_unreadable_file_is_refused(folder: Path, data: bytes, sentence: str) -> None:
    assert sentence in refused(folder, "x.json", data)


def test_names_of_strangers_reach_no_terminal_unescaped(folder: Path) -> None:
    content = harness_files.lm_eval()
    content["results"]["\x1b[2J\n"] = {"acc,none": 2.0}
    assert not set("\x1b") & set(refused(folder, "a.json", content))
    assert not set("\x1b") & set(refused(folder, "\x1b[2J.json", b"{}"))
    assert "harness.file has the control character" in refused(
        folder, "\x1b.json", harness_files.plain()
    )


def test_a_compressed_log_says_how_to_write_it_as_json(folder: Path) -> None:
    assert "inspect log dump a.eval > results.json" in refused(folder, "logs/a.eval", b"PK")


def test_a_folder_without_results_is_refused(folder: Path) -> None:
    assert "The files of --results hold no results." in refused(folder, "samples_a.jsonl", b"{}")


def test_a_large_file_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metagen.trained.door.MOST", 30_000)
    assert "has 40,000 bytes, more than 30,000." in refused(folder, "x.json", b" " * 40_000)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("mmlu", "MMLU"), ("inspect_evals/mmlu_0_shot", "MMLU"), ("arc_easy", "ARC: arc_easy"),
        ("truthfulqa_mc2", "TruthfulQA"), ("lambada_openai", "LAMBADA"), ("sciq", "sciq"),
        ("gsm8k", "GSM-8K"), ("hellaswag", "HellaSwag"),
    ],
)  # fmt: skip
def test_the_name_of_a_task_meets_that_of_the_spec(task: str, name: str) -> None:
    benchmarks = ["MMLU", "ARC", "TruthfulQA", "LAMBADA", "GSM-8K", "HellaSwag"]
    assert harness.declared(benchmarks, task) == name


def test_a_benchmark_of_two_tasks_is_missing_until_both_were_run() -> None:
    benchmarks = ["ARC", "MMLU", "Our own"]
    assert harness.missing(benchmarks, ["arc_easy", "mmlu", "our_own"]) == ["ARC"]
    assert harness.missing(benchmarks, ["arc_easy", "arc_challenge"]) == ["MMLU", "Our own"]


@pytest.mark.parametrize(
    ("name", "task", "unit", "higher"),
    [
        ("acc", "", "share", True), ("acc_norm", "", "share", True), ("pass@1", "", "share", True),
        ("exact_match,strict-match", "gsm8k", "share", True), ("f1", "squadv2", "percent", True),
        ("f1", "drop", "share", True), ("bits_per_byte", "", "bit/byte", False),
        ("reward", "", "points", None), ("prompt_level_strict_acc", "", "share", True),
    ],
)  # fmt: skip
def test_a_metric_has_the_unit_of_its_name(
    name: str, task: str, unit: str, higher: bool | None
) -> None:
    found = metrics.metric(name, task)
    assert (found.unit, found.higher) == (unit, higher)
