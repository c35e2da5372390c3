"""Each verdict, against arithmetic worked out by hand for Llama-3-8B and from published figures."""

import json

import pytest
import yaml
from blueprint_desk import PlainDesk
from test_families import LLAMA_2_7B, LLAMA_3_8B, llama

from metagen.blueprint import constraints, devices, found, limits, nearest, need, roofline
from metagen.families import decoder, transformer
from metagen.spec import load
from metagen.units import parse_context

PARAMETERS = 8_030_261_248
WEIGHTS = 16_060_522_496
CACHE = 131_072 * 8192  # bytes a token, at a window of 8,192 tokens
# 512 tokens of logits over 128,256 entries and of the stream of 4,096, two bytes each.
ACTIVATIONS = 2 * 512 * (4096 + 128_256)
SUM = 17_269_792_768
BLOCKS = 32 * (2 * 4096 * 128 * (32 + 8) + 3 * 4096 * 14336)
TABLE = 2 * 128_256 * 4096  # bytes of the input table, of which a token reads one row
LLAMA_2_70B = llama(8192, 80, 64, 8, 128, 28672, 32000, False)


def verdicts(spec, folder, parameters=PARAMETERS, bits=(16, 16), **changed):
    desk = PlainDesk(spec, folder)
    dims = {**LLAMA_3_8B, "max_seq_len": 8192, **changed}
    points = [
        {"length": 128, "forward_per_unit": 15e9},
        {"length": 8192, "forward_per_unit": 20e9},
    ]
    flops = {"training_per_unit": 48e9, "points": points}
    infer = dict(zip(("weight_bits", "cache_bits"), bits, strict=True))
    desk.package = {
        "blueprint/architecture.yaml": yaml.safe_dump(
            {"family": "decoder", "infer": infer}
        ).encode(),
        "blueprint/graph.json": json.dumps({"config": dims}).encode(),
        "blueprint/params.json": json.dumps({"total": parameters}).encode(),
        "blueprint/flops.json": json.dumps(flops).encode(),
    }
    made = json.loads(constraints.work(desk)[constraints.TARGET])
    return {each["constraint"]: each for each in made}


def test_nothing_declared_is_nothing_judged(tmp_path):
    made = verdicts("", tmp_path)
    assert list(made) == [
        "parameter_budget.max", "parameter_budget.min", "weights", "cache", "activations",
        "memory_budget", "device_memory", "context_window", "latency", "throughput",
        "training_compute", "training_time", "data_per_parameter", "training_energy",
        "training_co2",
    ]  # fmt: skip
    assert {each["verdict"] for each in made.values()} == {"not declared"}
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
    ("bits", "weights"), [(16, WEIGHTS), (8, 9_299_304_448), (4, 5_809_643_520)]
)
def test_weights_are_counted_in_their_format(tmp_path, bits, weights):
    assert BLOCKS == 6_979_321_856
    by_hand = {16: 2 * PARAMETERS, 8: BLOCKS * 8.25 / 8, 4: BLOCKS * 4.25 / 8}[bits]
    assert weights == by_hand + (2 * (PARAMETERS - BLOCKS) if bits < 16 else 0)
    made = verdicts("", tmp_path, bits=(bits, 16))["weights"]
    assert made["computed"] == weights
    assert "6,979,321,856 in the blocks" in made["formula"]
    assert "1,050,939,392 others at 16 bits" in made["formula"]


def test_a_group_that_is_not_full_still_has_its_scale():
    # One layer of width 100: rows of 100 weights have two scales, rows of 90 two as well.
    dims = {**llama(100, 1, 2, 1, 50, 90, 10, True)}
    rows = {100: (2 + 2 * 1) * 50 + 2 * 90, 90: 100}  # by inputs: q, k, v, gate, up; down
    outputs = 100  # of o, whose inputs are the 100 of both heads
    eight = rows[100] * (100 + 4) + outputs * (100 + 4) + rows[90] * (90 + 4)
    four = rows[100] * (50 + 4) + outputs * (50 + 4) + rows[90] * (45 + 4)
    assert transformer.quantized_bytes(dims, 8) == eight
    assert transformer.quantized_bytes(dims, 4) == four


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
        "infinite", 8192, "met",
    )  # fmt: skip


def test_throughput_is_bandwidth_over_the_bytes_that_a_token_reads(tmp_path):
    spec = "constraints: {device: consumer_gpu, throughput: 50 tok/s}\n"
    made = verdicts(spec, tmp_path)
    read = WEIGHTS - TABLE + 512 * 131_072
    short, full = made["throughput"], made["throughput_at_full_context"]
    assert short["computed"] == pytest.approx(880.9e9 / read)  # 58.4 tokens a second
    assert (short["verdict"], full["verdict"]) == ("met", "not declared")
    assert short["margin"] == pytest.approx(880.9e9 / read / 50 - 1)
    assert full["computed"] == pytest.approx(880.9e9 / (WEIGHTS - TABLE + CACHE))
    assert "GPU-Benchmarks-on-LLM-Inference" in short["source"]


