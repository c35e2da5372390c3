"""Each verdict on a training run, against arithmetic by hand and from published figures."""

import csv
import json
import re

import pytest
from helpers.llama import AGAIN, KEPT, LLAMA_2_7B, PARAMETERS, PASSING, TRAINING, verdicts
from helpers.plain_desk import PlainDesk

from metagen import families, paths
from metagen.families.decoder import FAMILY as decoder
from metagen.families.family import Family
from metagen.measure import memory
from metagen.sizing import need, shares

TRAINED = (
    "training: {data: {size: 2T tokens}, compute: {hardware: 256xA100-80GB-SXM, duration: 21 days}}"
)
USED = TRAINED.replace("21 days", "21 days, utilization: 0.5")
UNITS = 953_674 * 256 * 8192  # updates of 256 sequences of 8,192 tokens
NEEDED = TRAINING * UNITS * AGAIN["selective"]


def test_training_is_what_train_py_does_against_what_the_hardware_delivers(tmp_path):
    made = verdicts(USED, tmp_path)["training_compute"]
    delivered = 256 * 312e12 * 0.5 * 21 * 86400
    assert made["computed"] == pytest.approx(NEEDED)
    assert made["required"] == pytest.approx(delivered, rel=1e-2)
    assert (made["verdict"], made["relation"]) == ("violated", "delivered")
    assert made["margin"] == pytest.approx(1 - NEEDED / delivered)
    assert "953,674 updates x 256 samples x 8,192 tokens x 1.1 (selective" in made["formula"]
    assert f"6 x {PARAMETERS:,}" not in made["formula"]


def test_training_takes_so_many_days_and_the_nearest_run_is_named(tmp_path):
    made = verdicts(USED, tmp_path)["training_time"]
    days = NEEDED / (256 * 312e12 * 0.5) / 86400
    assert made["computed"] == pytest.approx(days, rel=1e-2)  # 30.6
    assert (made["low"], made["high"]) == (None, None)
    assert (made["required"], made["verdict"], made["unit"]) == ("21 days", "violated", "days")
    assert made["nearest"] == (
        "training.compute.duration 31 days, or training.compute.hardware 512xA100-80GB-SXM, "
        "or training.data.size 1.3T tokens"
    )


@pytest.mark.parametrize("change", [0, 1, 2])
@pytest.mark.parametrize("spec", [USED, TRAINED])
def test_each_change_that_is_named_for_a_training_run_is_enough(tmp_path, change, spec):
    nearest = verdicts(spec, tmp_path)["training_time"]["nearest"].split(", or ")[change]
    name, value = nearest.removeprefix("training.").split(" ", 1)
    old = {"duration": "21 days", "hardware": "256xA100-80GB-SXM", "size": "2T tokens"}
    made = verdicts(spec.replace(old[name.split(".")[1]], value), tmp_path)
    assert made["training_time"]["verdict"] == made["training_compute"]["verdict"] == "met"


def test_a_verdict_that_the_range_of_the_share_decides_is_open(tmp_path):
    share = shares.published(PlainDesk("", tmp_path), "text")
    assert 0.33 <= share.low < 0.37
    assert 0.56 <= share.high < 0.70
    days = [NEEDED / (256 * 312e12 * s) / 86400 for s in (share.high, share.low)]
    for allowed, verdict in ((days[0] - 1, "violated"), (days[0] + 1, "open"), (90, "met")):
        made = verdicts(TRAINED.replace("21 days", f"{allowed:.1f} days"), tmp_path)
        assert made["training_time"]["verdict"] == verdict
        assert made["training_compute"]["verdict"] == verdict
        assert [made["training_time"][end] for end in ("low", "high")] == pytest.approx(
            days, rel=1e-2
        )
        assert (made["training_time"]["nearest"] is None) == (verdict == "met")


@pytest.mark.parametrize("share", ["0", "1.01", "a third"])
def test_a_share_of_the_peak_is_above_zero_and_at_most_one(tmp_path, share):
    with pytest.raises(Exception, match=r"training.compute.utilization.*above 0, at most 1"):
        verdicts(USED.replace("0.5", share), tmp_path)


