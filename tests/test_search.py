"""The search: what a trial stands for, studies that are stopped, and what they leave."""

import io
import json
import os
import random
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from helpers.building import fake_measurements
from helpers.family_code import spec_paths
from helpers.studies import NAMES, SPEC, begun, joined, plan_of, pretended, space_of
from helpers.waiting import wait_for

from metagen import families, trials
from metagen.cli import main
from metagen.engine.terminal import Terminal
from metagen.errors import SpecError, TaskError, UsageError
from metagen.families.demand import Limit
from metagen.measure import sandbox
from metagen.search import bought, choices, front, plan, results, run, storage, study, worker
from metagen.search.plan import Plan
from metagen.search.space import SIZE, Candidate, Space
from metagen.sizing import explain
from metagen.sizing import search as sizing
from metagen.spec import load


def points_of(space, count, seed=1):
    draw = random.Random(seed)
    drawn = [{c.name: draw.choice(c.values) for c in space.choices} for _ in range(count)]
    return [(p, c) for p in drawn if isinstance(c := space.candidate(p), Candidate)]


# What a trial stands for.


def test_the_plain_point_is_the_packages_own_design():
    space = space_of(SPEC)
    own = space.candidate(space.plain)
    assert own.small.dims == space.shapes.base
    assert own.design == space.shapes.solution.design
    assert (own.train, own.samples, space.keys(own, space.plain)) == ({}, 1.0, {})


@pytest.mark.parametrize("name", ["tabular_classifier", "vit", "decoder"])
def test_a_spec_with_the_keys_of_a_candidate_gets_its_design(name):
    path = spec_paths()[name]
    space = space_of(path)
    found = points_of(space, 12)
    assert len({str(each.small.dims) for _, each in found}) > 2
    for point, each in found:
        keys = [f"{key}={json.dumps(value)}" for key, value in space.keys(each, point).items()]
        got = sizing.solution(explain.desk_over(load(path, keys))).design
        assert (got.dims, got.parameters) == (each.design.dims, each.design.parameters)


@pytest.mark.parametrize("name", ["tabular_classifier", "vit", "decoder", "resnet"])
def test_full_designs_meet_the_spec_and_small_ones_have_the_size_of_the_packages_own(name):
    space = space_of(spec_paths()[name])
    family, need = space.shapes.family, space.shapes.solution.need
    formats = space.shapes.solution.design.formats
    own = family.count({**space.shapes.base, **formats})
    for point, each in points_of(space, 12):
        share = 2 ** point[SIZE]
        assert 0.98 * share * need.floor <= each.design.parameters <= share * need.budget + 1
        assert not need.excess(each.design.demand)
        small = family.count({**each.small.dims, **formats})
        assert 0.9 * share * own - 1 <= small <= share * own + 1


def test_a_full_design_has_the_ratios_of_its_small_model():
    space = space_of(SPEC)
    wide = space.candidate({**space.plain, "shape.d_model": 1.0})
    own = space.candidate(space.plain)
    assert wide.small.ratios["d_model"] > 1.2
    ratio = wide.design.dims["d_model"] / own.design.dims["d_model"]
    # What fills the budget comes in other steps at each size.
    assert ratio == pytest.approx(wide.small.ratios["d_model"], rel=0.2)


def test_a_point_whose_full_design_exceeds_a_limit_is_refused_before_a_trial():
    space = space_of(SPEC)
    wide = {**space.plain, "shape.d_model": 1.0}
    most = space.candidate(wide).design.dims["d_model"] - 1
    limit = Limit("width", most, lambda demand: demand.weights, str, "")
    solution = space.shapes.solution
    tight = replace(solution, need=replace(solution.need, limits=(limit,)))
    refused = replace(space, shapes=replace(space.shapes, solution=tight), _known={})
    assert refused.candidate(wide) == (
        "no full design of this shape fills the budget and meets the limits"
    )


def test_a_spec_whose_own_design_breaks_its_limits_is_refused(tmp_path):
    made = plan_of(tmp_path)
    tight = Plan(
        tmp_path, made.settings, load(SPEC, ["constraints.memory_budget=1MB"]), made.package
    )
    with pytest.raises(SpecError, match="own design"):
        tight.space  # noqa: B018


