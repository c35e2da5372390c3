"""Keys of a spec that do not go together: both are named, with both places."""

import pytest

CLASHES = [
    ("constraints: {parameter_budget: {min: 2B, max: 1B}}",
     "constraints.parameter_budget.min", "3:34", "constraints.parameter_budget.max", "3:43"),
    ("training: {objective: [diffusion]}\ntask: {type: classification}",
     "training.objective", "3:12", "task.type", "4:8"),
    ("training: {objective: [diffusion]}\narchitecture: {family: mlp}",
     "training.objective", "3:12", "architecture.family", "4:16"),
    ("training: {objective: [object_detection]}\ntask: {type: generation}",
     "training.objective", "3:12", "task.type", "4:8"),
    ("task: {type: node_classification}\nmodality: {inputs: [text], outputs: [label]}",
     "task.type", "3:8", "modality.inputs", "4:12"),
    ("task: {action_space: discrete, action_dim: 3}",
     "task.action_space", "3:8", "task.action_dim", "3:32"),
    ("task: {action_space: continuous, num_actions: 3}",
     "task.action_space", "3:8", "task.num_actions", "3:34"),
    ("constraints: {image_size: 32, patch_size: 64}",
     "constraints.patch_size", "3:31", "constraints.image_size", "3:15"),
    ("training: {config: {warmup_steps: 9, warmup_epochs: 0}}",
     "training.config.warmup_epochs", "3:38", "training.config.warmup_steps", "3:21"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "first", "at", "second", "there"), CLASHES)
def test_a_contradiction_names_both_keys_and_both_places(problems, text, first, at, second, there):
    (problem,) = problems(f"{text}\n")
    assert problem.place == f"spec.yaml:{at}"
    assert problem.sentence.startswith(f"{first} is ")
    assert f"but {second} is " in problem.sentence
    assert f"(spec.yaml:{there})" in problem.sentence


def test_a_diffusion_objective_with_an_mlp_classifier_is_refused(problems):
    found = problems(
        "training: {objective: [diffusion]}\narchitecture: {family: mlp}\n"
        "task: {type: classification}\nmodality: {outputs: [label]}\n"
    )
    text = "\n".join(map(str, found))
    assert all(key in text for key in ("training.objective", "task.type", "architecture.family"))


def test_an_objective_among_several_that_suits_the_task_is_enough(read):
    spec = read(
        "training: {objective: [diffusion, classification]}\n"
        "task: {type: classification}\nmodality: {outputs: [label]}\n"
    )
    assert spec.warnings == ()


def test_an_objective_without_a_task_contradicts_nothing(read):
    spec = read("training: {objective: [classification]}\nmodality: {outputs: [label]}\n")
    assert spec.key("task.type") is None
    assert spec.warnings == ()


def test_a_classifier_without_a_label_is_a_warning(read, tmp_path):
    spec = read("task: {type: classification}\n")
    (warning,) = spec.warnings
    assert warning.place == f"{tmp_path / 'spec.yaml'}:3:8"
    assert warning.hint == "the task usually has the output label"
