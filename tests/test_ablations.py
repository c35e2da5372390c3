"""Ablations: names that a spec selects, one task for each change and seed, paired differences."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import docs_fixtures as sample
from helpers import sample_files
from helpers.building import TINY, build, fake_measurements, ran, tree
from helpers.plain_desk import PlainDesk

from metagen import families, paths
from metagen.docs import cards, paper
from metagen.engine import graph
from metagen.errors import SpecError, TaskError
from metagen.families import ablations
from metagen.measure import ablation, sandbox, trial
from metagen.measure.results import ABLATED
from metagen.spec import load

DEPTH, DECAY, TIED = "half the depth", "no weight decay", "token tables untied"
TABULAR = paths.specs() / "tabular" / "tabular_classifier.yaml"


@pytest.mark.parametrize("name", families.FAMILIES)
def test_the_names_of_a_family_are_those_of_each_design(name: str) -> None:
    family = families.named(name)
    names = ablations.names(family)
    assert len(names) >= 3
    assert len({ablations.slug(each) for each in names}) == len(names)
    assert "unchanged" not in map(ablations.slug, names)
    # A list on a command line takes the names as they are.
    assert all(re.fullmatch(r"[a-z0-9][\w /'-]+", each) for each in names)


def test_a_name_that_the_family_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(SpecError) as error:
        graph.of_spec(load(TINY, ["evaluation.ablations=[half the dept]"]))
    text = str(error.value)
    assert "no ablation 'half the dept'" in text
    assert "did you mean half the depth?" in text
    assert DECAY in text


@pytest.mark.parametrize(
    ("given", "names"),
    [("1", ("all",)), ("all", ("all",)), ("none", ()), ("0", ()), (f"[{DECAY}]", (DECAY,))],
)
def test_all_and_none_are_words(given: str, names: tuple[str, ...]) -> None:
    assert load(TINY, [f"ablate={given}"]).key(ablations.KEY) == names


@pytest.mark.parametrize("given", ["2", "most", "-1", "{a: 1}"])
def test_other_values_are_refused(given: str) -> None:
    with pytest.raises(SpecError, match="a list of names of the family's ablations"):
        load(TINY, [f"ablate={given}"])


def test_without_a_bench_the_ablations_are_not_followed() -> None:
    (warning,) = graph.of_spec(load(TINY, ["ablate=1", "bench=none"])).warnings
    assert "evaluation.bench is none" in str(warning)


def test_the_proxy_is_trained_as_often_as_its_ablations() -> None:
    family = families.named("decoder")

    def trainings(*settings: str) -> int:
        return trial.seeds(family, load(TINY, settings).key)

    assert trainings() == 1
    assert trainings("ablate=1") == trainings("ablate=1", "bench=full") == 3
    assert trainings("ablate=1", "evaluation.seeds=2") == 2
    assert trainings("ablate=1", "bench=none") == 1


def test_a_change_of_a_dimension_brings_the_settings_that_follow_from_it(tmp_path: Path) -> None:
    family, key = families.named("decoder"), PlainDesk("", tmp_path).key
    dims = {**family.written, **family.proxy(family.written), "vocab_size": 1024}
    proxy = {"model": dims, **family.sections(dims, key, reduced=True)}
    proxy["train"]["learning_rate"] = 0.5  # as a user may set it
    (bytes_,) = (a for a in ablations.of_design(family, proxy) if a.name == "byte vocabulary")
    changed = ablation._changed(family, bytes_, proxy, key)
    assert (changed["model"]["vocab_size"], changed["data"]["tokenizer"]) == (256, "byte")
    assert changed["train"]["learning_rate"] == 0.5
    assert proxy["data"]["tokenizer"] == "bpe"


def test_the_interval_is_that_of_eval_on_the_same_resamples(runtime: Any) -> None:
    generator = np.random.default_rng(1)
    own, other = generator.normal(1, 1, 60), generator.normal(0, 1, 60)
    scores = runtime.scores
    samples = scores.Samples("rows", 60)
    both = scores.compared(scores.Mean(own), {"other": scores.Mean(other)}, samples)
    one, two = (
        {"value": values.mean(), **scores.compared(scores.Mean(values), {}, samples)}
        for values in (own, other)
    )
    assert ablation._interval(one, two) == pytest.approx(both["differences"]["other"])
    assert ablation._interval(one | {"resamples": None}, two | {"resamples": None}) is None


def measured(seeds: dict[int, tuple[float, float]], added: int = 0, wide: float = 0.1) -> list[Any]:
    """Return the files of a change: its score and the unchanged one, by seed."""
    about = {"metric": "loss", "title": "loss", "unit": "nat", "higher_is_better": False}
    return [
        {"status": "measured", "run": {"seed": seed, "steps": 9, "steps_unit": "training steps"},
         "change": {"n_layers": 1}, "parameters_added": added,
         "metrics": [{**about, "value": one, "unchanged": two,
                      "interval": [one - two - wide, one - two + wide]}]}
        for seed, (one, two) in seeds.items()
    ]  # fmt: skip


def content(**changes: list[Any]) -> dict[str, Any]:
    files = {ablation.path(name, n): each for name, several in changes.items()
             for n, each in enumerate(several)}  # fmt: skip
    package = {path: json.dumps(each).encode() for path, each in files.items()}
    desk = PlainDesk.of(TINY)
    desk.package = {**package, ablation.PARAMS: b'{"proxy_total": 1000}'}
    named = {name: [ablation.path(name, n) for n in range(len(e))] for name, e in changes.items()}
    made: dict[str, Any] = ablation._content(desk, named)
    return made


def test_a_change_is_better_or_worse_by_the_rule_for_baselines() -> None:
    made = content(
        better=measured({1: (1.0, 2.0), 2: (1.1, 2.1), 3: (0.9, 1.9)}),
        worse=measured({1: (3.0, 2.0), 2: (3.1, 2.1), 3: (2.9, 1.9)}, added=51),
        one_seed_disagrees=measured({1: (1.0, 2.0), 2: (2.2, 2.1), 3: (0.9, 1.9)}),
        wide=measured({1: (1.0, 2.0), 2: (1.1, 2.1), 3: (0.9, 1.9)}, added=50, wide=3.0),
    )
    rows = {row["name"]: row for row in made["metrics"][0]["changes"]}
    assert [row["outcome"] for row in rows.values()] == [
        "better", "worse", "cannot tell", "cannot tell",
    ]  # fmt: skip
    assert rows["better"]["difference"]["value"] == pytest.approx(-1)
    assert rows["better"]["difference"]["interval"] == pytest.approx([-1.1, -0.9])
    assert made["metrics"][0]["unchanged"]["value"] == pytest.approx(2)
    assert [row["resized"] for row in rows.values()] == [False, True, False, False]
    assert rows["worse"]["parameters"] == 1051


def test_a_training_that_diverged_is_named_and_not_compared() -> None:
    broken = measured({1: (1.0, 2.0), 2: (1.0, 2.0)})
    broken[1]["metrics"][0]["value"] = None
    made = content(fine=measured({1: (1.0, 2.0), 2: (1.1, 2.0)}), broken=broken)
    assert [row["name"] for row in made["metrics"][0]["changes"]] == ["fine"]
    assert made["not_shown"] == [{"name": "broken", "reason": ablation.NO_SCORE}]


def resampled(arguments: Any, given: Any, wanted: Any, **more: Any) -> dict[str, bytes]:
    """Measure as `fake_measurements`, with the scores of resamples where they are asked for."""
    made = fake_measurements(arguments, given, wanted, **more)
    if sandbox.STDOUT in wanted and "--resamples" in arguments:
        report = json.loads(made[sandbox.STDOUT])
        for metric in report["metrics"]:
            metric["resamples"] = [metric["value"] + each for each in (-0.1, 0.0, 0.1)]
        made[sandbox.STDOUT] = json.dumps(report).encode()
    return made


def test_each_change_and_seed_is_a_task_and_the_documents_tell_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", resampled)
    only = "outputs.artifacts=[eval_report]"
    build(tmp_path, TINY, [f"evaluation.ablations=[{DEPTH}, {TIED}]", only])
    made = json.loads(tree(tmp_path)[f"run-text_llm_tiny/{ABLATED}"])
    (metric,) = made["metrics"]
    (row,) = metric["changes"]
    assert (row["name"], set(row["seeds"])) == (DEPTH, {"42", "43", "44"})
    assert made["not_shown"] == [{"name": TIED, "reason": "it is so already"}]
    report = json.loads(tree(tmp_path)["run-text_llm_tiny/benchmarks/report.json"])
    assert metric["unchanged"]["seeds"]["42"] == report["report"]["metrics"][0]["value"]
    assert "resamples" not in report["report"]["metrics"][0]
    assert DEPTH in tree(tmp_path)["run-text_llm_tiny/docs/eval_report.md"].decode()

    more = ran(build(tmp_path, TINY, [f"evaluation.ablations=[{DEPTH}, {DECAY}, {TIED}]", only]))
    trained = {f"benchmarks:{ablations.slug(DECAY)}_{n}" for n in (1, 2, 3)}
    # The list of results counts the seeds, which depend on whether there are ablations.
    assert {name for name in more if name.startswith("benchmarks:")} == {
        *trained, "benchmarks:ablations", "benchmarks:results", "benchmarks:evidence",
    }  # fmt: skip

    place = tmp_path / "run-text_llm_tiny" / ABLATED
    place.write_text(place.read_text().replace("cannot tell", "better"))
    with pytest.raises(TaskError, match="says what the build measured"):
        build(tmp_path, TINY, [f"evaluation.ablations=[{DEPTH}, {DECAY}, {TIED}]", only])


def test_documents_have_a_table_and_a_figure_only_where_ablations_were_run() -> None:
    for desk, there in (
        (sample.desk(ablations=sample_files.ablations()), True),
        (sample.desk(), False),
    ):
        report = cards.eval_report(desk)["docs/eval_report.md"].decode()
        section = paper.section("evaluation")(desk)["paper/sections/evaluation.tex"].decode()
        assert ("## Ablations" in report) == ("figures/ablations.svg" in report) == there
        assert (r"\label{tab:ablations}" in section) == ("ablations.pdf" in section) == there
        if there:
            assert (
                "| half the depth | 305,728 | 2.98 | 0.04 | 0.11 | 0.07 to 0.15 | worse |" in report
            )
            assert "not that of the choice alone: half the depth (\u221225.8%)." in report
            assert "token tables untied (it is so already)" in report
        abstract = paper.section("abstract")(desk)["paper/sections/abstract.tex"].decode()
        assert "blation" not in abstract


def test_only_a_package_with_ablations_has_their_figure() -> None:
    made = [set(graph.of_spec(load(TINY, given)).maker) for given in ([], ["ablate=1"])]
    figures = {"docs/figures/ablations.svg", "paper/figures/ablations.pdf"}
    assert [figures & targets for targets in made] == [set(), figures]


@pytest.mark.slow
@pytest.mark.ci
def test_the_code_of_a_package_is_trained_with_a_change(tmp_path: Path) -> None:
    settings = ["evaluation.ablations=[no dropout]", "evaluation.seeds=1"]
    build(tmp_path, TABULAR, settings)
    (run,) = tmp_path.glob("run-*")
    made = json.loads((run / ABLATED).read_text())
    results = json.loads((run / "benchmarks/results.json").read_text())
    scores = {row["metric"]: row["value"] for row in results}
    assert len(made["metrics"]) >= 2
    for metric in made["metrics"]:
        (row,) = metric["changes"]
        assert metric["unchanged"]["value"] == scores[metric["metric"]]
        difference = row["difference"]
        assert difference["value"] == pytest.approx(row["value"] - scores[metric["metric"]])
        low, high = difference["interval"]
        assert low <= difference["value"] <= high
        assert difference["value"] != 0
    listed = yaml.safe_load((run / "blueprint/ablations.yaml").read_text())
    (own,) = (each["proxy"] for each in listed if each["name"] == "no dropout")
    assert own == {"change": {"dropout": 0.0}, "parameters": row["parameters"]}
