"""The vision-language model: published counts, transformers' PaliGemma and Idefics3, its cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import Held, modules_of, published, write_code
from helpers.plain_desk import PlainDesk
from helpers.vlm_settings import MODEL, SIZES

from metagen import families, paths
from metagen.families import parts, siglip, vlm
from metagen.families.demand import Use
from metagen.families.trend import Row, rows
from metagen.families.vlm import FAMILY
from metagen.sizing import search
from metagen.spec import load
from metagen.tasks.visual_question_answering import image_tokens

SPEC = paths.specs() / "multimodal/multimodal_vlm.yaml"
TABLE = rows(published(FAMILY))
OF_THIS_FORM = [row for row in TABLE if row["arch"].startswith("siglip")]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), FAMILY, SIZES)) as modules:
        yield modules


def made(code: dict[str, ModuleType], **changes: Any) -> Any:
    """Return a model all of whose weights are drawn, so that each one counts."""
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL | changes)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


def dims_of(row: Row) -> dict[str, Any]:
    """Return the dimensions of a published model."""
    names = {"image_size": "image_size", "patch_size": "patch", "vision_d_ff": "vision_ffn"}
    names |= {"d_ff": "ffn", "vocab_size": "vocab"}
    alike = ("vision_d_model", "vision_n_layers", "vision_n_heads", "pixel_shuffle", "d_model")
    names |= {each: each for each in (*alike, "n_layers", "n_heads", "n_kv_heads", "head_dim")}
    dims: dict[str, Any] = {ours: int(row[theirs]) for ours, theirs in names.items()}
    dims["projector_bias"] = row["projector_bias"] == "1"
    dims["tie_embeddings"] = row["tied_embeddings"] == "1"
    return {**dims, "num_channels": 3, "max_seq_len": 8192, "rope_theta": 1e4, "norm_eps": 1e-6}


# Counts


def test_published_dimensions_give_the_published_counts(code: dict[str, ModuleType]) -> None:
    assert len(OF_THIS_FORM) >= 6
    for row in OF_THIS_FORM:
        dims, exact = dims_of(row), int(row["params_exact"])
        assert FAMILY.count(dims) == exact, row["model"]
        if row["model"] in ("PaliGemma-3B-224", "SmolVLM-2.2B"):
            with torch.device("meta"):
                network = code["model"].Model(code["model"].Config(**dims))
            assert network.num_params() == exact, row["model"]
    counts = {row["model"]: int(row["params_exact"]) for row in OF_THIS_FORM}
    assert counts["PaliGemma-3B-224"] == 2_923_466_480
    assert counts["SmolVLM-256M"] == 256_484_928


def test_the_parts_of_paligemma_are_siglip_so400m_and_gemma_2b() -> None:
    (row,) = (row for row in TABLE if row["model"] == "PaliGemma-3B-224")
    dims = dims_of(row)
    *tower, projection = vlm.vision(dims)
    # Gemma 2B has 2,506,172,416; PaliGemma's table has 1,216 entries more.
    assert parts.count(vlm.decoder(dims, 1)) == 2_506_172_416 + 1_216 * 2048
    assert parts.count([projection]) == 1152 * 2048 + 2048
    assert 412e6 < parts.count(tower) < 413e6
    assert image_tokens(dims) == 256


# The network


def paligemma(model: Any) -> Any:
    """Return transformers' PaliGemma with a Llama decoder and the same weights."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    entries = model.checkpoint_config()
    theirs = PaliGemmaForConditionalGeneration(PaliGemmaConfig(**entries)).eval()
    result = theirs.load_state_dict(renamed(model), strict=False)
    assert result.unexpected_keys == []
    assert set(result.missing_keys) <= {"lm_head.weight"}
    theirs.tie_weights()
    return theirs


def inner_name(name: str) -> str:
    """Return the name inside of transformers' network of a name in its checkpoint."""
    if name.startswith("language_model.lm_head"):
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.")


def renamed(model: Any, gradient: bool = False) -> dict[str, torch.Tensor]:
    found = {}
    for name, weight in model.named_parameters():
        value = weight.grad if gradient else weight.detach().clone()
        found[inner_name(model.checkpoint_name(name))] = value
    return found


