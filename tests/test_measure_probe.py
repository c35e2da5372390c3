"""What the probe measures on the generated model equals closed forms and torch's own counter."""

import importlib.util
import json
import sys

import pytest
import yaml
from helpers.llama import LLAMA_2_7B, LLAMA_3_2_1B, LLAMA_3_8B, SMOLLM2_135M
from helpers.plain_desk import PlainDesk

from metagen import paths
from metagen.errors import TaskError
from metagen.families import transformer
from metagen.families.decoder import FAMILY as decoder
from metagen.measure import probe, probe_worker
from metagen.package import recipes as code_recipes
from metagen.package.bundle import bundle
from metagen.sizing import architecture

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

SMALL = {**SMOLLM2_135M, "n_layers": 2, "vocab_size": 512, "max_seq_len": 64}
UNTIED = {**SMALL, "tie_embeddings": False, "n_kv_heads": 9, "head_dim": 32}


@pytest.fixture(scope="module")
def torch():
    import torch

    return torch


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The module `code/model.py`, as it goes into a package."""
    return module_of(decoder.model_template({}), tmp_path_factory.mktemp("code"), "model")


def module_of(template, folder, name):
    path = folder / f"{name}.py"
    path.write_bytes(bundle(template, lambda source: paths.source(source).read_bytes()))
    spec = importlib.util.spec_from_file_location(f"generated_{name}", path)
    module = sys.modules[f"generated_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def on_meta(torch, generated):
    def build(dims):
        with torch.device("meta"):
            return generated.Model(generated.Config(**dims)).eval()

    return build


@pytest.mark.parametrize(
    "dims", [LLAMA_2_7B, LLAMA_3_8B, LLAMA_3_2_1B, SMOLLM2_135M, SMALL, UNTIED]
)
def test_the_closed_form_equals_the_generated_model(on_meta, dims):
    assert decoder.count(dims) == sum(p.numel() for p in on_meta(dims).parameters())


@pytest.mark.parametrize("dims", [SMALL, UNTIED])
def test_the_cache_of_the_closed_form_is_the_one_that_the_model_allocates(torch, on_meta, dims):
    with torch.device("meta"):
        cache = on_meta(dims).bfloat16().new_cache(1, 64)
    assert transformer.cache_bytes(dims, 64) == sum(each.store.nbytes for each in cache)


LOCAL = {"window": 16, "global_every": 3, "n_layers": 7, "max_seq_len": 64}


@pytest.mark.parametrize("dims", [SMALL | LOCAL, UNTIED | LOCAL])
def test_the_closed_forms_hold_for_layers_with_a_window(torch, tmp_path, dims):
    local = module_of(decoder.model_template(dims), tmp_path, "local")
    with torch.device("meta"):
        model = local.Model(local.Config(**dims)).bfloat16()
        cache = model.new_cache(1, 64)
    assert decoder.count(dims) == sum(p.numel() for p in model.parameters())
    assert transformer.cache_bytes(dims, 64) == sum(each.store.nbytes for each in cache)


@pytest.mark.parametrize("bits", [16, 8, 4])
@pytest.mark.parametrize("dims", [SMALL, {**UNTIED, "d_model": 100, "d_ff": 90}])
def test_weights_take_the_bytes_of_the_quantized_model(torch, generated, tmp_path, dims, bits):
    layers = module_of("templates/layers/quantized.py", tmp_path, "quantized")
    model = generated.Model(generated.Config(**dims))
    layers.quantize(model, bits, torch.device("cpu"))
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert decoder.weight_bytes({**dims, "weight_bits": bits}) == sum(
        t.nbytes for t in held.values()
    )


def test_an_8_bit_cache_takes_the_bytes_of_its_store(torch, generated, tmp_path):
    layers = module_of("templates/layers/quantized_cache.py", tmp_path, "quantized_cache")
    model = generated.Model(generated.Config(**SMALL)).bfloat16()
    stores = [layers.Int8KVCache(each.store) for each in model.new_cache(1, 64)]
    held = sum(each.numbers.nbytes + each.scales.nbytes for each in stores)
    assert transformer.cache_bytes(SMALL, 64, 8) == held


@pytest.mark.parametrize("dims", [SMALL, UNTIED])
@pytest.mark.parametrize("length", [1, 48])
def test_flops_equal_those_of_torchs_own_counter(torch, on_meta, dims, length):
    from torch.utils.flop_counter import FlopCounterMode

    from metagen.measure import probe_worker

    model = on_meta(dims)
    with torch.device("meta"):
        tokens = torch.empty(1, length, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            model(tokens)
        assert sum(probe_worker._flops(model, (tokens,)).values()) == counter.get_total_flops()


def test_flops_are_those_worked_out_by_hand(torch, on_meta):
    from metagen.measure import probe_worker

    tokens = torch.empty(1, 32, dtype=torch.int64, device="meta")
    found = probe_worker._flops(on_meta(SMALL), (tokens,))
    # Two operations for each weight of a matrix and token; the tied table is a matrix once.
    matrices = 2 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) + 512 * 576
    assert found["linear"] == 2 * 32 * matrices
    # In 2 layers, 9 heads of 64: queries by keys, and weights by values, 32 x 32 pairs each.
    assert found["attention"] == 2 * 9 * (2 + 2) * 32 * 32 * 64


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A small package with its code, and the desk that made it."""
    text = "constraints: {parameter_budget: {max: 3M, min: 1M}, context_window: 256k}\n"
    desk = PlainDesk(text, tmp_path_factory.mktemp("spec"))
    desk.package |= architecture.work(desk)
    for recipe in code_recipes(decoder):
        if recipe.name in ("code:model", "code:config"):
            desk.package |= recipe.work(desk)
    return desk


