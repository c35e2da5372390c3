"""The dimensions that a spec pins: their types, and which pins are refused, by name."""

import pytest
from helpers.plain_desk import PlainDesk

from metagen.errors import SpecError
from metagen.families.clip import FAMILY as clip
from metagen.families.decoder import FAMILY as decoder
from metagen.families.latent_unet import FAMILY as unet
from metagen.families.segmentation_unet import FAMILY as segmentation
from metagen.sizing import architecture, need, search


def pinned(text, tmp_path):
    return need.pins(PlainDesk(text, tmp_path).key, decoder)


def pins(**declared):
    return need.pins({"architecture.dims": declared}.get, decoder)


def test_a_pin_gets_the_type_of_the_models_config(tmp_path):
    checked = pinned("architecture: {dims: {rope_theta: 500000, n_layers: 12}}\n", tmp_path)
    assert checked == {"rope_theta": 500000.0, "n_layers": 12}
    assert type(checked["rope_theta"]) is float


def test_a_pin_of_an_unknown_dimension_names_the_nearest():
    with pytest.raises(SpecError, match="did you mean n_kv_heads"):
        pins(n_kv_head=8)


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"n_heads": 12, "n_kv_heads": 5}, "n_heads: 12 and n_kv_heads: 5 contradict"),
        ({"window": 4096, "max_seq_len": 4096}, "window: 4096 and max_seq_len: 4096 contradict"),
        ({"global_every": 8, "n_layers": 6}, "global_every: 8 and n_layers: 6 contradict"),
        ({"global_every": 1, "window": 512}, "global_every: 1 and window: 512 contradict"),
        ({"weight_bits": 5}, "weight_bits: 5 cannot be built"),
    ],
)
def test_contradictory_pins_are_an_error_that_names_both(declared, sentence):
    with pytest.raises(SpecError, match=sentence):
        pins(**declared)


def test_a_pin_that_contradicts_a_constraint_is_an_error_that_names_both(tmp_path):
    text = "constraints: {context_window: 8k}\narchitecture: {dims: {max_seq_len: 4096}}\n"
    with pytest.raises(SpecError, match=r"max_seq_len: 4,096 .* constraints.context_window: 8,192"):
        pinned(text, tmp_path)
    assert pinned(text.replace("4096", "8192"), tmp_path) == {"max_seq_len": 8192}


@pytest.mark.parametrize(
    ("name", "value"),
    [("d_model", 0), ("d_model", 1.5), ("n_layers", True), ("tie_embeddings", 1), ("d_ff", "big")],
)
def test_a_pin_of_the_wrong_type_names_what_is_allowed(name, value):
    with pytest.raises(SpecError, match="is not allowed"):
        pins(**{name: value})


def test_every_wrong_pin_is_named_at_once():
    with pytest.raises(SpecError) as error:
        pins(width=4, d_ff=-1)
    assert len(error.value.problems) == 2


# Llama 3.1 8B (arXiv:2407.21783, table 3): with a cache of 128k tokens it exceeds an RTX 4090.
LLAMA = """
constraints: {parameter_budget: {max: 8030261248}, context_window: 128k, device: RTX-4090}
architecture:
  dims: {d_model: 4096, n_layers: 32, n_heads: 32, n_kv_heads: 8, head_dim: 128, d_ff: 14336,
    vocab_size: 128256, rope_theta: 5.0e+5, tie_embeddings: false, weight_bits: 16, cache_bits: 16}
"""


def solved(text, tmp_path):
    return search.solution(PlainDesk(text, tmp_path))


def test_nothing_is_added_to_a_model_whose_shape_is_pinned(tmp_path):
    design = solved(LLAMA, tmp_path).design
    assert not {"global_every", "window"} & design.dims.keys()
    assert (design.parameters, design.demand.memory) == (8_030_261_248, 33_375_920_128)
    assert not design.fits


def test_full_attention_is_pinned_by_a_global_layer_in_every_layer(tmp_path):
    some = LLAMA.replace("d_ff: 14336,", "")
    assert solved(some, tmp_path).design.dims["global_every"] > 1
    pinned = solved(some.replace("d_model", "global_every: 1, d_model"), tmp_path)
    assert not {"global_every", "window"} & pinned.design.dims.keys()
    assert not pinned.design.fits
    shown = {each["name"]: each for each in architecture.decisions(pinned)}
    assert shown["global_every"]["value"] == 1
    assert "every layer attends to the whole context" in shown["global_every"]["reason"]


def test_a_pinned_window_is_a_lever_beside_a_pinned_shape(tmp_path):
    design = solved(LLAMA.replace("d_model", "window: 4096, d_model"), tmp_path).design
    assert design.dims["global_every"] > 1


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("hidden_size", "did you mean d_model?"),
        ("intermediate_size", "did you mean d_ff?"),
        ("num_hidden_layers", "did you mean n_layers?"),
        ("num_key_value_heads", "did you mean n_kv_heads?"),
        ("rms_norm_eps", "did you mean norm_eps?"),
        ("attention_bias", "dimensions: d_model"),
        ("hidden_act", "dimensions: d_model"),
    ],
)
def test_names_of_transformers_configs_lead_to_ours_and_others_to_no_guess(name, ours):
    with pytest.raises(SpecError) as error:
        pins(**{name: 8})
    assert error.value.problems[0].hint.startswith(ours)


def test_a_name_that_two_towers_share_leads_to_both():
    with pytest.raises(SpecError, match="did you mean vision_d_ff or text_d_ff"):
        need.pins({"architecture.dims": {"intermediate_size": 64}}.get, clip)


@pytest.mark.parametrize(
    "dims", ["d_model: 1000000000000", "n_layers: 2000", "d_ff: 1.0e+30", "max_seq_len: 2000000000"]
)
def test_a_dimension_beyond_any_device_is_refused(dims, tmp_path):
    with pytest.raises(SpecError, match="is not allowed: give a whole number above 0, at most"):
        pinned(f"architecture: {{dims: {{{dims}}}}}\n", tmp_path)


def test_levels_that_no_image_can_be_halved_into_are_refused():
    with pytest.raises(SpecError, match="give a whole number above 0, at most 17"):
        need.pins({"architecture.dims": {"n_levels": 97}}.get, unet)


def test_a_u_net_of_one_level_is_refused():
    with pytest.raises(SpecError, match="n_levels: 1 cannot be built"):
        need.pins({"architecture.dims": {"n_levels": 1}}.get, segmentation)


def test_dimensions_that_only_together_are_beyond_any_device_are_refused(tmp_path):
    desk = PlainDesk("architecture: {dims: {d_model: 1000000}}\n", tmp_path)
    with pytest.raises(SpecError, match=r"a model of [0-9,]+ parameters or more"):
        search.check_pins(desk, decoder)
    search.check_pins(PlainDesk("architecture: {dims: {d_model: 16384}}\n", tmp_path), decoder)
