"""The reference of the keys of a spec: its page for people, its JSON schema for editors."""

import json
from pathlib import Path

from metagen.files import json_bytes
from metagen.spec import json_schema, markdown
from metagen.spec.schema import keys


def test_the_reference_page_is_current():
    page = Path(__file__).parent.parent / "docs" / "spec.md"
    hint = "write docs/spec.md anew from metagen.spec.markdown()"
    assert page.read_text(encoding="utf-8") == markdown(), hint


def test_the_schema_that_specs_name_is_current():
    docs = Path(__file__).parent.parent / "docs"
    text = (docs / "spec.schema.json").read_text(encoding="utf-8")
    assert text == json_bytes(json_schema()).decode(), "metagen schema > docs/spec.schema.json"
    for spec in (docs.parent / "specs").glob("*/*.yaml"):
        mark, _, path = spec.read_text().partition("\n")[0].partition("$schema=")
        assert mark == "# yaml-language-server: "
        assert (spec.parent / path).samefile(docs / "spec.schema.json")


def test_the_json_schema_names_every_key_once():
    schema = json_schema()
    assert set(_leaves(schema["properties"])) == set(keys())
    assert schema["required"] == ["metagen_version", "name"]
    assert json.loads(json.dumps(schema)) == schema


def _leaves(properties, prefix=""):
    for name, part in properties.items():
        if "description" in part:
            yield prefix + name
        else:
            assert part["additionalProperties"] is False
            yield from _leaves(part["properties"], f"{prefix}{name}.")


def test_the_json_schema_allows_null_where_validate_does():
    def leaves(schema):
        for name, part in schema["properties"].items():
            yield from leaves(part) if "properties" in part else [(name, part)]

    refused = [n for n, part in leaves(json_schema()) if {"type": "null"} not in part["anyOf"]]
    assert refused == ["metagen_version", "name"]
    sections = [part for part in json_schema()["properties"].values() if "properties" in part]
    assert {tuple(part["type"]) for part in sections} == {("object", "null")}