def test_llama_2_took_about_the_gpu_hours_that_were_published(tmp_path):
    # 184,320 hours of A100 for 7B on 2T tokens: Llama 2, section 2.2.1.
    dims = {**LLAMA_2_7B, "max_seq_len": 4096}
    made = verdicts(TRAINED, tmp_path, parameters=decoder.count(dims), **dims)["training_time"]
    hours = 256 * 24 * made["low"], 256 * 24 * made["high"]
    assert hours[0] < 184_320 * TRAINING / 46.1e9 * AGAIN["selective"] < hours[1]


def test_each_published_share_is_a_rate_times_its_operations_over_a_known_peak():
    rows = list(csv.DictReader(paths.source(shares.TABLE).read_text().splitlines()))
    of = {
        (r["run"], r["units_per_s"]): float(r["units_per_s"]) * float(r["operations_per_unit"])
        for r in rows
    }
    # By hand: six for each parameter outside the input table, the whole square of attention.
    llama = 6 * (8_030_261_248 - 128_256 * 4096) + 12 * 32 * 4096 * 8192
    again = 2 * 32 * (4096 * 1024 + 4096 * 4096 + 4096 * 14336)
    eager = of[("Llama-3.1-8B, 8,192 tokens, FSDP on 8 GPUs", "5762")]
    assert eager == pytest.approx(5762 * (llama + again), rel=1e-3)
    assert all(row["how"] and row["source"] for row in rows)
    known = re.findall(r"@\w+{(\w+),", (paths.templates() / "paper/bibliography.bib").read_text())
    assert {row["cite"] for row in rows} <= set(known)
    assert {row["kind"] for row in rows} == {"text", "images", "convolutions"}


def test_the_table_of_shares_in_the_documentation_is_current(tmp_path):
    page = (paths.PACKAGE.parent / "docs" / "sizing.md").read_text()
    desk = PlainDesk("", tmp_path)
    rows = list(csv.DictReader(paths.source(shares.TABLE).read_text().splitlines()))
    for row in rows:
        share = shares._share(desk, row)
        assert f"| {row['kind']} | {row['device']} | {row['run']} | {share:.2f} |" in page


def test_a_family_names_a_kind_of_published_runs_or_none():
    rows = csv.DictReader(paths.source(shares.TABLE).read_text().splitlines())
    kinds = {row["kind"] for row in rows} | {""}
    known = {families.named(name).arithmetic for name in families.FAMILIES}
    assert known <= kinds
    assert Family.arithmetic == ""


def test_data_stands_beside_the_compute_optimal_figure(tmp_path):
    made = verdicts(TRAINED, tmp_path)["data_per_parameter"]
    assert made["computed"] == pytest.approx(2e12 / PARAMETERS, rel=1e-3)  # 249
    assert "compute-optimal is about 20" in made["formula"]
    assert "arXiv:2203.15556" in made["source"]


def test_energy_and_carbon_are_those_of_the_time_that_training_needs(tmp_path):
    made = verdicts(USED, tmp_path)
    energy, carbon = made["training_energy"], made["training_co2"]
    hours = NEEDED / (256 * 312e12 * 0.5) / 3600
    assert energy["computed"] == pytest.approx(256 * 0.4 * hours * 1.58, rel=1e-2)
    assert carbon["computed"] == pytest.approx(energy["computed"] * 0.480, rel=1e-2)
    assert hours == pytest.approx(24 * made["training_time"]["computed"], rel=1e-2)
    longer = verdicts(USED.replace("21 days", "99 days"), tmp_path)["training_energy"]
    assert longer["computed"] == energy["computed"]
    for source in ("arXiv:2104.10350", "Uptime Institute", "A100-80GB-SXM"):
        assert source in energy["source"]
    assert "Ember" in carbon["source"]


