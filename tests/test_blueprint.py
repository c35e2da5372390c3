"""architecture.yaml and ablations.yaml: complete, with a reason for every dimension."""

import json

import pytest
import yaml
from helpers.plain_desk import PlainDesk

from metagen import families, paths
from metagen.errors import SpecError
from metagen.families import ablations
from metagen.families.decoder import FAMILY as decoder
from metagen.sizing import alternatives, architecture, search
from metagen.spec import load

SECTIONS = ["model", "data", "train", "eval", "infer"]
EIGHT = paths.specs() / "text" / "text_llm_8b.yaml"
SPECS = sorted(paths.specs().rglob("*.yaml"))
EXAMPLES = [path for path in SPECS if families.route(load(path).key) == "decoder"]


def built(desk):
    desk.package |= architecture.work(desk)
    return yaml.safe_load(desk.package[architecture.TARGET])


def decisions(made):
    return {each["name"]: each for each in made["decisions"]}


def limits(desk):
    return {each["name"]: each for each in architecture.limits(search.solution(desk))}


def test_a_decision_is_no_verdict_since_those_are_about_the_measured_model():
    desk = PlainDesk.of(EIGHT)
    assert limits(desk).keys() >= {"memory_budget", "throughput"}
    assert not limits(desk).keys() & decisions(built(desk)).keys()


@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.stem)
def test_every_dimension_of_an_example_has_its_value_and_a_reason(spec):
    made = built(PlainDesk.of(spec))
    assert list(made) == ["family", *SECTIONS, "proxy", "decisions"]
    dims = families.named(made["family"]).dims
    assert list(made["model"]) == [name for name in dims if name in made["model"]]
    for name, value in made["model"].items():
        assert decisions(made)[name]["value"] == value
        assert len(decisions(made)[name]["reason"]) > 10


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda p: p.stem)
def test_the_proxy_is_complete_small_and_built_like_the_full_model(spec):
    made = built(PlainDesk.of(spec))
    full, proxy = made["model"], made["proxy"]["model"]
    assert list(made["proxy"]) == SECTIONS
    assert proxy["vocab_size"] == 1024
    assert made["proxy"]["data"]["tokenizer"] == "bpe"
    assert 0.3e6 < decoder.count(proxy) < 1.2e6
    assert (proxy["n_heads"] > proxy["n_kv_heads"]) == (full["n_heads"] > full["n_kv_heads"])
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
    made = built(PlainDesk(f"training: {{config: {{{config}}}}}\n", tmp_path))
    assert made["train"]["batch_size"] == 32
    assert made["train"]["learning_rate"] == 0.001
    assert made["train"]["weight_decay"] == 0.2
    assert made["train"]["warmup_steps"] == 7
    assert decisions(made)["train.learning_rate"]["reason"] == "declared in training.config"


def test_a_declared_setting_that_the_code_has_not_is_reported_as_unused(tmp_path):
    text = "training: {config: {ema_decay: 0.99, timesteps: 9, batch_size: 8}}\n"
    unused = [n for n in decisions(built(PlainDesk(text, tmp_path))) if "training.config" in n]
    assert sorted(unused) == ["training.config.ema_decay", "training.config.timesteps"]


def test_pins_have_pins_as_their_reason_and_the_seed_reaches_the_scripts(tmp_path):
    text = "architecture: {dims: {n_layers: 10}}\nreproducibility: {seed: 7}\n"
    made = built(PlainDesk(text, tmp_path))
    assert made["model"]["n_layers"] == 10
    assert decisions(made)["n_layers"]["reason"] == "pinned by architecture.dims"
    assert made["train"]["seed"] == made["proxy"]["train"]["seed"] == made["infer"]["seed"] == 7


def test_without_a_budget_the_device_decides_and_the_decision_says_so(tmp_path):
    made = built(PlainDesk("constraints: {device: mobile}\n", tmp_path))
    size = decisions(made)["parameters"]
    assert "no parameter_budget is declared" in size["reason"]
    # An iPhone of 6 GB, a third of it usable, half of that for weights of two bytes.
    assert 0.99 * 495e6 <= size["value"] <= 495e6


def test_without_any_limit_the_default_size_is_reported_as_the_default(tmp_path):
    size = decisions(built(PlainDesk("", tmp_path)))["parameters"]
    assert "the default is 125,000,000" in size["reason"]
    assert 0.99 * 125e6 <= size["value"] <= 125e6


def test_a_size_chosen_by_memory_shrinks_until_the_declared_context_fits(tmp_path):
    text = "constraints: {device: mobile, context_window: 128k}\n"
    memory = limits(PlainDesk(text, tmp_path))["device_memory"]
    assert "1.980 GB are usable" in memory["reason"]
    assert memory["reason"].endswith(": met")
    assert memory["value"] <= 0.33 * 6e9


def test_a_minimum_alone_is_reached(tmp_path):
    made = built(PlainDesk("constraints: {parameter_budget: {min: 50M}}\n", tmp_path))
    assert decisions(made)["parameters"]["value"] >= 50e6


def test_an_infinite_context_says_how_far_the_memory_goes(tmp_path):
    text = "constraints: {parameter_budget: {max: 1B}, memory_budget: 8GB, context_window: inf}\n"
    decision = decisions(built(PlainDesk(text, tmp_path)))["max_seq_len"]
    assert "largest power of two" in decision["reason"]
    assert decision["value"] >= 2**16


