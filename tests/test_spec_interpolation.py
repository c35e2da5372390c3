"""References inside a spec: what they stand for, and what no reference may do."""

import pytest


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


def test_a_reference_sees_the_overridden_value(read):
    spec = read("description: run ${reproducibility.seed}\n", "seed=7")
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
    ("description: ${nmae}", "3:14", "description refers to nmae, which is not a key of a spec"),
    ("description: ${constraints}", "3:14", "refers to constraints, which is not a key"),
    ("description: ${version}", "3:14", "refers to version, which is not declared"),
    ("description: ${description}", "3:14", "leads back to itself: description -> description"),
    ("description: x ${modality.inputs}", "3:14", "which cannot be part of a text"),
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
