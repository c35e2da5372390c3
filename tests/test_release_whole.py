"""A whole release: trained by the package's own scripts, built, and opened as its users open it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.building import build
from helpers.plain_desk import HEAD

from metagen.release import hub

pytestmark = [pytest.mark.slow, pytest.mark.ci]
MORE = (
    "license: mit\n"
    "authors: [Ada Example]\n"
    "release: {dtype: bfloat16, language: [en]}\n"
    "evaluation: {bench: none}\n"
    "outputs:\n"
    "  artifacts: [model_card, limitations, eval_report, pytorch_skeleton, training_recipe]\n"
)
SPECS = {
    "language": (
        "modality: {inputs: [text], outputs: [text]}\n"
        "task: {type: generation}\n"
        "constraints: {parameter_budget: {max: 150k}, context_window: 128, device: cpu}\n"
        "training:\n"
        "  objective: [autoregressive]\n"
        "  data: {size: 40k tokens}\n"
        "  config: {batch_size: 8}\n"
        "architecture: {family: transformer, dims: {vocab_size: 256}}\n"
    ),
    "table": (
        "modality: {inputs: [tabular], outputs: [regression]}\n"
        "task: {type: regression}\n"
        "constraints: {parameter_budget: {max: 100k}}\n"
        "training: {objective: [regression], config: {batch_size: 32}}\n"
        "architecture: {family: mlp}\n"
    ),
    "pairs": (
        "modality: {inputs: [image, text], outputs: [embedding]}\n"
        "task: {type: retrieval}\n"
        "constraints: {parameter_budget: {max: 400k}, image_size: 32, patch_size: 8}\n"
        "training:\n"
        "  objective: [contrastive]\n"
        "  data: {size: 64 pairs}\n"
        "  config: {batch_size: 16}\n"
        "architecture: {family: transformer}\n"
    ),
    "masks": (
        "modality: {inputs: [image], outputs: [segmentation_mask]}\n"
        "task: {type: semantic_segmentation, num_classes: 3}\n"
        "constraints: {parameter_budget: {max: 100k}, image_size: [32, 32]}\n"
        "training:\n"
        "  objective: [segmentation]\n"
        "  data: {size: 32 images}\n"
        "  config: {batch_size: 8}\n"
        "architecture: {family: cnn, dims: {in_channels: 1}}\n"
    ),
    "graph": (
        "modality: {inputs: [graph], outputs: [label]}\n"
        "task: {type: node_classification, num_classes: 19, node_features: 1000}\n"
        "constraints: {parameter_budget: {max: 100k}}\n"
        "training: {objective: [classification]}\n"
        "architecture: {family: gnn}\n"
    ),
}
SCORED = ("pairs", "masks", "graph")  # eval.py needs no more than these seconds for them


@pytest.fixture(scope="module", params=SPECS)
def released(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a full model for some steps, and return the package that releases it."""
    folder = tmp_path_factory.mktemp(request.param)
    spec, out, run = folder / "spec.yaml", folder / "out", folder / "full_run"
    spec.write_text(HEAD + SPECS[request.param] + MORE)
    build(out, spec)
    options = ["--size", "full", "--steps", "4", "--threads", "1", "--out", str(run)]
    code = out / "run-example" / "code"
    subprocess.run([sys.executable, "train.py", *options], cwd=code, check=True)
    if request.param in SCORED:
        score = [sys.executable, "eval.py", *options[:2], *options[4:]]
        subprocess.run(score, cwd=code, check=True, stdout=subprocess.DEVNULL)
    build(out, spec, trained=run)
    return out / "run-example"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_others_open_it_and_its_first_steps_run(released: Path) -> None:
    check, about = read(released / "docs/release_check.json"), read(released / "docs/release.json")
    assert check["code"]["status"] == "opened"
    assert check["transformers"]["status"] == ("equal" if about["class"] else "not checked")
    rows = {row["status"]: row for row in check["steps"]}
    assert "failed" not in rows
    assert ("ran" in rows) == (about["class"] is not None)


def test_each_score_is_of_these_weights_and_has_a_name_of_its_own(released: Path) -> None:
    rows = [row for row in read(released / "benchmarks/results.json") if row["size"] == "full"]
    assert all(row["bound"] for row in rows)
    header = yaml.safe_load((released / "release/README.md").read_text().split("---\n")[1])
    results = [each for index in header.get("model-index", []) for each in index["results"]]
    names = [metric["name"] for each in results for metric in each["metrics"]]
    assert len(set(names)) == len(names) == len([row for row in rows if row["value"] is not None])


def test_no_sentence_of_a_release_is_about_a_proxy_that_was_not_trained(released: Path) -> None:
    for name in ("README.md", "docs/eval_report.md", "docs/limitations.md"):
        assert "proxy" not in (released / "release" / name).read_text().lower(), name


def test_the_hub_takes_the_card(released: Path) -> None:
    from huggingface_hub import ModelCard

    text = (released / "release/README.md").read_text()
    assert hub.problems(text) == []
    card = ModelCard(text)
    about = read(released / "docs/release.json")
    assert card.data.license == "mit"
    assert card.data.library_name == about["library"]
    assert card.data.language == ["en"]
    assert "proxy" not in str(card.data.to_dict())


def test_each_file_that_the_card_shows_is_there(released: Path) -> None:
    release = released / "release"
    text = (release / "README.md").read_text()
    named = set(re.findall(r"\]\(([\w./-]+)\)", text))
    named |= set(re.findall(r"`((?:docs|blueprint|benchmarks|trained|code)/[\w./-]+)`", text))
    listed = text.partition("## Files of this repository")[2].partition("## ")[0]
    named |= set(re.findall(r"`([\w.-]+(?:\.\w+|/))`", listed))
    assert {"docs/figures/trained_curve.svg", "docs/limitations.md", "code/"} <= named
    assert [name for name in sorted(named) if not (release / name).exists()] == []


def test_it_has_the_weights_and_nothing_else_of_the_training(released: Path) -> None:
    from safetensors.torch import load_file

    release = released / "release"
    weights = load_file(release / "model.safetensors")
    kinds = {str(t.dtype) for t in weights.values() if t.is_floating_point()}
    assert kinds == {"torch.bfloat16"}
    assert read(release / "config.json")["dtype"] == "bfloat16"
    names = {path.name for path in release.rglob("*")}
    assert names.isdisjoint({"optimizer", "state.json", "metrics.jsonl", "run.json"})


def test_the_manifest_and_the_statement_list_each_file(released: Path) -> None:
    release = released / "release"
    files = {str(p.relative_to(release)): p for p in release.rglob("*") if p.is_file()}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    del digests["model_signing.json"]
    rows = read(release / "model_signing.json")["predicate"]["resources"]
    assert {row["name"]: row["digest"] for row in rows} == digests
    del digests["manifest.json"]
    manifest = read(release / "manifest.json")
    assert {row["path"]: row["sha256"] for row in manifest} == digests