def test_what_the_spec_declares_is_no_choice():
    every = {choice.name for choice in space_of(SPEC).choices}
    assert {"shape.d_model", "train.learning_rate", "size"} <= every
    declared = ("training.config.learning_rate=0.01", "architecture.dims.d_model=128")
    fewer = {choice.name for choice in space_of(SPEC, *declared, sized=False).choices}
    assert not {"train.learning_rate", "size"} & fewer
    for point, each in points_of(space_of(SPEC, *declared), 10):
        assert each.design.dims["d_model"] == 128, point


def test_losses_of_batches_of_pairs_are_not_compared():
    for name in ("clip", "sentence_embedder", "two_tower", "vit_embedder"):
        assert families.named(name).task.compares_within_a_batch
    names = {choice.name for choice in space_of(spec_paths()["sentence_embedder"]).choices}
    assert "train.batch_size" not in names


def test_trials_with_other_batches_read_as_many_samples(tmp_path):
    made = plan_of(tmp_path)
    space = made.space
    own = space.proxy["train"]
    point = dict.fromkeys(space.plain, 0.0) | space.plain
    train = space._train(own, {**point, "train.batch_size": 1.0})
    assert train["batch_size"] == 2 * own["batch_size"]
    assert train["warmup_steps"] == pytest.approx(own["warmup_steps"] / 2, abs=1)


# Studies.


class Killed(BaseException):
    pass


def sequence(trials_):
    return [(t.user_attrs[study.POINT], t.values, t.state.name) for t in trials_.finished()]


def straight(folder, monkeypatch, **how):
    """Return a study that runs to its end at once."""
    monkeypatch.setattr(trials, "run", pretended())
    made = plan_of(folder, **how)
    made.save()
    return made, run.work(made, trials.cache_in(folder / "cache"), None, 60.0, lambda line: None)


def stopped(folder, monkeypatch, stops, **how):
    """Return the same study, killed inside the training of some of its trials."""
    made = plan_of(folder, **how)
    made.save()
    pretend, count = pretended(), iter(range(10**6))

    def dying(package, trial, cache, watch=lambda *each: None, python=None):
        if next(count) in stops:
            raise Killed
        return pretend(package, trial, cache, watch)

    monkeypatch.setattr(trials, "run", dying)
    process = study._process
    for session in range(len(stops) + 1):
        # Each session is another process on this machine; the ones before it have gone.
        monkeypatch.setattr(
            study, "_process", lambda pid, s=session: (*process(0)[:2], s, pid and s)
        )
        monkeypatch.setattr(study.os, "getpid", lambda s=session: s + 1)
        try:
            return made, run.work(
                made, trials.cache_in(folder / "c"), None, 60.0, lambda line: None
            )
        except Killed:
            continue
    return None


