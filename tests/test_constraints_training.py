"""Each verdict on a training run, against arithmetic by hand and from published figures."""

import pytest
from helpers.llama import LLAMA_2_7B, PARAMETERS, verdicts

from metagen.families.decoder import FAMILY as decoder

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
    assert carbon["computed"] == pytest.approx(energy["computed"] * 0.480)
    for source in ("arXiv:2104.10350", "uptimeinstitute", "Llama 2"):
        assert source in energy["source"]
    assert "Ember" in carbon["source"]


def test_passes_over_the_data_count(tmp_path):
    twice = TRAINED.replace("training: {", "training: {config: {epochs: 2}, ")
    once, both = (verdicts(text, tmp_path)["training_time"] for text in (TRAINED, twice))
    assert both["computed"] == pytest.approx(2 * once["computed"])


def test_what_only_the_data_decides_asks_for_nothing_else(tmp_path):
    made = verdicts("training: {compute: {hardware: 4xZX81}}\n", tmp_path)
    assert made["data_per_parameter"]["formula"] == "training.data.size is not declared"
    assert made["training_time"]["formula"] == (
        "training.data.size is not declared; no speed of ZX81 is known"
    )


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