@pytest.mark.parametrize(
    ("dims", "device", "bits", "measured"),
    [
        (LLAMA_2_7B, "A100-80GB-SXM", 16, 104.9),
        (LLAMA_2_7B, "A100-80GB-SXM", 8, 155.58),
        (LLAMA_2_7B, "A100-80GB-SXM", 4, 196.80),
        (LLAMA_2_70B, "8xA100-80GB-SXM", 16, 62.50),
        (LLAMA_2_70B, "8xA100-80GB-SXM", 8, 80.44),
        (LLAMA_3_8B, "RTX-4090", 16, 54.84),
        (LLAMA_3_8B, "RTX-4090", 4, 130.58),
        (LLAMA_3_8B, "RTX-3090", 16, 47.40),
        (LLAMA_3_8B, "RTX-3090", 4, 115.42),
    ],
)
def test_the_roofline_gives_what_was_measured_in_tokens_a_second(
    tmp_path, dims, device, bits, measured
):
    desk = PlainDesk(f"constraints: {{device: {device}}}\n", tmp_path)
    line = roofline.of(desk, devices.target(desk))
    load = decoder.load({**dims, "max_seq_len": 1024, "weight_bits": bits, "cache_bits": 16})
    assert 1 / line.seconds(load.next, bits) == pytest.approx(measured, rel=0.12)


def test_several_devices_share_memory_and_speed(tmp_path):
    desk = PlainDesk("constraints: {device: 8xH100}\n", tmp_path)
    eight = devices.target(desk)
    assert eight.name == "8x H100-80GB-SXM"
    assert eight.usable_memory == 588_800_000_000  # 8 x 80 GB x 92%
    one = devices.by_prefix(desk, "H100")
    work = decoder.load({**LLAMA_2_70B, "weight_bits": 16, "cache_bits": 16}).first
    shared, alone = (roofline.of(desk, each).arithmetic(work) for each in (eight, one))
    assert alone == pytest.approx(8 * shared)


def test_a_rate_of_something_else_is_not_judged(tmp_path):
    spec = "constraints: {device: consumer_gpu, throughput: 2 img/s}\n"
    made = verdicts(spec, tmp_path)["throughput"]
    assert (made["verdict"], made["computed"]) == ("not declared", None)
    assert "tok/s" in made["formula"]


@pytest.mark.parametrize(
    ("declared", "verdict"),
    [("real-time", "violated"), ("near-real-time", "met"), ("batch", "met"), ("100ms", "violated")],
)
def test_latency_is_the_time_to_read_a_prompt(tmp_path, declared, verdict):
    spec = f"constraints: {{device: RTX-4090, latency: {declared}}}\n"
    made = verdicts(spec, tmp_path)["latency"]
    # The length measured nearest to 512 tokens is 128.
    assert made["computed"] == pytest.approx(512 * 15e9 / (0.33 * 165.2e12))  # 0.141 s
    assert made["verdict"] == verdict
    assert made["required"] == declared


def test_latency_of_a_slow_memory_is_the_time_to_read_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "input_length", lambda m: 1)
    made = verdicts("constraints: {device: RTX-4090}\n", tmp_path)["latency"]
    assert made["computed"] == pytest.approx((WEIGHTS - TABLE) / 880.9e9)


TRAINED = "training: {data: {size: 2T tokens}, compute: {hardware: 256xA100, duration: 21 days}}\n"


def test_training_is_the_flops_of_the_data_against_those_of_the_hardware(tmp_path):
    made = verdicts(TRAINED, tmp_path)["training_compute"]
    delivered = 256 * 312e12 * 0.33 * 21 * 86400
    needed = 6 * PARAMETERS * 2e12
    assert made["required"] == pytest.approx(delivered)
    assert made["computed"] == pytest.approx(needed)
    assert made["verdict"] == "violated"
    assert made["margin"] == pytest.approx(1 - needed / delivered)


def test_training_takes_so_many_days_and_the_nearest_run_is_named(tmp_path):
    made = verdicts(TRAINED, tmp_path)["training_time"]
    days = 6 * PARAMETERS * 2e12 / (256 * 312e12 * 0.33) / 86400
    assert made["computed"] == pytest.approx(days)  # 42.3
    assert (made["required"], made["verdict"], made["unit"]) == ("21 days", "violated", "days")
    assert made["nearest"] == (
        "training.compute.duration 43 days, or training.compute.hardware 516xA100, "
        "or training.data.size 990B tokens"
    )


@pytest.mark.parametrize("change", ["duration: 43 days", "hardware: 516xA100", "size: 990B tokens"])
def test_each_change_that_is_named_for_a_training_run_is_enough(tmp_path, change):
    key, value = change.split(": ")
    old = {"duration": "21 days", "hardware": "256xA100", "size": "2T tokens"}[key]
    made = verdicts(TRAINED.replace(old, value), tmp_path)
    assert made["training_time"]["verdict"] == made["training_compute"]["verdict"] == "met"


