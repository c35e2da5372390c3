"""A ladder with a training that follows a known law: its sizes, its trainings, its forecast."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.plain_desk import PlainDesk

from metagen import families, paths
from metagen.cli import main
from metagen.errors import UsageError
from metagen.ladder import climb, forecast, picture, report, results, sizes
from metagen.ladder.climb import Plan
from metagen.ladder.forecast import Climbed
from metagen.ladder.law import Target
from metagen.ladder.sizes import Full, Scaling, Size
from metagen.trials import Outcome, Trial

DECODER = families.named("decoder")
DIMS = {
    "d_model": 96, "n_layers": 5, "n_heads": 4, "n_kv_heads": 4, "head_dim": 24, "d_ff": 256,
    "vocab_size": 256, "max_seq_len": 128, "rope_theta": 1e4, "norm_eps": 1e-5,
    "tie_embeddings": True,
}  # fmt: skip
FLOOR, FALL = 0.5, 0.28
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DATA = {"name": "text", "sha256": "a" * 64, "splits": {"train": 20_000_000}}


@pytest.fixture
def full(tmp_path: Path) -> Full:
    key = PlainDesk("", tmp_path).key
    sections = DECODER.task.sections(DIMS, DECODER.count(DIMS), key, reduced=False)
    return Full(DECODER, {"model": DIMS, **sections}, 9_000_000)


def counted(size: Size) -> Size:
    parameters = DECODER.count(size.dims)
    return replace(size, parameters=parameters, flops=6 * parameters * size.full.per_sample)


def plan_of(full: Full, number: int = 5, largest: float | None = 150_000) -> Plan:
    rungs = [counted(each) for each in sizes.rungs(full, number, largest, 0.1)]
    return Plan(counted(Size(full, full.dims)), tuple(rungs), Scaling(full.growth))


class Trainer:
    """Trains by a law whose best batch is half of the rule's, and whose rate drifts if told to."""

    def __init__(self, drift: float = 0.0, noise: float = 0.006) -> None:
        self.trained: list[Trial] = []
        self.drift, self.noise = drift, noise

    def __call__(self, trial: Trial) -> Outcome:
        self.trained.append(trial)
        dims, train = trial.config["model"], trial.config["train"]
        size, growth = DECODER.size(dims), DECODER.task.growth
        assert growth
        units = train["batch_size"] * 128 * trial.steps
        rule = (size / growth.size) ** growth.batch_power * growth.batch
        at_rule = math.log2(train["batch_size"] * 128 / rule)
        best = growth.rate * (size / growth.size) ** growth.rate_power
        best *= 2**-0.5 * (size / 14_000) ** self.drift
        off = 0.01 * (at_rule + 1) ** 2 + 0.04 * math.log2(train["learning_rate"] / best) ** 2
        noise = self.noise * math.sin(7 * trial.seed + size) * (size / 14_000) ** -0.5
        above = (0.5 + 0.5 * (units / size / 16.2) ** -FALL) * (size / 554_016) ** -FALL
        loss = (FLOOR + above) * (1 + off + noise)
        samples = trial.steps * train["batch_size"]
        flops = samples * 128 * 6 * DECODER.count(dims)
        return Outcome(loss, (), {}, DECODER.count(dims), flops, samples, units, "tokens", DATA,
                       1.0, None)  # fmt: skip


def climbed(full: Full, trainer: Trainer) -> Climbed:
    return climb.climbed(
        plan_of(full), trainer, lambda part, total, words: None,
        name="small", seed=7, data=None, code="c" * 64,
    )  # fmt: skip


def test_rungs_keep_the_shape_and_grow_in_even_ratios(full: Full) -> None:
    rungs = sizes.rungs(full, 5, 150_000, 0.1)
    found = [each.size for each in rungs]
    assert found == sorted(set(found))
    assert 10 <= found[-1] / found[0] <= 1.25 * sizes.SPAN
    assert all(each.dims["vocab_size"] == 256 for each in rungs)
    assert all(each.dims["n_layers"] >= 2 for each in rungs)


