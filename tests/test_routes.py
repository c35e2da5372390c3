"""From a spec to a family: a few keys are enough, and an error names the key to add."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import yaml

from metagen import families
from metagen.engine import graph
from metagen.errors import SpecError
from metagen.spec import Spec
from metagen.spec.words import INPUTS, OUTPUTS

Read = Callable[..., Spec]


def modalities(inputs: str, outputs: str) -> str:
    return f"modality: {{inputs: [{inputs}], outputs: [{outputs}]}}\n"


def pairs() -> list[tuple[str, str]]:
    """Return the combinations of modalities that a family takes, in one order for all workers."""
    made = (
        itertools.product(*(route.allowed[name] for name in families.KEYS[:2]))
        for route in families.ROUTES
    )
    return sorted({*itertools.chain.from_iterable(made)})


@pytest.mark.parametrize(("inputs", "outputs"), pairs())
def test_three_lines_lead_to_a_family_or_to_the_key_to_add(
    read: Read, inputs: str, outputs: str
) -> None:
    text = modalities(inputs.replace("+", ", "), outputs.replace("+", ", "))
    spec = read(text)
    fitting = {
        route.family
        for route in families.ROUTES
        if inputs in route.allowed["modality.inputs"]
        and outputs in route.allowed["modality.outputs"]
    }
    if len(fitting) == 1:
        assert families.route(spec.key) in fitting
        assert graph.of_spec(spec).recipes
        return
    with pytest.raises(SpecError) as error:
        families.route(spec.key)
    (problem,) = error.value.problems
    add, name, *values = problem.hint.replace(":", "").split()
    assert add == "add"
    # Each value that the hint gives for a family leads to it.
    chosen = dict(zip(" ".join(values).split(", "), fitting, strict=True))
    taken = {}
    for words in chosen:
        value, _, family = words.partition(" for ")
        taken[family] = families.route(read(text, f"{name}={value}").key)
    assert taken == {family: family for family in fitting}


def test_the_error_of_a_default_names_the_key_to_add(read: Read) -> None:
    with pytest.raises(SpecError) as error:
        graph.of_spec(read("modality: {inputs: [image]}\n"))
    (problem,) = error.value.problems
    *others, last = sorted({made for given, made in pairs() if given == "image"})
    assert f"from image, modality.outputs may be {', '.join(others)} or {last}" in problem.hint
    assert problem.place.endswith("spec.yaml:3:12")


def test_what_no_family_makes_is_one_sentence_with_each_route_once() -> None:
    for inputs, outputs in set(itertools.product(INPUTS, OUTPUTS)) - set(pairs()):
        declared = {"modality.inputs": (inputs,), "modality.outputs": (outputs,)}
        with pytest.raises(SpecError) as error:
            families.route({**declared, "task.type": "recommendation"}.get)
        (problem,) = error.value.problems
        assert problem.sentence.startswith("no model family makes ")
        routes = problem.hint.partition(" routes: ")[2].partition("; `metagen")[0].split("; ")
        assert len(set(routes)) == len(routes) == families.SHOWN


def test_every_two_routes_are_told_apart_by_one_key() -> None:
    for one, other in itertools.combinations(families.ROUTES, 2):
        both = [one.allowed[name] & other.allowed[name] for name in families.KEYS]
        assert not all(both), (one.family, other.family)


def test_a_quantity_that_is_unknown_is_not_declared_and_warned_of(read: Read) -> None:
    unknown = ("unknown but large", "Unknown", "not disclosed", "undisclosed", "n/a", "TBD")
    for word in unknown:
        spec = read(f"training: {{data: {{size: '{word}'}}}}\n")
        assert spec.key("training.data.size") is None
        assert spec.shown("training.data.size") == "not declared"
        (warning,) = spec.warnings
        assert warning.place.endswith(":3:19")
        assert repr(word) in warning.sentence
        assert "training.data.size" not in yaml.safe_dump(spec.tree())
    assert read("constraints: {memory_budget: unknown}\n").key("constraints.memory_budget") is None