def test_llama_2_took_about_the_gpu_hours_that_were_published(tmp_path):
    # 184,320 hours of A100 for 7B on 2T tokens: the model card of Llama 2.
    dims = {**LLAMA_2_7B, "max_seq_len": 4096}
    spec = "training: {data: {size: 2T tokens}, compute: {hardware: 1xA100}}\n"
    made = verdicts(spec, tmp_path, parameters=decoder.count(dims), **dims)["training_time"]
    assert made["computed"] * 24 == pytest.approx(184_320, rel=0.25)


def test_data_stands_beside_the_compute_optimal_figure(tmp_path):
    made = verdicts(TRAINED, tmp_path)["data_per_parameter"]
    assert made["computed"] == pytest.approx(2e12 / PARAMETERS)  # 249
    assert "compute-optimal is about 20" in made["formula"]
    assert "arXiv:2203.15556" in made["source"]


def test_energy_and_carbon_follow_from_power_hours_and_overhead(tmp_path):
    made = verdicts(TRAINED, tmp_path)
    energy, carbon = made["training_energy"], made["training_co2"]
    assert energy["computed"] == pytest.approx(256 * 0.4 * 21 * 24 * 1.58)  # 81,543 kWh
    assert carbon["computed"] == pytest.approx(energy["computed"] * 0.481)
    for source in ("arXiv:2104.10350", "uptimeinstitute", "Llama 2"):
        assert source in energy["source"]
    assert "Ember" in carbon["source"]


def test_passes_over_the_data_count(tmp_path):
    twice = TRAINED.replace("training: {", "training: {config: {epochs: 2}, ")
    once, both = (verdicts(text, tmp_path)["training_time"] for text in (TRAINED, twice))
    assert both["computed"] == pytest.approx(2 * once["computed"])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("training: {data: {size: 2T tokens}}\n", "compute.duration"),
        (
            "training: {data: {size: 2T tokens}, compute: {hardware: 4xZX81, duration: 1 day}}\n",
            "no speed of ZX81",
        ),
        (TRAINED.replace("2T tokens", "2M images"), "the data is in images"),
    ],
)
def test_training_on_unknown_terms_is_not_judged(tmp_path, spec, reason):
    made = verdicts(spec, tmp_path)["training_compute"]
    assert (made["verdict"], made["computed"]) == ("not declared", None)
    assert reason in made["formula"]


@pytest.mark.parametrize("name", sorted(devices.CLASSES))
def test_each_class_of_devices_stands_for_a_device_of_the_table(tmp_path, name):
    device = devices.target(PlainDesk(f"constraints: {{device: {name}}}\n", tmp_path))
    assert device.name == devices.CLASSES[name]
    assert device.flops > 0
    assert 0 < device.usable_memory < device.memory


def test_a_measured_speed_is_not_discounted_again(tmp_path):
    made = verdicts("constraints: {device: cpu}\n", tmp_path)["latency"]
    assert made["computed"] == pytest.approx(512 * 15e9 / 0.2e12)
    assert "torchtitan" not in made["source"]


def test_a_device_whose_memory_is_unknown_is_not_judged(tmp_path):
    made = verdicts("constraints: {device: B200, memory_budget: 80GB}\n", tmp_path)
    assert made["device_memory"]["verdict"] == "not declared"
    assert made["memory_budget"]["verdict"] == "met"


TIGHT = {
    "constraints.parameter_budget.max": "13B",
    "constraints.memory_budget": "8GB",
    "constraints.context_window": "128k",
    "constraints.throughput": "200 tok/s",
    "constraints.latency": "real-time",
    "constraints.device": "consumer_gpu",
}


def sized(tmp_path, **changed):
    """Return the design for TIGHT with some constraints changed, and its limits."""
    path = tmp_path / "tight.yaml"
    path.write_text('metagen_version: "1.0"\nname: tight\n')
    texts = TIGHT | {f"constraints.{name}": value for name, value in changed.items()}
    desk = PlainDesk.of(path)
    desk.spec = load(path, [f"{key}={value}" for key, value in texts.items()])
    published = desk.source(found.PUBLISHED)
    return desk, found.searched(decoder, need.goal(desk, decoder), published), published


@pytest.mark.parametrize("constraint", [limits.MEMORY, limits.THROUGHPUT, limits.LATENCY])
def test_each_change_that_is_named_for_a_violated_limit_is_enough(tmp_path, constraint):
    desk, best, published = sized(tmp_path)
    named = nearest.nearest(desk, best, published)[constraint].split(", or ")
    assert len(named) >= 2
    for change in named:
        key, value = change.split(" ", 1)
        _, changed, _ = sized(tmp_path, **{key: value})
        bounds = [b for b in changed.need.limits if b.constraint == constraint]
        assert bounds, change
        assert not any(bound.excess(changed.design.load) for bound in bounds), change


def test_the_nearest_context_is_the_longest_of_its_steps(tmp_path):
    desk, best, published = sized(tmp_path, throughput="null", latency="null")
    named = dict(
        change.split(" ", 1)
        for change in nearest.nearest(desk, best, published)[limits.MEMORY].split(", or ")
    )
    window = parse_context(named["context_window"])
    longer = window * 3 // 2 if window & (window - 1) == 0 else window * 4 // 3
    other = sized(tmp_path, throughput="null", latency="null", context_window=longer)[1]
    assert not other.design.fits
