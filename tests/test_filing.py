"""Records of a release: valid by the official schemas, complete, and never invented."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import aibom, sample_files
from helpers import docs_fixtures as sample
from helpers.docs_strangers import HOSTILE

from metagen import files, paths
from metagen.docs.facts import Facts
from metagen.docs.render import markdown
from metagen.filing import RECIPES, crate, croissant, cyclonedx, evaluation, forms, spdx, statement
from metagen.filing.subject import Subject
from metagen.measure.evidence import EVIDENCE
from metagen.sizing.training import CARBON, ENERGY
from metagen.spec import Spec, load
from metagen.spec.schema import keys

DECLARED = Path(__file__).parent / "declared.yaml"
CHECKPOINT = {"sha256": "ab" * 32, "step": 100, "bytes": 15_959_859_200, "dtype": "bfloat16",
              "parameters": 7_979_929_600, "files": []}  # fmt: skip
TRAINED = {
    "status": "trained", "checkpoint": CHECKPOINT, "seconds": {"wall": 3600.0, "device": None},
    "energy": {"joules": 7.2e9, "source": "NVML"}, "init_from": None,
    "data": {"name": "tokens", "sha256": "cd" * 32, "unit": "tokens", "splits": {"train": 1000}},
}  # fmt: skip


def declared() -> dict[str, Any]:
    spec = load(DECLARED)
    return {name: spec.key(name) for name in keys()}


def desk(declares: dict[str, Any] | None = None, trained: dict[str, Any] | None = None) -> Any:
    """Return a desk over the sample package with its code, and an estimate of the energy."""
    estimates = [
        sample_files.row(ENERGY, None, 812_000.0, "kWh", "figure"),
        sample_files.row(CARBON, None, 390_000.0, "kg CO2e", "figure"),
    ]
    made = sample.desk(declares, constraints=[*sample_files.constraints(), *estimates])
    made.files |= {path: path.encode() for path in spdx.CODE}
    model = trained or {"status": "not trained"}
    made.files["trained/model.json"] = files.json_bytes(model)
    return made


STATES = {
    "bare": {},
    "declared": {"declares": "all"},
    "trained": {"trained": TRAINED},
    "declared and trained": {"declares": "all", "trained": TRAINED},
}


@pytest.fixture(params=STATES, scope="module")
def state(request) -> Any:
    chosen = dict(STATES[request.param])
    if chosen.get("declares"):
        chosen["declares"] = declared()
    return desk(**chosen)


def full(trained: dict[str, Any] | None = None) -> Subject:
    return Subject(desk(declared(), trained))


def bom(subject: Subject) -> dict[str, Any]:
    return cyclonedx.content(subject)


# The official schemas and libraries.


@pytest.mark.slow
@pytest.mark.ci
def test_the_bill_of_materials_is_valid_by_the_schema_of_cyclonedx_1_7(state):
    pytest.importorskip("cyclonedx")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = json.dumps(bom(Subject(state)))
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None


@pytest.mark.slow
@pytest.mark.ci
def test_the_bindings_of_spdx_3_0_1_read_the_document(state):
    model = pytest.importorskip("spdx_python_model").v3_0_1
    data = spdx.document(state)[spdx.PATH]
    found = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(data), found)
    assert not found.missing_ids
    packages = list(found.foreach_type(model.ai_AIPackage))
    assert [package.name for package in packages] == ["text_llm_8b"]
    assert len(list(found.foreach_type(model.software_File))) == len(spdx.CODE)
    model.JSONLDSerializer().write(found, io.BytesIO())  # fails where a required property lacks


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore")
def test_mlcroissant_finds_no_error_in_the_record_of_the_data(state, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    path = tmp_path / "croissant.json"
    path.write_bytes(croissant.dataset(state)[croissant.PATH])
    metadata = mlcroissant.Dataset(jsonld=path).metadata
    assert not metadata.issues.errors
    assert metadata.name == "Data of text_llm_8b"


@pytest.mark.slow
@pytest.mark.ci
def test_rocrate_opens_a_folder_by_its_metadata(state, tmp_path):
    opened = pytest.importorskip("rocrate.rocrate")
    names = ("README.md", "code/model.py", "manifest.json")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    content = crate.content(Subject(state), names)
    (tmp_path / crate.PATH).write_bytes(files.json_bytes(content))
    found = opened.ROCrate(tmp_path)
    assert {each.id for each in found.data_entities} == set(names)
    assert found.name == "text_llm_8b"


@pytest.mark.slow
@pytest.mark.ci
def test_model_signing_reads_the_statement_and_hashes_the_folder_alike(tmp_path):
    signing = pytest.importorskip("model_signing")
    from model_signing._signing.signing import dsse_payload_to_manifest

    (tmp_path / "code").mkdir()
    for name in ("b.txt", "code/a.py", "B.txt"):
        (tmp_path / name).write_text(name)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    digests = {name: files.sha256((tmp_path / name).read_bytes()) for name in names}
    made = statement.content("model", digests)
    hashed = signing.hashing.Config().set_ignored_paths(paths=[]).hash(tmp_path)
    assert dsse_payload_to_manifest(made) == hashed


# What they say.


def test_a_spec_that_declares_everything_reaches_95_of_100_of_the_advanced_aibom_profile():
    made = bom(full())
    assert len(aibom.FIELDS) == 48
    assert aibom.score(made) >= 95, aibom.missing(made)
    assert all(aibom.has(made, field) for field in aibom.ADVANCED)
    # Nothing in a package says how a decision is explained, and its weights are not quantized.
    assert aibom.missing(made) == {
        *("modelExplainability", "metricDecisionThreshold"),
        *("quantizationVersion", "quantizationFileType"),
    }


def test_the_score_counts_a_field_that_is_gone():
    made = bom(full())
    whole = aibom.score(made)
    made["components"][0].pop("purl")
    assert aibom.score(made) < whole


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_record_reads_exactly_what_it_declares(recipe):
    here = desk(declared(), TRAINED)
    made = recipe.work(here)
    assert here.reads | {EVIDENCE} == set(recipe.inputs) | {EVIDENCE}
    assert set(made) == set(recipe.targets)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_record_is_the_same_byte_for_byte_each_time(recipe):
    assert recipe.work(desk(declared())) == recipe.work(desk(declared()))


@pytest.mark.parametrize("write", [bom, croissant.content], ids=["bom", "croissant"])
def test_each_declared_key_of_a_release_reaches_a_record(write):
    texts = (
        json.dumps(bom(full())) + json.dumps(croissant.content(full()))
        + json.dumps(spdx.content(full(), {}))
    )  # fmt: skip
    for name, value in declared().items():
        if name.startswith("release.") and isinstance(value, str):
            assert value in texts, name


def test_nothing_undeclared_has_a_value_in_a_record():
    made = bom(Subject(desk()))
    assert "supplier" not in made["components"][0]
    assert "timestamp" not in made["metadata"]
    document = spdx.content(Subject(desk()), {})["@graph"]
    described = next(each for each in document if each["type"] == "SpdxDocument")
    assert "ai" not in described["profileConformance"]
    assert "release.supplier, release.date, release.repository" in described["comment"]
    assert "placeholder" in document[0]["comment"]


def test_the_ai_profile_is_claimed_where_all_that_it_requires_is_declared():
    graph = spdx.content(full(), {})["@graph"]
    described = next(each for each in graph if each["type"] == "SpdxDocument")
    assert "ai" in described["profileConformance"]
    assert "comment" not in described


def test_a_bound_model_gives_its_digest_and_its_measured_energy():
    for made, digest in ((bom(full(TRAINED)), True), (bom(full()), False)):
        model = made["components"][0]
        assert ("hashes" in model) is digest
        consumption = model["modelCard"]["considerations"]["environmentalConsiderations"]
        spent = consumption["energyConsumptions"][0]
        assert spent["activityEnergyCost"]["value"] == (2000.0 if digest else 812_000.0)
        assert spent["properties"][0]["value"] == ("measured by NVML" if digest else "estimated")
        limits = model["modelCard"]["considerations"]["technicalLimitations"]
        sentence = "No training run of the full model belongs to this package."
        assert (sentence in limits) is not digest


def test_measured_energy_gives_its_co2_where_the_grid_is_declared():
    for spec, carbon in ((declared(), 2000 * 0.38 / 1000), (None, None)):
        made = bom(Subject(desk(spec, TRAINED)))["components"][0]["modelCard"]
        spent = made["considerations"]["environmentalConsiderations"]["energyConsumptions"][0]
        stated = spent.get("co2CostEquivalent", {"value": None})
        assert stated["value"] == carbon


def test_a_partial_training_is_a_limitation():
    said = "The training ended before its planned steps."
    assert said in full({**TRAINED, "status": "partial"}).limitations()
    assert said not in full(TRAINED).limitations()


def test_scores_of_the_proxy_are_never_those_of_the_model():
    rows = bom(full())["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert rows
    assert all("proxy, not the released model" in row["slice"] for row in rows)


def test_relations_of_spdx_tell_trained_from_tested():
    graph = spdx.content(full(), {"code/model.py": "ab" * 32})["@graph"]
    kinds = {each["relationshipType"] for each in graph if each["type"] == "Relationship"}
    assert kinds == {"contains", "trainedOn", "testedOn", "dependsOn", "hasDeclaredLicense"}


def test_a_licence_that_spdx_does_not_list_is_a_name_and_a_reference():
    subject = Subject(desk({"license": "llama2"}))
    assert subject.license == "LicenseRef-llama2"
    assert cyclonedx.licenses(subject) == [{"license": {"name": "llama2"}}]
    assert Subject(desk({"license": "cc-by-sa-4.0"})).license == "CC-BY-SA-4.0"


@pytest.mark.parametrize(
    ("address", "purl"),
    [
        ("https://huggingface.co/a/b", "pkg:huggingface/a/b@1.0.0"),
        ("https://example.org/a/b", "pkg:generic/text_llm_8b@1.0.0"),
        (None, "pkg:generic/text_llm_8b@1.0.0"),
    ],
)
def test_the_package_url_is_that_of_the_hub_only_there(address, purl):
    assert Subject(desk({"release.repository": address})).purl == purl


def test_the_crate_lists_every_file_of_a_folder_and_itself_once():
    graph = crate.content(full(), ["b.py", "a.md"])["@graph"]
    root = next(each for each in graph if each["@id"] == "./")
    assert root["hasPart"] == [{"@id": "a.md"}, {"@id": "b.py"}]
    assert [each["@id"] for each in graph].count(crate.PATH) == 1


def test_a_file_that_comes_or_goes_makes_the_crate_again():
    one, two = (crate.recipe(["a"], []), crate.recipe(["a", "b"], []))
    assert one.inputs != two.inputs
    assert one.targets == two.targets


def test_the_statement_leaves_itself_and_the_signature_out():
    digests = {"a": "00" * 32, statement.PATH: "11" * 32, statement.SIGNATURE: "22" * 32}
    made = statement.content("model", digests)
    assert [each["name"] for each in made["predicate"]["resources"]] == ["a"]
    assert statement.command("release").startswith("model_signing sign sigstore release")


def test_an_evaluation_card_answers_27_of_28_fields_where_its_data_is_a_declared_source():
    (bare,) = evaluation.content(Subject(desk()))
    fields = [*evaluation.SOURCE, *evaluation.LIFE]
    fields += [f"{name}.{each}" for name in evaluation.FIELDS for each in evaluation.FIELDS[name]]
    # The registry counts the four fields of the data as one, in quarters.
    assert len(fields) - 3 == 28
    source = {"name": "pydoc_topics", "license": "psf-2.0", "language": ("en",)}
    source["annotation"] = "none"
    spec = {**declared(), "training.data.sources": (source,)}
    (card,) = evaluation.content(Subject(desk(spec)))
    assert set(card["missing"]) < set(bare["missing"]) < set(fields)
    assert card["missing"] == ["benchmark_details.similar_benchmarks"]
    assert card["evalcards"] == {
        "lifecycle_status": "stable",
        "preregistration_url": "https://osf.io/example",
    }


def test_an_evaluation_card_says_what_a_data_sheet_does_of_data_that_nobody_declares():
    (card,) = evaluation.content(Subject(desk()))
    (sheet,) = json.loads(sample.package()["docs/data_sheets.json"])
    made = card["autobenchmarkcard"]
    ethics = made["ethical_and_legal_considerations"]
    assert ethics == {
        "privacy_and_anonymity": sheet["people"],
        "data_licensing": sheet["license"],
    }
    assert made["benchmark_details"]["languages"] == sheet["language"]


@pytest.mark.parametrize(
    ("dataset", "command", "described"),
    [
        ("pydoc_topics", "python eval.py --size proxy", True),
        ("a and pydoc_topics", "python eval.py --size proxy", True),
        ("my_pydoc_topics", "python eval.py --size full --data my_pydoc_topics", False),
        ("pydoc_topics", "python eval.py --size full --data pydoc_topics", False),
        ("pydoc_topics", None, False),
    ],
)
def test_only_data_that_comes_along_is_described_by_its_data_sheet(dataset, command, described):
    row = {"dataset": dataset, "command": command}
    assert bool(full().sheets(row)) is described


def test_an_evaluation_card_is_of_the_proxy_where_the_scores_are():
    (card,) = evaluation.content(full())
    assert card["eee_eval"]["model_info"]["name"] == "text_llm_8b (scaled-down proxy)"
    purpose = card["autobenchmarkcard"]["purpose_and_intended_users"]
    assert "not the released model" in purpose["limitations"]


# The forms.

FORMS = {
    forms.DOCUMENTATION: "cards/eu_documentation.md",
    forms.SUMMARY: "cards/eu_training_summary.md",
}


@pytest.mark.parametrize("template", FORMS.values())
def test_a_form_names_the_key_that_would_answer_a_field(template):
    bare = markdown(desk(), template).text
    assert "not declared: add release.supplier to the spec" in bare
    answered = markdown(desk(declared()), template).text
    assert "to the spec" not in answered
    assert "Example Organisation" in answered


def test_each_key_that_a_form_asks_for_is_a_key_of_the_spec():
    for template in FORMS.values():
        text = paths.source(f"templates/{template}").read_text()
        asked = [part.split('"')[1] for part in text.split("answer(")[1:]]
        assert asked
        assert {name.removeprefix("spec.") for name in asked} <= set(keys())


def test_a_form_says_what_was_trained_in_each_state():
    form = FORMS[forms.DOCUMENTATION]
    assert "ab" * 32 in markdown(desk(trained=TRAINED), form).text
    assert "no trained weights belong to this package" in markdown(desk(), form).text
    summary = FORMS[forms.SUMMARY]
    assert "cd" * 32 in markdown(desk(trained=TRAINED), summary).text
    assert "no training run of the full model belongs" in markdown(desk(), summary).text


def test_the_summary_lists_each_source_under_the_way_it_was_obtained():
    text = markdown(desk(declared()), FORMS[forms.SUMMARY]).text
    place = text.index("Data crawled and scraped")
    assert place < text.index("crawled pages") < text.index("User data")
    assert text.index("Publicly available") < text.index("Wikipedia") < text.index("licensed books")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("template", FORMS.values())
def test_a_hostile_source_of_data_is_only_text_in_a_form(template, text):
    sources = ({"name": text, "description": text, "kind": "public"},)
    clean = markdown(desk({"training.data.sources": ({"name": "x", "kind": "public"},)}), template)
    dirty = markdown(desk({"training.data.sources": sources, "release.supplier": text}), template)
    assert dirty.text.count("\n#") == clean.text.count("\n#")
    assert dirty.text.count("\n| ") == clean.text.count("\n| ")


# The keys.


def spec_of(tmp_path: Path, text: str) -> Spec:
    path = tmp_path / "spec.yaml"
    path.write_text(f'metagen_version: "1.0"\nname: x\n{text}')
    return load(path)


def test_a_source_of_data_is_a_name_or_a_mapping(tmp_path):
    text = "training: {data: {sources: [web, {name: W, url: 'https://w.org', date: 2025}]}}"
    value = spec_of(tmp_path, text).key("training.data.sources")
    assert value == ("web", {"name": "W", "url": "https://w.org", "date": "2025"})


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("release: {date: 2026-02-30}", "a date as YYYY-MM-DD"),
        ("release: {date: yesterday}", "a date as YYYY-MM-DD"),
        ("release: {repository: example.org}", "an address that begins with https://"),
        ("release: {repository: 'https://a b'}", "an address that begins with https://"),
        ("release: {language: [English]}", "an ISO 639 code"),
        ("release: {risk: none}", "low, medium, high, serious"),
        ("training: {data: {sources: [{url: 'https://w.org'}]}}", "a mapping with the keys name"),
        ("training: {data: {sources: [{name: W, licence: x}]}}", "did you mean license?"),
        ("training: {data: {sources: [{name: W, date: May}]}}", "YYYY, YYYY-MM or YYYY-MM-DD"),
        ("training: {compute: {energy_source: wnd}}", "did you mean wind?"),
    ],
)
def test_a_flawed_value_of_a_record_is_refused_with_what_is_allowed(problems, text, flaw):
    assert any(flaw in f"{each.sentence} {each.hint}" for each in problems(text))


def test_the_names_of_sources_stay_a_list_of_names_in_the_cards():
    made = desk({"training.data.sources": ("web", {"name": "W", "license": "mit"})})
    text = markdown(made, "cards/data_card.md").text
    assert "- **Sources:** web, W\n" in text
    assert "- **W**; license mit\n" in text
    assert Facts(made).get("spec.training.data.sources.1.license").value == "mit"
