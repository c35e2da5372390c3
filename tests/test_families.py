"""What the table of families leads to, and the decoder's closed forms against published figures."""

import ast

import pytest
import yaml
from blueprint_desk import PlainDesk
from llama import LLAMA_2_7B, LLAMA_3_2_1B, LLAMA_3_8B, SMOLLM2_135M, llama

from metagen import families, paths
from metagen.errors import SpecError
from metagen.families import decoder, decoder_load, transformer
from metagen.families.decoder_shape import GATED
from metagen.families.trend import LEAST_SPREAD, fit, rows
from metagen.sizing import architecture
from metagen.spec import load

PUBLISHED = paths.source("families/decoder.csv").read_bytes()
TEXT = {
    "modality.inputs": ("text",),
    "modality.outputs": ("text",),
    "task.type": "generation",
    "architecture.family": "transformer",
    "training.objective": ("autoregressive",),
}


@pytest.mark.parametrize(
    ("dims", "published"),
    [
        (LLAMA_2_7B, 6_738_415_616),
        (LLAMA_3_8B, 8_030_261_248),
        (LLAMA_3_2_1B, 1_235_814_400),
        (SMOLLM2_135M, 134_515_008),
    ],
)
def test_the_closed_form_gives_the_published_count(dims, published):
    assert decoder.count(dims) == published


def test_the_closed_form_gives_every_count_of_the_table_in_the_llama_form():
    table = [r for r in rows(PUBLISHED) if r["arch"] in ("llama", "mistral")]
    assert len(table) >= 5
    for row in table:
        names = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "ffn", "vocab")
        dims = llama(*(int(row[n]) for n in names), row["tied_embeddings"] == "1")
        assert decoder.count(dims) == int(row["params_exact"]), row["model"]


@pytest.mark.parametrize(
    ("dims", "bytes_per_token"),
    [
        (LLAMA_2_7B, 524_288),  # 2 * 32 layers * 32 heads * 128 * 2 bytes
        (LLAMA_3_8B, 131_072),  # 8 key/value heads: a quarter
        (LLAMA_3_2_1B, 32_768),
        (SMOLLM2_135M, 23_040),
    ],
)
def test_the_cache_takes_the_published_bytes_a_token(dims, bytes_per_token):
    assert transformer.cache_bytes(dims, 1) == bytes_per_token
    assert transformer.cache_bytes(dims, 262_144) == 262_144 * bytes_per_token


def test_the_rotary_base_of_llama_2_and_3_follows_from_their_windows():
    assert transformer.rope_base({**LLAMA_2_7B, "max_seq_len": 4096}) == 1e4
    assert transformer.rope_base({**LLAMA_3_8B, "max_seq_len": 8192}) == 5e5


def test_a_fit_recovers_a_power_law():
    for wanted in (1e5, 1e7, 1e9, 1e13):
        line = fit([(size, 3 * size**0.25) for size in (1e6, 1e8, 1e9, 1e11)], wanted)
        assert line.slope == pytest.approx(0.25)
        assert line.at(1e7) == pytest.approx(3 * 1e7**0.25)
        assert line.spread == LEAST_SPREAD


def test_models_near_the_wanted_size_weigh_more():
    bend = [(size, size**0.5) for size in (1e6, 1e7)] + [(size, 1e3) for size in (1e9, 1e10)]
    assert fit(bend, 1e6).slope == pytest.approx(0.5, abs=0.05)
    assert fit(bend, 1e10).slope == pytest.approx(0, abs=0.05)


def test_a_trend_is_fitted_on_every_published_decoder():
    table = rows(PUBLISHED)
    lines = decoder.fit(PUBLISHED, 10**9).lines
    assert {name: line.points for name, line in lines.items()} == {
        **dict.fromkeys(("n_layers", "d_model", "head_dim"), len(table)),
        **dict.fromkeys(("expansion", "group"), sum(r["arch"] in GATED for r in table)),
    }