def test_a_declared_intensity_of_the_grid_takes_the_place_of_the_average(tmp_path):
    declared = USED.replace("compute: {", "compute: {carbon_intensity: 380 g/kWh, ")
    made = verdicts(declared, tmp_path)
    energy, carbon = made["training_energy"], made["training_co2"]
    assert carbon["computed"] == pytest.approx(energy["computed"] * 0.380, rel=1e-2)
    assert "x 0.38 kg/kWh" in carbon["formula"]
    assert carbon["source"] == "380 g/kWh: training.compute.carbon_intensity of the spec"


def test_estimates_have_three_digits(tmp_path):
    made = verdicts(TRAINED, tmp_path)
    for name in ("training_time", "training_energy", "training_co2"):
        for end in ("computed", "low", "high"):
            assert made[name][end] == float(f"{made[name][end]:.3g}")


def test_passes_over_the_data_count_for_time_and_not_as_data(tmp_path):
    twice = TRAINED.replace("training: {", "training: {config: {epochs: 2}, ")
    once, both = (verdicts(text, tmp_path) for text in (TRAINED, twice))
    times = [made["training_time"]["computed"] for made in (once, both)]
    assert times[1] == pytest.approx(2 * times[0], rel=1e-2)
    data = [made["data_per_parameter"]["computed"] for made in (once, both)]
    assert data[1] == pytest.approx(data[0], rel=1e-4)
    assert "about 2 passes" in both["data_per_parameter"]["formula"]


def test_text_that_is_counted_in_characters_bounds_the_passes(tmp_path):
    text = TRAINED.replace("2T tokens", "400k characters")
    made = verdicts(text, tmp_path)["data_per_parameter"]
    passes = 20 * PARAMETERS / 400e3
    assert f"at least {passes:,.3g} passes"[:20] in made["formula"]


def test_the_epochs_of_the_task_count_where_the_spec_is_silent():
    task = families.named("vit").task
    key = {"training.data.size": "1.28M images", "constraints.image_size": None}.get
    dims = {"image_height": 224, "image_width": 224, "num_classes": 1000}
    settings = task.schedule(dims, 86_567_656, key, reduced=False)
    assert settings.steps * settings.batch == 300 * 1_280_000


def test_plan_and_verdict_name_the_same_devices_and_say_which_are_idle(tmp_path):
    text = TRAINED.replace("256xA100-80GB-SXM", "8192xH100")
    made = verdicts(text, tmp_path)
    # An update grows to 16,777,216 tokens, 2,048 sequences of 8,192, and no further.
    for name in ("training_time", "training_compute"):
        assert "2,048 x 9.894e+14 FLOP/s" in made[name]["formula"]
        assert "6,144 of 8,192 declared devices are idle" in made[name]["formula"]
    assert "2,048 x 700 W" in made["training_energy"]["formula"]
    assert "on each of 2,048 devices" in made["training_memory"]["formula"]
    fixed = text.replace("training: {", "training: {config: {batch_size: 256}, ")
    assert "256 x 9.894e+14" in verdicts(fixed, tmp_path)["training_time"]["formula"]


@pytest.mark.parametrize(
    ("devices", "batch"), [(1, 256), (256, 256), (257, 512), (512, 512), (100_000, 2048)]
)
def test_an_update_grows_until_the_devices_share_it(devices, batch):
    key = {"training.compute.hardware": f"{devices}xH100"}.get
    habits = decoder.task.habits({"max_seq_len": 131_072}, 70 * 10**9, key)
    schedule = decoder.task.schedule({"max_seq_len": 131_072}, 70 * 10**9, key, reduced=False)
    assert (habits.batch, schedule.batch) == (256, batch)
    reason = schedule.reasons(key)["train.batch_size"]
    assert ("as Llama 3 405B" in reason) == (batch > 256)


