"""architecture.yaml and ablations.yaml: complete, with a reason for every dimension."""

import pytest
import yaml
from blueprint_desk import PlainDesk

from metagen import paths
from metagen.blueprint import ablations, architecture
from metagen.errors import SpecError
from metagen.families import decoder

SECTIONS = ["model", "data", "train", "eval", "infer"]
EXAMPLES = sorted(paths.specs().glob("text/*.yaml"))


def built(desk):
    desk.package |= architecture.work(desk)
    return yaml.safe_load(desk.package[architecture.TARGET])


def decisions(found):
    return {each["name"]: each for each in found["decisions"]}


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda p: p.stem)
def test_every_dimension_of_an_example_has_its_value_and_a_reason(spec):
    found = built(PlainDesk.of(spec))
    assert list(found) == ["family", *SECTIONS, "proxy", "decisions"]
    assert list(found["model"]) == list(decoder.dims)
    for name, value in found["model"].items():
        assert decisions(found)[name]["value"] == value
        assert len(decisions(found)[name]["reason"]) > 10


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda p: p.stem)
def test_the_proxy_is_complete_small_and_built_like_the_full_model(spec):
    found = built(PlainDesk.of(spec))
    full, proxy = found["model"], found["proxy"]["model"]
    assert list(found["proxy"]) == SECTIONS
    assert proxy["vocab_size"] == 256
    assert found["proxy"]["data"]["tokenizer"] == "byte"
    assert 0.3e6 < decoder.count(proxy) < 1.2e6
    assert proxy["tie_embeddings"] == full["tie_embeddings"]
    assert (proxy["n_heads"] > proxy["n_kv_heads"]) == (full["n_heads"] > full["n_kv_heads"])
    for top, bottom in (("d_ff", "d_model"), ("n_layers", "n_layers")):
        assert proxy[top] / proxy[bottom] == pytest.approx(full[top] / full[bottom], rel=0.1)
    width = full["n_heads"] * full["head_dim"] / full["d_model"]
    assert proxy["n_heads"] * proxy["head_dim"] / proxy["d_model"] == pytest.approx(width, rel=0.1)


def test_the_spec_alone_decides_the_bytes():
    first, second = (architecture.work(PlainDesk.of(EXAMPLES[0])) for _ in range(2))
    assert first == second


def test_the_family_s_code_is_named_as_what_the_work_depends_on(tmp_path):
    desk = PlainDesk("", tmp_path)
    architecture.work(desk)
    assert desk.modules == ["metagen.families.decoder"]


def test_training_config_flows_into_train(tmp_path):
    config = "batch_size: 32, learning_rate: 0.001, weight_decay: 0.2, warmup_steps: 7"
    found = built(PlainDesk(f"training: {{config: {{{config}}}}}\n", tmp_path))
    assert found["train"]["batch_size"] == 32
    assert found["train"]["learning_rate"] == 0.001
    assert found["train"]["weight_decay"] == 0.2
    assert found["train"]["warmup_steps"] == 7
    assert decisions(found)["train.learning_rate"]["reason"] == "declared in training.config"


def test_a_declared_setting_that_the_code_has_not_is_said_to_be_unused(tmp_path):
    text = "training: {config: {ema_decay: 0.99, optimizer: sgd, batch_size: 8}}\n"
    unused = [n for n in decisions(built(PlainDesk(text, tmp_path))) if "training.config" in n]
    assert sorted(unused) == ["training.config.ema_decay", "training.config.optimizer"]


def test_pins_are_said_to_be_pinned_and_the_seed_reaches_the_scripts(tmp_path):
    text = "architecture: {dims: {n_layers: 10}}\nreproducibility: {seed: 7}\n"
    found = built(PlainDesk(text, tmp_path))
    assert found["model"]["n_layers"] == 10
    assert decisions(found)["n_layers"]["reason"] == "pinned by architecture.dims"
    assert found["train"]["seed"] == found["proxy"]["train"]["seed"] == found["infer"]["seed"] == 7


def test_without_a_budget_the_device_decides_and_the_decision_says_so(tmp_path):
    found = built(PlainDesk("constraints: {device: mobile}\n", tmp_path))
    size = decisions(found)["parameters"]
    assert "no parameter_budget is declared" in size["reason"]
    # An iPhone of 6 GB, a third of it usable, half of that for weights of two bytes.
    assert 0.97 * 495e6 <= size["value"] <= 495e6
    assert "1.980 GB usable" in decisions(found)["memory"]["reason"]


def test_without_any_limit_the_default_size_is_said_to_be_the_default(tmp_path):
    size = decisions(built(PlainDesk("", tmp_path)))["parameters"]
    assert "the default is 125,000,000" in size["reason"]
    assert 0.97 * 125e6 <= size["value"] <= 125e6


def test_a_size_chosen_by_memory_shrinks_until_the_declared_context_fits(tmp_path):
    text = "constraints: {device: mobile, context_window: 128k}\n"
    memory = decisions(built(PlainDesk(text, tmp_path)))["memory"]
    assert "which fits" in memory["reason"]
    assert memory["value"] <= 0.33 * 6e9


def test_a_minimum_alone_is_reached(tmp_path):
    found = built(PlainDesk("constraints: {parameter_budget: {min: 50M}}\n", tmp_path))
    assert decisions(found)["parameters"]["value"] >= 50e6


def test_an_infinite_context_says_how_far_the_memory_goes(tmp_path):
    text = "constraints: {parameter_budget: {max: 1B}, memory_budget: 8GB, context_window: inf}\n"
    decision = decisions(built(PlainDesk(text, tmp_path)))["max_seq_len"]
    assert "largest power of two" in decision["reason"]
    assert decision["value"] >= 2**16


def test_what_cannot_be_built_stops_before_anything_is_written(tmp_path):
    with pytest.raises(SpecError, match=r"architecture\.family"):
        architecture.work(PlainDesk("architecture: {family: gnn}\n", tmp_path))


def test_each_ablation_changes_one_dimension_and_is_counted_exactly():
    desk = PlainDesk.of(EXAMPLES[0])
    dims = built(desk)["model"]
    variants = yaml.safe_load(ablations.work(desk)[ablations.TARGET])
    assert len(variants) >= 4
    for each in variants:
        assert len(each["change"]) == 1
        assert not each["change"].items() <= dims.items()
        assert each["parameters"] == decoder.count({**dims, **each["change"]})
        assert each["status"] == "not run"
        assert all(rule.holds({**dims, **each["change"]}) for rule in decoder.rules)
