"""The dimensions that a spec pins: their types, and which pins are refused, by name."""

import pytest
from helpers.plain_desk import PlainDesk

from metagen.errors import SpecError
from metagen.families.decoder import FAMILY as decoder
from metagen.sizing import need


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
