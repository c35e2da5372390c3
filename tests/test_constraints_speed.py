"""Each verdict on latency and throughput, and the roofline, by hand and from published figures."""

import pytest
from helpers.llama import CACHE, LLAMA_2_7B, LLAMA_3_8B, TABLE, WEIGHTS, llama, verdicts
from helpers.plain_desk import PlainDesk

from metagen.errors import SpecError
from metagen.families.decoder import FAMILY as decoder
from metagen.families.demand import Cost, Use
from metagen.families.resnet import FAMILY as resnet
from metagen.sizing import devices, need
from metagen.sizing.need import DEVICE

LLAMA_2_70B = llama(8192, 80, 64, 8, 128, 28672, 32000, False)


def test_throughput_is_bandwidth_over_the_bytes_that_a_token_reads(tmp_path):
    spec = "constraints: {device: consumer_gpu, throughput: 50 tok/s}\n"
    made = verdicts(spec, tmp_path)
    read = WEIGHTS - TABLE + 512 * 131_072
    short, full = made["throughput"], made["throughput_at_full_context"]
    # llama.cpp reaches 880.9 GB/s; the kernels of PyTorch 1,397.31 of the 2,039 GB/s of an A100.
    low, high = 1397.31 / 2039 * 1008e9 / read, 880.9e9 / read  # 45.8 and 58.4 tokens a second
    assert (short["low"], short["high"]) == pytest.approx((low, high))
    assert short["computed"] == pytest.approx(high)  # as measured on the device itself
    assert (short["verdict"], full["verdict"]) == ("open", "figure")
    assert short["margin"] == pytest.approx(high / 50 - 1)
    assert full["high"] == pytest.approx(880.9e9 / (WEIGHTS - TABLE + CACHE))
    assert "GPU-Benchmarks-on-LLM-Inference" in short["source"]
    assert "llama.cpp" in short["source"]
    assert "gpt-fast" in short["source"]
    for rate, verdict in (("45 tok/s", "met"), ("59 tok/s", "violated")):
        made = verdicts(spec.replace("50 tok/s", rate), tmp_path)["throughput"]
        assert made["verdict"] == verdict


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
    line = devices.roofline(desk, devices.target(desk), decoder)
    load = decoder.demand({**dims, "max_seq_len": 1024, "weight_bits": bits, "cache_bits": 16})
    low, high = (1 / each for each in reversed(line.between(load.next, bits)))
    assert low < 1.12 * measured
    assert high == pytest.approx(measured, rel=0.12)


def test_several_devices_share_memory_and_speed(tmp_path):
    desk = PlainDesk("constraints: {device: 8xH100}\n", tmp_path)
    eight = devices.target(desk)
    assert eight.name == "8x H100-80GB-SXM"
    assert eight.usable_memory == 588_800_000_000  # 8 x 80 GB x 92%
    one = devices.by_prefix(desk, "H100")
    work = decoder.demand({**LLAMA_2_70B, "weight_bits": 16, "cache_bits": 16}).first
    shared, alone = (
        devices.roofline(desk, each, decoder).arithmetic(work) for each in (eight, one)
    )
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
    spec = "constraints: {device: consumer_gpu, throughput: 40 env steps/s}\n"
    made = verdicts(spec, tmp_path)["throughput"]
    assert (made["unit"], made["verdict"]) == ("env step/s", "met")
    with pytest.raises(SpecError, match="which is counted in env step/s"):
        verdicts(spec.replace("env steps", "tok"), tmp_path)


@pytest.mark.parametrize(
    ("declared", "verdict"),
    [
        ("real-time", "open"),
        ("near-real-time", "met"),
        ("batch", "figure"),
        ("100ms", "open"),
        ("40ms", "violated"),
    ],
)
def test_latency_is_the_time_to_read_a_prompt(tmp_path, declared, verdict):
    spec = f"constraints: {{device: RTX-4090, latency: {declared}}}\n"
    made = verdicts(spec, tmp_path)["latency"]
    # Between the measured 128 and 8,192 tokens, 512 tokens take 15.24 GFLOP each.
    flops = 512 * (15e9 + 5e9 * (512 - 128) / (8192 - 128))
    # From PyTorch's share of an H100 in training to llama.cpp's of this device.
    fast, slow = flops / 140.8e12, flops / (333.6 / 989.4 * 165.2e12)
    assert (made["low"], made["high"]) == pytest.approx((fast, slow))
    assert made["computed"] == pytest.approx(fast)  # as measured on the device itself
    assert made["verdict"] == verdict
    assert made["required"] == declared


def test_latency_of_a_slow_memory_is_the_time_to_read_the_weights(tmp_path):
    spec = "constraints: {device: RTX-4090, prompt_length: 1}\n"
    made = verdicts(spec, tmp_path)["latency"]
    assert made["low"] == pytest.approx((WEIGHTS - TABLE) / 880.9e9)


@pytest.mark.parametrize("name", sorted(devices.CLASSES))
def test_each_class_of_devices_stands_for_a_device_of_the_table(tmp_path, name):
    device = devices.target(PlainDesk(f"constraints: {{device: {name}}}\n", tmp_path))
    assert device.name == devices.CLASSES[name]
    assert device.flops > 0
    assert 0 < device.usable_memory < device.memory