def test_the_top_rung_is_as_large_as_the_share_of_operations_allows(full: Full) -> None:
    tops = [sizes.rungs(full, 4, None, share)[-1].size for share in (0.1, 0.4)]
    assert tops[0] < tops[1] <= sizes.TOP_SHARE * full.size


def test_batch_and_rate_follow_the_published_rule(full: Full) -> None:
    rule = Scaling(full.growth)
    assert rule.batch_at(108e6) == 160 * 2048
    assert rule.batch_at(108e6 / 8) == pytest.approx(160 * 2048 / 4)
    assert rule.rate_at(108e6 * 8) == pytest.approx(0.0047 / 2)
    rungs = sizes.rungs(full, 5, 150_000, 0.1)
    ratios = [each.units(each.setting(rule)) / each.size for each in rungs]
    assert ratios == pytest.approx([full.ratio] * 5, rel=0.02)


def test_rungs_of_few_updates_and_of_large_tables_are_refused(full: Full) -> None:
    plan = plan_of(full)
    with pytest.raises(UsageError, match=r"would make \d+ updates; fewer than 400 say little"):
        sizes.must_be_sound(plan.rungs, plan.rule.times(batch=4))
    wide = [replace(each, dims={**each.dims, "vocab_size": 32_000}) for each in plan.rungs]
    with pytest.raises(UsageError, match="of its operations on token tables"):
        sizes.must_be_sound(wide, plan.rule.times(batch=0.25))


def test_rungs_that_read_the_data_too_often_are_refused(full: Full) -> None:
    plan = plan_of(full)
    sizes.must_be_fresh(plan.rungs, plan.rule, 1_000_000)
    with pytest.raises(UsageError, match="would read the training split"):
        sizes.must_be_fresh(plan.rungs, plan.rule, 100_000)


def test_a_family_without_a_rule_of_smaller_designs_is_refused() -> None:
    other = Full(families.named("vit"), {"model": {}, "data": {}}, 1)
    with pytest.raises(UsageError, match="No rule is known"):
        sizes.rungs(other, 5, None, 0.1)


def test_the_tuned_batch_and_rate_are_the_best_of_the_law(full: Full) -> None:
    done = climbed(full, Trainer())
    assert done.scaling.batch == 0.5
    assert done.scaling.rate == pytest.approx(2**-0.5)
    assert not done.scaling.rate_power


def test_a_rule_that_drifts_is_refitted_at_the_top_rung(full: Full) -> None:
    done = climbed(full, Trainer(drift=-0.4))
    assert done.scaling.rate_power < -0.2
    content = forecast.content(done, NOW)
    assert content["rule"]["refitted"]
    assert any("exponents were refitted" in line for line in report.lines(content))


def test_the_forecast_covers_the_law_and_is_printed_with_its_range(full: Full) -> None:
    content = forecast.content(climbed(full, Trainer()), NOW)
    said = content["forecast"]
    assert said["low"] <= FLOOR + 1.0 <= said["high"]
    lines = list(report.lines(content))
    assert any("80% between" in line and "full model" in line for line in lines)
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(("identified", "words"), [(True, "E identified"), (False, "E not ident")])
def test_the_report_says_whether_the_rungs_tell_e(identified: bool, words: str, full: Full) -> None:
    content = forecast.content(climbed(full, Trainer()), NOW)
    content["floor"]["identified"] = identified
    assert any(line.startswith(words) for line in report.lines(content))


def test_seeds_are_added_where_they_scatter_and_the_top_has_one(full: Full) -> None:
    done = climbed(full, Trainer())
    seeds = [len(each.losses) for each in done.rungs]
    assert seeds[-1] == 1
    assert all(2 <= each <= 3 for each in seeds[:-1])
    for rung, number in zip(done.rungs, seeds, strict=True):
        assert number == 1 or (number == 3) == (
            replace(rung, losses=rung.losses[:2]).spread > 0.005  # type: ignore[operator]
        )