def test_every_published_row_says_where_it_comes_from():
    for path in (paths.PACKAGE / "families").glob("*.csv"):
        table = rows(path.read_bytes())
        assert all(row["dims_source"] for row in table)
        assert all(row["params_source"] for row in table if row.get("params_exact"))


def test_a_text_generator_is_a_decoder():
    assert families.route(TEXT.get) == "decoder"
    assert families.route({}.get) == "decoder"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modality.inputs", ("image",)),
        ("modality.outputs", ("label",)),
        ("task.type", "classification"),
        ("architecture.family", "gnn"),
        ("training.objective", ("autoregressive", "diffusion")),
    ],
)
def test_what_no_family_builds_is_an_error_that_names_the_key_and_the_routes(key, value):
    with pytest.raises(SpecError) as error:
        families.route({**TEXT, key: value}.get)
    assert [key in str(problem) for problem in error.value.problems] == [True]
    assert "decoder (text to text" in str(error.value)
    assert sum(f"{name} (" in str(error.value) for name in families.FAMILIES) == families.SHOWN


@pytest.mark.parametrize("module", families.FAMILIES.values())
def test_each_family_brings_all_that_the_protocol_asks_for(module):
    family = families.load(module)
    wanted = [*families.Family.__annotations__, *(n for n in vars(families.Family) if n[0] != "_")]
    assert not [name for name in wanted if not hasattr(family, name)]
    assert families.FAMILIES[family.name] == module


def config_fields(template):
    tree = ast.parse(paths.source(template).read_bytes())
    config = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
    return [n.target.id for n in config.body if isinstance(n, ast.AnnAssign)]


def specs(family):
    """Return the specs that lead to a family."""
    return [
        p for p in sorted(paths.specs().rglob("*.yaml")) if families.route(load(p).key) == family
    ]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_each_section_has_the_fields_of_its_file_in_order(family):
    module, known = families.load(families.FAMILIES[family]), set()
    for spec in specs(family):
        desk = PlainDesk.of(spec)
        found = yaml.safe_load(architecture.work(desk)[architecture.TARGET])
        known |= found["model"].keys()
        for sections in (found, found["proxy"]):
            model = config_fields(module.model_template(sections["model"]))
            assert list(sections["model"]) == model
            for name in ("data", "train", "eval", "infer"):
                assert list(sections[name]) == config_fields(f"{module.task_folder}/{name}.py")
    assert known <= set(module.dims)


def test_a_prompt_passes_in_the_length_that_activations_are_counted_at():
    text = paths.source(f"{decoder.task_folder}/infer.py").read_text()
    assert f"\nCHUNK = {decoder_load.PROMPT} " in text


def test_the_settings_that_a_family_knows_are_entries_of_training_config(tmp_path):
    keys = PlainDesk("", tmp_path).spec.keys()
    declared = {k.removeprefix("training.config.") for k in keys if "training.config." in k}
    for module in families.FAMILIES.values():
        assert families.load(module).config_keys <= declared


def test_an_update_is_cut_in_equal_parts_that_fit():
    spec = {"training.config.batch_size": 256, "reproducibility.seed": 1}
    train = decoder.sections(LLAMA_3_8B, spec.get, reduced=False)["train"]
    assert train["batch_size"] % train["grad_accum"] == 0
    assert train["batch_size"] // train["grad_accum"] * 4096 == 2**14


def test_the_declared_data_sets_the_number_of_updates():
    spec = {"training.config.batch_size": 256, "training.data.size": "2T tokens"}
    train = decoder.sections(LLAMA_3_8B, spec.get, reduced=False)["train"]
    assert train["steps"] == round(2e12 / (256 * 4096)) == 1_907_349
    twice = decoder.sections(LLAMA_3_8B, {**spec, "training.config.epochs": 2}.get, reduced=False)
    assert twice["train"]["steps"] == round(4e12 / (256 * 4096))
