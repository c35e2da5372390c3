"""Whole specs: what the examples say, and that a resolved spec reads as the one it came from."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen import paths
from metagen.files import yaml_bytes
from metagen.spec import load
from metagen.spec.declared import nested
from metagen.spec.schema import keys

SPECS = sorted((paths.specs() / "text").glob("*.yaml"))


def test_the_examples_are_these():
    names = [path.stem for path in SPECS]
    assert names == [
        "document_ranker", "edge_tiny_agent", "infinite_context", "out_of_reach", "phone_135m",
        "pinned", "sentence_embedder", "text_classifier_bert", "text_llm_70b", "text_llm_8b",
        "text_llm_tiny", "text_regressor",
    ]  # fmt: skip


def test_the_8b_example_says_what_it_says():
    spec = load(paths.specs() / "text" / "text_llm_8b.yaml")
    expected = {
        "name": "text_llm_8b",
        "constraints.parameter_budget.max": 8 * 10**9,
        "constraints.parameter_budget.min": None,
        "constraints.memory_budget": 16 * 10**9,
        "constraints.context_window": 262_144,
        "constraints.throughput": "120 tok/s",
        "constraints.latency": "near-real-time",
        "constraints.device": "consumer_gpu",
        "training.data.size": "2T tokens",
        "training.compute.hardware": "256xA100",
        "training.compute.duration": "21 days",
        "evaluation.benchmarks": ("MMLU", "HellaSwag", "ARC-Challenge"),
        "authors": None,
    }
    assert {name: spec.key(name) for name in expected} == expected
    assert spec.warnings == ()


def test_an_infinite_context_is_kept_with_a_warning_at_its_place():
    spec = load(paths.specs() / "text" / "infinite_context.yaml")
    assert spec.key("constraints.context_window") == "infinite"
    (warning,) = spec.warnings
    assert warning.place == spec.source("constraints.context_window")


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_resolved_spec_reads_as_the_spec_it_came_from(path, tmp_path):
    spec = load(path)
    (tmp_path / "resolved.yaml").write_bytes(yaml_bytes(spec.tree()))
    again = load(tmp_path / "resolved.yaml")
    assert all(again.key(name) == spec.key(name) for name in keys())
    assert yaml.safe_load(yaml_bytes(spec.tree())) == spec.tree()


FREE_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf", "Cn"]),
    min_size=1, max_size=60,
).filter(lambda text: text.strip() and "${" not in text)  # fmt: skip

SOME_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "name": FREE_TEXT,
        "description": FREE_TEXT,
        "authors": st.lists(FREE_TEXT, unique=True, max_size=3),
        "training.data.sources": st.lists(FREE_TEXT, unique=True, max_size=3),
        "evaluation.metrics": st.lists(FREE_TEXT, unique=True, max_size=3),
        "constraints.parameter_budget.max": st.integers(1, 10**15),
        "constraints.memory_budget": st.sampled_from(["3GB", "3GiB", 7]),
        "constraints.context_window": st.sampled_from(["8k", "1M", "inf", 9]),
        "constraints.throughput": st.sampled_from(["30fps", "30s clip/min", "1.50 tok/s"]),
        "training.config.learning_rate": st.floats(1e-9, 99),
        "architecture.dims": st.dictionaries(
            st.sampled_from(["d_model", "n_heads"]),
            st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-9, 9) | FREE_TEXT,
        ),
        "reproducibility.seed": st.integers(0, 2**32 - 1),
    },
)


@given(values=SOME_VALUES)
@settings(max_examples=60, deadline=None)
def test_every_resolved_spec_reads_as_the_spec_it_came_from(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("specs")
    spec = _load(folder / "a.yaml", {"metagen_version": "1.0", "name": "m"} | values)
    (folder / "b.yaml").write_bytes(yaml_bytes(spec.tree()))
    again = load(folder / "b.yaml")
    assert {n: again.digest(n) for n in keys()} == {n: spec.digest(n) for n in keys()}
    assert spec.key("description") == values.get("description")


def _load(path: Path, leaves):
    path.write_bytes(yaml_bytes(nested(leaves)))
    return load(path)
