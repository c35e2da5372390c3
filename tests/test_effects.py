"""Keys without an effect: the commands warn of them by name, and the documents repeat it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metagen import families, paths
from metagen.engine import graph
from metagen.errors import SpecError
from metagen.families import effects
from metagen.spec import load

TINY = paths.specs() / "text" / "text_llm_tiny.yaml"


def unused(family: str, **declared: object) -> list[str]:
    keys = {name.replace("__", "."): value for name, value in declared.items()}
    return [each.key for each in effects.unused(families.named(family), keys.get)]


def test_a_setting_of_another_family_has_no_effect() -> None:
    assert unused("vit", task__horizon=3) == ["task.horizon"]
    assert unused("decoder", constraints__image_size=(8, 8)) == ["constraints.image_size"]
    assert unused("vit", training__config__timesteps=9) == ["training.config.timesteps"]
    assert unused("clip", constraints__context_window=9) == ["constraints.context_window"]
    assert unused("text_classifier", constraints__prompt_length=9) == ["constraints.prompt_length"]
    assert unused("vit", constraints__latent_size=(8, 8)) == ["constraints.latent_size"]


def test_a_setting_of_its_own_has_an_effect() -> None:
    assert not unused("vit", task__num_classes=3, constraints__image_size=(8, 8))
    assert not unused("patch_forecaster", task__horizon=3)
    assert not unused("tabular_regressor", task__num_outputs=1)
    assert not unused("unet_diffusion", training__config__timesteps=9)
    assert not unused("text_classifier", constraints__context_window=9)
    assert not unused("autoencoder", task__num_outputs=9)
    assert not unused("segmentation_unet", task__mask_resolution=(8, 8))


def test_several_devices_have_an_effect_where_infer_py_divides_the_model() -> None:
    assert unused("vit", constraints__device="8xH100-80GB-SXM") == ["constraints.device"]
    assert not unused("vit", constraints__device="H100-80GB-SXM")
    assert not unused("decoder", constraints__device="8xH100-80GB-SXM")


def test_the_carbon_of_a_kwh_has_an_effect_where_energy_is_estimated() -> None:
    intensity = {"training__compute__carbon_intensity": "380 g/kWh"}
    assert unused("vit", **intensity) == ["training.compute.carbon_intensity"]
    assert not unused("vit", **intensity, training__compute__hardware="8xA100")


def test_a_part_that_is_not_read_has_no_effect() -> None:
    assert unused("patch_forecaster", task__num_outputs=9) == ["task.num_outputs"]
    assert not unused("patch_forecaster", task__num_outputs=1)
    assert unused("latent_unet", modality__inputs=("text", "image")) == ["modality.inputs"]
    assert not unused("latent_unet", modality__inputs=("text",))


@pytest.mark.parametrize("family", ["ppo", "dqn"])
def test_the_size_of_a_screen_has_no_effect_where_numbers_are_observed(family: str) -> None:
    size, inputs = {"constraints__image_size": (84, 84)}, "modality__inputs"
    assert unused(family, **size, **{inputs: ("tabular",)}) == ["constraints.image_size"]
    assert not unused(family, **size, **{inputs: ("image",)})


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_warm_up_that_every_training_would_cut_is_named(family: str) -> None:
    name = "training.config.warmup_steps"
    assert name in unused(family, **{name.replace(".", "__"): 10**9})


@pytest.mark.parametrize(
    ("family", "metric", "computed"),
    [
        ("vit", "Accuracy", True),
        ("vit", "top-5 accuracy", False),
        ("segmentation_unet", "mIoU", True),
        ("sentence_embedder", "recall@1", True),
        ("decoder", "perplexity", False),
        ("vit", "f1_macro", True),
        ("tabular_regressor", "r2_score", True),
        ("tabular_regressor", "mse", False),
    ],
)
def test_a_metric_is_known_in_other_spellings(family: str, metric: str, computed: bool) -> None:
    assert unused(family, evaluation__metrics=(metric,)) == ["evaluation.metrics"] * (not computed)


def test_a_command_warns_of_each_by_name_and_place(tmp_path: Path) -> None:
    spec = load(TINY, ["task.horizon=3", "training.objective=[instruction_tuning]"])
    sentences = [each.sentence for each in graph.of_spec(spec).warnings]
    assert [each.partition(" is not followed")[0] for each in sentences] == [
        "task.horizon",
        "training.objective",
    ]


def test_a_name_of_the_field_that_is_not_done_leaves_the_rest_of_its_list(tmp_path: Path) -> None:
    names = "[random_resize_crop, random_horizontal_flip, auto_augment, mixup]"
    vit = paths.specs() / "image" / "image_vit_base.yaml"
    made = graph.of_spec(load(vit, [f"training.config.data_augmentation={names}"]))
    (warning,) = made.warnings
    assert "the code has no auto_augment" in warning.sentence
    with pytest.raises(SpecError, match="has no auto_argument"):
        graph.of_spec(load(vit, ["training.config.data_augmentation=[auto_argument]"]))
