"""The forecast of a ladder in a package: judged, checked, refused where it is of another model."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.plain_desk import PlainDesk

from metagen.docs import statement
from metagen.engine.binding import Change
from metagen.errors import TaskError, UsageError
from metagen.files import sha256
from metagen.trained import forecast, results

DIMS = {"d_model": 96, "n_layers": 5}
WEIGHTS = "b" * 64
FORECAST = {
    "kind": forecast.KIND,
    "registered": "2026-01-02T03:04:05+00:00",
    "code": "c" * 64,
    "model": {"dims": DIMS, "parameters": 578_592},
    "forecast": {"loss": 1.078, "low": 0.998, "high": 1.188, "level": 0.8},
    "reach": {"size": 10.0, "compute": 76.0},
    "rungs": [{}] * 5,
    "runs": [{}] * 24,
}


def check(source: bytes, **changed: Any) -> dict[str, Any]:
    return {
        "kind": forecast.CHECK,
        "forecast_sha256": sha256(source),
        "weights_sha256": WEIGHTS,
        "measured": 1.132,
        "miss": -0.0477,
        "differs": [],
        **changed,
    }


def desk(
    folder: Path, spec: str = "", *, given: dict[str, Any] | None = None, rows: Any = ()
) -> PlainDesk:
    made = PlainDesk(spec, folder)
    model = {"status": "trained", "checkpoint": {"sha256": WEIGHTS}} if rows != () else None
    made.package = {
        "blueprint/architecture.yaml": yaml.safe_dump(
            {"family": "decoder", "model": DIMS}
        ).encode(),
        "trained/model.json": json.dumps(model or {"status": "not trained"}).encode(),
        "trained/results.json": json.dumps(list(rows)).encode(),
    }
    made.given = {name: json.dumps(each).encode() for name, each in (given or {}).items()}
    return made


def entries(made: PlainDesk) -> dict[str, dict[str, Any]]:
    content = json.loads(forecast.forecast(made)["trained/forecast.json"])
    return {each["constraint"]: each for each in content["verdicts"]}


def test_without_a_forecast_and_a_target_nothing_is_said(tmp_path: Path) -> None:
    assert entries(desk(tmp_path)) == {}


def test_a_target_without_a_forecast_is_open(tmp_path: Path) -> None:
    made = entries(desk(tmp_path, "evaluation: {target: {val_loss: 1.1}}\n"))
    assert made["validation_loss"]["verdict"] == "open"
    assert "metagen ladder makes one" in statement.sentence(made["validation_loss"])


@pytest.mark.parametrize(
    ("target", "verdict"), [(1.2, "met"), (1.1, "open"), (0.99, "violated"), (None, "figure")]
)
def test_a_forecast_is_judged_by_its_range(target: Any, verdict: str, tmp_path: Path) -> None:
    spec = f"evaluation: {{target: {{val_loss: {target}}}}}\n" if target else ""
    row = entries(desk(tmp_path, spec, given={"forecast.json": FORECAST}))["validation_loss"]
    assert row["verdict"] == verdict
    assert (row["low"], row["high"]) == (0.998, 1.188)
    assert "(0.9980 to 1.188" in statement.computed(row)
    assert "registered 2026-01-02" in row["formula"]


def test_a_check_of_the_bound_weights_decides_and_shows_the_miss(tmp_path: Path) -> None:
    source = json.dumps(FORECAST).encode()
    given = {"forecast.json": FORECAST, "check.json": check(source)}
    spec = "evaluation: {target: {val_loss: 1.1}}\n"
    row = entries(desk(tmp_path, spec, given=given, rows=[]))["validation_loss"]
    assert row["computed"] == 1.132
    assert row["low"] is None
    assert row["verdict"] == "violated"
    assert "forecast 1.078 (80%: 0.998 to 1.188)" in row["formula"]
    assert "missed by -4.8%" in row["formula"]


@pytest.mark.parametrize("changed", [{"weights_sha256": "d" * 64}, {"forecast_sha256": "d" * 64}])
def test_a_check_of_other_weights_or_of_another_forecast_is_left_out(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    source = json.dumps(FORECAST).encode()
    given = {"forecast.json": FORECAST, "check.json": check(source, **changed)}
    row = entries(desk(tmp_path, given=given, rows=[]))["validation_loss"]
    assert row["computed"] == FORECAST["forecast"]["loss"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": {"dims": {"d_model": 64}, "parameters": 5}}, "of another model"),
        ({"forecast": {**FORECAST["forecast"], "low": 1.1}}, "not inside its range"),  # type: ignore[dict-item]
        ({"forecast": {"loss": "1"}}, "loss is"),
        ({"forecast": None}, "must be an object"),
        ({"registered": "now\\input{x}"}, "registered is"),
        ({"code": "short"}, "code is"),
    ],
)
def test_a_broken_forecast_or_one_of_another_model_is_refused(
    changed: dict[str, Any], words: str, tmp_path: Path
) -> None:
    given = {"forecast.json": {**FORECAST, **changed}}
    with pytest.raises(TaskError, match=words):
        entries(desk(tmp_path, given=given))


def test_a_target_of_a_metric_is_decided_by_a_result_of_the_trained_model(tmp_path: Path) -> None:
    row = {"metric": "bits_per_byte", "title": "bits per byte", "benchmark": "held-out text",
           "value": 1.5, "unit": "bit/byte", "higher_is_better": False,
           "interval": [1.4, 1.6]}  # fmt: skip
    for target, verdict in ((1.7, "met"), (1.5, "open"), (1.3, "violated")):
        spec = f"evaluation: {{target: {{bits_per_byte: {target}}}}}\n"
        assert entries(desk(tmp_path, spec, rows=[row]))["bits_per_byte"]["verdict"] == verdict
    spec = "evaluation: {target: {bits_per_byte: 2, accuracy: 0.9}}\n"
    made = entries(desk(tmp_path, spec))
    assert [each["relation"] for each in made.values()] == ["allowed", "required"]
    assert {each["verdict"] for each in made.values()} == {"open"}


def test_files_of_a_ladder_are_no_results_of_a_harness(tmp_path: Path) -> None:
    given = {"forecast.json": FORECAST, "ladder.json": {"kind": forecast.RUNS}}
    made = desk(tmp_path, given=given)
    made.package["blueprint/params.json"] = b'{"total": 5}'
    assert json.loads(results.results(made)["trained/results.json"]) == []


def test_release_binds_the_ladder_beside_the_run_folder(tmp_path: Path) -> None:
    ladder = tmp_path / "ladder-small"
    ladder.mkdir()
    bound = Change().over(tmp_path, [Path("spec.yaml")])
    with pytest.raises(UsageError, match="No training is bound"):
        bound("run-small")
    (ladder / "forecast.json").write_text("{}")
    assert bound("run-small").results == (ladder,)
    assert Change(unbind=True).over(tmp_path, [Path("spec.yaml")])("run-small").results == ()