@pytest.mark.parametrize(
    ("sampler", "objectives", "count"),
    [
        ("tpe", NAMES, 24),
        ("random", ("held_out",), 12),
        pytest.param("nsga2", NAMES, 60, marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("tpe", NAMES, 200, marks=[pytest.mark.slow, pytest.mark.ci]),
    ],
)
def test_a_study_that_was_stopped_three_times_equals_one_that_was_not(
    tmp_path, monkeypatch, sampler, objectives, count
):
    how = {"sampler": sampler, "objectives": objectives, "count": count}
    made, whole = straight(tmp_path / "a", monkeypatch, **how)
    again, resumed = stopped(tmp_path / "b", monkeypatch, {0, count // 3, count // 2}, **how)
    assert len(whole.finished()) == count
    assert sequence(whole) == sequence(resumed)
    fronts = [
        [r for r in front.rows(p, s) if r["front"]] for p, s in ((made, whole), (again, resumed))
    ]
    assert fronts[0] == fronts[1] != []


def test_another_seed_draws_other_points_and_more_trials_go_on(tmp_path, monkeypatch):
    _, first = straight(tmp_path / "a", monkeypatch, count=6)
    _, longer = straight(tmp_path / "a", monkeypatch, count=9)
    _, other = straight(tmp_path / "b", monkeypatch, count=6, seed=4)
    assert sequence(longer)[:6] == sequence(first)[:6]
    assert len(longer.finished()) == 9
    assert sequence(other)[1:] != sequence(first)[1:6]
    assert sequence(other)[0][0] == sequence(first)[0][0]  # the package's own design


def test_a_refused_point_trains_nothing_and_does_not_count(tmp_path, monkeypatch):
    seen = []
    made = plan_of(tmp_path, count=6)
    made.save()
    allowed, refuse = made.space.candidate, []

    def candidate(point):
        if point != made.space.plain and len(refuse) < 4:
            refuse.append(point)
            return "no room"
        return allowed(point)

    monkeypatch.setattr(Space, "candidate", lambda self, point: candidate(point))
    monkeypatch.setattr(trials, "run", pretended(seen))
    done = run.work(made, trials.cache_in(tmp_path / "cache"), None, 60.0, lambda line: None)
    assert len(done.finished()) == 6
    assert done.refusals() >= 4
    assert len({rate for rate, step in seen if step == 1}) <= 6


def test_a_curve_above_those_of_its_rivals_ends_a_trial():
    rivals = [[9.0, 5.0, float(place), 1.0] for place in range(5)]
    assert worker._is_above([9.0, 9.0, 2.1], rivals)
    assert not worker._is_above([9.0, 9.0, 2.0], rivals)
    assert not worker._is_above([9.0, 9.0], rivals)
    assert not worker._is_above([9.0, 9.0, 2.1], rivals[1:])


def test_a_small_design_is_no_rival_of_a_large_one(tmp_path, monkeypatch):
    class Done:
        def __init__(self, *values):
            self.values, self.user_attrs = values, {study.RESULT: {"curve": [values[0]]}}

    complete = [Done(1.0, 50.0), Done(2.0, 100.0)]
    assert worker._rivals(complete, [100.0]) == [[1.0], [2.0]]
    assert worker._rivals(complete, [60.0]) == [[1.0]]


def test_trials_that_fall_behind_are_ended_and_count(tmp_path, monkeypatch):
    seen = []
    made = plan_of(tmp_path, count=30, objectives=("held_out",), sampler="random")
    made.save()
    monkeypatch.setattr(trials, "run", pretended(seen))
    done = run.work(made, trials.cache_in(tmp_path / "cache"), None, 60.0, lambda line: None)
    states = [trial.state.name for trial in done.finished()]
    assert len(states) == 30
    assert 5 < states.count("PRUNED") < 25
    assert all(study.ENDED in t.user_attrs for t in done.finished() if t.state.name == "PRUNED")


def test_code_that_cannot_be_trained_ends_the_search(tmp_path, monkeypatch):
    def broken(*arguments):
        raise TaskError("no such column")

    monkeypatch.setattr(trials, "run", broken)
    made = plan_of(tmp_path)
    made.save()
    with pytest.raises(TaskError, match="no such column"):
        run.work(made, trials.cache_in(tmp_path / "cache"), None, 60.0, lambda line: None)


def test_trainings_that_all_fail_from_some_trial_on_end_the_search(tmp_path, monkeypatch):
    said, pretend = [], pretended()

    def broken(*arguments):
        if len(said) < 3:
            return pretend(*arguments)
        raise TaskError("No space left on device.")

    monkeypatch.setattr(trials, "run", broken)
    made = plan_of(tmp_path, count=20)
    made.save()
    with pytest.raises(TaskError, match="No space left"):
        run.work(made, trials.cache_in(tmp_path / "cache"), None, 60.0, said.append)
    assert [line.endswith("failed") for line in said] == [False] * 3 + [True] * worker.MOST_FAILED


# Workers.


@pytest.mark.slow
@pytest.mark.ci
def test_the_trial_of_a_killed_worker_is_run_again(tmp_path):
    made = plan_of(tmp_path, count=5, seconds=0.1)
    seen = begun(made)
    starts = tmp_path / "starts"
    first = joined(tmp_path)
    wait_for(lambda: starts.exists() and len(starts.read_text().split()) >= 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    lost = [t for t in seen._study.get_trials() if t.state.name == "RUNNING"]
    assert len(lost) == 1
    second = joined(tmp_path)
    assert second.wait(timeout=500) == 0
    done = seen.finished()
    assert [trial.state.name for trial in done] == ["COMPLETE"] * 5
    points = [trial.user_attrs[study.POINT] for trial in done]
    assert lost[0].user_attrs[study.POINT] in points


@pytest.mark.slow
@pytest.mark.ci
def test_of_three_workers_two_are_killed_and_each_trial_ends_once(tmp_path):
    made = plan_of(tmp_path, count=16, seconds=0.05)
    seen = begun(made)
    workers = [joined(tmp_path) for _ in range(3)]
    for number, worker_ in enumerate(workers[:2], 1):
        wait_for(lambda n=number: len(seen.complete()) >= 3 * n)
        os.killpg(worker_.pid, signal.SIGKILL)
        worker_.wait()
    assert workers[2].wait(timeout=900) == 0
    assert len(seen.finished()) == 16
    assert not [t for t in seen._study.get_trials() if t.state.name in ("RUNNING", "WAITING")]


@pytest.mark.slow
@pytest.mark.ci
def test_a_worker_ends_at_ctrl_c_with_a_sentence_and_the_same_command_goes_on(tmp_path, capfd):
    seen = begun(plan_of(tmp_path, count=4, seconds=0.1))
    starts = tmp_path / "starts"
    first = joined(tmp_path)
    wait_for(lambda: starts.exists() and len(starts.read_text().split()) >= 2)
    os.kill(first.pid, signal.SIGINT)
    assert first.wait(timeout=500) == 130
    told = capfd.readouterr().err
    assert told.strip() == "interrupted; the same command continues from here"
    assert joined(tmp_path).wait(timeout=500) == 0
    assert len(seen.finished()) == 4


def test_a_trial_is_dead_when_its_counter_stands_still(tmp_path, monkeypatch):
    made = plan_of(tmp_path, count=3)
    mine = begun(made)
    trial = mine.next()
    other = study.Study(made, storage.opened(tmp_path, None), grace=10.0)
    clock = [100.0]
    monkeypatch.setattr(study.time, "monotonic", lambda: clock[0])
    trial.set_user_attr(study.BEAT, ["elsewhere", "boot", 1, "2", 0])

    def running():
        return other._study.get_trials()[trial.number].state.name

    other._revive()
    clock[0] += 9
    other._revive()
    trial.set_user_attr(study.BEAT, ["elsewhere", "boot", 1, "2", 1])
    clock[0] += 9
    other._revive()
    assert running() == "RUNNING"
    clock[0] += 10.1
    other._revive()
    assert running() == "FAIL"
    assert other.next().user_attrs[study.POINT] == trial.user_attrs[study.POINT]


def test_a_worker_of_another_version_is_refused(tmp_path):
    made = plan_of(tmp_path)
    made.save()
    assert plan.read(tmp_path).name == made.name
    for file in ("train.py", "config.json"):
        (tmp_path / "code" / file).write_text("")
        with pytest.raises(UsageError, match="other trials"):
            plan.read(tmp_path)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(UsageError, match="no study"):
        plan.read(tmp_path)


# What a study leaves.


def test_the_front_has_what_no_other_trial_beats():
    values = [[1.0, 9.0], [2.0, 5.0], [3.0, 5.0], [4.0, 1.0], [2.0, 6.0]]
    assert front.pareto(values) == [[1.0, 9.0], [2.0, 5.0], [4.0, 1.0]]


def test_results_are_a_front_a_table_a_figure_and_what_each_choice_bought(tmp_path, monkeypatch):
    made, done = straight(tmp_path, monkeypatch, count=14, seeds=3)
    found = results.write(made, done, trials.cache_in(tmp_path / "cache"), lambda line: None)
    chosen = yaml.safe_load((tmp_path / results.SEARCH).read_text())
    row = found[chosen["chosen"] - 1]
    assert row["front"]
    assert chosen["keys"] == row["keys"]
    whole = chosen["bought"][0]
    assert whole["choice"] == bought.ALL
    assert whole["difference"] < 0
    assert whole["interval"][0] <= whole["difference"] <= whole["interval"][1]
    assert whole["seeds"] == 3
    table = (tmp_path / results.FRONT).read_text().splitlines()
    assert len(table) == 1 + sum(each["front"] for each in found)
    text = (tmp_path / results.REPORT).read_text()
    assert f"trial {chosen['chosen']}" in text
    assert (tmp_path / results.FIGURE).read_bytes().startswith(b"<?xml")
    assert json.loads((tmp_path / results.TRIALS).read_text()) == json.loads(json.dumps(found))


def test_an_interval_over_seeds_is_that_of_student():
    gain = bought._compared("x", 1.0, [1.0, 2.0, 4.0], [2.0, 4.0, 5.0])
    # Differences -1, -2, -1: mean -4/3, standard error 1/3; t of two degrees is 4.303.
    assert gain.difference == pytest.approx(-4 / 3)
    assert gain.interval == pytest.approx((-4 / 3 - 4.303 / 3, -4 / 3 + 4.303 / 3))
    assert gain.verdict == bought.UNKNOWN
    assert bought._compared("x", 1.0, [1.0, 2.0], [2.0, 3.0001]).verdict == bought.LOWER
    assert bought._compared("x", 1.0, [1.0], [2.0]).interval is None


def test_synth_takes_what_a_search_chose_as_decisions_with_their_evidence(tmp_path):
    content = {
        "keys": {"architecture.dims.n_layers": 3, "training.config.learning_rate": 0.0012},
        "evidence": {"n_layers": 'a search: "-0.1"', "learning_rate": "alone -0.05", "d_ff": "no"},
    }
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(content))
    spec = load(SPEC, choices.overrides(tmp_path / "search.yaml"))
    assert spec.key("architecture.dims")["n_layers"] == 3
    from metagen.sizing import architecture

    made = yaml.safe_load(architecture.work(explain.desk_over(spec))[architecture.TARGET])
    reasons = {each["name"]: each["reason"] for each in made["decisions"]}
    assert reasons["n_layers"] == 'a search: "-0.1"'
    assert reasons["train.learning_rate"] == "alone -0.05"
    assert made["train"]["learning_rate"] == 0.0012
    # The spec does not pin this one, so that nothing chosen elsewhere is its reason.
    assert reasons["d_ff"] != "no"
    explained = {each["name"]: each["reason"] for each in explain.content(spec)["decisions"]}
    assert explained["n_layers"] == reasons["n_layers"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "keys: {name: x}\nevidence: {}\n", "keys: {architecture.dims.a: !!python/name:os.x}",
     "keys: {architecture.dims.a: 2024-01-01}\nevidence: {}\n", "\x00"],
)  # fmt: skip
def test_a_file_that_no_search_wrote_is_refused(tmp_path, text):
    (tmp_path / "search.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        choices.overrides(tmp_path / "search.yaml")
    assert "search.yaml" in str(caught.value)


def test_without_optuna_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match="pip install optuna"):
        storage.library()


def test_a_spec_that_leaves_nothing_open_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Space, "choices", ())
    made = plan_of(tmp_path)
    with pytest.raises(SpecError, match="nothing open"):
        made.space  # noqa: B018


def test_the_command_searches_and_says_how_to_build_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "run", pretended())
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    arguments = ["search", str(SPEC), "--out", str(tmp_path), "--trials", "4", "--seeds", "2", "-q"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "search-tabular_regressor"
    assert {p.name for p in folder.iterdir()} >= {*results_files(), "study.json", "spec.yaml"}
    again = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    assert len(json.loads((folder / results.TRIALS).read_text())) == 4


def results_files():
    return (results.SEARCH, results.TRIALS, results.FRONT, results.FIGURE, results.REPORT)


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_lines_of_a_search_stand_apart_from_its_progress(tmp_path, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(trials, "run", pretended())
    made, terminal = plan_of(tmp_path, count=3), Terminal(screen)
    made.save()
    with terminal.bar("study") as move:
        run.work(made, trials.cache_in(tmp_path / "c"), None, 9.0, terminal.write, move=move)
    shown = screen.getvalue()
    assert re.search(r"study: +33%.*trial 2, step 8 of 8: ", shown)
    # Whatever stands on the line of the bar is cleared before a line is printed.
    assert len(re.findall(r"(?:^|[\r\n] *[\r\n]?)trial \d of 3: \S+\n", shown)) == 3


def test_a_search_says_what_was_run_before_and_numbers_trials_as_its_results(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "run", pretended())
    said = []
    for count in (3, 5):
        made = plan_of(tmp_path, count=count)
        made.save()
        done = run.work(made, trials.cache_in(tmp_path / "c"), None, 9.0, said.append)
    assert [line.partition(":")[0] for line in said] == [
        *(f"trial {number} of 3" for number in (1, 2, 3)),
        "3 of 5 trials were run before",
        *(f"trial {number} of 5" for number in (4, 5)),
    ]
    rows = front.rows(made, done)
    told = [float(line.rpartition(" ")[2]) for line in said if line.startswith("trial ")]
    assert told == [pytest.approx(row["values"]["held_out"], rel=1e-3) for row in rows]
    assert [row["own"] for row in rows] == [True, False, False, False, False]


def test_a_latency_needs_a_device():
    nothing = [f"constraints.{name}=null" for name in ("device", "latency", "throughput")]
    arguments = ["search", str(SPEC), "--objective", "latency", "--out", "x", *nothing]
    with CliRunner().isolated_filesystem():
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert Path("x").exists() is False
