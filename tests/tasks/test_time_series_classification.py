"""Series with classes: what a user's files may hold, splits by values, baselines, labels."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.plain_desk import PlainDesk
from helpers.series_settings import MODEL, TINY, Row, waves, write_waves
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler

from metagen import paths
from metagen.families.patch_classifier import FAMILY as classifier
from metagen.measure import results, trial

SPEC = paths.specs() / "time_series" / "time_series_classifier.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), classifier, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        yield modules | {"waves": importlib.import_module("runtime.waves")}


def loaded(code: dict[str, ModuleType], path: Path | None, **settings: Any) -> Any:
    config = code["data"].Config(**{**TINY["data"], **settings})
    return code["data"].load_series(config, path, code["model"].Config())


def as_ts(rows: list[Row]) -> str:
    head = "@problemName mine\n@timeStamps false\n@classLabel true slow fast\n@data\n"
    lines = (":".join([*(",".join(map(str, c)) for c in r["series"]), r["label"]]) for r in rows)
    return head + "\n".join(lines) + "\n"


def test_all_formats_of_the_field_are_read_alike(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    rows = waves(channels=1)
    values = np.array([row["series"] for row in rows])
    labels = [row["label"] for row in rows]
    write_waves(tmp_path / "mine.jsonl", rows)
    flat = [{"values": row["series"][0], "y": row["label"]} for row in rows]
    write_waves(tmp_path / "flat.jsonl", flat)
    (tmp_path / "mine.ts").write_text(as_ts(rows))
    lines = ["\t".join([row["label"], *map(str, row["series"][0])]) for row in rows]
    (tmp_path / "ucr.tsv").write_text("\n".join(lines))
    names = ",".join([*(f"t{step}" for step in range(24)), "label"])
    cells = [",".join([*map(str, row["series"][0]), row["label"]]) for row in rows]
    (tmp_path / "named.csv").write_text("\n".join([names, *cells]))
    np.savez(tmp_path / "mine.npz", X=values, y=np.array(labels))
    np.savez(tmp_path / "two.npz", x=values[:, 0], label=np.array(labels))
    first = loaded(code, tmp_path / "mine.jsonl")
    assert first.labels == ("fast", "slow")
    for name in ("flat.jsonl", "mine.ts", "ucr.tsv", "named.csv", "mine.npz", "two.npz"):
        other = loaded(code, tmp_path / name)
        assert other.labels == first.labels, name
        for split, part in first.splits.items():
            assert part.series.equal(other.splits[split].series), (name, split)
            assert part.targets.equal(other.splits[split].targets), (name, split)


def test_gaps_become_lines_and_other_lengths_are_stretched(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = waves()
    rows[0] = {"series": [[0, None, 2, 3], [None, 1, 1, None]], "label": "slow"}
    path = write_waves(tmp_path / "mine.jsonl", rows)
    wave = code["waves"].read_waves(path, labelled=True)[0]
    assert wave.channels.tolist() == [[0, 1, 2, 3], [1, 1, 1, 1]]
    made = code["data"].stretched([wave], 7)
    assert made[0, 0].tolist() == [-1.5, -1.0, -0.5, 0, 0.5, 1.0, 1.5]
    assert loaded(code, path).splits["train"].series.shape[1:] == (2, 24)
    assert "series have 4 to 24 steps, and each is stretched to the model's 24" in (
        capsys.readouterr().err
    )


def test_equal_series_are_in_one_split_and_named_splits_are_kept(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = waves()
    data = loaded(code, write_waves(tmp_path / "twice.jsonl", rows + rows))
    held = {
        split: {x.numpy().tobytes() for x in part.series} for split, part in data.splits.items()
    }
    assert sum(map(len, held.values())) == len(rows)
    named = tmp_path / "named"
    named.mkdir()
    for split in ("OSULeaf_TRAIN", "OSULeaf_val", "OSULeaf_TEST"):
        (named / f"{split}.ts").write_text(as_ts(waves()))
    data = loaded(code, named)
    assert [len(part.targets) for part in data.splits.values()] == [60, 60, 60]
    assert "60 series of train are equal to one in val or test" in capsys.readouterr().err


GOOD = {"series": [[0.0, 1.0], [2.0, 1.0]], "label": "x"}
WRONG: dict[str, tuple[Row, str]] = {
    "none": ({"label": "x"}, 'has no "series"; it has label'),
    "word": ({**GOOD, "series": "0 1"}, '"series" must be a list of numbers'),
    "words": ({**GOOD, "series": [["a", "b"]] * 2}, "has a value that is no number"),
    "ragged": ({**GOOD, "series": [[0, 1], [0]]}, r"channels of \[2, 1\] steps"),
    "short": ({**GOOD, "series": [[0], [1]]}, "a series of 1 steps: it needs 2"),
    "empty": ({**GOOD, "series": []}, '"series" must be a list of numbers'),
    "gone": ({**GOOD, "series": [[None, None], [0, 1]]}, "has a channel without a value"),
    "infinite": ({**GOOD, "series": [[0, math.inf], [0, 1]]}, "a value that is no finite number"),
    "deep": ({**GOOD, "series": [[[0, 1]], [[0, 1]]]}, "has a value that is no number"),
    "channels": ({**GOOD, "series": [[0, 1]]}, "has 1 channels, and .*:1 has 2"),
    "no label": ({"series": GOOD["series"]}, 'has no "label" that is a word or a whole'),
    "twice": ({**GOOD, "x": [0, 1]}, "has both series and x, which say the same"),
}


def refused(call: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        call()
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_series_is_refused_with_its_place(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    row, sentence = WRONG[name]
    path = write_waves(tmp_path / "mine.jsonl", [GOOD, row])
    error = refused(lambda: loaded(code, path), capsys)
    assert "mine.jsonl:2" in error
    assert re.search(sentence, error), error


FILES = {
    "a.ts": ("@classLabel true a b\n1,2:a\n", "data before the line @data"),
    "b.ts": ("@classLabel false\n@data\n1,2\n", "no line `@classLabel true`"),
    "c.ts": ("@timeStamps true\n@classLabel true a\n@data\n", "values with times are not read"),
    "d.ts": ("@classLabel true a b\n@data\n1,x:a\n", "has 'x', which is no number"),
    "e.ts": ("@classLabel true a b\n@data\n", "has no series"),
    "f.ts": ("", "has no series"),
    "g.ts": ("@classLabel true a b\n@data\n1,2,3\n", "has channels of"),
    "a.csv": ("one,two\n1,2\n", "names 0 columns label or y"),
    "b.csv": ("", "has no series"),
    "c.csv": ("a,1,2\nb,1,2,3\n", "has 4 cells, but the first line names 3"),
    "d.csv": ("a,1,2\nb,1,z\n", "has 'z', which is no number"),
    "a.jsonl": ("[1, 2]\n", "is not a JSON object"),
    "a.txt": ("1 2\n", "is neither a"),
    "a.npz": ("no archive", "cannot be read as arrays"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_is_refused_in_a_sentence(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    text, sentence = FILES[name]
    (tmp_path / name).write_text(text)
    error = refused(lambda: loaded(code, tmp_path / name), capsys)
    assert sentence in error, error


def test_objects_are_never_unpickled(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, X=np.array([[1, 2], "a"], object), y=np.array([0, 1]))
    assert "never unpickled" in refused(lambda: loaded(code, path), capsys)
    np.savez(path, X=np.zeros((3, 2)), y=np.zeros(2))
    assert "not as many labels" in refused(lambda: loaded(code, path), capsys)


def test_the_ridge_classifier_is_that_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = torch.Generator().manual_seed(0)
    known, new = (torch.randn(n, 30, generator=draw) for n in (40, 50))
    targets = (known[:, 0] + known[:, 1] > 0).long() + (known[:, 2] > 1).long()
    ours = code["eval"].ridge_classes(known, new, targets, 3)
    scaler = StandardScaler().fit(known.double().numpy())
    theirs = RidgeClassifierCV(alphas=code["eval"].PENALTIES.numpy())
    theirs.fit(scaler.transform(known.double().numpy()), targets.numpy())
    expected = theirs.predict(scaler.transform(new.double().numpy()))
    # Standard deviations differ by (n - 1) / n, and so does the penalty a little.
    assert (ours.numpy() == expected).mean() >= 0.95


def test_random_kernels_find_what_a_network_would_have_to_learn(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = loaded(code, write_waves(tmp_path / "mine.jsonl", waves(120)))
    config = code["eval"].Config(baseline_kernels=50)
    found = dict(code["eval"].baselines(data, config, seed=0))
    assert list(found) == ["majority", "1-NN", "random kernels"]
    truth = data.splits["test"].targets.numpy()
    assert (found["random kernels"] == truth).mean() > 0.9
    few = code["eval"].Config(baseline_series=10)
    assert list(dict(code["eval"].baselines(data, few, seed=0))) == ["majority"]


def test_your_series_are_learned_scored_and_labelled(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_waves(tmp_path / "mine.jsonl", waves(90)), tmp_path / "run"
    run(folder, "train", "--data", path, "--out", out, "--steps", 60, "--threads", 1)
    report = json.loads(run(folder, "eval", "--data", path, "--out", out, "--threads", 1))
    accuracy = report["metrics"][0]
    assert accuracy["value"] > accuracy["baselines"]["majority"]
    new = tmp_path / "new.jsonl"
    write_waves(new, [{"series": row["series"]} for row in waves(8)])
    rows = [*csv.DictReader(io.StringIO(run(folder, "infer", "--input", new, "--out", out)))]
    assert [row["label"] for row in rows].count("slow") >= 3
    assert all(
        float(r["p(fast)"]) + float(r["p(slow)"]) == pytest.approx(1, abs=1e-3) for r in rows
    )
    write_waves(new, [{"series": row["series"][:1]} for row in waves(8)])
    capsys.readouterr()
    run(folder, "infer", "--input", new, "--out", out, status=2)
    assert "series of 1 channels, and the model was trained on 2" in capsys.readouterr().err


def test_the_full_model_takes_the_classes_and_channels_of_its_spec(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    model = code["model"].Config(**MODEL)
    fitted = code["data"].fitted
    assert fitted(model, 5, "ab", "proxy").n_channels == 5
    assert fitted(model, 2, "abc", "full") == model
    error = refused(lambda: fitted(model, 5, "abc", "full"), capsys)
    assert "set task.num_outputs in the spec" in error
    error = refused(lambda: fitted(model, 2, "ab", "full"), capsys)
    assert "set task.num_classes in the spec" in error


def test_a_missing_library_is_named_with_its_command() -> None:
    desk = PlainDesk.of(SPEC)
    there = desk.version
    desk.version = lambda name: "" if name == "aeon" else there(name)  # type: ignore[method-assign]
    command = trial._missing(desk, classifier.task.benchmark)
    assert command == "pip install --no-deps aeon==1.6.0"
    assert re.fullmatch(results._STATUS, f"not measured: {command}")


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_the_nearest_series(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path / "out", "evaluation.seeds=1", only="1-NN")