def test_half_and_twice_the_data_move_the_forecast_as_measured(full: Full) -> None:
    done = climbed(full, Trainer())
    base = done.law.forecast(done.target).loss
    half, twice = (done.law.forecast(done.target, factor).loss for factor in (0.5, 2.0))
    truth = {f: 0.5 * (f**-FALL - 1) for f in (0.5, 2.0)}
    assert half - base == pytest.approx(truth[0.5], rel=0.45)
    assert twice - base == pytest.approx(truth[2.0], rel=0.45)
    more = done.law.forecast(Target(done.target.size * 2**0.5, done.target.compute * 2)).loss
    assert more < twice < base < half


def test_a_registered_forecast_is_kept_and_replaced_only_when_asked(
    full: Full, tmp_path: Path
) -> None:
    made = forecast.content(climbed(full, Trainer()), NOW)
    first, is_new = forecast.registered(tmp_path, made, replace=False)
    assert is_new
    later = {**made, "registered": "2027-01-01T00:00:00+00:00"}
    known, is_new = forecast.registered(tmp_path, later, replace=False)
    assert not is_new
    assert known["registered"] == first["registered"] == "2026-01-02T03:04:05+00:00"
    other = {**later, "noise": 0.5}
    with pytest.raises(UsageError, match="registered here, and this ladder says something else"):
        forecast.registered(tmp_path, other, replace=False)
    forecast.registered(tmp_path, other, replace=True)
    assert forecast.read(tmp_path / "forecast.1.json")["registered"] == first["registered"]
    assert forecast.read(tmp_path / "forecast.json")["noise"] == 0.5


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "metagen ladder forecast 1"}', '{"kind": 3}'])
def test_a_file_that_is_no_forecast_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "forecast.json").write_text(text)
    with pytest.raises(UsageError, match="forecast"):
        forecast.read(tmp_path / "forecast.json")


def test_the_page_has_the_figure_with_its_words(full: Full, tmp_path: Path) -> None:
    made = forecast.content(climbed(full, Trainer()), NOW)
    results.write(tmp_path, made)
    svg = (tmp_path / results.FIGURE).read_text()
    assert "<title>Validation loss of 5 rungs" in svg
    assert picture.alternative(made) in (tmp_path / results.TABLE).read_text()
    runs = json.loads((tmp_path / results.TRAININGS).read_text())
    assert len(runs["runs"]) == len(made["runs"])


def test_the_cost_is_known_before_and_bounds_what_is_trained(full: Full) -> None:
    plan, trainer = plan_of(full), Trainer()
    lines = list(report.plan_lines(plan, 100.0))
    assert "operations at most" in lines[-1]
    climb.climbed(
        plan, trainer, lambda part, total, words: None, name="", seed=0, data=None, code=""
    )
    spent = {(json.dumps(t.config["model"]), t.steps, t.seed, t.config["train"]["learning_rate"],
              t.config["train"]["batch_size"]): t for t in trainer.trained}  # fmt: skip
    flops = sum(Trainer()(each).flops for each in spent.values())
    assert 0.3 * plan.operations() < flops <= 1.1 * plan.operations()


def test_a_family_without_smaller_designs_is_refused_before_its_code_is_built(
    tmp_path: Path,
) -> None:
    spec = paths.specs() / "tabular" / "tabular_regressor.yaml"
    told = CliRunner().invoke(main, ["ladder", str(spec), "--out", str(tmp_path / "out")])
    assert told.exit_code == 2
    assert "No rule is known that makes smaller designs" in told.stderr
    assert not (tmp_path / "out").exists()


def test_a_check_without_a_forecast_says_what_to_run(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["ladder", "check", str(tmp_path)])
    assert told.exit_code == 2
    assert "not a run folder" in told.stderr
    with pytest.raises(UsageError, match=r"No such file or directory\.\n  register one first"):
        forecast.read(tmp_path / "forecast.json")


@pytest.mark.parametrize("group", ["search", "ladder"])
def test_the_command_that_needs_no_name_has_none_in_its_help(group: str) -> None:
    told = CliRunner().invoke(main, [group, "--help"])
    assert told.output.startswith(f"Usage: main {group} [OPTIONS] SPEC")
    told = CliRunner().invoke(main, [group])
    assert f"Try 'main {group} --help'" in told.output
