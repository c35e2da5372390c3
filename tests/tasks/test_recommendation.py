"""Recommendation: what a user's table may hold, splits without a leak, loss, EASE, scores."""

from __future__ import annotations

import csv
import gzip
import importlib
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.recommendation_settings import HEAD, MODEL, TINY, clicks, write_table
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score

from metagen import paths
from metagen.families.two_tower import FAMILY as two_tower

SPEC = paths.specs() / "graph" / "recommender_two_tower.yaml"
Code = dict[str, ModuleType]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), two_tower, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Code]:
    with modules_of(folder) as modules:
        names = ("recommenders", "interactions", "imports")
        yield modules | {name: importlib.import_module(f"runtime.{name}") for name in names}


def loaded(code: Code, path: Path | None, size: str = "proxy", **settings: Any) -> Any:
    data = code["data"]
    config = data.Config(**{**TINY["data"], **settings})
    return data.load_interactions(config, path, code["model"].Config(), size)[0]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "clicks.csv", clicks())


# What is read


def test_columns_are_found_by_their_names_and_owners(code: Code, table: Path) -> None:
    every = code["interactions"].read_interactions(table)
    assert (len(every.users), len(every.items), len(every)) == (20, 12, 160)
    assert [*every.of_users] == ["country"]
    assert [*every.of_items] == ["genre"]
    assert [*every.of_pairs] == ["device"]
    for row in clicks()[:5]:
        at = np.flatnonzero(every.times == row[2])[0]
        assert every.users[every.user[at]] == str(row[0])
        assert every.items[every.item[at]] == row[1]
        assert every.of_users["country"][every.user[at]] == row[3]
        assert every.of_items["genre"][every.item[at]] == row[4]
        assert every.of_pairs["device"][at] == row[5]


def test_every_format_reads_the_same(code: Code, table: Path, tmp_path: Path) -> None:
    rows = clicks()
    lines = [json.dumps(dict(zip(HEAD, row, strict=True))) + "\n" for row in rows]
    (tmp_path / "clicks.jsonl").write_text("".join(lines))
    packed = tmp_path / "clicks.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    (tmp_path / "parts").mkdir()
    for part in range(2):
        write_table(tmp_path / "parts" / f"{part}.csv", rows[part::2])
    first = loaded(code, table)
    for path in (tmp_path / "clicks.jsonl", packed, tmp_path / "parts"):
        other = loaded(code, path)
        assert other.catalogue == first.catalogue
        assert (other.item == first.item).all()
        assert (other.ends == first.ends).all()


def test_dates_order_as_numbers_do(code: Code, table: Path, tmp_path: Path) -> None:
    dated = [
        (*row[:2], np.datetime64(row[2], "s").item().isoformat(sep=" "), *row[3:])
        for row in clicks()
    ]
    other = loaded(code, write_table(tmp_path / "dated.csv", dated))
    assert (other.item == loaded(code, table).item).all()


