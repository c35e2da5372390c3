"""What a spec's keys become, and the door they pass."""

import json

import pytest

from metagen.errors import USAGE, SpecError
from metagen.spec import load, variables
from metagen.spec.schema import keys

HEAD = 'metagen_version: "1.0"\nname: m\n'


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a spec after the required keys and loads it."""

    def write(text="", *overrides, head=HEAD):
        path = tmp_path / "spec.yaml"
        path.write_text(head + text, encoding="utf-8")
        return load(path, overrides)

    return write


def test_what_nobody_declared_is_none_or_the_documented_default(written):
    spec = written()
    declared = {"metagen_version": "1.0", "name": "m"}
    defaults = {
        "modality.inputs": ("text",),
        "modality.outputs": ("text",),
        "constraints.batch": 1,
        "architecture.components": (),
        "architecture.dims": {},
        "architecture.search": {},
        "outputs.artifacts": spec.key("outputs.artifacts"),
        "evaluation.benchmarks": (),
        "evaluation.baselines": (),
        "evaluation.metrics": (),
        "evaluation.target": {},
        "evaluation.bench": "quick",
        "evaluation.ablations": (),
        "reproducibility.seed": 42,
    }
    values = {name: spec.key(name) for name in spec.keys()}  # noqa: SIM118
    assert {k: v for k, v in values.items() if v is not None} == declared | defaults
    assert len(spec.key("outputs.artifacts")) == 8
    assert {spec.source(name) for name in defaults} == {"default"}


def test_null_is_the_same_as_absent(written):
    spec = written("description: ~\nreproducibility: {seed: null}\nconstraints:\n")
    assert spec.key("description") is None
    assert spec.key("reproducibility.seed") == 42


def test_a_name_outside_the_schema_is_a_programming_error(written):
    spec = written()
    for ask in (spec.key, spec.digest, spec.source):
        with pytest.raises(KeyError):
            ask("constraints.memory")


def test_the_source_of_a_key_is_where_it_stands(written, tmp_path):
    spec = written("constraints:\n  memory_budget: 2GB\n", "seed=7")
    assert spec.source("constraints.memory_budget") == f"{tmp_path / 'spec.yaml'}:4:3"
    assert spec.source("reproducibility.seed") == "override 'seed=7'"


def test_values_given_out_cannot_change_the_spec(written):
    spec = written("architecture: {dims: {d_model: 64}}\n")
    spec.key("architecture.dims")["d_model"] = 65
    assert spec.key("architecture.dims") == {"d_model": 64}


@pytest.mark.parametrize("spelling", ["1", "1.0", "true", '"1"', "null"])
def test_values_of_different_types_have_different_digests(written, spelling):
    dims = {s: f"architecture: {{dims: {{a: {s}}}}}\n" for s in ("1", "1.0", "true", '"1"', "null")}
    own = written(dims.pop(spelling)).digest("architecture.dims")
    assert own not in {written(text).digest("architecture.dims") for text in dims.values()}


def test_order_and_comments_do_not_change_a_digest(written):
    one = written("architecture: {dims: {a: 1, b: 2}}\ndescription: x  # why\n")
    two = written("description: x\narchitecture:\n  dims: {b: 2, a: 1}\n")
    assert all(one.digest(name) == two.digest(name) for name in keys())


@pytest.mark.parametrize(
    ("given", "device"),
    [
        *(("H100", "H100-80GB-SXM"), ("1xH100", "H100-80GB-SXM"), ("A100", "A100-40GB-SXM")),
        *(("nvidia h200", "H200-141GB-SXM"), ("8 x h100", "8xH100-80GB-SXM"), ("l4", "L4")),
        *(("RTX 4090", "RTX-4090"), ("jetson orin nano", "Jetson-Orin-Nano-8GB")),
    ],
)
def test_a_device_has_the_names_that_people_use(written, given, device):
    assert written(f"constraints: {{device: {given}}}\n").key("constraints.device") == device


def test_synonyms_and_capitals_of_a_device_have_one_value(written):
    spec = written(
        "modality: {outputs: [classification]}\n"
        "training: {objective: [pairwise_ranking, semantic_segmentation]}\n"
        "constraints: {device: rtx-4090}\nlicense: Apache-2.0\n"
    )
    assert spec.key("modality.outputs") == ("label",)
    assert spec.key("training.objective") == ("ranking", "segmentation")
    assert spec.key("constraints.device") == "RTX-4090"
    assert spec.key("license") == "apache-2.0"


def test_components_sizes_and_augmentation_keep_their_shape(written):
    spec = written(
        "architecture: {components: [{name: Encoder, type: transformer_encoder}]}\n"
        "constraints: {image_size: [640, 480], patch_size: 16}\n"
        "training: {config: {data_augmentation: true, learning_rate: 1}}\n"
    )
    component = {"name": "Encoder", "type": "transformer_encoder"}
    assert spec.key("architecture.components") == (component,)
    assert spec.key("constraints.image_size") == (640, 480)
    assert spec.key("constraints.patch_size") == (16, 16)
    assert spec.key("training.config.data_augmentation") is True
    assert type(spec.key("training.config.learning_rate")) is float


# YAML 1.1 would read each of these otherwise.
@pytest.mark.parametrize(
    ("spelling", "value"),
    [("no", "no"), ("On", "On"), ("1:30", "1:30"), ("1_000", "1_000"), ("010", "010"),
     ("2024-01-01", "2024-01-01"), ("1.10", "1.10"), ("0x10", "0x10"), ("1e3", "1e3"),
     (".inf", ".inf"), ("=", "="), ("'null'", "null"), ("!!str 5", "5"), ("! 1.0", "1.0")],
)  # fmt: skip
def test_a_bare_word_where_text_stands_is_that_text(written, spelling, value):
    assert written(f"version: {spelling}\n").key("version") == value


@pytest.mark.parametrize("spelling", ["3e-4", "3.0e-4", "0.0003", ".0003", "3E-04"])
def test_a_learning_rate_may_have_an_exponent_without_a_dot(written, spelling):
    spec = written(f"training: {{config: {{learning_rate: {spelling}}}}}\n")
    assert spec.key("training.config.learning_rate") == 3e-4


@pytest.mark.parametrize("spelling", ["010", "0o10", "0x10", "1_000", "1:30", "1e3", "yes", "'8'"])
def test_a_seed_that_could_be_read_two_ways_is_refused(written, spelling):
    with pytest.raises(SpecError, match=r"reproducibility\.seed is"):
        written(f"reproducibility: {{seed: {spelling}}}\n")


def test_json_is_read_too(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"metagen_version": "1.0", "name": 'a "b" \\ / é'}, indent="\t"))
    assert load(path).key("name") == 'a "b" \\ / é'


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert load(path).key("name") == "m"


def test_anchors_share_values(written):
    spec = written("modality: {inputs: &a [image], outputs: *a}\n")
    assert spec.key("modality.outputs") == ("image",)


# Overrides


def test_an_override_wins_over_the_file_and_the_default(written):
    spec = written(
        "constraints: {memory_budget: 2GB}\nmodality: {inputs: [text, image]}\n",
        "constraints.memory_budget=4GiB", "seed=7", "bench=none", "modality.inputs=[audio]",
        "description=a = b",
    )  # fmt: skip
    assert spec.key("constraints.memory_budget") == 4 * 2**30
    assert spec.key("reproducibility.seed") == 7
    assert spec.key("evaluation.bench") == "none"
    assert spec.key("modality.inputs") == ("audio",)
    assert spec.key("description") == "a = b"


def test_an_override_of_a_mapping_is_merged_and_of_null_unsets(written):
    text = "architecture: {dims: {a: 1, b: 2}}\nreproducibility: {seed: 7}\n"
    spec = written(text, "architecture.dims={b: 3}", "seed=null")
    assert spec.key("architecture.dims") == {"a": 1, "b": 3}
    assert spec.key("reproducibility.seed") == 42


def test_an_override_replaces_a_value_of_another_shape(written):
    spec = written("modality: {inputs: '${modality.outputs}'}\n", "modality.inputs=[image]")
    assert spec.key("modality.inputs") == ("image",)


def test_overrides_set_one_dimension_after_the_other(written):
    pinned = "architecture: {dims: {n_layers: 2, d_ff: 64}}\n"
    given = ["architecture.dims.n_layers=4", "architecture.dims.d_model=128"]
    dims = written(pinned, *given, "architecture.dims.d_ff=null").key("architecture.dims")
    assert dims == {"n_layers": 4, "d_model": 128}
    whole = written(pinned, "architecture.dims={n_heads: 2}", given[0]).key("architecture.dims")
    assert whole == {"n_heads": 2, "n_layers": 4, "d_ff": 64}


@pytest.mark.parametrize(
    ("override", "sentence", "hint"),
    [("constraints.memroy_budget=1GB", "there is no key 'constraints.memroy_budget' to set",
      "did you mean constraints.memory_budget?"),
     ("memory_budget=1GB", "there is no key 'memory_budget' to set",
      "did you mean constraints.memory_budget?"),
     ("sed=1", "there is no key 'sed' to set", "did you mean seed?"),
     ("training.data=x", "allowed: training.data.sources, training.data.size", ""),
     ("seed=abc", "reproducibility.seed is 'abc'; allowed: a whole number", ""),
     ("seed", "there is no key 'seed' to set; allowed: a key of a spec by its full name", ""),
     ("seed=[1", "this is not valid YAML", ""),
     ("name={a: b}", "name is {'a': 'b'}; allowed: text", ""),
     ("name=${oc.env:HOME}", "name is '${oc.env:HOME}': only ${section.key}", ""),
     ("name=!!python/object:os.system x", "the tag 'tag:yaml.org,2002:python/", ""),
     ("name=\udce9", "the text has the control character", "")],
)  # fmt: skip
def test_a_wrong_override_is_named_as_the_place(written, override, sentence, hint):
    with pytest.raises(SpecError) as caught:
        written("", override)
    (problem,) = caught.value.problems
    assert caught.value.status == USAGE
    assert problem.place.startswith("override '")
    assert sentence in problem.sentence
    assert hint in problem.hint


def test_a_flaw_in_an_override_does_not_hide_those_of_the_file(written):
    with pytest.raises(SpecError) as caught:
        written("constraints: {memory_budget: lots}\n", "seed=x", "sped=1")
    places = [problem.place for problem in caught.value.problems]
    assert [p.rpartition("/")[2] for p in places] == [
        "spec.yaml:3:30", "override 'sped=1'", "override 'seed=x'",
    ]  # fmt: skip


def test_the_variables_of_a_command_line_are_shorthands_and_leaf_keys():
    assert {"seed", "bench", "name", "constraints.memory_budget"} <= set(variables())
    assert "constraints" not in variables()
