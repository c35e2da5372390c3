"""Clouds of points: the forms of a user's files, refusals, and what a turn does not change."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import modules_of, write_code
from helpers.pointnet_settings import TINY

from metagen.families.pointnet import FAMILY as pointnet


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), pointnet, TINY)) as modules:
        yield modules | {"solids": importlib.import_module("runtime.turned_solids")}


def loaded(code: dict[str, ModuleType], path: Path) -> Any:
    data = code["data"]
    return data.load_clouds(data.Config(**TINY["data"]), path, code["model"].Config())


def clouds(count: int = 40) -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    return [
        {"points": (draw.normal(size=(12, 3)) * [1, 1, 1 + n % 2]).tolist(), "label": "ab"[n % 2]}
        for n in range(count)
    ]


def test_rows_arrays_and_folders_are_read_alike(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    rows = clouds()
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(tmp_path / "mine.npz", points=np.array([r["points"] for r in rows]),
             y=np.array([r["label"] for r in rows]))  # fmt: skip
    for number, row in enumerate(rows):
        folder = tmp_path / "meshes" / row["label"]
        folder.mkdir(parents=True, exist_ok=True)
        lines = (f"v {' '.join(map(repr, point))}\n" for point in row["points"])
        (folder / f"{number:02}.obj").write_text("".join(lines))
    own, arrays, meshes = (
        loaded(code, tmp_path / name) for name in ("mine.jsonl", "mine.npz", "meshes")
    )
    assert own.labels == arrays.labels == meshes.labels == ("a", "b")
    for split, each in own.splits.items():
        assert torch.equal(each.clouds, arrays.splits[split].clouds)
        assert len(meshes.splits[split].targets) == len(each.targets)
        assert each.clouds.mean(1).abs().max() < 1e-5
        assert torch.allclose(each.clouds.square().sum(2).mean(1), torch.tensor(1.0))


WRONG = {
    "flat": ({"points": [[1, 2]], "label": "a"}, r"must have an \[x, y, z\] each"),
    "ragged": ({"points": [[1, 2, 3], [1]], "label": "a"}, "points must be numbers"),
    "nan": ({"points": [[1, 2, float("nan")]], "label": "a"}, "no finite number"),
    "one place": ({"points": [[1, 2, 3]] * 3, "label": "a"}, "all points in one place"),
    "no points": ({"label": "a"}, 'has no "points"'),
    "no label": ({"points": [[1, 2, 3], [4, 5, 6]]}, 'has no "label"'),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_cloud_is_refused_with_its_place(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    row, sentence = WRONG[name]
    lines = [json.dumps(each) for each in (clouds(1)[0], row)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    with pytest.raises(SystemExit):
        loaded(code, tmp_path / "mine.jsonl")
    error = capsys.readouterr().err
    assert "mine.jsonl:2" in error
    assert re.search(sentence, error), error


def test_a_turn_changes_no_description_and_training_turns_by_the_position(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, clouds())))
    data = loaded(code, tmp_path / "mine.jsonl")
    train, config = data.splits["train"], code["data"].Config(**TINY["data"])
    one, targets = code["data"].batch_at(train, 3, 4, 0, config)
    two, _ = code["data"].batch_at(train, 3, 4, 0, config)
    alone, _ = code["data"].batch_at(train, 5, 1, 0, config)
    assert torch.equal(one, two)
    assert torch.allclose(one[2], alone[0], atol=1e-6)
    turn = torch.from_numpy(code["solids"].rotation(np.random.default_rng(1)))
    assert torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    described = code["eval"].described
    assert torch.allclose(described(one.double() @ turn), described(one), atol=1e-2)
    assert len(targets) == 4