@pytest.mark.parametrize("tied", [True, False])
def test_logits_loss_and_gradients_are_those_of_paligemma(
    code: dict[str, ModuleType], tied: bool
) -> None:
    model = made(code, tie_embeddings=tied)
    theirs = paligemma(model)
    images, vectors = torch.randn(2, 3, 16, 16), model.config.image_tokens()
    tokens, prompts = torch.randint(300, (2, 9)), torch.tensor([4, 6])
    targets = tokens.roll(-1, 1)
    for row, length in enumerate(prompts):
        targets[row, : length - 1], targets[row, -1] = -1, -1
    ours = model(images, tokens, prompts)
    ids = torch.cat((torch.full((2, vectors), model.config.vocab_size), tokens), dim=1)
    # A type of 0 is the prefix, one of 1 the answer.
    types = (torch.arange(vectors + 9) >= vectors + prompts[:, None]).long()
    expected = theirs(
        input_ids=ids,
        pixel_values=images,
        token_type_ids=types,
        attention_mask=torch.ones_like(ids),
    ).logits[:, vectors:]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    loss, count = code["train"].answer_loss(model, (images, tokens, prompts, targets))
    assert count == int((targets >= 0).sum()) == (9 - 4) + (9 - 6)
    asked = torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), targets.flatten(), ignore_index=-1
    )
    torch.testing.assert_close(loss, asked, atol=1e-5, rtol=1e-5)
    loss.backward()
    asked.backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters()}
    compared = renamed(model, gradient=True)
    assert len(compared) == len(list(model.parameters()))
    for name, gradient in compared.items():
        torch.testing.assert_close(gradient, gradients[name], atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("side", [2, 4])
def test_squares_of_patches_are_joined_as_in_idefics3(
    code: dict[str, ModuleType], side: int
) -> None:
    from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector

    vectors = torch.randn(2, 64, 5)
    joined = code["model"].pixel_shuffle(vectors, side)
    assert torch.equal(joined, Idefics3Connector.pixel_shuffle(None, vectors, side))
    # The first square is the upper left one, row by row.
    square = [row * 8 + column for row in range(side) for column in range(side)]
    assert torch.equal(joined[0, 0], vectors[0, square].flatten())


def test_image_and_prompt_see_each_other_and_an_answer_sees_what_is_before_it(
    code: dict[str, ModuleType],
) -> None:
    mask = code["model"].prefix_mask(torch.tensor([2, 4]), 5)
    assert mask.shape == (2, 1, 5, 5)
    for row, prefix in enumerate((2, 4)):
        for i in range(5):
            for j in range(5):
                assert bool(mask[row, 0, i, j]) == (j <= i or j < prefix)


def test_no_answer_changes_what_is_read_of_a_prompt(code: dict[str, ModuleType]) -> None:
    model = made(code)
    image, tokens = torch.randn(1, 3, 16, 16), torch.randint(300, (1, 8))
    other = tokens.clone()
    other[0, 6:] = (other[0, 6:] + 1) % 300
    with torch.no_grad():
        one, two = (model(image, each, torch.tensor([5])) for each in (tokens, other))
        assert torch.equal(one[:, :6], two[:, :6])
        assert not torch.allclose(one[:, 6:], two[:, 6:])
        # A later token of the prompt changes what an earlier one is read as.
        other[0, 4] = (other[0, 4] + 1) % 300
        assert not torch.allclose(one[:, :4], model(image, other, torch.tensor([5]))[:, :4])


@pytest.mark.parametrize("changes", [{}, {"pixel_shuffle": 2, "projector_bias": False}])
def test_answers_by_the_cache_are_those_of_whole_passes(
    code: dict[str, ModuleType], changes: dict[str, Any]
) -> None:
    model = made(code, **changes)
    images, prompts = torch.randn(3, 3, 16, 16), torch.randint(300, (3, 5))
    answers = code["model"].generate(model, images, prompts, 6, -1)
    assert answers.shape == (3, 6)
    lengths, tokens = torch.full((3,), 5), prompts
    with torch.no_grad():
        for place in range(6):
            drawn = model(images, tokens, lengths)[:, -1].argmax(-1)
            assert torch.equal(drawn, answers[:, place])
            tokens = torch.cat((tokens, drawn[:, None]), dim=1)


def test_logits_by_the_cache_are_those_of_a_whole_pass(code: dict[str, ModuleType]) -> None:
    model = made(code)
    images, tokens = torch.randn(2, 3, 16, 16), torch.randint(300, (2, 9))
    with torch.no_grad():
        whole = model(images, tokens, torch.tensor([4, 4]))
        cache = model.new_cache(2, model.config.image_tokens() + 9)
        parts = [model(images, tokens[:, :4], cache=cache)]
        parts += [model(None, tokens[:, i : i + 1], cache=cache) for i in range(4, 9)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_an_answer_ends_with_its_end(code: dict[str, ModuleType]) -> None:
    model = made(code)
    images, prompts = torch.randn(2, 3, 16, 16), torch.randint(300, (2, 5))
    free = code["model"].generate(model, images, prompts, 6, -1)
    end = int(free[0, 2])
    answers = code["model"].generate(model, images, prompts, 6, end).tolist()
    first = answers[0].index(end)
    assert answers[0][:first] == free[0, :first].tolist()
    assert set(answers[0][first:]) == {end}


@pytest.mark.slow
@pytest.mark.ci
def test_a_checkpoint_opens_as_paligemma(code: dict[str, ModuleType], tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from transformers import AutoModelForImageTextToText

    for tied in (True, False):
        model, folder = made(code, tie_embeddings=tied), tmp_path / str(tied)
        folder.mkdir()
        tensors = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(model.checkpoint_config()))
        theirs, said = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
        assert not said["missing_keys"]
        assert not said["unexpected_keys"]
        own = renamed(model)
        for name, weight in theirs.named_parameters():
            assert torch.equal(weight, own[name]), name


def test_a_form_that_paligemma_lacks_names_no_class(code: dict[str, ModuleType]) -> None:
    for changes in ({"pixel_shuffle": 2}, {"projector_bias": False}):
        assert made(code, **changes).checkpoint_config() == {}


# The search


def test_the_memory_of_a_pass_is_planned_for(code: dict[str, ModuleType]) -> None:
    model = made(code)
    inputs = [
        torch.zeros(each["shape"], dtype=getattr(torch, each["dtype"]))
        for each in FAMILY.example(MODEL, FAMILY.input_length(MODEL))
    ]
    with Held(model.parameters()) as held, torch.inference_mode():
        model(*inputs)
    assert 0.6 <= held.most / (2 * FAMILY.demand(MODEL).activations) <= 1.5


def test_a_tower_is_as_large_as_its_share_allows() -> None:
    widths = {10**7: 96, 3 * 10**8: 768, 3 * 10**9: 1152, 10**10: 1152}
    for budget, width in widths.items():
        assert siglip.tower_of({}, budget).width == width
    assert siglip.tower_of({"vision_d_model": 768}, 10**10).layers == 12


@pytest.mark.parametrize(("side", "joined"), [(224, 1), (448, 2), (896, 4), (32, 1)])
def test_larger_images_are_joined_to_as_many_vectors(side: int, joined: int) -> None:
    m = {"image_size": side, "patch_size": 14 if side % 14 == 0 else 16}
    assert vlm.shuffle(m) == joined


def test_an_infinite_context_takes_what_the_memory_leaves() -> None:
    desk = PlainDesk.of_spec(load(SPEC, ["constraints.context_window=infinite"]))
    window = search.solution(desk).design.dims["max_seq_len"]
    assert window > 2048
    assert window & (window - 1) == 0


def test_a_longer_prompt_takes_more_and_several_requests_share_the_weights() -> None:
    dims = dims_of(OF_THIS_FORM[0])
    short, long = (FAMILY.demand(dims, Use(1, prompt)) for prompt in (16, 256))
    assert long.first.flops > short.first.flops
    many = FAMILY.demand(dims, Use(4, 16))
    assert many.cache == 4 * short.cache
    assert many.next.bytes < 4 * short.next.bytes
    # A token costs two operations for each weight of the decoder, beside attention.
    weights = parts.count(vlm.decoder(dims, 1))
    assert 1.9 * weights < short.next.flops < 2.1 * weights


def test_images_with_texts_and_text_as_output_are_routed_here() -> None:
    assert families.route(PlainDesk.of(SPEC).key) == "vlm"