def test_a_package_is_measured_on_its_own_code(package):
    package.modules.clear()
    made = probe.work(package)
    assert set(package.modules) == {"metagen.measure.probe_worker", "metagen.families.decoder"}
    params, flops, graph, _ = (json.loads(made[name]) for name in probe.TARGETS)
    found = yaml.safe_load(package.package["blueprint/architecture.yaml"])
    dims = found["model"]

    assert params["total"] == params["trainable"] == decoder.count(dims)
    assert sum(params["by_module"].values()) == params["total"]
    assert set(params["by_module"]) == {"embed_tokens", "layers", "norm", "lm_head"}
    assert sum(params["by_layer"].values()) * dims["n_layers"] == params["by_module"]["layers"]
    assert params["embedding_share"] == transformer.embedding_count(dims) / params["total"]
    assert params["budget"] == {"min": 10**6, "max": 3 * 10**6, "share": params["total"] / 3e6}
    assert params["proxy_total"] == decoder.count(found["proxy"]["model"])

    assert flops["length"] == found["data"]["seq_len"] == 8192
    assert flops["training_per_unit"] == 3 * flops["forward_per_unit"]
    assert sum(flops["by_operator"].values()) == pytest.approx(flops["forward_per_unit"])
    assert flops["points"][-1]["length"] == 262_144
    per_token = [point["forward_per_unit"] for point in flops["points"]]
    assert per_token == sorted(set(per_token))

    assert graph["config"] == dims
    names = [node["name"] for node in graph["nodes"]]
    assert {"embed_tokens", "layers.0", "layers.0.self_attn", "norm"} <= set(names)
    assert all(a in names and b in names for a, b in graph["edges"])
    assert graph["edges"][0] == ["embed_tokens", "layers.0.input_layernorm"]
    attention = graph["nodes"][names.index("layers.0.self_attn")]
    assert attention["type"] == "Attention"
    assert attention["output_shape"] == [1, 8192, dims["d_model"]]


def edited(package, old, new):
    desk = PlainDesk.__new__(PlainDesk)
    desk.__dict__ = {**package.__dict__, "package": dict(package.package), "modules": []}
    source = desk.package["code/model.py"].decode()
    assert old in source
    desk.package["code/model.py"] = source.replace(old, new).encode()
    return desk


def test_a_model_that_was_edited_by_hand_is_measured_as_it_is(package):
    old = yaml.safe_load(package.package["blueprint/architecture.yaml"])["model"]
    new = {**old, "n_layers": 1}
    line = f"n_layers: int = {old['n_layers']}"
    made = probe.work(edited(package, line, "n_layers: int = 1"))
    assert json.loads(made["blueprint/params.json"])["total"] == decoder.count(new)
    assert json.loads(made["blueprint/graph.json"])["config"] == new


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("class Model(nn.Module):", "class Model(nn.Module:", "SyntaxError"),
        *(
            pytest.param(*edit, marks=[pytest.mark.slow, pytest.mark.ci])
            for edit in (
                (
                    "        self._init_weights()\n",
                    "        self._init_wights()\n",
                    "AttributeError",
                ),
                ("x = self.norm(x)", "x = self.norm(x) @ x", "RuntimeError"),
            )
        ),
    ],
)
def test_a_mistake_in_an_edited_model_is_named_with_its_line(package, old, new, sentence):
    desk = edited(package, old, new)
    line = desk.package["code/model.py"].decode().split(new.strip())[0].count("\n") + 1
    with pytest.raises(TaskError) as error:
        probe.work(desk)
    assert error.value.problems[0].place == f"code/model.py:{line}"
    assert error.value.problems[0].sentence.startswith(sentence)


def test_a_parameter_of_the_models_own_is_counted_by_its_name(torch):
    model = torch.nn.Module()
    model.tower = torch.nn.Linear(2, 3)
    model.logit_scale = torch.nn.Parameter(torch.zeros(()))
    counts = probe_worker._counts(model)
    assert counts["by_module"] == {"tower": 9, "logit_scale": 1}
    assert counts["total"] == 10


def test_an_addition_to_what_modules_made_is_a_residual_connection(torch):
    from torch import nn

    from metagen.measure import probe_worker

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.linear, self.other = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = x + self.linear(self.norm(x))
            # Neither branch comes from the other, so this goes round nothing.
            return self.linear(x) + self.other(x)

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.start, self.block = nn.Linear(4, 4), Block()

        def forward(self, x):
            return self.block(self.start(x))

    graph = probe_worker._graph(Small(), (torch.zeros(1, 4),))
    assert graph["residuals"] == [["block.norm", "block.linear"]]
