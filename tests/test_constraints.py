"""Each verdict on size, memory and window, against arithmetic by hand for Llama-3-8B."""

import pytest
from helpers.llama import CACHE, PARAMETERS, WEIGHTS, llama, verdicts
from helpers.plain_desk import HEAD, PlainDesk, spec_of

from metagen.engine import graph
from metagen.errors import SpecError
from metagen.families import ROUTES, transformer
from metagen.sizing.measured import Requirement, entry, unknown
from metagen.sizing.search import solution

# 512 tokens of logits over 128,256 entries and of the stream of 4,096, two bytes each.
ACTIVATIONS = 2 * 512 * (4096 + 128_256)
SUM = 17_269_792_768
BLOCKS = 32 * (2 * 4096 * 128 * (32 + 8) + 3 * 4096 * 14336)


def test_nothing_declared_is_nothing_judged(tmp_path):
    made = verdicts("", tmp_path)
    assert list(made) == [
        "parameter_budget.max", "parameter_budget.min", "weights", "cache", "activations",
        "memory_budget", "device_memory", "context_window", "latency", "throughput",
        "training_compute", "training_time", "training_memory", "data_per_parameter",
        "training_energy", "training_co2",
    ]  # fmt: skip
    figures = {name for name, each in made.items() if each["verdict"] == "figure"}
    assert figures == {
        "weights", "cache", "activations", "data_per_parameter", "training_energy", "training_co2",
    }  # fmt: skip
    assert {each["verdict"] for each in made.values()} == {"not declared", "figure"}
    assert {each["required"] for each in made.values()} == {None}
    assert {each["nearest"] for each in made.values()} == {None}
    assert made["memory_budget"]["computed"] == SUM


def test_the_parameter_budget_is_held_from_both_sides(tmp_path):
    text = "constraints: {parameter_budget: {max: 10B, min: 9B}}\n"
    made = verdicts(text, tmp_path)
    most, least = made["parameter_budget.max"], made["parameter_budget.min"]
    assert (most["verdict"], least["verdict"]) == ("met", "violated")
    assert most["margin"] == pytest.approx(1 - PARAMETERS / 10e9)
    assert least["margin"] == pytest.approx(PARAMETERS / 9e9 - 1)
    assert least["nearest"] == "parameter_budget.min 8B"


def test_memory_is_weights_cache_at_the_full_context_and_activations(tmp_path):
    assert SUM == WEIGHTS + CACHE + ACTIVATIONS
    made = verdicts("constraints: {memory_budget: 16GB, device: A100-40GB-SXM}\n", tmp_path)
    budget, device = made["memory_budget"], made["device_memory"]
    assert (budget["computed"], budget["verdict"]) == (SUM, "violated")
    assert budget["margin"] == pytest.approx(1 - SUM / 16e9)
    assert "weights 16,060,522,496 + cache 1,073,741,824" in budget["formula"]
    assert "activations 135,528,448 = 17,269,792,768 bytes" in budget["formula"]
    # 92% of the 40 GB of the smaller A100.
    assert (device["required"], device["verdict"]) == (36_800_000_000, "met")


@pytest.mark.parametrize(
    ("bits", "weights"), [(16, WEIGHTS), (8, 9_083_953_152), (4, 5_809_643_520)]
)
def test_weights_are_counted_in_their_format(tmp_path, bits, weights):
    assert BLOCKS == 6_979_321_856
    rows = 32 * (4096 + 1024 + 1024 + 4096 + 2 * 14336 + 4096)  # q, k, v, o, gate and up, down
    by_hand = {16: 2 * PARAMETERS, 8: BLOCKS + 2 * rows, 4: BLOCKS * 4.25 / 8}[bits]
    assert weights == by_hand + (2 * (PARAMETERS - BLOCKS) if bits < 16 else 0)
    made = verdicts("", tmp_path, bits=(bits, 16))["weights"]
    assert made["computed"] == weights
    assert "6,979,321,856 in the blocks" in made["formula"]
    assert "1,050,939,392 others at 16 bits" in made["formula"]


def test_a_matrix_is_filled_up_to_what_a_kernel_reads():
    # One layer of width 100: q, k, v, o, gate and up have rows of 100 weights, down of 90.
    dims = {**llama(100, 1, 2, 1, 50, 90, 10, True)}
    rows = {100: 100 + 2 * 50 + 100 + 2 * 90, 90: 100}
    assert transformer.quantized_bytes(dims, 8) == rows[100] * (112 + 2) + rows[90] * (96 + 2)
    filled = 112 + 2 * 64 + 112 + 2 * 96 + 112  # outputs in multiples of 16
    assert transformer.quantized_bytes(dims, 4) == filled * (64 + 4)


