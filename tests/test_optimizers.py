"""The optimizers of train.py: what a spec declares trains the full model, resumes and shards."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.family_code import write_proxy
from helpers.generated import TINY, modules, same_checkpoint, write_package
from helpers.plain_desk import PlainDesk
from helpers.processes import run_in_turn

from metagen import families
from metagen.engine.graph import of_spec
from metagen.errors import Problem, SpecError
from metagen.package import code as package_code
from metagen.sizing import architecture
from metagen.spec import Spec
from metagen.spec.words import OPTIMIZERS
from metagen.tasks.optimizers import OPTIMIZERS as SETTINGS

LINE = ("train.py", "--data", "text.txt", "--threads", "1", "--schedule-steps", "6")
# Muon computes in bfloat16, whose rounding differs where a product is summed in other parts.
TOLERANCE = dict.fromkeys(OPTIMIZERS, 1e-4) | {"muon": 2e-2}


@pytest.fixture(scope="module", params=OPTIMIZERS)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the code of a tiny language model with one of the optimizers, and a text beside it."""
    own = SETTINGS[request.param]
    betas = {"beta1": own.beta1, "beta2": 0.95 if own.beta2 is None else own.beta2}
    train = TINY["train"] | betas | {"optimizer": request.param, "learning_rate": 0.01}
    folder = write_package(tmp_path_factory.mktemp(request.param), TINY | {"train": train})
    text = "".join(f"{n} bottles of water stand on the wall.\n" for n in range(150))
    (folder / "text.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def code(package: Path) -> Iterator[dict[str, ModuleType]]:
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with modules(package) as found:
        yield found
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture
def train(
    code: dict[str, ModuleType], package: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Return a function that trains in this process."""
    monkeypatch.chdir(package)

    def run(*options: object) -> None:
        monkeypatch.setattr(sys, "argv", [*LINE, *map(str, options)])
        code["train"].main()

    return run


def curve(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    kinds = ("train_loss", "grad_norm", "val_loss")
    return [row[kind] for row in rows for kind in kinds if row[kind] is not None]


def test_the_spec_language_and_the_code_have_the_same_optimizers() -> None:
    assert tuple(SETTINGS) == OPTIMIZERS


def test_each_optimizer_learns_and_keeps_as_much_as_the_memory_table_says(
    code: dict[str, ModuleType],
) -> None:
    optimization, config = code["runtime.optimization"], code["train"].Config()
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    optimizers = optimization.optimizers(model, config)
    tokens = torch.randint(256, (4, 9))
    rate = 0.5 if config.optimizer == "sgd" else config.learning_rate
    losses = [
        optimization.update(
            model, optimizers, [lambda: (model(tokens[:, :-1], tokens[:, 1:]), 32)], rate, 1.0
        )[0]
        for _ in range(8)
    ]
    assert losses[-1] < losses[0] - 0.2
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    kept = sum(v.numel() for state in states for name, v in state.items() if name != "step")
    assert kept == optimization.state_size(model, config.optimizer)


@pytest.mark.slow
@pytest.mark.ci
def test_each_optimizer_resumes_at_half_to_the_bit(
    train: Callable[..., None], tmp_path: Path
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train("--out", straight)
    train("--out", resumed, "--steps", 3)
    train("--out", resumed, "--resume")
    assert curve(resumed) == curve(straight)
    assert same_checkpoint(resumed / "checkpoint", straight / "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_train_with_each_optimizer_what_one_does_and_resume_to_the_bit(
    train: Callable[..., None], package: Path, tmp_path: Path, mode: str
) -> None:
    alone, straight, resumed = (tmp_path / name for name in ("alone", "straight", "resumed"))
    train("--out", alone)
    shared = [*LINE, "--parallel", mode, "--out"]
    run_in_turn(
        package,
        [*shared, str(straight)],
        [*shared, str(resumed), "--steps", "3"],
        [*shared, str(resumed), "--resume"],
    )
    tolerance = TOLERANCE[
        json.loads((package / "config.json").read_text())["proxy"]["train"]["optimizer"]
    ]
    assert curve(straight) == pytest.approx(curve(alone), rel=tolerance)
    assert curve(resumed) == curve(straight)
    assert same_checkpoint(resumed / "checkpoint", straight / "checkpoint")


# What a spec declares


@pytest.mark.parametrize("name", ["lion", "lamb"])
def test_an_optimizer_that_the_code_has_not_is_refused_with_those_that_it_has(
    name: str, problems: Callable[..., tuple[Problem, ...]]
) -> None:
    (problem,) = problems(f"training: {{config: {{optimizer: {name}}}}}\n")
    assert name in problem.sentence
    assert all(each in problem.sentence for each in OPTIMIZERS)


@pytest.mark.parametrize("name", ["resnet", "segmentation_unet", "unet_diffusion"])
def test_muon_is_refused_where_most_weights_are_kernels(name: str) -> None:
    key = {"training.config.optimizer": "muon"}.get
    with pytest.raises(SpecError, match=r"most weights of .* are kernels"):
        families.named(name).check(key)


def test_a_declared_optimizer_trains_the_full_model_and_adamw_the_proxy(tmp_path: Path) -> None:
    desk = PlainDesk("training: {config: {optimizer: muon}}\n", tmp_path)
    desk.package |= architecture.work(desk)
    made = desk.entry(families.ARCHITECTURE)
    assert made["train"]["optimizer"] == "muon"
    assert made["proxy"]["train"]["optimizer"] == "adamw"
    reasons = {each["name"]: each["reason"] for each in made["decisions"]}
    assert "the proxy trains with adamw" in reasons["train.optimizer"]
    assert "arXiv:2502.16982" in reasons["train.learning_rate"]
    for recipe in package_code.recipes(families.of_package(desk)):
        desk.package |= recipe.work(desk)
    assert b'optimizer: str = "muon"' in desk.package["code/train.py"]
    assert b"torch>=2.9\n" in desk.package["code/requirements.txt"]


def test_the_code_of_a_classifier_says_which_optimizer_and_which_mixture_train_it(
    tmp_path: Path,
) -> None:
    config = "training: {config: {optimizer: muon, data_augmentation: [mixup, rand_augment]}}\n"
    image = "modality: {inputs: [image], outputs: [label]}\ntask: {type: classification}\n"
    family = "architecture: {family: transformer}\nconstraints: {parameter_budget: {max: 5M}}\n"
    code = write_proxy(PlainDesk(config + image + family, tmp_path), tmp_path)
    train, data = ((code / f"{name}.py").read_text() for name in ("train", "data"))
    assert 'optimizer: str = "muon"' in train
    assert "mixup: float = 0.8" in train
    assert "cutmix: float = 0.0" in train
    assert "operations: int = 2" in data
    assert "pillow" in (code / "requirements.txt").read_text()


def settings(optimizer: str, spec: str, folder: Path) -> dict[str, Any]:
    desk = PlainDesk(f"training: {{config: {{optimizer: {optimizer}}}}}\n{spec}", folder)
    desk.package |= architecture.work(desk)
    found: dict[str, Any] = desk.entry(families.ARCHITECTURE, "train")
    return found


def test_sgd_trains_resnet_at_the_rate_that_resnet_published(tmp_path: Path) -> None:
    spec = "modality: {inputs: [image], outputs: [label]}\ntask: {type: classification}\n"
    family = "architecture: {family: cnn}\nconstraints: {parameter_budget: {max: 5M}}\n"
    train = settings("sgd", spec + family, tmp_path)
    assert train["learning_rate"] == pytest.approx(0.1 / 256 * train["batch_size"], rel=1e-3)
    assert train["beta1"] == 0.9
    assert train["weight_decay"] == 1e-4


def test_a_key_that_changes_nothing_is_named_with_the_reason(read: Callable[..., Spec]) -> None:
    config = "config: {ema_decay: 0.9, epochs: 2, warmup_epochs: 1}, data: {size: 3M samples}"
    image = "modality: {inputs: [text], outputs: [label]}\ntask: {type: classification}\n"
    graph = of_spec(read(f"training: {{{config.replace('3M samples', '3M tokens')}}}\n{image}"))
    said = [problem.sentence for problem in graph.warnings]
    for name in ("config.ema_decay", "config.epochs", "config.warmup_epochs", "data.size"):
        assert sum(f"training.{name} is not followed" in each for each in said) == 1, name
    counted = of_spec(read(f"training: {{{config}}}\n{image}"))
    assert ["ema_decay" in problem.sentence for problem in counted.warnings] == [True]


@pytest.mark.parametrize("warmup", ["warmup_epochs: 3", "warmup_steps: 10000000"])
def test_a_warm_up_that_the_training_cuts_is_named(
    warmup: str, read: Callable[..., Spec], tmp_path: Path
) -> None:
    spec = "modality: {inputs: [text], outputs: [label]}\ntask: {type: classification}\n"
    spec += f"training: {{config: {{epochs: 4, {warmup}}}, data: {{size: 3M samples}}}}\n"
    (cut,) = of_spec(read(spec)).warnings
    assert f"{warmup.partition(':')[0]} is not followed: it ends after half of" in cut.sentence
    assert not of_spec(read(spec.replace(warmup, "warmup_epochs: 2"))).warnings