def test_seven_billion_parameters_do_not_train_on_one_a100(tmp_path):
    text = "training: {data: {size: 1T tokens}, compute: {hardware: 1xA100-80GB-SXM}}\n"
    made = verdicts(text, tmp_path)["training_memory"]
    least = 16 * PARAMETERS + sum(PASSING.values()) + KEPT["full"]
    assert made["computed"] == least > made["required"] == 73_600_000_000
    assert (made["verdict"], made["relation"]) == ("violated", "available")
    assert made["nearest"].split(", or ")[0] == "training.compute.hardware 4xA100-80GB-SXM"
    number = re.search(r"\d+xA100", made["nearest"])[0]
    text = text.replace("1xA100", number)
    assert verdicts(text, tmp_path)["training_memory"]["verdict"] == "met"
    half = text.replace(number, "2xA100")
    assert verdicts(half, tmp_path)["training_memory"]["verdict"] != "met"


def test_what_is_not_counted_of_the_memory_leaves_a_verdict_open(tmp_path):
    made = verdicts(USED, tmp_path)["training_memory"]
    states = 16 * PARAMETERS // 256
    assert made["low"] == pytest.approx(states + sum(PASSING.values()) + KEPT["selective"])
    assert made["high"] - states == pytest.approx(memory.UNCOUNTED * (made["low"] - states))


def test_what_the_plan_lacks_is_named(tmp_path):
    made = verdicts("training: {compute: {hardware: 4xZX81}}\n", tmp_path)
    assert made["training_time"]["formula"] == "no speed of ZX81 is known"
    assert made["training_memory"]["computed"] is None
    assert made["data_per_parameter"]["computed"] == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("training: {data: {size: 2T tokens}}\n", "training.compute.hardware is not declared"),
        (
            "training: {data: {size: 2T tokens}, compute: {hardware: 4xZX81, duration: 1 day}}\n",
            "no speed of ZX81",
        ),
        (
            "training: {data: {size: 2T tokens}, compute: {hardware: 8xA100}}\n",
            "training.compute.duration is not declared",
        ),
    ],
)
def test_training_on_unknown_terms_is_not_judged(tmp_path, spec, reason):
    made = verdicts(spec, tmp_path)["training_compute"]
    assert made["verdict"] == "not declared"
    assert reason in made["formula"]


def sized(folder, training, family="decoder"):
    made = need.needs(
        PlainDesk(f"training: {json.dumps(training)}\n", folder), families.named(family)
    )
    return made[0].budget, made[0].reason


def test_compute_alone_sizes_a_model_to_its_compute_optimum(tmp_path):
    compute = {"hardware": "8xH100", "duration": "24 hours"}
    size, reason = sized(tmp_path, {"compute": {**compute, "utilization": 0.33}})
    operations = 8 * 989.4e12 * 0.33 * 86400
    assert size == pytest.approx((operations / 120) ** 0.5)  # 1.37B
    assert 6 * size * 20 * size == pytest.approx(operations)
    for part in ("33% of 9.894e+14", "2.26e+20 FLOP", "C = 6ND", "D = 20 N", "2.74e+10 tokens"):
        assert part in reason
    assert "arXiv:2203.15556" in reason
    assert sized(tmp_path, {"compute": compute})[0] == pytest.approx(1.4e9, rel=0.05)


def test_data_alone_sizes_a_model_to_its_compute_optimum(tmp_path):
    size, reason = sized(tmp_path, {"data": {"size": "100B tokens"}})
    assert size == 5 * 10**9
    assert "D = 20 N" in reason


def test_of_data_and_compute_the_scarcer_one_decides(tmp_path):
    compute = {"hardware": "8xH100", "duration": "24 hours", "utilization": 0.33}
    operations = 8 * 989.4e12 * 0.33 * 86400
    few = sized(tmp_path, {"data": {"size": "10B tokens"}, "compute": compute})[0]
    many = sized(tmp_path, {"data": {"size": "100B tokens"}, "compute": compute})[0]
    assert few == 10e9 / 20
    assert many == pytest.approx(operations / 6 / 100e9)


def test_a_family_without_a_rule_keeps_the_default(tmp_path):
    training = {"data": {"size": "10M images"}}
    size, reason = sized(tmp_path, training, "vit")
    assert size == need.DEFAULT_BUDGET
    assert "no compute-optimal size is published for vit" in reason
    assert sized(tmp_path, {"data": {"size": "10M images"}})[0] == need.DEFAULT_BUDGET
