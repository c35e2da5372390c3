"""`outputs.artifacts`: only what is requested is built, and all that it needs."""

from __future__ import annotations

import pytest
from helpers.building import TINY

from metagen.engine import graph
from metagen.spec import load
from metagen.spec.words import ARTIFACTS


def targets(*artifacts: str) -> set[str]:
    spec = load(TINY, [f"outputs.artifacts=[{','.join(artifacts)}]"])
    return {path for recipe in graph.of_spec(spec).recipes for path in recipe.targets}


@pytest.mark.parametrize(
    ("artifact", "path"),
    [
        ("pytorch_skeleton", "code/launch/torchrun.sh"),
        ("training_recipe", "code/train.py"),
        ("benchmark_report", "docs/eval_report.md"),
        ("model_card", "README.md"),
        ("data_card", "docs/data_card.md"),
        ("eval_report", "docs/eval_report.md"),
        ("limitations", "docs/limitations.md"),
        ("paper", "paper/main.tex"),
    ],
)
def test_an_artifact_brings_its_files(artifact: str, path: str) -> None:
    assert path in targets(artifact)
    assert path in targets(*ARTIFACTS)


def test_a_card_alone_builds_what_it_refers_to_and_no_other_document() -> None:
    built = targets("model_card")
    assert {"docs/limitations.md", "docs/data_card.md", "code/requirements.txt"} <= built
    others = {"docs/eval_report.md", "paper/main.tex", "code/README.md", "code/launch/torchrun.sh"}
    assert not others & built


def test_code_alone_comes_without_cards() -> None:
    assert "README.md" not in targets("pytorch_skeleton")
    assert not [path for path in targets("pytorch_skeleton") if path.endswith("_card.md")]
