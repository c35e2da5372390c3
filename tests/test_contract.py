"""What every family and its task keep: exact figures, filled budgets, code that trains and resumes.

A family is taken at the dimensions of a spec that metagen ships, full and scaled down. Networks are
built without their numbers, on the meta device, wherever no number is needed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from helpers import bound, documents
from helpers.building import fake_measurements
from helpers.family_code import Held, spec_paths
from helpers.generated import same_checkpoint
from helpers.made import Made, making, run
from helpers.pinned_designs import designs
from helpers.plain_desk import PlainDesk
from helpers.turns import in_turn
from huggingface_hub import DatasetCard, ModelCard
from torch.utils.flop_counter import FlopCounterMode

from metagen import families
from metagen.docs.facts import Facts
from metagen.engine import graph
from metagen.families import ablations, effects
from metagen.measure import probe_worker, sandbox
from metagen.release import hub, smoke, smoke_worker
from metagen.sizing import search
from metagen.trained import header, model, results
from metagen.work import Desk

SIZES = ("full", "proxy")
HALF = 2  # bytes of a number in bf16


@pytest.fixture(scope="module", params=families.FAMILIES)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    with making(request.param, tmp_path_factory.mktemp(request.param)) as each:
        yield each


def test_every_family_has_a_spec() -> None:
    assert spec_paths().keys() == families.FAMILIES.keys()


# Counts, operations and bytes


def test_the_closed_form_is_the_count_of_the_network(made: Made) -> None:
    for dims in designs(made):
        assert made.network(dims).num_params() == made.family.count(dims), dims


@pytest.mark.slow
@pytest.mark.ci
def test_the_closed_form_is_the_count_of_each_ablation(made: Made) -> None:
    proxy = made.dims("proxy")
    for changed in ablations.variants(made.family, proxy).values():
        dims = {**proxy, **changed}
        assert made.network(dims).num_params() == made.family.count(dims), dims


def test_the_probe_names_each_tensor_of_a_checkpoint(made: Made) -> None:
    network = made.network(made.dims("full"))
    found = probe_worker._tensors(network)
    texts = {**found["parameters"], **found["others"]}
    assert set(texts) == {network.checkpoint_name(name) for name in network.state_dict()}
    counts = [header.Tensor.of(text).count for text in found["parameters"].values()]
    assert sum(counts) == made.family.count(made.dims("full"))


# A pass over a whole context hides the head that reads one of its positions: the closed form leaves
# it out.
POOLED = dict.fromkeys(
    ("text_classifier", "text_regressor", "document_ranker"), ("pooler", "classifier")
)


# Layers that only repeat are counted a few times, since torch takes seconds for so many.
REPEATED = {"upper_layers": 2, "lowest_layers": 2, "n_layers": 6}


def test_the_operations_of_a_pass_are_those_that_torch_counts(made: Made) -> None:
    for whole in designs(made):
        dims = {
            **whole,
            **{n: min(n_most, whole[n]) for n, n_most in REPEATED.items() if n in whole},
        }
        model = made.network(dims)
        with torch.device("meta"):
            inputs = made.inputs(dims)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(*inputs)
        weights = dict(model.named_parameters())
        heads = [weights[f"{part}.weight"] for part in POOLED.get(made.family.name, ())]
        counted = counter.get_total_flops() - 2 * sum(head.numel() for head in heads)
        demand = made.family.demand(dims)
        assert demand.first.flops == demand.passes * counted, dims


def test_a_step_of_training_is_counted_without_numbers(made: Made) -> None:
    data, config = made.settings()
    count, train = made.code["runtime.flops"].sample_flops, made.code["train"]
    with torch.device("meta"):
        network = made.code["model"].Model(config)  # in training mode, as train.py counts it
        assert count(lambda samples: train.example_loss(network, samples, data)) > 0


@pytest.mark.parametrize("size", SIZES)
def test_the_weights_are_parameters_and_statistics_in_bf16(made: Made, size: str) -> None:
    dims = made.dims(size)
    model = made.network(dims)
    kept = model.state_dict()
    statistics = [
        kept[n] for n, each in model.named_buffers() if n in kept and each.is_floating_point()
    ]
    numbers = model.num_params() + sum(each.numel() for each in statistics)
    demand = made.family.demand(dims)
    assert demand.weights * 16 == HALF * numbers * demand.weight_bits


# What the code holds at most on one input, as a share of the closed form's numbers at float32.
# 1 is exact. Transformers keep what attention or its normalization copies beside the largest sum,
# which the closed form leaves to fused kernels; a U-Net or an MLP with a skip releases, in
# inference, some of what the form keeps for the widest place.
SHARE_HELD: dict[str, tuple[float, float]] = {
    "segmentation_unet": (1.0, 1.0),
    "yolox": (1.0, 1.0),
    "autoencoder": (1.0, 1.0),
    "clip": (1.0, 1.01),  # the tokens and the temperature
    "patch_forecaster": (1.0, 1.01),  # the mean and the deviation of the input
    "patch_classifier": (1.0, 1.02),  # the mean and the deviation of the input
    "decoder": (1.0, 1.2),
    "text_classifier": (1.0, 1.5),
    "text_regressor": (1.0, 1.5),
    "sentence_embedder": (1.0, 1.5),
    "document_ranker": (1.0, 1.5),
    "vit": (1.0, 1.2),
    "vit_embedder": (1.0, 1.2),
    "vit_regressor": (1.0, 1.2),
    "resnet": (0.8, 1.0),
    "resnet_regressor": (0.8, 1.0),
    "unet_diffusion": (0.6, 1.0),
    "latent_unet": (0.7, 1.0),
    "tabular_regressor": (0.5, 1.0),
    "tabular_classifier": (0.5, 1.0),
    "rt_detr": (0.95, 1.0),
    # The form has the samples of the codec, which a pass over tokens does not hold; what the codec
    # holds is a test of the family.
    "musicgen": (0.5, 0.6),
}


def test_a_pass_holds_what_memory_was_planned_for(made: Made) -> None:
    dims = made.dims("proxy")
    model, inputs = made.model(dims), made.inputs(dims)
    weights = [*model.parameters(), *model.buffers()]
    with torch.no_grad(), Held(weights) as held:
        model(*inputs)
    least, most = SHARE_HELD.get(made.family.name, (0.6, 1.5))
    planned = 4 / HALF * made.family.demand(dims).activations
    # The form of a Vision Transformer holds the image beside a block.
    own = sum(each.nbytes for each in inputs) if made.family.published.endswith("/vit.csv") else 0
    assert least <= (held.most + own) / planned <= most


def test_what_the_check_of_a_release_draws_passes_through_the_network(made: Made) -> None:
    dims = made.dims("proxy")
    shapes = smoke.example(made.family, dims)
    task = {"inputs": shapes, "vocabulary": dims.get("vocab_size"), "class": None}
    with torch.no_grad():
        out = made.model(dims)(*smoke_worker._inputs(task))
    assert smoke_worker._first(out).isfinite().all()


# Dimensions and their reasons


def test_each_dimension_has_a_reason_and_each_reason_is_of_the_value_that_was_taken(
    made: Made,
) -> None:
    full = made.sections("full")
    reasons = {each["name"]: each for each in full["decisions"]}
    assert {*full["model"], *made.formats, "parameters"} <= reasons.keys()
    assert {f"train.{name}" for name in ("steps", "batch_size", "learning_rate")} <= reasons.keys()
    assert all(len(reasons[name]["reason"]) > 10 for name in full["model"])
    assert all(each["reason"].strip() for each in reasons.values())
    values = {**full["model"], **{name: full["infer"][name] for name in made.formats}}
    sections = ("data", "train", "eval", "infer")
    values |= {f"{s}.{name}": value for s in sections for name, value in full[s].items()}
    for name, each in reasons.items():
        if name in values or name.partition(".")[0] in sections:
            assert each["value"] == values[name], name


def test_the_rules_hold_for_the_design_the_proxy_and_the_ablations(made: Made) -> None:
    rules = made.family.rules
    for size in SIZES:
        dims = made.dims(size)
        each = [
            dims,
            *({**dims, **changed} for changed in ablations.variants(made.family, dims).values()),
        ]
        assert not [(rule, m) for m in each for rule in rules if rule.broken(m)]
    assert len(ablations.variants(made.family, made.dims("full"))) >= 1


def test_a_spec_fills_its_budget_and_keeps_what_it_fixes(made: Made) -> None:
    dims, allowed = made.dims("full"), made.desk.key("constraints.parameter_budget.max")
    assert made.family.fixed(made.desk.key).items() <= dims.items()
    if allowed is not None:
        assert 0.97 <= made.family.count(made.sections("full")["model"]) / allowed <= 1


MOST_CANDIDATES = 10_000


def test_the_search_for_a_spec_counts_few_candidates(made: Made) -> None:
    assert search.solution(made.desk).design.candidates <= MOST_CANDIDATES


# Documents

# The documents with words of a family or of its task.
CARDS = (
    *("docs:model_card", "docs:data_card", "docs:eval_report", "docs:limitations", "docs:launch"),
)
PROSE = (
    *CARDS,
    "paper:architecture",
    "paper:training",
    "paper:evaluation",
)


@pytest.mark.parametrize(
    "made", in_turn(families.FAMILIES, "decoder", "resnet", "ppo"), indirect=True
)
def test_cards_and_sections_of_the_paper_miss_no_fact(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    tasks = graph.of_spec(made.desk.spec, None)
    prose = [recipe for recipe in tasks.recipes if recipe.name in PROSE]
    desk = PlainDesk.of(spec_paths()[made.family.name])
    for recipe in tasks.in_order(prose):
        desk.package |= recipe.work(desk)
    texts = {r.targets[0]: desk.package[r.targets[0]].decode() for r in prose}
    assert len(texts) == len(PROSE)
    assert not [
        name
        for name, text in texts.items()
        # An author in BibTeX has two braces.
        if re.search(r"\{\{|\{% |\\VAR\{|needed]", documents.prose(text))
    ]
    # A conditional passage at the end of a line takes the space to the next sentence with it.
    joined = re.compile(r"[a-z)$]\.[A-Z][a-z]* [a-z]")
    assert [
        found for text in texts.values() for found in joined.findall(documents.prose(text))
    ] == []
    # A table that compares the design with published models has a figure of it in each column.
    own = json.loads(desk.package["blueprint/peers.json"])["own"]["values"]
    assert own
    assert None not in own
    assert made.family.kind in texts["README.md"]
    every = {target for recipe in tasks.recipes for target in recipe.targets}
    facts = Facts(cast(Desk, desk))
    said = [str(facts.get(f"derived.{name}").value) for name in ("judgement", "risks")]
    decided = desk.entry(families.ARCHITECTURE, "decisions")
    said += [each["reason"] for each in decided if each["reason"].startswith(effects.UNUSED)]
    cards = {r.targets[0]: texts[r.targets[0]] for r in prose if r.name in CARDS}
    for name, text in cards.items():
        assert documents.empty_phrases(text) == [], name
        assert documents.empty_sections(text) == [], name
        assert documents.dangling(name, text, every) == [], name
        assert (ModelCard if name == "README.md" else DatasetCard)(text).content
    assert documents.repeated(cards, said) == []
    assert hub.problems(texts["README.md"]) == []


# Scripts

STEPS = ("--schedule-steps", "8", "--threads", "1")


@pytest.mark.slow
@pytest.mark.ci
def test_a_proxy_resumes_bit_for_bit_and_is_scored(made: Made, tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    run(made.folder, "train", "--out", straight, "--steps", 6, *STEPS)
    run(made.folder, "train", "--out", resumed, "--steps", 3, *STEPS)
    run(made.folder, "train", "--out", resumed, "--steps", 6, *STEPS, "--resume")
    assert same_checkpoint(straight / "checkpoint", resumed / "checkpoint")
    first, second = json.loads((resumed / "run.json").read_text())["starts"]
    assert first["data"] == second["data"]
    assert min(first["data"]["splits"].values()) > 0
    report = json.loads(run(made.folder, "eval", "--out", straight, "--threads", 1))
    assert (report["dataset"], report["sha256"]) == (first["data"]["name"], first["data"]["sha256"])
    assert report["checkpoint_step"] == 6
    assert made.family.task.metrics
    reported = [each["metric"] for each in report["metrics"]]
    for name in made.family.task.metrics:
        assert any(effects.is_part(name, each) for each in reported)
    assert all(metric["baselines"] for metric in report["metrics"])
    assert report["n"] > 0
    assert len(report["sha256"]) == 64
    assert [row["bound"] for row in taken_in(made, straight)] == [True] * len(reported)
    assert taken_in(made, resumed) == []


def taken_in(made: Made, folder: Path) -> list[dict[str, Any]]:
    """Return the results of a training folder that passes the door of a package."""
    proxy, network = made.sections("proxy"), made.network(made.dims("proxy"))
    desk = bound.of_code(folder, made.folder, made.family.name, proxy, network)
    desk.package |= model.model(desk)
    assert json.loads(desk.package["trained/model.json"])["code"]["same"] is True
    rows: list[dict[str, Any]] = json.loads(results.results(desk)["trained/results.json"])
    return rows


@pytest.mark.slow
@pytest.mark.ci
def test_bench_measures_a_sample_and_a_batch_of_random_weights(made: Made) -> None:
    few = ("--warmup", 1, "--repeats", 1, "--batch-size", 2, "--threads", 1)
    result = json.loads(run(made.folder, "bench", "--random", *few))
    batches = {case["batch"] for case in result["cases"]}
    assert batches == ({1} if made.family.name == "decoder" else {1, 2})
    assert all(case["throughput"] > 0 for case in result["cases"])
    assert result["checkpoint"] is None


@pytest.mark.slow
@pytest.mark.ci
def test_the_code_passes_mypy_strict(made: Made, tmp_path_factory: pytest.TempPathFactory) -> None:
    files = map(str, sorted(made.folder.rglob("*.py")))
    # One cache for all packages, so that torch is read once.
    cache = tmp_path_factory.getbasetemp() / "mypy"
    options = ("--strict", "--config-file=", f"--cache-dir={cache}")
    command = [sys.executable, "-m", "mypy", *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=made.folder, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_checkpoint_of_other_dimensions_is_refused(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(made.folder, "train", "--out", tmp_path, "--steps", 1, *STEPS)
    path = tmp_path / "checkpoint" / "config.json"
    kept = json.loads(path.read_text())
    field = next(key for key in kept if isinstance(kept[key], int))
    path.write_text(json.dumps({**kept, field: kept[field] + 1}))
    run(made.folder, "eval", "--out", tmp_path, status=2)
    assert f"was made with {field} = {kept[field] + 1}" in capsys.readouterr().err