def test_repeats_and_rows_without_a_user_are_said(
    code: Code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = clicks()
    odd = [*rows, (*rows[0][:2], 10**7, *rows[0][3:]), (None, *rows[1][1:])]
    every = code["interactions"].read_interactions(write_table(tmp_path / "odd.csv", odd))
    assert len(every) == len(rows)
    assert every.times.max() < 10**7
    said = capsys.readouterr().err
    assert "1 rows without a user, an item or a time are left out" in said
    assert "1 rows repeat a user and an item" in said


WRONG: dict[str, tuple[bytes, str]] = {
    "no_user": (b"who,item,time\n1,2,3\n", "has no column of users: name it 'user'"),
    "no_item": (b"user,what,time\n1,2,3\n", "has no column of items: name it 'item'"),
    "times": (b"user,item,time\n1,2,soon\n1,3,later\n", "neither numbers nor dates"),
    "empty": (b"", "is empty|has no rows"),
    "head_alone": (b"user,item,time\n", "has no rows"),
    "few": (b"user,item,time\n1,2,3\n1,3,4\n", "has too few interactions"),
    "cut": (b'user,item,time\n1,"2,3\n', "cut.csv"),
    "bytes": (b"\xff\xfe\x00user", "bytes.csv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused_in_a_sentence(
    code: Code, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content, sentence = WRONG[name]
    path = tmp_path / f"{name}.csv"
    path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        loaded(code, path)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert any(part in error for part in sentence.split("|")), error


def test_the_full_model_refuses_data_that_it_has_no_room_for(
    code: Code, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timeless = write_table(tmp_path / "timeless.csv", [row[:2] for row in clicks()], HEAD[:2])
    config = code["model"].Config
    for model, path, sentence in (
        (config(num_items=5), table, "set architecture.dims.num_items in the spec"),
        (config(node_features=1), table, "set task.node_features in the spec"),
        (config(edge_features=1), table, "set task.edge_features in the spec"),
        (config(), timeless, "set architecture.dims.ordered to false"),
    ):
        with pytest.raises(SystemExit):
            code["data"].load_interactions(code["data"].Config(), path, model, "full")
        assert sentence in capsys.readouterr().err


# Splits and histories


def moments(data: Any, path: Path) -> dict[tuple[str, str], float]:
    """Return when each pair of a user and an item was."""
    with path.open(newline="") as stream:
        return {(row["userId"], row["movie_id"]): float(row["timestamp"])
                for row in csv.DictReader(stream)}  # fmt: skip


def pairs(data: Any, split: str) -> set[tuple[str, str]]:
    return {
        (str(data.users[data.owner[row]]), data.catalogue.items[data.item[row] - 1])
        for row in data.rows(split)
    }


@pytest.mark.parametrize("holdout", ["time", "last"])
def test_no_pair_is_in_two_splits_and_scored_ones_are_later(
    code: Code, table: Path, holdout: str
) -> None:
    data = loaded(code, table, holdout=holdout)
    splits = {split: pairs(data, split) for split in ("train", "val", "test")}
    assert all(splits.values())
    for one, two in itertools.combinations(splits.values(), 2):
        assert not one & two
    when = moments(data, table)
    times = {split: {p: when[p] for p in each} for split, each in splits.items()}
    if holdout == "time":
        assert max(times["train"].values()) < min(times["val"].values())
        assert max(times["val"].values()) < min(times["test"].values())
    else:
        assert len(splits["val"]) == len(splits["test"]) == 20
        for (user, _), moment in times["test"].items():
            others = [t for s in ("train", "val") for (u, _), t in times[s].items() if u == user]
            assert moment > max(others)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_history_has_what_came_before_and_never_its_item(
    code: Code, table: Path, ordered: bool, split: str
) -> None:
    data, module = loaded(code, table), code["data"]
    config = code["model"].Config(**{**MODEL, "ordered": ordered})
    rows = data.rows(split)
    history, edges, users, items, features, shares = module.samples(data, rows, split, config)
    when, names = moments(data, table), ("", *data.catalogue.items)
    allowed = {s for s in ("train", "val", "test") if s < split or (s == split == "train")}
    known = set().union(*(pairs(data, s) for s in ("train", "val")[: 1 + (split == "test")]))
    for row, read, item in zip(rows, history.tolist(), items.tolist(), strict=True):
        user = str(data.users[data.owner[row]])
        kept = [names[number] for number in read if number]
        assert names[item] not in kept
        assert len({*kept}) == len(kept) <= MODEL["history_length"]
        assert {(user, name) for name in kept} <= known, allowed
        expected = sorted((p for p in known if p[0] == user), key=when.__getitem__)
        if ordered or split != "train":
            if split == "train":
                expected = [p for p in expected if when[p] < when[user, names[item]]]
            assert kept == [p[1] for p in expected][-MODEL["history_length"] :]
    counts = np.bincount(data.item[data.rows("train")], minlength=len(names))
    torch.testing.assert_close(
        shares.exp().double(), torch.from_numpy(counts / counts.sum())[items]
    )
    assert (features == data.item_features[items]).all()
    assert (edges[history == 0] == 0).all()
    assert len(users) == len(rows)


def test_items_that_training_never_saw_are_left_out_and_said(
    code: Code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = [(*row[:1], "new film", 2 * 10**6 + n, *row[3:]) for n, row in enumerate(clicks()[:3])]
    data = loaded(code, write_table(tmp_path / "new.csv", [*clicks(), *late]))
    assert "new film" not in data.catalogue.items
    assert "3 rows are of items that training never saw" in capsys.readouterr().err


def test_bundled_imports_are_those_of_the_syntax_trees(code: Code) -> None:
    """A few modules, whose imports are read from their whole trees."""
    import ast
    from importlib.util import find_spec

    root = Path(str(find_spec("sympy").origin)).parent
    found = code["imports"].imported_names()
    for module in ("sympy.core.basic", "sympy.solvers.ode.ode"):
        path = root.parent.joinpath(*module.split(".")).with_suffix(".py")
        mine = {item.partition(":")[2] for user, item in found if user == module}
        tree = ast.walk(ast.parse(path.read_text()))
        theirs = {n.name for node in tree if isinstance(node, ast.ImportFrom) for n in node.names}
        assert mine
        assert mine <= theirs
    assert min(np.unique([u for u, _ in found], return_counts=True)[1]) >= 5
    assert min(np.unique([i for _, i in found], return_counts=True)[1]) >= 5


# Loss, baselines and scores


def test_the_loss_is_the_corrected_softmax_over_the_other_items(code: Code) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL))
    history = torch.tensor([[1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [4, 5, 6, 0, 0], [7, 1, 0, 0, 0]])
    items, shares = torch.tensor([5, 9, 5, 2]), torch.tensor([0.4, 0.1, 0.4, 0.2]).log()
    inputs = (history, torch.randn(4, 5, 2), torch.randn(4, 3), items, torch.randn(4, 3))
    loss, count = code["train"].retrieval_loss(model, (*inputs, shares))
    users, vectors = (each.tolist() for each in model(*inputs))
    total = 0.0
    for row in range(4):
        logits = [
            sum(a * b for a, b in zip(users[row], other, strict=True)) - float(share)
            for other, share in zip(vectors, shares, strict=True)
        ]
        # Rows 0 and 2 have one item, which is no negative of itself.
        others = [n for n in range(4) if n == row or items[n] != items[row]]
        total -= logits[row] - math.log(sum(math.exp(logits[n]) for n in others))
    assert count == 4
    assert float(loss) == pytest.approx(total / 4, rel=1e-5)


def taken() -> np.ndarray[Any, Any]:
    return (np.random.default_rng(0).random((30, 9)) < 0.3).astype(float)


def test_ease_is_a_ridge_regression_of_each_item_on_the_others(code: Code) -> None:
    matrix, module = taken(), code["recommenders"]
    module.USERS_AT_ONCE = 8  # users come in several parts
    gram = module.together(*np.nonzero(matrix), matrix.shape[1])
    np.testing.assert_array_equal(gram, matrix.T @ matrix)
    scorer = module.ease(gram, 7.0)
    histories = [np.flatnonzero(row) for row in matrix]
    expected = np.zeros_like(matrix)
    for item in range(matrix.shape[1]):
        others = np.delete(matrix, item, 1)
        ridge = Ridge(alpha=7.0, fit_intercept=False).fit(others, matrix[:, item])
        expected[:, item] = ridge.predict(others)
    np.testing.assert_allclose(scorer(histories), expected, atol=1e-8)


def test_scores_are_those_of_scikit_learn(code: Code) -> None:
    draw, module = np.random.default_rng(0), code["recommenders"]
    scores = draw.normal(size=(40, 30))
    queries, masked, truth = [], scores.copy(), np.zeros((40, 30))
    for row in range(40):
        order = draw.permutation(30)
        cut = 4 + int(draw.integers(1, 15))
        queries.append(module.Query(order[:4], order[4:cut]))
        masked[row, order[:4]] = -100
        truth[row, order[4:cut]] = 1
    first = module.first(lambda histories: _next(scores, histories), queries, 20, batch=40)
    found = module.hits(first, queries)
    expected = [ndcg_score(t[None], s[None], k=10) for t, s in zip(truth, masked, strict=True)]
    np.testing.assert_allclose(module.ndcg(found, queries, 10), expected)
    top = np.argsort(-masked, 1)[:, :10]
    shares = [truth[n, top[n]].sum() / truth[n].sum() for n in range(40)]
    np.testing.assert_allclose(module.recall(found, queries, 10), shares)


def _next(scores: Any, histories: Any) -> Any:
    assert len(histories) == len(scores)
    return scores


def test_what_a_user_has_is_not_recommended_again(code: Code) -> None:
    scores = np.arange(12.0)[None].repeat(2, 0)
    chosen = code["recommenders"].best(scores, [np.array([11, 9]), np.array([0])], 3)
    assert chosen.tolist() == [[10, 8, 7], [11, 10, 9]]


def test_examples_name_the_latest_items_and_what_is_new(code: Code) -> None:
    query, items = code["recommenders"].Query, [f"i{n}" for n in range(9)]
    asked = [query(np.array([0, 1, 2, 3, 4, 5]), np.array([6, 8]))]
    best = np.array([[7, 8, 5, 6]])
    made = code["eval"].examples(best, asked, items)
    (row,) = made["rows"]
    assert row["query"] == "i2, i3, i4, i5, and 2 before"
    assert [each["text"] for each in row["answers"]] == ["i7", "i8", "i6"]
    assert [each["right"] for each in row["answers"]] == [False, True, True]
    assert row["first_right"] == 2


# Scripts


@pytest.mark.slow
@pytest.mark.ci
def test_own_interactions_train_are_scored_and_recommended(
    folder: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ("--out", tmp_path / "out", "--threads", 1, "--data", table)
    run(folder, "train", "--steps", 4, *shared)
    report = json.loads(run(folder, "eval", *shared))
    assert [row["metric"] for row in report["metrics"]] == ["recall_at_10", "ndcg_at_10"]
    assert set(report["metrics"][0]["baselines"]) == {"popularity", "item neighbours", "EASE"}
    had = {row[1] for row in clicks() if row[0] == 3}
    for name in ("picks.csv", "picks.jsonl"):
        text = run(folder, "infer", "--user", 3, 4, "--output", tmp_path / name, *shared)
        assert len(text.splitlines()) == 6
        lines = (tmp_path / name).read_text().splitlines()
        rows = [*csv.DictReader(lines)] if name.endswith("csv") else [*map(json.loads, lines)]
        assert [row["user"] for row in rows] == ["3", "3", "3", "4", "4", "4"]
        assert not {row["item"] for row in rows[:3]} & had
        scores = [float(row["score"]) for row in rows[:3]]
        assert scores == sorted(scores, reverse=True)
    new = run(folder, "infer", "--history", "film 1", "film 2", *shared)
    assert len(new.splitlines()) == 3
    some = write_table(tmp_path / "some.csv", [row for row in clicks() if row[1] != "film 7"])
    started = (*shared[:4], "--data", some, "--init-from", tmp_path / "out" / "checkpoint")
    run(folder, "train", "--steps", 2, "--out", tmp_path / "next", *started[2:])
    names = [
        json.loads((tmp_path / run_of / "checkpoint" / "config.json").read_text())["catalogue"]
        for run_of in ("out", "next")
    ]
    assert names[0]["items"] == names[1]["items"]
    run(folder, "infer", "--user", "nobody", *shared, status=2)
    assert "has no item of a user 'nobody'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_popularity(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only="popularity")
