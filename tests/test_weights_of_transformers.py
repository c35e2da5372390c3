"""What transformers saves of a checkpoint comes back into the scripts, for each of its networks."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.made import making
from safetensors.torch import save_file

CLASSES = {
    "decoder": "AutoModelForCausalLM",
    "vit": "AutoModelForImageClassification",
    "vit_embedder": "AutoModelForImageClassification",
    "resnet": "AutoModelForImageClassification",
    "clip": "AutoModel",
    "text_classifier": "AutoModelForSequenceClassification",
    "document_ranker": "AutoModelForSequenceClassification",
    "sentence_embedder": "AutoModel",
    "patch_forecaster": "PatchTSTForPrediction",
    "patch_classifier": "PatchTSTForClassification",
    "whisper": "AutoModelForSpeechSeq2Seq",
    "vlm": "AutoModelForImageTextToText",
    "text_regressor": "AutoModelForSequenceClassification",
    "vit_regressor": "AutoModelForImageClassification",
    "resnet_regressor": "AutoModelForImageClassification",
}
# A model of speech may have no decoder, and transformers knows those with one.
MORE = {"whisper": {"n_decoder_layers": 2, "text_length": 16}}


def write(model: Any, folder: Path) -> None:
    """Write the weights and the config of a network as train.py does."""
    folder.mkdir()
    tensors = {model.checkpoint_name(n): t.contiguous() for n, t in model.state_dict().items()}
    tensors |= {name: tensors[name].reshape(()) for name in getattr(model, "scalars", ())}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    entries = asdict(model.config) | model.checkpoint_config()
    if classes := entries.get("num_classes"):
        entries["id2label"] = {str(number): f"class {number}" for number in range(classes)}
        entries["label2id"] = {name: int(n) for n, name in entries["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(entries))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CLASSES)
def test_what_transformers_saves_is_the_network_that_it_loaded(
    name: str, dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers

    (tmp_path / "made").mkdir()
    with making(name, tmp_path / "made") as made:
        torch.manual_seed(0)
        own = made.model(made.sections("proxy")["model"] | MORE.get(name, {}))
        write(own, tmp_path / "ours")
        theirs = getattr(transformers, CLASSES[name]).from_pretrained(tmp_path / "ours")
        theirs.to(dtype).save_pretrained(tmp_path / "theirs")
        capsys.readouterr()
        weights = importlib.import_module("runtime.weights")
        back = weights.load_model(lambda: made.model(asdict(own.config)), tmp_path / "theirs")
    for key, tensor in own.state_dict().items():
        expected = tensor.to(dtype).float() if tensor.is_floating_point() else tensor
        assert torch.equal(back.state_dict()[key], expected), key
    said = capsys.readouterr().err
    assert ("converted to float32" in said) == (dtype == torch.bfloat16)
    assert ("pooler.dense" in said) == (name == "sentence_embedder")
