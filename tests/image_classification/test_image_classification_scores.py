"""Scores and baselines of the image classifiers by scikit-learn, and what a proxy beats."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from metagen import paths
from metagen.cli import main


def test_the_baselines_are_those_of_scikit_learn(data: SimpleNamespace) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, log_loss
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    config = data.eval.Config()
    images = data.data.load_images(data.data.Config(), None, data.model.Config())
    scores = dict(data.eval.baselines(images, lambda: images, config))
    train, test = (images.splits[split] for split in ("train", "test"))
    known, asked = (data.eval.flat_pixels(split, config).numpy() for split in (train, test))
    scaler = StandardScaler().fit(known)
    theirs = LogisticRegression(max_iter=500).fit(scaler.transform(known), train.targets)
    expected = theirs.predict_proba(scaler.transform(asked))
    found = scores["logistic regression"]
    assert data.eval.log_loss(found, test.targets) == pytest.approx(
        log_loss(test.targets, expected), rel=0.01
    )
    assert data.eval.macro_f1(found, test.targets) == pytest.approx(
        f1_score(test.targets, found.argmax(-1), average="macro")
    )
    nearest = KNeighborsClassifier(1).fit(known, train.targets).predict(asked)
    assert scores["1-NN"].argmax(-1).tolist() == nearest.tolist()


def benchmark(name: str, folder: Path, bench: str) -> dict[str, dict[str, Any]]:
    """Build a package and return the results of its proxy by metric."""
    spec = paths.specs() / "image" / f"{name}.yaml"
    line = ["synth", str(spec), "--out", str(folder), "--run-id", name, f"evaluation.bench={bench}"]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    rows = json.loads((folder / f"run-{name}" / "benchmarks" / "results.json").read_text())
    return {row["metric"]: row for row in rows if row["status"] == "measured"}


def beaten(row: dict[str, Any]) -> set[str]:
    sign = 1 if row["higher_is_better"] else -1
    return {name for name, value in row["baselines"].items() if sign * (row["value"] - value) > 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("image_vit_base", marks=pytest.mark.ci), "image_classifier_resnet"]
)
def test_a_proxy_learns_more_than_how_frequent_the_digits_are(name: str, tmp_path: Path) -> None:
    for row in benchmark(name, tmp_path, "quick").values():
        assert "majority" in beaten(row)
        if "resnet" in name:
            assert beaten(row) == row["baselines"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image_vit_base", "image_classifier_resnet"])
def test_a_longer_training_beats_every_baseline(name: str, tmp_path: Path) -> None:
    found = benchmark(name, tmp_path, "full")
    assert found.keys() == {"accuracy", "macro_f1", "log_loss"}
    for row in found.values():
        assert beaten(row) == row["baselines"].keys()