@pytest.mark.parametrize(
    ("changed", "bits", "cache"),
    [
        ({"max_seq_len": 262_144}, 16, 34_359_738_368),  # 262,144 x 131,072
        ({"max_seq_len": 8192}, 8, 2 * 32 * 8 * 8192 * (128 + 2)),
        # Layers 5, 11, 17, 23 and 29 are global, the other 27 see 4,096 tokens.
        (
            {"max_seq_len": 262_144, "window": 4096, "global_every": 6},
            16,
            (5 * 262_144 + 27 * 4096) * 2 * 8 * 128 * 2,
        ),
    ],
)
def test_the_cache_counts_heads_windows_and_format(tmp_path, changed, bits, cache):
    assert verdicts("", tmp_path, bits=(16, bits), **changed)["cache"]["computed"] == cache


def test_parameters_that_the_closed_form_does_not_know_of_are_held_at_16_bits(tmp_path):
    made = verdicts("", tmp_path, parameters=PARAMETERS + 1000, bits=(4, 16))["weights"]
    assert made["computed"] == 5_809_643_520 + 2000


def test_the_window_is_held_against_the_declared_one(tmp_path):
    assert (
        verdicts("constraints: {context_window: 8k}\n", tmp_path)["context_window"]["margin"] == 0
    )
    short = verdicts("constraints: {context_window: 32k}\n", tmp_path)["context_window"]
    assert (short["verdict"], short["margin"]) == ("violated", -0.75)
    endless = verdicts("constraints: {context_window: inf}\n", tmp_path)["context_window"]
    assert (endless["required"], endless["computed"], endless["verdict"]) == (
        "infinite", 8192, "bounded",
    )  # fmt: skip
    assert "largest power of two" in endless["formula"]


def test_a_window_beyond_the_length_of_training_is_met_in_part_only(tmp_path):
    made = verdicts("constraints: {context_window: 256k}\n", tmp_path, max_seq_len=262_144)
    window = made["context_window"]
    assert (window["verdict"], window["computed"]) == ("bounded", 262_144)
    assert window["formula"] == "262,144 tokens configured; trained on 8,192"
    assert window["nearest"].startswith("context_window 8k")
    # A spec that requires no more than the model is trained on has what it requires.
    made = verdicts("constraints: {context_window: 8k}\n", tmp_path, max_seq_len=262_144)
    assert made["context_window"]["verdict"] == "met"


@pytest.mark.parametrize(
    ("relation", "verdicts_by_range"),
    [
        ("allowed", {(1, 3): "open", (1, 2): "met", (3, 4): "violated"}),
        ("required", {(1, 3): "open", (2, 4): "met", (1, 1.5): "violated"}),
    ],
)
def test_a_verdict_that_depends_on_the_range_is_open(relation, verdicts_by_range):
    for (low, high), verdict in verdicts_by_range.items():
        made = entry("x", low, "s", "", "", Requirement(2, 2.0, relation), None, (low, high))
        assert made["verdict"] == verdict


def test_a_declared_figure_that_cannot_be_computed_is_open():
    assert unknown("throughput", "120 tok/s", "tok/s", "no device is declared")["verdict"] == "open"


def test_a_rate_of_what_a_family_does_not_give_out_is_refused(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(f"{HEAD}constraints: {{throughput: 7 img/s}}\n")
    with pytest.raises(SpecError, match="is not a throughput of decoder") as error:
        graph.of_files([path])
    problem = error.value.problems[0]
    assert problem.place.startswith(str(path))
    assert problem.hint


@pytest.mark.parametrize("window", ["8k", "infinite"])
def test_a_window_changes_nothing_for_a_family_without_one(tmp_path, window):
    head = spec_of(next(each for each in ROUTES if each.family == "resnet"))
    budget = "parameter_budget: {max: 1M}"
    one, other = (
        solution(PlainDesk(f"{head}constraints: {{{more}}}\n", tmp_path)).design
        for more in (budget, f"{budget}, context_window: {window}")
    )
    assert one == other


def test_a_prompt_must_fit_in_the_window(tmp_path):
    with pytest.raises(SpecError, match="the window has no room"):
        PlainDesk("constraints: {context_window: 4k, prompt_length: 8k}\n", tmp_path)


def test_a_prompt_without_a_device_to_read_it_is_warned_of(tmp_path):
    (warning,) = PlainDesk("constraints: {prompt_length: 8k}\n", tmp_path).spec.warnings
    assert "changes nothing" in warning.sentence
