"""Tables: columns, splits that do not leak, refusals, baselines, a scored report."""

from __future__ import annotations

import csv
import importlib
import io
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.tabular_settings import FAMILIES, KINDS, sizes
from sklearn import linear_model, metrics

from metagen import paths
from metagen.tasks import tabular


@pytest.fixture(scope="module", params=FAMILIES)
def code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    with modules_of(write_code(folder, FAMILIES[request.param], sizes(request.param))) as modules:
        yield {"task": request.param, **modules}


def houses(folder: Path, rows: int = 150, seed: int = 0) -> Path:
    """Write a table of numbers, words and gaps whose targets follow from them."""
    draw = np.random.default_rng(seed)
    lines = ["id,area,town,rooms,price,kind"]
    for row in range(rows):
        area, town, rooms = (
            draw.uniform(20, 200),
            draw.choice(["A, x", "B", "ü"]),
            draw.integers(1, 6),
        )
        price = area * {"A, x": 1, "B": 2, "ü": 3}[town] + rooms
        kind = ["small", "middle", "large"][int(price > 150) + int(price > 300)]
        shown = "" if row % 10 == 3 else f"{area:.3f}"
        lines.append(f'{row},{shown},"{town}",{rooms},{price:.3f},{kind}')
    path = folder / "houses.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def target(code: dict[str, Any]) -> str:
    return "price" if code["task"] == "regression" else "kind"


def load(code: dict[str, Any], path: Path, name: str | None) -> tuple[Any, Any]:
    """Return the rows and the table that training reads."""
    data, config = code["data"], code["model"].Config()
    settings = data.Config(KINDS[code["task"]], 0.2, 0.2)
    rows = data.load_rows(settings, path, name)
    return rows, data.load_table(settings, rows, config)


def test_a_further_seed_scores_without_cross_validation(
    code: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["eval.py", *tabular.AGAIN, "--checkpoint", "nowhere"])
    with pytest.raises(SystemExit):
        code["eval"].main()
    assert "--repeats" not in capsys.readouterr().err


def test_splits_do_not_move_and_rows_that_are_alike_stay_together(
    code: dict[str, Any], tmp_path: Path
) -> None:
    data, columns = code["data"], importlib.import_module("runtime.columns")
    rows = data.load_rows(data.Config(), houses(tmp_path), target(code))
    parts = columns.parts_of(rows, 0.2, 0.2)
    rows_of_all = np.concatenate(list(parts.values()))
    assert sorted(rows_of_all) == list(range(150))
    twice = {n: np.concatenate((c, c)) for n, c in rows.columns.items()}
    values = np.concatenate((rows.values, rows.values[::-1]))  # whatever their targets say
    again = columns.parts_of(columns.Rows("x", "", twice, "y", values), 0.2, 0.2)
    for split, index in parts.items():
        assert set(again[split]) == {*index, *(index + 150)}
    for folds in columns.folds_of(rows, 0.1, 3, 2):
        assert sorted(np.concatenate(list(folds.values()))) == list(range(150))
    tests = [fold["test"] for fold in columns.folds_of(rows, 0.1, 3, 1)]
    assert sorted(np.concatenate(tests)) == list(range(150))


def test_what_is_learned_of_columns_comes_from_training_rows(
    code: dict[str, Any], tmp_path: Path
) -> None:
    data, config = code["data"], code["model"].Config()
    columns = importlib.import_module("runtime.columns")
    rows = data.load_rows(data.Config(), houses(tmp_path), target(code))
    parts = columns.parts_of(rows, 0.2, 0.2)
    schema = data.encoded(data.Config(), rows, parts, config).schema
    area = rows.columns["area"][parts["train"]]
    assert schema.numeric["area"] == pytest.approx((np.nanmean(area), np.nanstd(area)))
    assert schema.categorical["town"] == ["A, x", "B", "ü"]
    rows.columns["area"][parts["test"]] += 1e6
    rows.columns["town"][parts["test"]] = "new"
    table = data.encoded(data.Config(), rows, parts, config)
    assert table.schema == schema
    assert table.rows(parts["test"])[1][:, 0].eq(0).all()
    assert table.rows(parts["train"])[1][:, 0].gt(0).all()


