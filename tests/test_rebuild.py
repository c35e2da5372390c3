"""What an edit of a real spec rebuilds: exactly what it affects, to the bytes of a clean build.

Measurements are replaced by figures that depend on the same inputs; everything else is real.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from building import TINY, build, fake_measurements, ran, tree

from metagen.errors import SpecError
from metagen.measure import sandbox
from metagen.spec import load

# For each leaf key of the schema, a value that it does not have in text_llm_tiny.
EDITS = {
    "description": "Another description, with 100% of $special #characters.",
    "version": "9.9.9",
    "license": "apache-2.0",
    "authors": "[Ada Lovelace, Alan Turing]",
    "task.domain": "weather reports",
    "constraints.parameter_budget.min": "9M",
    "constraints.parameter_budget.max": "9.5M",
    "constraints.memory_budget": "1GB",
    "constraints.context_window": "1k",
    "constraints.latency": "100ms",
    "constraints.throughput": "5 tok/s",
    "constraints.device": "edge",
    "training.objective": "[autoregressive, instruction_tuning]",
    "training.data.sources": "[books]",
    "training.data.size": "1B tokens",
    "training.data.governance.pii": "removed",
    "training.data.governance.copyright": "licensed",
    "training.data.governance.consent": "given",
    "training.data.governance.retention": "one year",
    "training.data.governance.filtering": "by a classifier",
    "training.data.governance.provenance": "recorded",
    "training.compute.hardware": "8xA100",
    "training.compute.duration": "2 days",
    "training.alignment.method": "[dpo]",
    "training.alignment.policy": "polite",
    "training.config.batch_size": "64",
    "training.config.learning_rate": "0.001",
    "training.config.epochs": "2",
    "training.config.optimizer": "adamw",
    "training.config.weight_decay": "0.01",
    "training.config.warmup_steps": "10",
    "architecture.components": "[{name: Decoder, type: transformer_decoder}]",
    "architecture.dims": "{n_layers: 6}",
    "outputs.artifacts": "[pytorch_skeleton, model_card]",
    "evaluation.benchmarks": "[MMLU]",
    "evaluation.baselines": "[a larger model]",
    "evaluation.metrics": "[bits_per_byte]",
    "evaluation.bench": "none",
    "reproducibility.seed": "7",
    "reproducibility.determinism": "bit for bit",
    "name": "another name",
}
# Keys of other families' specs: nothing that a language model's package is made from.
FOREIGN = {
    "task.num_classes": "3",
    "task.num_outputs": "3",
    "task.horizon": "3",
    "task.lookback": "3",
    "task.action_space": "discrete",
    "task.num_actions": "3",
    "task.action_dim": "3",
    "task.num_anchors": "3",
    "task.mask_resolution": "32",
    "task.node_features": "3",
    "task.edge_features": "3",
    "task.embedding_dim": "64",
    "constraints.image_size": "32",
    "constraints.patch_size": "4",
    "training.config.warmup_epochs": "1",
    "training.config.ema_decay": "0.999",
    "training.config.noise_schedule": "cosine",
    "training.config.timesteps": "100",
    "training.config.unconditional_probability": "0.1",
    "training.config.data_augmentation": "[flip]",
}
# Keys whose every other value asks for a model that no family builds.
ROUTING = {
    "modality.inputs": "[image]",
    "modality.outputs": "[label]",
    "task.type": "classification",
    "architecture.family": "cnn",
}
ONE_VALUE = {"metagen_version"}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An out folder with the tiny model's package; tests copy it."""
    out = tmp_path_factory.mktemp("built") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "run", fake_measurements)
        build(out)
    return out


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "out"))


def test_the_edits_cover_every_leaf_key() -> None:
    covered = [*EDITS, *FOREIGN, *ROUTING, *ONE_VALUE]
    assert sorted(covered) == sorted(load(TINY).keys())


def test_a_second_build_runs_nothing(out: Path) -> None:
    before = tree(out)
    assert {o.action for o in build(out).values()} == {"current"}
    assert tree(out) == before


@pytest.mark.parametrize(("key", "value"), [*EDITS.items(), *FOREIGN.items()])
def test_after_an_edit_the_package_equals_a_clean_build(
    out: Path, tmp_path: Path, key: str, value: str
) -> None:
    original = tree(out)
    edited = build(out, overrides=[f"{key}={value}"], run_id="text_llm_tiny")
    build(tmp_path / "clean", overrides=[f"{key}={value}"], run_id="text_llm_tiny")
    assert tree(out) == tree(tmp_path / "clean")
    assert ran(edited), "the resolved spec prints every key"
    assert not ran(build(out)), "going back runs nothing"
    assert tree(out) == original


@pytest.mark.parametrize(("key", "value"), ROUTING.items())
def test_what_no_family_builds_is_an_error_that_changes_nothing(
    out: Path, key: str, value: str
) -> None:
    before = tree(out)
    with pytest.raises(SpecError, match=key):
        build(out, overrides=[f"{key}={value}"])
    assert tree(out) == before
