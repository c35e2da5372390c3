"""Forecasting: splits by time, seasons, gaps, refused tables, baselines, a scored report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.forecaster_settings import sizes

from metagen import paths
from metagen.families.patch_forecaster import FAMILY as forecaster

SPEC = paths.specs() / "time_series" / "time_series_forecaster.yaml"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, forecaster, sizes())) as modules:
        yield modules


def table(folder: Path, text: str, name: str = "series.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def waves(steps: int, season: int = 12) -> str:
    rows = (f"{i},{100 + np.sin(2 * np.pi * i / season):.5f},{i * i}" for i in range(steps))
    return "day,wave,square\n" + "\n".join(rows) + "\n"


def test_a_season_is_detected_where_there_is_one(code: dict[str, ModuleType]) -> None:
    season_of = code["data"].season_of
    steps = np.arange(300)
    assert season_of(np.sin(2 * np.pi * steps / 12) + 0.01 * steps**1.5) == 12
    assert season_of(np.random.default_rng(0).standard_normal(500)) == 1
    assert season_of(np.ones(100)) == 1
    assert season_of(0.5 * steps) == 1


def test_splits_follow_each_other_and_no_target_is_in_two(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data, model = code["data"], code["model"].Config()
    path = table(tmp_path, waves(200))
    dataset = data.load_series(data.Config(), path, model)
    assert [series.name for series in dataset.series] == ["wave", "square"]
    for series in dataset.series:
        targets = {
            split: {o + h for o in series.origins(split, 24, 6) for h in range(6)}
            for split in data.SPLITS
        }
        assert max(targets["train"]) < min(targets["val"])
        assert max(targets["val"]) < min(targets["test"])
        assert max(targets["test"]) == 199
    assert dataset.series[0].season == 12
    # What the test split holds changes nothing that training reads.
    other = waves(200).replace("\n199,", "\n199,9", 1)
    again = data.load_series(data.Config(), table(tmp_path, other, "b.csv"), model)
    assert [s.scale for s in again.series] == [s.scale for s in dataset.series]
    one, two = (data.batch_at(each, 0, 50, model, 1) for each in (dataset, again))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_an_epoch_shows_as_many_windows_of_each_series(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data, model = code["data"], code["model"].Config()
    text = (
        "long,short\n" + "\n".join(f"{i * i},{i % 7 if i >= 60 else ''}" for i in range(200)) + "\n"
    )
    dataset = data.load_series(data.Config(), table(tmp_path, text), model)
    assert [len(series.values) for series in dataset.series] == [200, 140]
    spans = [len(series.origins("train", 24, 6)) for series in dataset.series]
    past, _ = data.batch_at(dataset, 0, 2 * max(spans), model, 3)
    rising = (past.diff(dim=1) > 0).all(1)
    assert int(rising.sum()) == max(spans)


def test_gaps_are_filled_on_straight_lines(code: dict[str, ModuleType]) -> None:
    filled = code["data"].filled(np.array([np.nan, 1.0, np.nan, np.nan, 4.0, 2.0, np.nan]))
    assert filled.tolist() == [1.0, 2.0, 3.0, 4.0, 2.0]


def test_what_fills_or_shortens_a_series_is_noted(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (
        f"2021-{1 + n % 12:02}-01,{'' if n in (3, 4) else n},{'' if n > 9 else n * n},4"
        for n in range(12)
    )
    columns = code["data"].series_of(table(tmp_path, "\n".join(["month,a,b,c", *rows])))
    said = capsys.readouterr().err
    assert [values.tolist() for values in columns.values()] == [
        [*range(12)], [n * n for n in range(10)], [4] * 12,
    ]  # fmt: skip
    assert "series 'a': 2 missing values (at most 2 in a row) become lines" in said
    assert "series 'b' ends before the table, by 2 steps" in said
    assert "series 'c' has the same value at all steps" in said


BAD = {
    "a,b\n1,2\n3\n": "3 has 1 cells, but the first line names 2 columns",
    "day,a\n1,x\n2,y\n": "column 'a' has text",
    "day\n1\n2\n": "has only a column of times",
    "a,a\n1,2\n": "each column needs a name of its own",
    "a\n": "has no rows",
    "a\ninf\n2\n": "infinite",
    "b,a\n" + "1,2\n" * 30: "is too short: its train split has 18 steps",
    "day,a\n1,2\n1,3\n": "1 is the 'day' of several rows",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_tables_end_in_a_sentence(
    text: str,
    code: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        code["data"].load_series(
            code["data"].Config(), table(tmp_path, text), code["model"].Config()
        )
    assert stopped.value.code == 2
    assert BAD[text] in capsys.readouterr().err


def test_a_parquet_file_reads_as_the_csv_does(code: dict[str, ModuleType], tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    steps = range(120)
    columns = {"day": [f"d{i}" for i in steps], "a": [None if i == 5 else i / 3 for i in steps]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    text = "day,a\n" + "\n".join(f"d{i},{'' if i == 5 else i / 3}" for i in steps) + "\n"
    one, two = (
        code["data"].series_of(path)
        for path in (tmp_path / "a.parquet", table(tmp_path, text, "a.csv"))
    )
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_baselines_are_what_they_are_called(code: dict[str, ModuleType]) -> None:
    score = code["eval"]
    past = np.arange(12.0).reshape(2, 6)
    assert score.persistence(3)(past).tolist() == [[5.0] * 3, [11.0] * 3]
    assert score.seasonal_naive(2, 3)(past).tolist() == [[4, 5, 4], [10, 11, 10]]
    assert score.seasonal_naive(99, 7)(past)[0].tolist() == [0, 1, 2, 3, 4, 5, 0]
    line = SimpleNamespace(mean=0.0, scale=1.0, values=np.arange(100.0))
    line.origins = lambda split, lookback, horizon: range(lookback, 100 - horizon + 1)
    config = SimpleNamespace(penalty=1e-6, batch_size=7)
    forecast = score.autoregression(line, code["model"].Config(), config)
    expected = np.arange(74.0, 80.0)
    assert np.allclose(forecast(np.arange(50.0, 74.0)[None]), expected, atol=1e-3)


def test_it_trains_scores_and_draws(
    code: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = table(tmp_path, waves(200)), tmp_path / "out"

    def run(name: str, *options: object) -> str:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, options), "--out", str(out)])
        code[name].main()
        return capsys.readouterr().out

    run("train", "--data", data, "--threads", 1)
    report = json.loads(run("eval", "--data", data))
    printed = run("infer", "--input", data).splitlines()
    assert [row["metric"] for row in report["metrics"]] == ["mase", "mae_wave", "mae_square"]
    assert report["n"] == 2 * 35
    assert len(report["figure"]["series"]) == 3
    assert printed[0] == "step,wave,square"
    assert len(printed) == 7
    assert (out / "forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_its_baselines(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path)
