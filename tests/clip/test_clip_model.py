"""CLIP is exactly transformers' CLIPModel, and its checkpoint opens as one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from clip_settings import MODEL, Modules
from PIL import Image


def test_logits_loss_and_gradients_are_those_of_transformers(code: Modules) -> None:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL))
    entries = model.checkpoint_config()
    reference = CLIPModel(CLIPConfig(**entries))
    for weight in model.parameters():  # biases and norms are drawn too, so that each one counts
        torch.nn.init.normal_(weight, std=0.2)
    state = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
    state["logit_scale"] = state["logit_scale"].reshape(())
    reference.load_state_dict(state)
    images, tokens = torch.randn(5, 3, 16, 16), torch.randint(1, 300, (5, 20))
    tokens[torch.arange(5), torch.tensor([19, 3, 7, 1, 12])] = 0  # where each text ends
    image, text = model(images, tokens)
    theirs = reference(input_ids=tokens, pixel_values=images, return_loss=True)
    torch.testing.assert_close(image @ text.T, theirs.logits_per_image, atol=1e-5, rtol=1e-5)
    loss, count = code["train"].contrastive_loss(model, (images, tokens))
    torch.testing.assert_close(loss, theirs.loss, atol=1e-6, rtol=1e-5)
    assert count == 5
    loss.backward()
    theirs.loss.backward()
    gradients = {n: p.grad for n, p in reference.named_parameters()}
    for name, weight in model.named_parameters():
        wanted = gradients[model.checkpoint_name(name)].reshape(weight.shape)
        torch.testing.assert_close(weight.grad, wanted, atol=1e-5, rtol=1e-4, msg=name)


def test_a_checkpoint_opens_in_transformers(
    code: Modules, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    out = tmp_path / "out"
    line = ["train.py", "--data", str(photos), "--out", str(out), "--steps", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", line)
    code["train"].main()
    folder = out / "checkpoint"
    theirs = AutoModel.from_pretrained(folder).eval()
    assert type(theirs).__name__ == "CLIPModel"
    config = code["model"].Config(**MODEL)
    ours = importlib.import_module("runtime.checkpoint").load_model(
        lambda: code["model"].Model(config), folder
    )
    data = code["data"].load_pairs(code["data"].Config(), photos, config, folder)
    some = data.splits["val"]
    ids = AutoTokenizer.from_pretrained(folder)([pair.text for pair in some])["input_ids"]
    tokens = data.tokens(some)
    assert [row + [0] * (tokens.size(1) - len(row)) for row in ids] == tokens.tolist()
    picture = Image.open(some[0].image).resize((16, 16))
    pixels = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, pixel_values=data.images(some)).logits_per_image
        image, text = ours(data.images(some), tokens)
    torch.testing.assert_close(image @ text.T, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pixels["pixel_values"], data.images(some[:1]), atol=0.01, rtol=0)
