"""Each verdict on latency and throughput, and the roofline, by hand and from published figures."""

import pytest
from helpers.llama import CACHE, LLAMA_2_7B, LLAMA_3_8B, TABLE, WEIGHTS, llama, verdicts
from helpers.plain_desk import PlainDesk

from metagen.errors import SpecError
from metagen.families.decoder import FAMILY as decoder
from metagen.sizing import devices, need

LLAMA_2_70B = llama(8192, 80, 64, 8, 128, 28672, 32000, False)


def test_throughput_is_bandwidth_over_the_bytes_that_a_token_reads(tmp_path):
    spec = "constraints: {device: consumer_gpu, throughput: 50 tok/s}\n"
    made = verdicts(spec, tmp_path)
    read = WEIGHTS - TABLE + 512 * 131_072
    short, full = made["throughput"], made["throughput_at_full_context"]
    assert short["computed"] == pytest.approx(880.9e9 / read)  # 58.4 tokens a second
    assert (short["verdict"], full["verdict"]) == ("met", "figure")
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
    line = devices.roofline(desk, devices.target(desk))
    load = decoder.demand({**dims, "max_seq_len": 1024, "weight_bits": bits, "cache_bits": 16})
    assert 1 / line.seconds(load.next, bits) == pytest.approx(measured, rel=0.12)


def test_several_devices_share_memory_and_speed(tmp_path):
    desk = PlainDesk("constraints: {device: 8xH100}\n", tmp_path)
    eight = devices.target(desk)
    assert eight.name == "8x H100-80GB-SXM"
    assert eight.usable_memory == 588_800_000_000  # 8 x 80 GB x 92%
    one = devices.named(desk, "H100")
    work = decoder.demand({**LLAMA_2_70B, "weight_bits": 16, "cache_bits": 16}).first
    shared, alone = (devices.roofline(desk, each).arithmetic(work) for each in (eight, one))
    assert alone == pytest.approx(8 * shared)


@pytest.mark.parametrize("device", ["consumer_gpu", "null"])
@pytest.mark.parametrize("declared", ["2 img/s", "12 tk/s", "30fps", "9 env steps/s"])
def test_a_rate_of_something_else_is_refused_with_what_the_model_counts(tmp_path, device, declared):
    desk = PlainDesk(f"constraints: {{device: {device}, throughput: {declared}}}\n", tmp_path)
    with pytest.raises(SpecError, match="which is counted in tok/s") as error:
        need.limits(desk, decoder, devices.target(desk))
    assert error.value.problems[0].place == "constraints.throughput"


def test_a_family_may_count_any_thing(tmp_path, monkeypatch):
    monkeypatch.setattr(type(decoder.task), "work_unit", "env steps")
    spec = "constraints: {device: consumer_gpu, throughput: 50 env steps/s}\n"
    made = verdicts(spec, tmp_path)["throughput"]
    assert (made["unit"], made["verdict"]) == ("env step/s", "met")
    with pytest.raises(SpecError, match="which is counted in env step/s"):
        verdicts(spec.replace("env steps", "tok"), tmp_path)


@pytest.mark.parametrize(
    ("declared", "verdict"),
    [
        ("real-time", "violated"),
        ("near-real-time", "met"),
        ("batch", "figure"),
        ("100ms", "violated"),
    ],
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
