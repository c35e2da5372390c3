"""CLIP: published counts, exact operations and activations, and budgets that are filled."""

from __future__ import annotations

import pytest
import torch
from clip_settings import MODEL, SPEC, Modules
from family_code import Held
from torch._subclasses.fake_tensor import FakeTensorMode

from metagen import families, paths
from metagen.errors import SpecError
from metagen.families import clip
from metagen.families.clip_load import forward_flops
from metagen.families.family import Need
from metagen.families.trend import rows
from metagen.measure.probe_worker import _by_torch
from metagen.sizing import search
from metagen.spec import load

PUBLISHED = paths.source("families/clip.csv").read_bytes()


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


@pytest.mark.parametrize(
    "change", [{}, {"patch_size": 8, "embed_dim": 5}, {"in_channels": 1, "text_n_layers": 1}]
)
def test_counts_and_operations_are_those_of_the_code(code: Modules, change: dict) -> None:
    dims = {**MODEL, **change}
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config(**dims))
        shapes = clip.example(dims, 1)
        inputs = [torch.empty(e["shape"], dtype=getattr(torch, e["dtype"])) for e in shapes]
    assert model.num_params() == clip.count(dims)
    assert sum(_by_torch(model, tuple(inputs)).values()) == forward_flops(dims)


def test_the_activations_are_what_the_code_holds_at_most(code: Modules) -> None:
    (row,) = (r for r in rows(PUBLISHED) if r["model"] == "CLIP ViT-L/14")
    dims = clip_dims(row)
    with FakeTensorMode():
        model = code["model"].Model(code["model"].Config(**dims)).eval()
        shapes = clip.example(dims, 1)
        inputs = [torch.zeros(e["shape"], dtype=getattr(torch, e["dtype"])) for e in shapes]
        with Held(model.parameters()) as held, torch.inference_mode():
            model(*inputs)
    temperature = 4  # bytes; float32 here, bf16 in infer.py
    assert held.most - temperature == 2 * clip.load(dims).activations


@pytest.mark.parametrize("budget", [60e6, 150e6, 427.7e6, 800e6, 2e9])
def test_a_budget_is_filled_and_kept(budget: float) -> None:
    need = Need(int(budget), int(0.99 * budget))
    design = search.search(clip, need, clip.fit(PUBLISHED, need.budget))
    assert 0.97 <= design.parameters / budget <= 1


def test_images_with_texts_are_routed_here_and_must_be_squares() -> None:
    key = load(SPEC).key
    assert families.route(key) == "clip"
    oblong = {"constraints.image_size": (224, 160)}
    with pytest.raises(SpecError, match="224 x 160"):
        clip.fixed(lambda name: oblong.get(name))
