"""Every error of a spec at once: a place, the key, what was found, what is allowed, a hint."""

import pytest

from metagen.errors import USAGE, SpecError
from metagen.spec import load

HEAD = 'metagen_version: "1.0"\nname: m\n'


@pytest.fixture
def problems(tmp_path, monkeypatch):
    """Return a function that loads a wrong spec and returns its problems."""
    monkeypatch.chdir(tmp_path)

    def of(text, head=HEAD):
        (tmp_path / "spec.yaml").write_text(head + text, encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            load(tmp_path.joinpath("spec.yaml").relative_to(tmp_path))
        assert caught.value.status == USAGE
        return caught.value.problems

    return of


@pytest.fixture
def read(tmp_path):
    """Return a function that loads a right spec."""

    def of(text):
        (tmp_path / "spec.yaml").write_text(HEAD + text, encoding="utf-8")
        return load(tmp_path / "spec.yaml")

    return of


def test_all_errors_come_at_once_in_the_order_of_the_file(problems):
    found = problems(
        "modality: {inputs: [txt, text]}\n"
        "constraints:\n  memory_budgte: 2GB\n  latency: near-realtime\n"
        "training: {config: {batch_size: '256'}}\n"
        "reproducibility: {seed: -1}\n"
    )
    assert [(p.place, p.hint) for p in found] == [
        ("spec.yaml:3:21", "did you mean text?"),
        ("spec.yaml:5:3", "did you mean memory_budget?"),
        ("spec.yaml:6:12", "did you mean near-real-time?"),
        ("spec.yaml:7:33", "write it without quotes"),
        ("spec.yaml:8:25", ""),
    ]
    assert found[0].sentence.startswith("modality.inputs[0] is 'txt'; allowed: text, image, audio")
    assert found[4].sentence == (
        "reproducibility.seed is -1; allowed: a whole number from 0 to 4,294,967,295"
    )


# What is wrong, where (line:column), what the sentence says, what the hint says.
SINGLE = [
    ("nmae: x\n", "3:1", "there is no key 'nmae'; allowed: metagen_version, name,", "name"),
    ("memory_budget: 2GB\n", "3:1", "there is no key 'memory_budget'", "constraints.memory_budget"),
    ("constraints: {latncy: 5ms}\n", "3:15", "constraints has no key 'latncy'", "latency"),
    ("constraints.latency: 5ms\n", "3:1", "there is no key 'constraints.latency'", ""),
    ("training: {data: {governance: {gdpr: yes}}}\n", "3:32",
     "training.data.governance has no key 'gdpr'; allowed: pii, copyright", ""),
    ("constraints: 5\n", "3:14", "constraints is 5; allowed: a mapping of parameter_budget", ""),
    ("constraints: [a]\n", "3:14", "constraints is a list; allowed: a mapping of", ""),
    ("constraints: {parameter_budget: 8B}\n", "3:33",
     "constraints.parameter_budget is '8B'; allowed: a mapping of min, max", ""),
    ("task: {type: classfication}\n", "3:14", "task.type is 'classfication'", "classification"),
    ("task: {type: [generation]}\n", "3:14", "task.type is ['generation']; allowed", ""),
    ("task: {num_classes: 2.5}\n", "3:21", "task.num_classes is 2.5; allowed: a whole number", ""),
    ("task: {num_classes: true}\n", "3:21", "task.num_classes is True; allowed: a whole", ""),
    ("modality: {inputs: text}\n", "3:20", "modality.inputs is 'text'; allowed: a list", "[text]"),
    ("modality: {inputs: []}\n", "3:20", "modality.inputs is []; allowed: a list of", ""),
    ("modality: {inputs: [text, text]}\n", "3:27", "inputs[1] is 'text', which stands twice", ""),
    ("modality: {inputs: [~]}\n", "3:21", "modality.inputs[0] is None; allowed: text, image", ""),
    ("modality: {inputs: [taste]}\n", "3:21", "is 'taste': no model can be built for it", ""),
    ("modality: {outputs: [smell]}\n", "3:22", "is 'smell': no model can be built for it", ""),
    ("modality: {inputs: [{a: b}]}\n", "3:21", "modality.inputs[0] is {'a': 'b'}; allowed", ""),
    ("constraints: {memory_budget: 0B}\n", "3:30", "is '0B'; allowed: an amount of memory", ""),
    ("constraints: {memory_budget: lots}\n", "3:30", "is 'lots'; allowed: an amount of memory", ""),
    ("constraints: {memory_budget: 16GBs}\n", "3:30", "is '16GBs'; allowed", "16GB"),
    ("constraints: {memory_budget: -1}\n", "3:30", "is -1; allowed: an amount of memory", ""),
    ("constraints: {memory_budget: false}\n", "3:30", "is False; allowed: an amount", ""),
    ("constraints: {parameter_budget: {max: 0}}\n", "3:39", "max is 0; allowed: a whole", ""),
    ("constraints: {parameter_budget: {max: .nan}}\n", "3:39", "max is '.nan'; allowed", ""),
    ("constraints: {parameter_budget: {max: 1e999}}\n", "3:39", "max is '1e999'; allowed", ""),
    ("constraints: {context_window: 8q}\n", "3:31", "is '8q'; allowed: a number of tokens", ""),
    ("constraints: {throughput: 120}\n", "3:27", "throughput is 120; allowed: a rate", ""),
    ("constraints: {throughput: 12 tk/s}\n", "3:27", "is '12 tk/s'; allowed", "12 tok/s"),
    ("constraints: {latency: 0ms}\n", "3:24", "latency is '0ms'; allowed: real-time", ""),
    ("constraints: {device: H100}\n", "3:23", "is 'H100'; allowed: consumer_gpu", ""),
    ("constraints: {device: rtx4090}\n", "3:23", "is 'rtx4090'; allowed: consumer_gpu", "RTX-4090"),
    ("constraints: {image_size: [1]}\n", "3:27", "is [1]; allowed: pixels of a side", ""),
    ("constraints: {image_size: [1, x]}\n", "3:31", "image_size[1] is 'x'; allowed: a whole", ""),
    ("training: {config: {learning_rate: 0}}\n", "3:36", "is 0; allowed: a number above 0", ""),
    ("training: {config: {learning_rate: fast}}\n", "3:36", "is 'fast'; allowed: a number", ""),
    ("training: {config: {optimizer: adamww}}\n", "3:32", "is 'adamww'", "adamw"),
    ("training: {config: {data_augmentation: 3}}\n", "3:40", "allowed: true or false; or a", ""),
    ("training: {data: {size: 2T}}\n", "3:25", "is '2T'; allowed: an amount of data", ""),
    ("training: {compute: {hardware: A100}}\n", "3:32", "is 'A100'; allowed: a number of", ""),
    ("training: {compute: {duration: 21}}\n", "3:32", "is 21; allowed: a time above zero", ""),
    ("architecture: {components: [{name: A}]}\n", "3:29", "a mapping with the keys name and", ""),
    ("architecture: {components: {name: A}}\n", "3:28", "components is {'name': 'A'}", ""),
    ("architecture: {components: [{name: A, type: [b]}]}\n", "3:45", "components[0].type is", ""),
    ("architecture: {dims: 5}\n", "3:22", "architecture.dims is 5; allowed: a mapping", ""),
    ("architecture: {dims: {d: [1]}}\n", "3:26", "architecture.dims.d is [1]; allowed", ""),
    ("architecture: {dims: {'a b': 1}}\n", "3:22", "names the dimension 'a b'", ""),
    ("outputs: {artifacts: [papers]}\n", "3:23", "artifacts[0] is 'papers'", "paper"),
    ("evaluation: {bench: fast}\n", "3:21", "evaluation.bench is 'fast'; allowed: quick", ""),
    ("license: apache2\n", "3:10", "license is 'apache2'; allowed: apache-2.0", "apache-2.0"),
    ("version: true\n", "3:10", "version is True; allowed: text", ""),
    ("version: ''\n", "3:10", "version is ''; allowed: text", "leave the key out"),
    ("description: x\ndescription: y\n", "4:1", "the key 'description' stands twice", "3:1"),
    ("? [a]\n: b\n", "3:3", "a key is a word, not a list or a mapping", ""),
    ("<<: {description: x}\n", "3:1", "there is no key '<<'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "at", "sentence", "hint"), SINGLE, ids=[s[0] for s in SINGLE])
def test_one_error_gives_one_problem_at_its_place(problems, text, at, sentence, hint):
    (problem,) = problems(text)
    assert problem.place == f"spec.yaml:{at}"
    assert sentence in problem.sentence
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("head", "missing"),
    [('metagen_version: "1.0"\n', ["name"]), ("name: m\n", ["metagen_version"]),
     ("description: x\n", ["metagen_version", "name"]), ("{}", ["metagen_version", "name"])],
)  # fmt: skip
def test_a_required_key_that_is_missing_is_named_with_what_to_add(problems, head, missing):
    found = problems("", head)
    assert [p.sentence for p in found] == [f"the key {name} is missing" for name in missing]
    assert all(p.hint.startswith(f"add {name}:") for p, name in zip(found, missing, strict=True))


def test_a_language_version_of_the_future_is_refused(problems):
    (problem,) = problems("", 'metagen_version: "2.0"\nname: m\n')
    assert problem.sentence == "metagen_version is '2.0'; allowed: 1.0"


def test_a_file_with_endless_errors_stops_at_a_hundred(problems):
    found = problems("".join(f"key{i}: 1\n" for i in range(500)))
    assert len(found) == 101
    assert "more than 99 problems" in found[-1].sentence


def test_a_file_that_does_not_exist_or_is_a_folder_is_said_so(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SpecError, match="there is no such file") as caught:
            load(path)
        assert caught.value.problems[0].place == str(path)


# Keys that do not go together: both are named, with both places.
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


def test_a_default_contradicts_nothing(read):
    spec = read("training: {objective: [classification]}\nmodality: {outputs: [label]}\n")
    assert spec.key("task.type") == "generation"


def test_a_classifier_without_a_label_is_a_warning(read, tmp_path):
    spec = read("task: {type: classification}\n")
    (warning,) = spec.warnings
    assert warning.place == f"{tmp_path / 'spec.yaml'}:3:8"
    assert warning.hint == "that task usually gives label"


# References inside the file


def test_a_reference_stands_for_the_value_of_another_key(read):
    spec = read(
        "description: '${name} of ${constraints.context_window}, seed ${reproducibility.seed}'\n"
        "constraints: {context_window: 8k}\n"
        "modality: {inputs: [image], outputs: '${modality.inputs}'}\n"
        "task: {num_classes: '${reproducibility.seed}'}\nversion: ${description}\n"
        "authors: ['${name}', ann]\n"
    )
    assert spec.key("description") == "m of 8k, seed 42"
    assert spec.key("modality.outputs") == ("image",)
    assert spec.key("task.num_classes") == 42
    assert spec.key("version") == "m of 8k, seed 42"
    assert spec.key("authors") == ("m", "ann")


def test_a_reference_sees_the_overridden_value(tmp_path):
    (tmp_path / "spec.yaml").write_text(HEAD + "description: run ${reproducibility.seed}\n")
    spec = load(tmp_path / "spec.yaml", ["seed=7"])
    assert spec.key("description") == "run 7"


READ_ONLY = "only ${section.key}, the name of a key of this spec, is read"
REFERENCES = [
    ("description: ${oc.env:HOME}", "3:14", READ_ONLY),
    ("description: x ${env:HOME} y", "3:14", READ_ONLY),
    ("description: ${oc.decode:'1'}", "3:14", READ_ONLY),
    ("description: ${oc.create:${name}}", "3:14", READ_ONLY),
    ("description: ${${name}}", "3:14", READ_ONLY),
    ("description: '\\${name}'", "3:14", READ_ONLY),
    ("description: '\\\\${name}'", "3:14", READ_ONLY),
    ("description: ${.name}", "3:14", READ_ONLY),
    ("description: ${name", "3:14", READ_ONLY),
    ("description: ${ name }", "3:14", READ_ONLY),
    ("description: ${modality.inputs[0]}", "3:14", READ_ONLY),
    ("description: '${a:${name}}'", "3:14", READ_ONLY),
    ("description: ${}", "3:14", READ_ONLY),
    ("authors: [ann, '${oc.env:HOME}']", "3:16", "authors[1] is '${oc.env:HOME}'"),
    ("architecture: {dims: {a: '${oc.env:HOME}'}}", "3:26", READ_ONLY),
    ("architecture: {dims: '${oc.env:HOME}'}", "3:22", READ_ONLY),
    ("architecture: {dims: '${architecture.dims}'}", "3:22", "allowed: a mapping"),
    ("description: ${nmae}", "3:14", "description refers to nmae, which is no key of a spec"),
    ("description: ${constraints}", "3:14", "refers to constraints, which is no key"),
    ("description: ${version}", "3:14", "refers to version, which is not declared"),
    ("description: ${description}", "3:14", "leads back to itself: description -> description"),
    ("description: x ${modality.inputs}", "3:14", "which cannot stand inside a text"),
    ("description: $${version}\nversion: '{name}'", "3:14", "builds a reference out of parts"),
]


@pytest.mark.parametrize(("text", "at", "sentence"), REFERENCES)
def test_a_reference_to_anything_else_is_refused_with_its_place(
    problems, monkeypatch, text, at, sentence
):
    monkeypatch.setenv("HOME", "/leaked")
    (problem,) = problems(f"{text}\n")
    assert problem.place == f"spec.yaml:{at}"
    assert sentence in problem.sentence
    assert "leaked" not in str(problem)


def test_a_circle_of_references_is_refused(problems):
    text = "description: ${version}\nversion: ${task.domain}\ntask: {domain: '${version}'}\n"
    (problem,) = problems(text)
    assert "leads back to itself: description -> version -> task.domain -> version" in str(problem)


def test_a_misspelled_reference_gets_the_nearest_key(problems):
    (problem,) = problems("description: ${constraints.memory_budgte}\n")
    assert problem.hint == "did you mean constraints.memory_budget?"


def test_references_that_multiply_are_refused_before_they_expand(problems):
    (problem,) = problems(
        "training: {data: {governance: {pii: '" + "${training.alignment.policy}" * 900 + "'}},"
        " alignment: {policy: '" + "${description}" * 9 + "'}}\n"
        "description: '" + "x" * 900 + "'\n"
    )
    assert problem.place == "spec.yaml:3:37"
    assert problem.sentence == "training.data.governance.pii grows beyond 100,000 characters"


def test_a_long_chain_of_references_is_refused(problems):
    chain = ["version", "description", "task.domain", "training.alignment.policy"]
    chain += [f"training.data.governance.{n}" for n in ("pii", "copyright", "consent")]
    chain += [f"training.data.governance.{n}" for n in ("retention", "filtering", "provenance")]
    after = {
        name: f"'${{{next_}}}'" for name, next_ in zip(chain, [*chain[1:], "name"], strict=True)
    }
    governance = ", ".join(f"{n.rpartition('.')[2]}: {after[n]}" for n in chain[4:])
    (problem,) = problems(
        f"version: {after['version']}\ndescription: {after['description']}\n"
        f"task: {{domain: {after['task.domain']}}}\n"
        f"training: {{alignment: {{policy: {after['training.alignment.policy']}}},"
        f" data: {{governance: {{{governance}}}}}}}\n"
    )
    assert "the end of a chain of more than 8 references" in problem.sentence