def test_a_measured_speed_is_planned_by_the_measurements_of_that_device(tmp_path):
    made = verdicts("constraints: {device: cpu}\n", tmp_path)["latency"]
    flops = 512 * (15e9 + 5e9 * (512 - 128) / (8192 - 128))
    assert made["low"] == pytest.approx(flops / 0.293e12)  # ViT-B at batch 1
    assert made["high"] == pytest.approx(flops / 0.246e12)  # ViT-S
    assert "torchtitan" not in made["source"]


def test_requests_at_once_share_the_weights_that_are_read(tmp_path):
    spec = "constraints: {device: A100-80GB-SXM%s}\n"
    one, many = (verdicts(spec % more, tmp_path) for more in ("", ", batch: 32"))
    cache = 512 * 131_072  # bytes of each request's cache after the prompt
    share = 1397.31e9
    assert one["throughput"]["computed"] == pytest.approx(share / (WEIGHTS - TABLE + cache))
    read = WEIGHTS - TABLE + 32 * cache
    assert many["throughput"]["computed"] == pytest.approx(32 * share / read)
    assert many["cache"]["computed"] == 32 * CACHE
    assert many["latency"]["computed"] == pytest.approx(32 * one["latency"]["computed"])
    assert "32 requests" in many["throughput"]["formula"]


def test_14b_answers_32_requests_on_eight_h100_with_about_12000_tokens_a_second(tmp_path):
    # By hand: (28 GB of weights, of which 1.3 GB are a table that is not read, + 32 x 0.3 GB of
    # cache) / (8 x 3.35 TB/s x 0.557) is 2.5 ms a step.
    dims = llama(5120, 40, 40, 10, 128, 16384, 131072, False)
    desk = PlainDesk("constraints: {device: 8xH100}\n", tmp_path)
    line = devices.roofline(desk, devices.target(desk), decoder)
    formats = {"weight_bits": 16, "cache_bits": 16}
    load = decoder.demand({**dims, **formats}, Use(batch=32, prompt=1536))
    assert 1 / line.interval(load) == pytest.approx(12_000, rel=0.1)


def test_a_longer_prompt_takes_longer_to_the_first_output_in_parts(tmp_path):
    spec = "constraints: {device: A100-80GB-SXM, prompt_length: %s}\n"
    short, long = (verdicts(spec % n, tmp_path)["latency"] for n in ("512", "8k"))
    # 16 parts of 512 tokens, whose mean context is (8,192 + 512) / 2 tokens.
    flops = 8192 * (15e9 + 5e9 * (4352 - 128) / (8192 - 128))
    assert long["computed"] / short["computed"] > 16
    assert f"{flops:.3g} FLOP" in long["formula"]


def test_a_family_that_runs_on_one_device_is_judged_on_one(tmp_path):
    desk = PlainDesk("constraints: {device: 8xH100}\n", tmp_path)
    one, eight = (devices.shared(devices.target(desk), family) for family in (resnet, decoder))
    line = devices.roofline(desk, one, resnet)
    assert line.device.number == 1
    assert devices.roofline(desk, eight, decoder).device.number == 8
    one, eight = (
        next(b for b in need.limits(desk, family, devices.target(desk)) if b.constraint == DEVICE)
        for family in (resnet, decoder)
    )
    assert eight.allowed == 8 * one.allowed


@pytest.mark.parametrize(("heads", "d_ff", "number"), [(8, 4096, 8), (4, 4096, 4), (8, 4095, 1)])
def test_a_model_is_judged_on_as_many_devices_as_divide_it(tmp_path, heads, d_ff, number):
    device = devices.target(PlainDesk("constraints: {device: 8xH100}\n", tmp_path))
    dims = {"n_kv_heads": heads, "d_ff": d_ff}
    assert devices.shared(device, decoder, dims).number == number


def test_starting_the_operations_takes_its_time(tmp_path):
    desk = PlainDesk("constraints: {device: cpu}\n", tmp_path)
    line = devices.roofline(desk, devices.target(desk), resnet, operations=100)
    tiny = Cost(1.0, 1.0)
    low, high = line.between(tiny, 16)
    assert (low, high) == pytest.approx((148e-6, 928e-6), rel=0.01)
    # Each call starts them again.
    assert line.launches(Cost(1.0, 1.0, calls=5)) == pytest.approx(5 * line.launches(tiny))


def test_convolutions_have_measurements_of_their_own(tmp_path):
    desk = PlainDesk("constraints: {device: edge}\n", tmp_path)
    line = devices.roofline(desk, devices.target(desk), resnet)
    share = line.arithmetic_share
    assert share.low == pytest.approx(0.41 / 16.7)  # one image at a time
    assert share.high == pytest.approx(34.7 / 165.2)  # 1,024 images at a time
    assert "YOLOv8n" in share.source


def test_eight_bits_without_compilation_pass_five_bytes_a_weight(tmp_path):
    desk = PlainDesk("constraints: {device: A100-80GB-SXM}\n", tmp_path)
    share = devices.roofline(desk, devices.target(desk), decoder).shares[8]
    assert (share.high, share.low) == pytest.approx((1069.2 / 2039, 1069.2 / 2039 / 5))
    assert "without compilation" in share.source
