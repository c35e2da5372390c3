"""Image embedding: classes are held out, the contrast's formula, scores, baselines, the scripts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.embedder_settings import TINY, write_patterns
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import average_precision_score

from metagen import paths
from metagen.families.vit_embedder import FAMILY as embedder

SPEC = paths.specs() / "image" / "image_embedder.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), embedder, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("patterns") / "mine")


def loaded(code: dict[str, ModuleType], path: Path | None) -> Any:
    data = code["data"]
    return data.load_images(data.Config(**TINY["data"]), path, code["model"].Config())


def test_val_and_test_have_classes_that_training_never_saw(
    code: dict[str, ModuleType], patterns: Path
) -> None:
    images = loaded(code, patterns)
    classes = [set(split.targets.tolist()) for split in images.splits.values()]
    assert all(classes)
    assert sum(map(len, classes)) == len(set.union(*classes)) == len(images.labels) == 16
    assert all((torch.bincount(s.targets).unique() <= 6).all() for s in images.splits.values())


def test_letters_of_training_are_drawn_in_several_turns_and_others_in_one(
    code: dict[str, ModuleType],
) -> None:
    splits, turns = loaded(code, None).splits, code["data"].TURNS
    fewest = {
        name: int(torch.bincount(split.targets).unique()[1]) for name, split in splits.items()
    }
    assert fewest == {"train": 8 * turns, "val": 8, "test": 8}  # eight faces
    drawings = splits["train"].pixels[:turns].flatten(1)
    assert len(drawings.unique(dim=0)) == turns


def test_shared_classes_copies_and_single_images_are_noted(
    code: dict[str, ModuleType],
    patterns: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for split in ("train", "val", "test"):
        shutil.copytree(patterns, tmp_path / split)
    for path in (tmp_path / "test" / "class_00").glob("[1-9].png"):
        path.unlink()
    for path in (tmp_path / "train").rglob("[0-4].png"):
        path.write_bytes(path.read_bytes() + b"other")  # other bytes, the same picture
    images = loaded(code, tmp_path)
    said = capsys.readouterr().err
    assert "16 of 16 classes of test are in train too" in said
    assert "1 test images are the only ones of their class" in said
    # The last picture of each class is byte for byte in val and test too.
    assert len(images.splits["train"].targets) == 16 * 5


def test_too_few_classes_are_refused(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        loaded(code, write_patterns(tmp_path / "few", classes=2))
    assert "too few images of classes with several" in capsys.readouterr().err


def test_a_row_of_the_order_has_several_images_of_one_class_and_an_epoch_sees_all(
    code: dict[str, ModuleType],
) -> None:
    targets = torch.arange(5).repeat_interleave(torch.tensor([1, 3, 4, 6, 9]))
    order = code["data"].Order(targets, 3)
    places = order.places(0, 3 * len(order.turns), seed=7)
    rows = targets[torch.tensor([index for _, index in places])].view(-1, 3)
    assert (rows == rows[:, :1]).all()
    assert {*rows[:, 0].tolist()} == {0, 1, 2, 3, 4}
    assert order.places(4, 5, seed=7) == places[4:9]
    assert order.places(0, 9, seed=8) != places[:9]


def test_the_loss_is_the_supervised_contrast(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    images, targets = torch.randn(7, 1, 8, 8), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    loss, count = code["train"].contrastive_loss(model, (images, targets), 0.2)
    z, total = model(images).detach().double().numpy(), 0.0
    for i in range(7):
        others = [a for a in range(7) if a != i]
        below = np.log(sum(np.exp(z[i] @ z[a] / 0.2) for a in others))
        same = [p for p in others if targets[p] == targets[i]]
        total -= sum(z[i] @ z[p] / 0.2 - below for p in same) / max(1, len(same))
    assert count == 7
    assert float(loss) == pytest.approx(total / 7, rel=1e-5)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_scores_are_those_of_their_definitions(code: dict[str, ModuleType]) -> None:
    draw = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(30, 4, generator=draw), dim=1)
    targets = torch.randint(4, (30,), generator=draw)
    hits = code["eval"].hits_of(vectors, targets)
    assert hits.shape == (30, 29)
    cosines = (vectors @ vectors.T).numpy()
    for i in range(30):
        others = np.delete(np.arange(30), i)
        right = (targets[others] == targets[i]).numpy()
        best = others[np.argmax(cosines[i, others])]
        assert bool(hits[i, 0]) == bool(targets[best] == targets[i])
        # Cut after R, average precision counts the answers that are missing as 0.
        r = right.sum()
        order = np.argsort(-cosines[i, others], kind="stable")[:r]
        found = right[order]
        part = average_precision_score(found, -np.arange(r)) * found.sum() / r if found.any() else 0
        assert float(code["eval"].map_at_r(hits)[i]) == pytest.approx(part)
    assert code["eval"].recall_at(hits, 29).all()


def test_the_discriminant_spans_that_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = torch.Generator().manual_seed(0)
    targets = torch.arange(4).repeat(20)
    rows = torch.randn(80, 6, generator=draw).double()
    rows[:, 0] += 3 * targets
    rows[:, 1] += targets == 2
    own = code["eval"].discriminant(rows, targets)[:, 0]
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(rows.numpy(), targets.numpy())
    other = torch.from_numpy(theirs.scalings_[:, 0])
    assert abs(float(torch.nn.functional.cosine_similarity(own, other, dim=0))) > 0.99


def test_your_images_are_learned_scored_and_found(
    folder: Path, patterns: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(folder, "train", "--data", patterns, "--out", out, "--steps", 4, "--threads", 1)
    report = json.loads(run(folder, "eval", "--data", patterns, "--out", out, "--threads", 1))
    assert [row["metric"] for row in report["metrics"]] == ["recall_at_1", "map_at_r"]
    assert set(report["metrics"][0]["baselines"]) == {"pixels", "discriminant"}
    assert report["metrics"][0]["interval_unit"] == "classes"
    photo = patterns / "class_03" / "2.png"
    said = run(folder, "infer", "--input", photo, "--gallery", patterns, "--out", out)
    first, best, *_ = said.splitlines()
    assert first == f"nearest to {photo}:"
    assert best == f"1.0000\t{photo}"
    vectors = tmp_path / "vectors.npy"
    run(folder, "infer", "--input", patterns, "--output", vectors, "--out", out)
    made = np.load(vectors, allow_pickle=False)
    assert made.shape == (96, 6)
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    run(folder, "infer", "--output", vectors, "--out", out, status=2)


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_a_linear_projection_that_saw_the_same_classes(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only="discriminant")
