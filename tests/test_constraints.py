"""Each verdict, against arithmetic worked out by hand for Llama-3-8B."""

import json

import pytest
from blueprint_desk import PlainDesk
from test_families import LLAMA_3_8B

from metagen.blueprint import constraints, devices

PARAMETERS = 8_030_261_248
WEIGHTS = 16_060_522_496
CACHE = 131_072 * 8192  # bytes a token, at a window of 8,192 tokens
SUM = 17_134_264_320


def verdicts(spec, folder, window=8192):
    desk = PlainDesk(spec, folder)
    dims = {**LLAMA_3_8B, "max_seq_len": window}
    points = [
        {"sequence_length": 128, "forward_per_token": 15e9},
        {"sequence_length": 8192, "forward_per_token": 20e9},
    ]
    flops = {"training_per_token": 48e9, "points": points}
    desk.package = {
        "blueprint/architecture.yaml": b"family: decoder\n",
        "blueprint/graph.json": json.dumps({"config": dims}).encode(),
        "blueprint/params.json": json.dumps({"total": PARAMETERS}).encode(),
        "blueprint/flops.json": json.dumps(flops).encode(),
    }
    found = json.loads(constraints.work(desk)[constraints.TARGET])
    return {each["constraint"]: each for each in found}


def test_nothing_declared_is_nothing_judged(tmp_path):
    found = verdicts("", tmp_path)
    assert list(found) == [
        "parameter_budget.max", "parameter_budget.min", "memory_budget", "device_memory",
        "context_window", "throughput", "latency", "training_compute",
    ]  # fmt: skip
    assert {each["verdict"] for each in found.values()} == {"not declared"}
    assert {each["required"] for each in found.values()} == {None}
    assert found["memory_budget"]["computed"] == SUM


def test_the_parameter_budget_is_held_from_both_sides(tmp_path):
    text = "constraints: {parameter_budget: {max: 10B, min: 9B}}\n"
    found = verdicts(text, tmp_path)
    most, least = found["parameter_budget.max"], found["parameter_budget.min"]
    assert (most["verdict"], least["verdict"]) == ("met", "violated")
    assert most["margin"] == pytest.approx(1 - PARAMETERS / 10e9)
    assert least["margin"] == pytest.approx(PARAMETERS / 9e9 - 1)


def test_memory_is_weights_in_bf16_and_the_cache_at_the_full_context(tmp_path):
    assert SUM == WEIGHTS + CACHE == 2 * PARAMETERS + CACHE
    found = verdicts("constraints: {memory_budget: 16GB, device: A100-40GB-SXM}\n", tmp_path)
    budget, device = found["memory_budget"], found["device_memory"]
    assert (budget["computed"], budget["verdict"]) == (SUM, "violated")
    assert budget["margin"] == pytest.approx(1 - SUM / 16e9)
    assert "2 x 8,030,261,248" in budget["formula"]
    assert "1,073,741,824 at 8,192 tokens = 17,134,264,320" in budget["formula"]
    # 92% of the 40 GB of the smaller A100.
    assert (device["required"], device["verdict"]) == (36_800_000_000, "met")


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


def test_throughput_is_bandwidth_over_the_bytes_of_a_token(tmp_path):
    spec = "constraints: {device: consumer_gpu, throughput: 30 tok/s}\n"
    found = verdicts(spec, tmp_path)["throughput"]
    assert found["computed"] == pytest.approx(0.685 * 1008e9 / SUM)  # 40.3 tokens a second
    assert found["verdict"] == "met"
    assert found["margin"] == pytest.approx(0.685 * 1008e9 / SUM / 30 - 1)
    assert "gpt-fast" in found["source"]


def test_a_rate_of_something_else_is_not_judged(tmp_path):
    spec = "constraints: {device: consumer_gpu, throughput: 2 img/s}\n"
    found = verdicts(spec, tmp_path)["throughput"]
    assert (found["verdict"], found["computed"]) == ("not declared", None)
    assert "tok/s" in found["formula"]


@pytest.mark.parametrize(
    ("declared", "verdict"),
    [("real-time", "violated"), ("near-real-time", "met"), ("batch", "met"), ("100ms", "violated")],
)
def test_latency_is_the_time_to_read_a_prompt(tmp_path, declared, verdict):
    spec = f"constraints: {{device: RTX-4090, latency: {declared}}}\n"
    found = verdicts(spec, tmp_path)["latency"]
    # The length measured nearest to 512 tokens is 128.
    assert found["computed"] == pytest.approx(512 * 15e9 / (0.33 * 165.2e12))  # 0.141 s
    assert found["verdict"] == verdict
    assert found["required"] == declared


def test_latency_of_a_slow_memory_is_the_time_to_read_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(constraints, "PROMPT", 1)
    found = verdicts("constraints: {device: RTX-4090}\n", tmp_path)["latency"]
    assert found["computed"] == pytest.approx(WEIGHTS / (0.685 * 1008e9))


def test_training_is_the_flops_of_the_data_against_those_of_the_hardware(tmp_path):
    spec = "training: {data: {size: 2T tokens}, compute: {hardware: 256xA100, duration: 21 days}}\n"
    found = verdicts(spec, tmp_path)["training_compute"]
    delivered = 256 * 312e12 * 0.33 * 21 * 86400
    assert found["required"] == pytest.approx(delivered)
    assert found["computed"] == pytest.approx(48e9 * 2e12)
    assert found["verdict"] == "violated"
    assert found["margin"] == pytest.approx(1 - 9.6e22 / 4.7823519744e22)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("training: {data: {size: 2T tokens}}\n", "compute.hardware, compute.duration"),
        (
            "training: {data: {size: 2T tokens}, compute: {hardware: 4xZX81, duration: 1 day}}\n",
            "no figures for ZX81",
        ),
    ],
)
def test_training_on_unknown_terms_is_not_judged(tmp_path, spec, reason):
    found = verdicts(spec, tmp_path)["training_compute"]
    assert (found["verdict"], found["computed"]) == ("not declared", None)
    assert reason in found["formula"]


@pytest.mark.parametrize("name", sorted(devices.CLASSES))
def test_each_class_of_devices_stands_for_a_device_of_the_table(tmp_path, name):
    device = devices.target(PlainDesk(f"constraints: {{device: {name}}}\n", tmp_path))
    assert device.name == devices.CLASSES[name]
    assert device.flops > 0
    assert 0 < device.usable_memory < device.memory


def test_a_measured_speed_is_not_discounted_again(tmp_path):
    found = verdicts("constraints: {device: cpu}\n", tmp_path)["latency"]
    assert found["computed"] == pytest.approx(512 * 15e9 / 0.2e12)
    assert "torchtitan" not in found["source"]


def test_a_device_whose_memory_is_unknown_is_not_judged(tmp_path):
    found = verdicts("constraints: {device: B200, memory_budget: 80GB}\n", tmp_path)
    assert found["device_memory"]["verdict"] == "not declared"
    assert found["memory_budget"]["verdict"] == "met"
