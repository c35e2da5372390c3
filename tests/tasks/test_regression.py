"""Regression on texts and images: numbers of strangers, splits, baselines, scores, the scripts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import encoders
from helpers.encoders import records, write_jsonl
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.regressor_settings import tiny, write_bright
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from metagen import families, paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    family = families.named("vit_regressor")
    return write_code(tmp_path_factory.mktemp("code"), family, tiny("vit_regressor"))


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        names = ("regression", "targets")
        yield modules | {name: importlib.import_module(f"runtime.{name}") for name in names}


texts = encoders.modules_of("text_regressor")


def loaded(code: dict[str, ModuleType], path: Path | None, column: str = "target") -> Any:
    return code["data"].load_images(code["data"].Config(), path, column, code["model"].Config())


# Numbers


def test_numbers_are_read_as_people_write_them(code: dict[str, ModuleType]) -> None:
    def read(*words: str) -> list[float]:
        places = [f"row {n}" for n in range(len(words))]
        return code["targets"].numbers_of(Path("mine.csv"), "price", words, places).tolist()

    assert read("1.5", "-2", "3e2") == [1.5, -2, 300]
    assert read("$1,250.50", "$3") == [1250.5, 3]
    assert read("12,5", "3,25") == [12.5, 3.25]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("1", "good", "bad"), "'price' must be a number for each sample"),
        (("1", "inf"), "row 1 has an infinite 'price'"),
        (("nan", "2"), "row 0 has no number as its 'price'"),
        (("1,250", "2,500"), "write it without separators of thousands"),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(
    code: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    sentence: str,
) -> None:
    places = [f"row {n}" for n in range(len(words))]
    with pytest.raises(SystemExit):
        code["targets"].numbers_of(Path("mine.csv"), "price", words, places)
    assert sentence in capsys.readouterr().err


def test_standardized_numbers_come_back(code: dict[str, ModuleType]) -> None:
    values = np.array([1e6 + 1, 1e6 + 2, 1e6 + 6])
    target = code["targets"].target_of("mine", "price", values)
    assert target.std == pytest.approx(values.std())
    assert target.restored(target.standardized(values)) == pytest.approx(values, rel=1e-9)
    with pytest.raises(SystemExit):
        code["targets"].target_of("mine", "price", np.ones(3))


# Scores and baselines


def test_scores_are_those_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = np.random.default_rng(0)
    truth, values, weights = draw.normal(size=40), draw.normal(size=40), draw.integers(4, size=40)
    regression = code["regression"]
    pairs: tuple[tuple[str, Callable[..., float]], ...] = (
        ("mae", mean_absolute_error),
        ("r2", r2_score),
        ("rmse", lambda *each, **more: mean_squared_error(*each, **more) ** 0.5),
    )
    for name, theirs in pairs:
        ours = getattr(regression, name)(truth, values)(weights.astype(float))
        assert ours == pytest.approx(theirs(truth, values, sample_weight=weights)), name


def test_ridge_regression_is_that_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = np.random.default_rng(0)
    x, y, at = draw.normal(size=(30, 5)) + 3, draw.normal(size=30), draw.normal(size=(9, 5))
    y -= y.mean()
    regression = code["regression"]
    assert regression.ridge(x, y, at, 2.0) == pytest.approx(Ridge(2.0).fit(x, y).predict(at))
    theirs = KernelRidge(alpha=2.0).fit(x, y).predict(at)
    assert regression.kernel_ridge(x @ x.T, y, at @ x.T, 2.0) == pytest.approx(theirs)
    truth = regression.ridge(x, y, at, 100.0)
    assert regression.best_penalty(lambda each: regression.ridge(x, y, at, each), truth) == 100.0


# Images


def test_a_folder_with_metadata_is_cut_by_the_images(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = write_bright(tmp_path / "mine")
    (mine / "copy.png").write_bytes((mine / "0.png").read_bytes())
    level = (mine / "metadata.csv").read_text().splitlines()[1].partition(",")[2]
    with (mine / "metadata.csv").open("a") as file:
        file.write(f"copy.png,{level}\n")
    images = loaded(code, mine)
    sizes = {split: len(each.targets) for split, each in images.splits.items()}
    assert sum(sizes.values()) == 61
    assert images.target.name == "target"
    assert 140 < images.target.mean < 160
    for split, values in images.values.items():
        pixels = images.splits[split].pixels[range(len(values))].double().flatten(1).mean(1)
        assert np.abs(pixels.numpy() - values).max() < 6
    scaled = images.splits["train"].targets
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-5)
    assert float(scaled.std(correction=0)) == pytest.approx(1, abs=1e-5)


REFUSED: tuple[tuple[str, str], ...] = (
    ("file_name,target\n", "has too few images"),
    ("file_name,price\n0.png,1\n", 'has no "target"'),
    ("file_name,target\n0.png,1\n0.png,2\n", "has two rows of 0.png"),
    ("file_name,target\n9.png,1\n", "names 9.png, which is not a file in"),
    ("file_name,target\n../0.png,1\n", "which is not a file in"),
    ("file_name,target\n0.png,\n", 'has an empty "target"'),
)


@pytest.mark.parametrize(("rows", "sentence"), REFUSED)
def test_metadata_that_cannot_be_followed_is_refused(
    code: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: str,
    sentence: str,
) -> None:
    mine = write_bright(tmp_path / "mine", 1)
    (tmp_path / "0.png").write_bytes((mine / "0.png").read_bytes())
    (mine / "metadata.csv").write_text(rows)
    with pytest.raises(SystemExit):
        loaded(code, mine)
    assert sentence in capsys.readouterr().err


def test_turned_digits_have_one_split_each_and_their_angles(code: dict[str, ModuleType]) -> None:
    digits = importlib.import_module("runtime.turned_digits")
    found = [*digits.turned_digits(2)]
    assert len({each.key for each in found}) * 2 == len(found) == 5000
    assert max(abs(each.angle) for each in found) <= digits.MOST_TURN
    images = loaded(code, None)
    sizes = {split: len(each) for split, each in images.values.items()}
    keys = [code["data"].split_of(each.key, 0.2, 0.3) for each in found]
    assert sizes["train"] == keys.count("train")
    assert 2 * sizes["test"] == keys.count("test")


def test_your_images_are_learned_scored_and_read(folder: Path, tmp_path: Path) -> None:
    mine, out = write_bright(tmp_path / "mine", column="level"), tmp_path / "run"
    shown = run(folder, "data", "--data", mine, "--target", "level")
    assert "target: level, mean" in shown
    run(folder, "train", "--data", mine, "--target", "level", "--out", out, "--threads", 1,
        "--steps", 60)  # fmt: skip
    report = json.loads(run(folder, "eval", "--data", mine, "--out", out, "--threads", 1))
    assert [row["metric"] for row in report["metrics"]] == ["mae", "rmse", "r2"]
    assert [row["unit"] for row in report["metrics"][:2]] == ["level"] * 2
    assert set(report["metrics"][0]["baselines"]) == {"mean", "ridge regression", "5-NN"}
    assert report["metrics"][2]["value"] > report["metrics"][2]["baselines"]["mean"]
    line = run(folder, "infer", "--input", mine / "0.png", "--out", out)
    number, _, name = line.strip().partition("\t")
    assert name == str(mine / "0.png")
    assert 90 < float(number) < 210
    assert len(run(folder, "infer", "--data", mine, "--out", out).splitlines()) == 3
    run(folder, "eval", "--out", out, status=2)


# Texts


def test_isomers_are_in_one_split(texts: dict[str, ModuleType]) -> None:
    data = texts["data"]
    found = data.load_records(data.Config(), None, data.SOLUBILITY)
    formulas = {each.name: each.formula for each in texts["runtime.sdf"].solubilities()}
    assert sum(map(len, found.values())) == len(formulas) == 1282
    of_split = {s: {formulas[r["text"]] for r in each} for s, each in found.items()}
    assert sum(map(len, of_split.values())) == len(set.union(*of_split.values()))


def test_the_baseline_of_texts_is_kernel_ridge_on_cosines(
    texts: dict[str, ModuleType], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "mine.jsonl", records("text_regressor"))
    data = texts["data"].load_dataset(
        texts["data"].Config(), path, "target", texts["model"].Config()
    )
    simpler = texts["eval"].baselines(data, texts["eval"].Config())
    truth = data.values["test"]
    assert simpler["mean"] == pytest.approx(np.full(len(truth), data.values["train"].mean()))
    errors = {name: np.abs(values - truth).mean() for name, values in simpler.items()}
    assert errors["ridge regression"] < errors["mean"]


def test_a_target_of_texts_without_a_number_is_refused_with_its_text(
    texts: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records("text_regressor")
    rows[3] = {"text": "red sky", "target": "high"}
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    with pytest.raises(SystemExit):
        texts["data"].load_dataset(texts["data"].Config(), path, "target", texts["model"].Config())
    assert "the text 'red sky'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "spec", ["text/text_regressor", "image/image_regressor_vit", "image/image_regressor_resnet"]
)
def test_the_proxy_beats_the_mean(spec: str, tmp_path: Path) -> None:
    beats_its_baselines(paths.specs() / f"{spec}.yaml", tmp_path, "evaluation.seeds=1", only="mean")
