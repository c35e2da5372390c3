"""The example specs of the tutorial project: each is built, or refused in one sentence.

`python tests/test_tutorial_specs.py` writes docs/tutorial_specs.md.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.building import build

from metagen import families, paths
from metagen.engine import graph
from metagen.errors import SpecError
from metagen.families import effects
from metagen.files import yaml_bytes
from metagen.spec import load
from metagen.spec.declared import nested

TEXTS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("tutorial_specs.yaml").read_text("utf-8")
)["specs"]
METRICS = "evaluation.metrics"
PAGE = Path(__file__).parent.parent / "docs" / "tutorial_specs.md"
BUILT = {
    "3d_text_to_mesh",
    "anomaly_detector_autoencoder",
    "audio_musicgen",
    "audio_musicgen_like",
    "document_ranker",
    "edge_tiny_agent",
    "graph_classifier_gat",
    "image_classifier_resnet",
    "image_diffusion_sdxl_like",
    "image_diffusion_small",
    "image_vit_base",
    "infinite_context",
    "instance_segmentation_maskrcnn",
    "multimodal_clip",
    "object_detector_detr",
    "object_detector_yolo",
    "recommender_two_tower",
    "rl_agent_dqn",
    "rl_agent_ppo",
    "semantic_segmentation_unet",
    "sentence_embedder",
    "tabular_regressor",
    "text_classifier_bert",
    "text_llm_8b",
    "text_llm_tiny",
    "time_series_forecaster",
    "video_generation",
    "video_realtime_avatar",
}
HEAD = """\
# The example specs of the tutorial project

`tests/tutorial_specs.yaml` has the keys and values of 29 specs as they stand. This page says what
`metagen validate` makes of each: the family that builds it, with what it warns of, or the sentence
of the refusal. `python tests/test_tutorial_specs.py` writes the page, and a test checks it.
`specs/` has specs of our own under the names of those that are built.

"""


def written(name: str, folder: Path) -> Path:
    """Return the file of a spec."""
    path = folder / f"{name}.yaml"
    head = {"metagen_version": "1.0", "name": name}
    path.write_bytes(yaml_bytes({**head, **nested(TEXTS[name])}))
    return path


def answered(name: str, folder: Path) -> tuple[str, str]:
    """Return the family and what is warned of, or "" and the sentence of the refusal."""
    try:
        spec = load(written(name, folder))
        graph.of_spec(spec)
    except SpecError as error:
        (problem,) = error.problems
        return "", problem.sentence
    family = families.named(families.route(spec.key))
    unused = effects.unused(family, spec.key)
    metrics = [each.reason.split(" is ")[0] for each in unused if each.key == METRICS]
    unknown = families.unknown_components(family, spec.key("architecture.components"))
    warnings = [
        *(each.sentence for each in spec.warnings),
        *(f"`{each.key}`: {each.reason}" for each in unused if each.key != METRICS),
        *([f"metrics that eval.py does not compute: {', '.join(metrics)}"] if metrics else []),
        *([f"components that it does not have: {', '.join(unknown)}"] if unknown else []),
    ]
    return family.name, "; ".join(warnings) or "none"


def page(folder: Path) -> str:
    """Return the text of docs/tutorial_specs.md."""
    answers = {name: answered(name, folder) for name in TEXTS}
    built = [f"| `{n}` | `{f}` | {_cell(text)} |\n" for n, (f, text) in answers.items() if f]
    refused = [f"| `{n}` | {_cell(text)} |\n" for n, (f, text) in answers.items() if not f]
    return (
        f"{HEAD}## Built: {len(built)}\n\n| spec | family | warnings |\n| --- | --- | --- |\n"
        f"{''.join(built)}\n## Refused: {len(refused)}\n\n| spec | sentence |\n| --- | --- |\n"
        f"{''.join(refused)}"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def test_each_is_built_or_refused_in_one_sentence_as_the_page_says(tmp_path: Path) -> None:
    made = page(tmp_path)
    assert set(re.findall(r"^\| `(\w+)` \| `", made, re.MULTILINE)) == BUILT
    assert made == PAGE.read_text(encoding="utf-8"), "run python tests/test_tutorial_specs.py"


def test_the_specs_of_the_package_have_the_names_of_those_that_are_built() -> None:
    assert {path.stem for path in paths.specs().rglob("*.yaml")} >= BUILT


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BUILT))
def test_each_that_can_be_built_is(name: str, tmp_path: Path) -> None:
    outcomes = build(tmp_path, written(name, tmp_path), ["evaluation.bench=none"])
    assert {outcome.action for outcome in outcomes.values()} == {"run"}
    said = (tmp_path / f"run-{name}" / "docs" / "limitations.md").read_text("utf-8")
    spec = load(written(name, tmp_path))
    for each in effects.unused(families.named(families.route(spec.key)), spec.key):
        assert each.key in said


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        PAGE.write_text(page(Path(scratch)), encoding="utf-8")