EIGHT = "a,b,c,d,e,f,g,h\n" + "\n".join(f"{i},1,1,1,1,1,1,{i % 2}" for i in range(60))


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("a,b\n1,2\n", "c", "has no column 'c'"),
        ("a\n1\n", None, "needs a column besides 'a'"),
        ("a,b\n" + "1,\n" * 9, None, "rows with a value in 'b'"),
        ("a,b\n1,2\n", None, "too few rows"),
        (EIGHT, None, "has 7 numeric columns, but the model has room for 6"),
    ],
)
def test_bad_tables_end_in_a_sentence(
    text: str,
    name: str | None,
    sentence: str,
    code: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        load(code, path, name)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_target_must_suit_the_task(
    code: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "kind" if code["task"] == "regression" else "id"
    with pytest.raises(SystemExit):
        load(code, houses(tmp_path), wrong)
    message = capsys.readouterr().err
    assert (
        "has text, but the target must be a number" in message
        or "has 150 classes of 'id', and the model takes 2 to 3" in message
    )


SPLITS = ("train", "val", "test")


def written(folder: Path, head: str, rows: Iterable[str]) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def noted(
    code: dict[str, Any], path: Path, capsys: pytest.CaptureFixture[str], name: str | None = None
) -> list[str]:
    importlib.import_module("runtime.notes").note.cache_clear()
    load(code, path, name)
    return capsys.readouterr().err.splitlines()


def test_a_table_without_doubts_has_no_notes(
    code: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = houses(tmp_path).read_text().splitlines()
    path = written(tmp_path, text[0][3:], (row.partition(",")[2] for row in text[1:]))
    assert noted(code, path, capsys, target(code)) == []


DOUBTS = {
    "k,a,y": (lambda n: f"7,{n * 7 % 101},{n % 2}", "'k' has the same value in all rows"),
    "e,a,y": (lambda n: f",{n * 7 % 101},{n % 2}", "'e' has the same value in all rows, or none"),
    "id,a,y": (lambda n: f"{n},{n * 7 % 101},{n % 2}", "'id' counts the rows"),
    "b,a,y": (lambda n: f"{'no' if n % 2 else 'yes'},{n * 7 % 101},{n % 2}",
              "'b' may be the answer: each of its values stands for one value of 'y'"),
    "c,a,y": (lambda n: f"{n % 4},{n * 7 % 101},{n % 2}",
              "each of its values has only one value of 'y'"),
    "d,a,y": (lambda n: f"{n % 7 if n % 2 else ''},{n * 7 % 101},{n % 2}",
              "whether it has a value shows the value of 'y'"),
    "w,a,y": (lambda n: f"w{n * 7 % 300},{n * 7 % 101},{n * 7 // 5 % 2}",
              "distinct words in the training rows, and the model keeps the 11 most frequent"),
    "t,a,y": (lambda n: f"{'Red' if n % 3 else 'red '},{n * 7 % 101},{n * 7 // 5 % 2}",
              "'t' has 'Red' and 'red' as two different words"),
    "a,label,y": (lambda n: f"{n * 7 % 101},{n * 5 // 7 % 3},{n * 7 // 5 % 2}",
                  "the last column, 'y', is predicted; --target names another: ['label']"),
    "order_id,a,b,y": (lambda n: f"{(n * 7) % 300},{n % 5},{n % 3},{n * 7 // 5 % 2}",
                       "equal to training rows but for 'order_id'"),
    ",a,y": (lambda n: f"{n},{n * 7 % 101},{n * 7 // 5 % 2}",
             "the first column, which has no name, is an index of the rows: it is left out"),
    "Unnamed: 0,a,y": (lambda n: f"{299 - n},{n * 7 % 101},{n * 7 // 5 % 2}",
                       "the first column, 'Unnamed: 0', is an index of the rows: it is left out"),
    "a,b,y": (lambda n: f"{n * 7 % 101},{n % 8},{n * 7 // 5 % 2 if n % 10 else ''}",
              "30 rows without a value in 'y' are left out"),
}  # fmt: skip


@pytest.mark.parametrize("head", DOUBTS)
def test_what_spoils_scores_is_noted(
    head: str, code: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, sentence = DOUBTS[head]
    lines = noted(code, written(tmp_path, head, map(row, range(300))), capsys)
    assert any(sentence in line for line in lines), lines
    assert len(lines) <= 2


def test_a_class_without_a_test_row_is_noted(
    code: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if code["task"] == "regression":
        pytest.skip("numbers have no classes")
    rows = [f"{n},{n * 7 % 101},{'rare' if n == 3 else 'ab'[n * 7 // 5 % 2]}" for n in range(60)]
    path = written(tmp_path, "a,b,kind", rows)
    lines = noted(code, path, capsys)
    assert any("1 of 3 classes have no row in the" in line for line in lines)
    table, facts = load(code, path, None), {"classes": ["a", "b", "rare"]}
    absent = [code["data"].untested(*table[:1], table[1].parts, facts, s) for s in SPLITS]
    assert sum("rare" in names for names in absent) == 2


def test_the_target_that_a_column_follows_exactly_is_noted(
    code: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if code["task"] == "classification":
        pytest.skip("classes have no order")
    rows = [f"{n * 7 % 100},{(n * 7 % 100) ** 3 + 5}" for n in range(100)]
    (line,) = noted(code, written(tmp_path, "cost,price", rows), capsys)
    assert "'cost' may be the answer: it rises or falls exactly with 'price'" in line


def test_words_that_training_did_not_keep_are_noted(
    code: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = importlib.import_module("runtime.columns")
    _, table = load(code, houses(tmp_path), target(code))
    capsys.readouterr()
    known = {name: np.array(words, object) for name, words in table.schema.categorical.items()}
    columns.note_unknown(table.schema, known)
    assert not capsys.readouterr().err
    columns.note_unknown(table.schema, known | {"town": np.array(["B", "X", "Y"], object)})
    assert "2 of 3 words, such as 'X', are unknown to the model" in capsys.readouterr().err


def test_a_constant_column_has_no_deviation(
    code: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, "k,b,y", (f"0.1,{n % 7},{n % 3}" for n in range(90)))
    _, table = load(code, path, None)
    assert table.schema.numeric["k"] == (pytest.approx(0.1), 1.0)
    monkeypatch.setattr("sys.argv", ["data.py", "--data", str(path)])
    code["data"].main()
    out = capsys.readouterr().out
    assert "k: numbers from 0.1 to 0.1, 1 distinct, 0 missing; mean 0.1, deviation 0\n" in out


@pytest.mark.slow
@pytest.mark.ci
def test_it_trains_scores_and_predicts(
    code: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = houses(tmp_path), tmp_path / "out"

    def run(name: str, *options: object) -> str:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, options), "--out", str(out)])
        code[name].main()
        return capsys.readouterr().out

    run("train", "--data", path, "--target", target(code), "--threads", 1)
    shutil.rmtree(out / "checkpoint" / "optimizer")  # scores need the weights alone
    report = json.loads(run("eval", "--data", path, "--threads", 1))
    once = json.loads(run("eval", "--data", path, "--threads", 1, "--repeats", 0))
    assert once["metrics"] == report["metrics"][:2]
    names = [row["metric"] for row in report["metrics"]]
    assert names[:2] == (
        ["rmse", "r2"] if code["task"] == "regression" else ["accuracy", "macro_f1"]
    )
    assert names[2:] == [f"{name}_cross_validated" for name in names[:2]]
    counts = [row.get("n", report["n"]) for row in report["metrics"]]
    assert counts == [report["n"]] * 2 + [150] * 2
    # The figure draws the test rows that its caption counts, not those of the cross-validation.
    figure, n = report["figure"], report["n"]
    if code["task"] == "regression":
        (points,) = figure["series"]
        assert (len(points["x"]), points["name"]) == (n, f"{n} of {n} test rows")
    else:
        assert sum(map(sum, figure["values"])) == n
    splits = [row.get("split", report["split"]) for row in report["metrics"]]
    assert splits == ["test"] * 2 + ["cross-validation"] * 2
    table = list(csv.DictReader(io.StringIO(run("infer", "--input", path))))
    assert len(table) == 150
    if code["task"] == "classification":
        assert {row["kind"] for row in table} <= {"small", "middle", "large"}
        shares = [sum(float(v) for k, v in row.items() if k.startswith("p(")) for row in table]
        assert np.allclose(shares, 1, atol=1e-3)
    other = houses(tmp_path, seed=1)
    with pytest.raises(SystemExit):
        run("eval", "--data", other)
    assert "was trained on other rows" in capsys.readouterr().err


def test_baselines_are_those_of_scikit_learn(code: dict[str, Any], tmp_path: Path) -> None:
    score, config = code["eval"], code["model"].Config()
    columns = importlib.import_module("runtime.columns")
    data = code["data"]
    rows = data.load_rows(data.Config(), houses(tmp_path), target(code))
    table = data.encoded(data.Config(), rows, columns.parts_of(rows, 0.2, 0.2), config)
    train, test = (table.rows(table.parts[split]) for split in ("train", "test"))
    x, y, at = columns.design(train, config), train[2].numpy(), columns.design(test, config)
    settings = score.Config()
    if code["task"] == "regression":
        theirs = linear_model.Ridge(alpha=settings.penalty).fit(x, y.astype(float)).predict(at)
        assert np.allclose(score.linear(table, config, settings), theirs, atol=1e-5)
    else:
        fitted = linear_model.LogisticRegression(C=1 / settings.penalty, max_iter=9999).fit(x, y)
        ours = score.logistic(table, config, settings)
        assert np.array_equal(ours, fitted.predict(at))
        truth, weights = test[2].numpy(), np.arange(len(ours)) % 3.0
        expected = metrics.f1_score(truth, ours, average="macro", sample_weight=weights)
        assert score.macro_f1(truth, ours)(weights) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "baseline"),
    [("regressor", "mean"), pytest.param("classifier", "commonest class", marks=pytest.mark.ci)],
)
def test_the_proxy_beats_the_trivial_baseline(name: str, baseline: str, tmp_path: Path) -> None:
    spec = paths.specs() / "tabular" / f"tabular_{name}.yaml"
    beats_its_baselines(spec, tmp_path, only=baseline)