def test_what_cannot_be_built_stops_before_anything_is_written(tmp_path):
    with pytest.raises(SpecError, match=r"architecture\.family"):
        architecture.work(PlainDesk("architecture: {family: gnn}\n", tmp_path))


@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.stem)
def test_each_ablation_changes_one_thing_and_is_counted_exactly(spec):
    desk = PlainDesk.of(spec)
    made = built(desk)
    family = families.named(made["family"])
    listed = yaml.safe_load(architecture.ablated(desk)[architecture.ABLATIONS])
    assert [each["name"] for each in listed] == list(ablations.names(family))
    for size, sections in (("full", made), ("proxy", made["proxy"])):
        possible = [each[size] for each in listed if "change" in each[size]]
        assert len(possible) >= 2
        for each in possible:
            assert 1 <= len(each["change"]) <= 2  # some dimensions go together
            changed = ablations.Ablation("", each["change"]).apply(sections)
            assert changed != {name: sections[name] for name in ablations.SECTIONS}
            assert each["parameters"] == family.count(changed["model"])
            assert not any(rule.broken(changed["model"]) for rule in family.rules)
        others = [each[size] for each in listed if "change" not in each[size]]
        assert all(len(each["not possible"]) > 10 for each in others)


def test_a_lever_is_reasoned_with_both_figures():
    made = decisions(built(PlainDesk.of(EIGHT)))
    attention, weights = made["global_every"]["reason"], made["weight_bits"]["reason"]
    # 30 layers of 8 heads of 128 over 262,144 tokens are 32.2 GB in bf16.
    assert attention.startswith("local:global 3:1, window 4,096: full attention would mean 38")
    assert "cache 32.2 GB" in attention
    assert attention.endswith("memory_budget allows 16.00 GB")
    assert "weights in 16 bits would mean 15.0 GB to read for each tok" in weights
    assert weights.endswith("a throughput of 120 tok/s is required")


@pytest.mark.parametrize(
    ("spec", "bound"),
    [
        ("multimodal/multimodal_clip.yaml", "operations for each img"),  # 5.99 ms, reads 1.71 ms
        ("text/text_llm_8b.yaml", "to read for each tok"),
    ],
)
def test_a_rate_is_reasoned_with_what_bounds_it(spec, bound):
    assert bound in limits(PlainDesk.of(paths.specs() / spec))["throughput"]["reason"]


def test_an_8b_model_for_16_gb_and_256k_tokens_is_what_a_specialist_would_take():
    made = built(PlainDesk.of(EIGHT))
    model, infer = made["model"], made["infer"]
    assert (model["d_model"], model["n_heads"], model["n_kv_heads"]) == (4096, 32, 8)
    assert 28 <= model["n_layers"] <= 36
    assert (model["window"], model["global_every"]) == (4096, 4)
    assert (infer["weight_bits"], infer["cache_bits"]) == (4, 16)


def test_formats_stand_in_infer_and_the_proxy_decodes_as_it_trained():
    made = built(PlainDesk.of(EIGHT))
    assert "weight_bits" not in made["model"]
    assert (made["proxy"]["infer"]["weight_bits"], made["proxy"]["infer"]["cache_bits"]) == (
        16,
        16,
    )


def test_a_local_design_has_a_local_proxy_and_a_plain_one_a_plain_one(tmp_path):
    local, plain = built(PlainDesk.of(EIGHT)), built(PlainDesk("", tmp_path))
    assert local["proxy"]["model"]["window"] < local["proxy"]["data"]["seq_len"]
    assert local["proxy"]["model"]["global_every"] <= local["proxy"]["model"]["n_layers"]
    for made in (plain["model"], plain["proxy"]["model"]):
        assert not {"window", "global_every"} & set(made)


def test_a_step_of_each_declared_constraint_is_searched(tmp_path):
    text = "constraints: {parameter_budget: {max: 1B}, memory_budget: 2GB, context_window: 32k}\n"
    made = json.loads(alternatives.sensitivity(PlainDesk(text, tmp_path))[alternatives.TARGET])
    steps = [(each["constraint"], each["value"]) for each in made["steps"]]
    assert steps == [
        ("parameter_budget.max", 750_000_000), ("parameter_budget.max", 1_250_000_000),
        ("memory_budget", 1_500_000_000), ("memory_budget", 2_500_000_000),
        ("context_window", 16384), ("context_window", 65536),
    ]  # fmt: skip
    assert "memory_budget" in made["binding"]
    for each in (made["specified"], *made["steps"]):
        parts = each["memory"]
        assert parts["total"] == parts["weights"] + parts["cache"] + parts["activations"]


def test_a_step_tells_what_the_search_would_give_for_that_spec(tmp_path):
    text = "constraints: {parameter_budget: {max: 1B}, memory_budget: 2GB, context_window: 32k}\n"
    made = json.loads(alternatives.sensitivity(PlainDesk(text, tmp_path))[alternatives.TARGET])
    looser = next(s for s in made["steps"] if s["value"] == 2_500_000_000)
    other = built(PlainDesk(text.replace("2GB", "2500MB"), tmp_path))
    everything = {**other["model"], **other["infer"]}
    assert decisions(other)["parameters"]["value"] == looser["parameters"]
    for change in looser["changes"]:
        assert everything.get(change["name"], "none") == change["to"]


def test_an_ample_memory_does_not_bind(tmp_path):
    text = "constraints: {parameter_budget: {max: 1B}, memory_budget: 200GB}\n"
    made = json.loads(alternatives.sensitivity(PlainDesk(text, tmp_path))[alternatives.TARGET])
    assert made["binding"] == ["parameter_budget.max"]
