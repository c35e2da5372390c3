"""Detection of anomalies: windows of what is normal, refused tables, rankings, a scored report."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers.autoencoder_settings import SIZES
from helpers.family_code import beats_its_baselines, modules_of, write_code
from sklearn import metrics

from metagen import paths
from metagen.families.autoencoder import FAMILY as autoencoder

SPEC = paths.specs() / "time_series" / "anomaly_detector_autoencoder.yaml"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, autoencoder, SIZES)) as modules:
        yield modules


def sensors(folder: Path, *, labelled: bool = True, steps: int = 400) -> Path:
    """Write two channels that move together, but for some steps, with a gap here and there."""
    draw, lines = np.random.default_rng(0), ["time,a,b" + ",anomaly" * labelled]
    for step in range(steps):
        odd = step % 50 in (20, 21)
        a = math.sin(step / 5) + 0.05 * draw.standard_normal()
        b = -a if odd else a
        gap = "" if step % 31 == 7 else f"{b:.4f}"
        lines.append(f"t{step},{a:.4f},{gap}" + f",{int(odd)}" * labelled)
    path = folder / f"sensors{int(labelled)}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_only_windows_of_normal_steps_train(code: dict[str, ModuleType], tmp_path: Path) -> None:
    data = code["data"]
    dataset = data.load_dataset(data.Config(), sensors(tmp_path), "anomaly", code["model"].Config())
    assert dataset.bounds == {
        "train": slice(0, 200),
        "val": slice(200, 280),
        "test": slice(280, 400),
    }
    odd = {step for step in range(400) if step % 50 in (20, 21)}
    for split in ("train", "val"):
        starts, steps = dataset.normal(split), dataset.bounds[split]
        low, high = steps.start, steps.stop
        spans = [set(range(start, start + 4)) for start in starts]
        assert not any(span & odd for span in spans)
        assert all(low <= min(span) and max(span) < high for span in spans)
        assert len(starts) == (high - low - 3) - 5 * sum(
            low <= s < high for s in odd if s % 50 == 20
        )
    assert list(dataset.schema.numeric) == ["a", "b"]
    known = [step for step in range(200) if step not in odd]
    a = np.array([float(line.split(",")[1]) for line in sensors(tmp_path).read_text().split()[1:]])
    assert dataset.schema.numeric["a"][0] == pytest.approx(a[known].mean())
    assert dataset.values[:, 2].isnan().all()  # a channel that the table does not have
    assert dataset.values[7, 1].isnan()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,anomaly\n1,2\n", "must be 1 at steps that are anomalous"),
        ("anomaly\n1\n", "has no column besides 'anomaly'"),
        ("a,b,c,d\n" + "1,2,3,4\n" * 40, "there are 4 channels, and the model has room for 3"),
        ("a\n" + "1\n" * 9, "too few windows of 4 normal steps"),
        ("a,b\n1,x\n", "column 'b' has text"),
    ],
)
def test_bad_tables_end_in_a_sentence(
    text: str,
    sentence: str,
    code: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        code["data"].load_dataset(code["data"].Config(), path, "anomaly", code["model"].Config())
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("head", "label", "sentence"),
    [
        ("time,c,is_anomaly", "anomaly", "'is_anomaly' is only 0 and 1 and named like a label"),
        ("time,c,Label", "anomaly", "channel 'Label' is only 0 and 1 and named like a label"),
        ("time,c,anomaly", "anomaly", "the test split has no anomalous window"),
        ("time,c,on", "anomaly", ""),
    ],
)
def test_an_answer_among_the_channels_is_noted(
    head: str,
    label: str,
    sentence: str,
    code: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"{head[7:]}.csv"
    rows = (f"2020-01-01 00:{n:02},{n * 7 % 11},{int(n in (5, 6))}" for n in range(60))
    path.write_text("\n".join([head, *rows]) + "\n")
    data = code["data"]
    data.load_dataset(data.Config(), path, label, code["model"].Config())
    said = capsys.readouterr().err
    assert sentence in said
    assert bool(said) == bool(sentence)


def test_a_label_that_is_not_there_is_refused_with_the_columns(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = code["data"]
    with pytest.raises(SystemExit):
        data.load_dataset(data.Config(), sensors(tmp_path), "anomly", code["model"].Config())
    assert "has no column 'anomly': it has a, b, anomaly" in capsys.readouterr().err


def test_data_py_says_what_it_understood(
    code: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "t.csv"
    rows = (f"{1 + n // 24}.5.2021 {n % 24}:00,7,{n % 5 or ''}" for n in range(60))
    path.write_text("\n".join(["Zeit;k;v", *(row.replace(",", ";") for row in rows)]))
    monkeypatch.setattr("sys.argv", ["data.py", "--data", str(path)])
    code["data"].main()
    out = capsys.readouterr().out
    assert "60 rows by 'Zeit', 1.5.2021 0:00 to 3.5.2021 11:00\n" in out
    assert "k: numbers from 7 to 7, 1 distinct, 0 missing; mean 7, deviation 0\n" in out
    assert "v: numbers from 1 to 4, 4 distinct, 12 missing" in out
    assert "no column 'anomaly', so no step is known to be anomalous" in out


def test_rankings_are_scored_as_by_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = np.random.default_rng(1)
    truth = draw.random(300) < 0.2
    for scores in (draw.random(300), draw.integers(0, 5, 300).astype(float), np.zeros(300)):
        for weights in (np.ones(300), draw.integers(0, 3, 300).astype(float)):
            for ours, theirs in (
                (code["eval"].average_precision, metrics.average_precision_score),
                (code["eval"].roc_auc, metrics.roc_auc_score),
            ):
                expected = theirs(truth, scores, sample_weight=weights)
                assert ours(scores, truth)(weights) == pytest.approx(expected)


def test_it_trains_scores_and_judges(
    code: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, plain, out = sensors(tmp_path), sensors(tmp_path, labelled=False), tmp_path / "out"

    def run(name: str, *options: object) -> str:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, options), "--out", str(out)])
        code[name].main()
        return capsys.readouterr().out

    run("train", "--data", path, "--threads", 1)
    report = json.loads(run("eval", "--data", path))
    assert [row["metric"] for row in report["metrics"]] == ["average_precision", "roc_auc"]
    assert report["n"] == 30
    assert report["metrics"][1]["value"] > 0.9  # the channels part, and neither is far out
    printed = list(csv.DictReader(io.StringIO(run("infer", "--input", path, "--normal", plain))))
    assert [row["first"] for row in printed[:3]] == ["1", "5", "9"]
    flagged = [row["anomaly"] for row in printed]
    assert flagged.count("1") == 10  # a tenth of a hundred windows, as the quantile says
    with pytest.raises(SystemExit):
        run("eval", "--data", plain)
    assert "was trained on other steps" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_its_baselines(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path)
