"""What the table of families leads to, and what each of them brings."""

import ast
import functools
from collections import defaultdict

import pytest
import yaml
from helpers.plain_desk import PlainDesk

from metagen import families, paths
from metagen.errors import SpecError
from metagen.families.family import Family
from metagen.families.trend import LEAST_SPREAD, fit, rows
from metagen.sizing import architecture
from metagen.spec import load
from metagen.tasks.task import Task

# The methods that the base class declares and does not define.
OPEN = ("parts", "peaks", "axes", "changes")
TEXT = {
    "modality.inputs": ("text",),
    "modality.outputs": ("text",),
    "task.type": "generation",
    "architecture.family": "transformer",
    "training.objective": ("autoregressive",),
}


def test_a_fit_recovers_a_power_law():
    for wanted in (1e5, 1e7, 1e9, 1e13):
        line = fit([(size, 3 * size**0.25) for size in (1e6, 1e8, 1e9, 1e11)], wanted)
        assert line.slope == pytest.approx(0.25)
        assert line.at(1e7) == pytest.approx(3 * 1e7**0.25)
        assert line.spread == LEAST_SPREAD


def test_models_near_the_wanted_size_weigh_more():
    bend = [(size, size**0.5) for size in (1e6, 1e7)] + [(size, 1e3) for size in (1e9, 1e10)]
    assert fit(bend, 1e6).slope == pytest.approx(0.5, abs=0.05)
    assert fit(bend, 1e10).slope == pytest.approx(0, abs=0.05)


def test_every_published_row_says_where_it_comes_from():
    for path in (paths.PACKAGE / "families").glob("*.csv"):
        table = rows(path.read_bytes())
        assert all(row["dims_source"] for row in table)
        assert all(row["params_source"] for row in table if row.get("params_exact"))


def test_a_text_generator_is_a_decoder():
    assert families.route(TEXT.get) == "decoder"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modality.inputs", ("image",)),
        ("modality.outputs", ("label",)),
        ("modality.outputs", ("action", "text")),
        ("task.type", "classification"),
        ("architecture.family", "gnn"),
        ("training.objective", ("autoregressive", "diffusion")),
    ],
)
def test_what_no_family_builds_is_an_error_that_names_the_key_and_the_routes(key, value):
    with pytest.raises(SpecError) as error:
        families.route({**TEXT, key: value}.get)
    assert [key in str(problem) for problem in error.value.problems] == [True]
    assert "decoder (text to text" in str(error.value)
    assert sum(f"{name} (" in str(error.value) for name in families.FAMILIES) == families.SHOWN


@pytest.mark.parametrize("name", families.FAMILIES)
def test_each_family_states_what_a_family_and_a_task_must(name):
    family = families.named(name)
    assert family.name == name
    assert not [each for each in Family.__annotations__ if not hasattr(family, each)]
    assert not [each for each in Task.__annotations__ if not hasattr(family.task, each)]


def fields(template, name="Config"):
    tree = ast.parse(paths.source(template).read_bytes())
    config = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return [n.target.id for n in config.body if isinstance(n, ast.AnnAssign)]


def config_fields(template, name="Config"):
    """Return the fields of a file's Config, in the order that a dataclass gives them."""
    tree = ast.parse(paths.source(template).read_bytes())
    config = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    bases = [base.id for base in reversed(config.bases)]
    inherited = [f for base in bases for f in config_fields(home(tree, base), base)]
    return list(dict.fromkeys([*inherited, *fields(template, name)]))


def home(tree, name):
    """Return the template of `runtime` that a name is imported from."""
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    module = next(n.module for n in imports if name in {alias.name for alias in n.names})
    return f"templates/{module.replace('.', '/')}.py"


@functools.cache
def shipped():
    """Return the specs that lead to each family."""
    found = defaultdict(list)
    for path in sorted(paths.specs().rglob("*.yaml")):
        found[families.route(load(path).key)].append(path)
    return found


@functools.cache
def designed(spec):
    """Return the desk of a spec after the task that writes its architecture, and the file."""
    desk = PlainDesk.of(spec)
    return desk, architecture.work(desk)[architecture.TARGET]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_each_section_has_the_fields_of_its_file_in_order(family):
    module, known = families.named(family), set()
    for spec in shipped()[family]:
        found = yaml.safe_load(designed(spec)[1])
        known |= found["model"].keys()
        for sections in (found, found["proxy"]):
            model = config_fields(module.model_template(sections["model"]))
            assert list(sections["model"]) == model
            for name in ("data", "train", "eval", "infer"):
                assert list(sections[name]) == config_fields(module.task.source(f"{name}.py"))
    assert known <= set(module.dims)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_an_architecture_depends_on_the_template_that_has_its_dimensions(family):
    desk, _ = designed(shipped()[family][0])
    assert families.named(family).template in desk.sources


@pytest.mark.parametrize("step", [1, 8])
def test_a_dimension_fills_a_budget_in_its_steps_and_has_one_at_least(step):
    vit = families.named("vit")
    dims = yaml.safe_load(designed(shipped()["vit"][0])[1])
    counts = [vit.count({**dims["model"], "d_ff": step * times}) for times in (1, 5, 6)]
    for budget, times in ((counts[0] - 1, 1), (counts[1], 5), (counts[2] - 1, 5), (counts[2], 6)):
        assert vit.fill(dims["model"], "d_ff", step, budget) == times * step


def test_a_small_budget_has_smaller_values_down_to_the_least():
    resnet = families.named("resnet")
    dims = yaml.safe_load(designed(shipped()["resnet"][0])[1])

    def design(width):
        return {**dims["model"], "width": width}

    near = range(48, 96, 8)
    assert resnet.within(resnet.count(design(48)), near, design) == near
    assert resnet.within(resnet.count(design(17)), near, design) == range(16, 49, 2)
    assert resnet.within(1, near, design, least=4) == range(4, 49)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_what_fixes_a_dimension_is_a_key_of_the_spec(name, tmp_path):
    family = families.named(name)
    fixed_by = {**family.task.fixed_by, **family.fixed_by}
    assert set(fixed_by) <= set(family.dims)
    assert set(fixed_by.values()) <= set(PlainDesk("", tmp_path).spec.keys())


def test_the_settings_that_a_family_knows_are_entries_of_training_config(tmp_path):
    keys = PlainDesk("", tmp_path).spec.keys()
    declared = {k.removeprefix("training.config.") for k in keys if "training.config." in k}
    for name in families.FAMILIES:
        assert families.named(name).task.config_keys <= declared


@pytest.mark.parametrize(
    ("name", "dim"), [(n, "num_channels") for n in ("vit", "resnet")] + [("clip", "in_channels")]
)
def test_a_proxy_that_pipelines_open_reads_three_colours(name: str, dim: str) -> None:
    assert families.named(name).task.proxy[dim] == 3
