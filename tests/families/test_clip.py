"""CLIP: published counts and activations, its route.

The model is exactly transformers' CLIPModel, and its checkpoint opens as one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.clip_settings import MODEL, SPEC, TINY, Modules, write_photos
from helpers.family_code import Held, modules_of, published, write_code
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from metagen import families
from metagen.errors import SpecError
from metagen.families.clip import FAMILY as clip
from metagen.families.trend import rows
from metagen.spec import load

PUBLISHED = published(clip)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), clip, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Modules]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


def clip_dims(row: dict[str, str]) -> dict[str, int]:
    pairs = {name: row[name].split(" / ") for name in ("d_model", "n_layers", "n_heads", "ffn")}
    text_width = int(pairs["d_model"][1])
    sizes = {
        f"{tower}_{ours}": int(pairs[theirs][place])
        for place, tower in enumerate(("vision", "text"))
        for ours, theirs in (("d_model",) * 2, ("n_layers",) * 2, ("n_heads",) * 2, ("d_ff", "ffn"))
    }
    common = {"embed_dim": text_width, "in_channels": 3, "norm_eps": 1e-5}
    sides = {"image_size": int(row["image_size"]), "patch_size": int(row["patch"])}
    return sizes | common | sides | {"vocab_size": int(row["vocab"]), "max_seq_len": 77}


def test_the_closed_form_gives_every_published_count() -> None:
    table = rows(PUBLISHED)
    assert len(table) >= 8
    for row in table:
        assert clip.count(clip_dims(row)) == int(row["params_exact"]), row["model"]
        assert f"{int(row['params_exact']) / 1e6:.2f}M" in row["params_published"]
    (large,) = (row for row in table if row["model"] == "CLIP ViT-L/14")
    assert int(large["params_exact"]) == 427_616_513


def test_the_published_size_holds_what_memory_was_planned_for(code: Modules) -> None:
    (row,) = (r for r in rows(PUBLISHED) if r["model"] == "CLIP ViT-L/14")
    dims = clip_dims(row)
    with FakeTensorMode():
        model = code["model"].Model(code["model"].Config(**dims)).eval()
        shapes = clip.example(dims, 1)
        inputs = [torch.zeros(e["shape"], dtype=getattr(torch, e["dtype"])) for e in shapes]
        with Held(model.parameters()) as held, torch.inference_mode():
            model(*inputs)
    temperature = 4  # bytes; float32 here, bf16 in infer.py
    assert held.most - temperature == 2 * clip.demand(dims).activations


def test_images_with_texts_are_routed_here_and_must_be_squares() -> None:
    key = load(SPEC).key
    assert families.route(key) == "clip"
    oblong = {"constraints.image_size": (224, 160)}
    with pytest.raises(SpecError, match="224, 160"):
        clip.fixed(lambda name: oblong.get(name))


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
    tokens[torch.arange(5), torch.tensor([19, 3, 7, 1, 12])] = 0  # 0 ends a text.
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
        expected = gradients[model.checkpoint_name(name)].reshape(weight.shape)
        torch.testing.assert_close(weight.grad, expected, atol=1e-5, rtol=1e-4, msg=name)


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
    ours = importlib.import_module("runtime.weights").load_model(
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
        expected = theirs(input_ids=tokens, pixel_values=data.images(some)).logits_per_image
        image, text = ours(data.images(some), tokens)
    torch.testing.assert_close(image @ text.T, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pixels["pixel_values"], data.images(some[:1]), atol=0.01, rtol=0)
