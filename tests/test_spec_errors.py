"""Every error of a spec at once: a place, the key, what was found, what is allowed, a hint."""

import pytest

from metagen.errors import SpecError
from metagen.spec import load


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
    ("modality: {inputs: [text, text]}\n", "3:27", "[1] is 'text', which is listed twice", ""),
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
    ("constraints: {throughput: 12 tok/h}\n", "3:27", "is '12 tok/h'; allowed: a rate", ""),
    ("constraints: {latency: 0ms}\n", "3:24", "latency is '0ms'; allowed: real-time", ""),
    ("constraints: {device: GTX}\n", "3:23", "is 'GTX'; allowed: consumer_gpu", ""),
    ("constraints: {device: H300}\n", "3:23", "is 'H300'; allowed: consumer_gpu", "H200"),
    ("constraints: {device: rtx4190}\n", "3:23", "is 'rtx4190'; allowed: consumer_gpu", "RTX-4090"),
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
    ("version: ''\n", "3:10", "version is ''; allowed: text", "remove the key"),
    ("description: x\ndescription: y\n", "4:1", "the key 'description' is defined twice", "3:1"),
    ("? [a]\n: b\n", "3:3", "a key must be a word, not a list or a mapping", ""),
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
