"""The folder of a released model: small files, licence, citation, scores, manifest, first steps."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.trained_desk import TrainedDesk, desk_over
from helpers.trained_run import write_run
from safetensors.torch import save_file
from test_release_weights import TENSORS

from metagen import paths
from metagen.docs import citation, licenses
from metagen.engine import graph
from metagen.engine.binding import Binding
from metagen.errors import TaskError
from metagen.release import hub, listing, opens, scores, smoke, texts
from metagen.release import smoke_worker as worker
from metagen.spec import load, words
from metagen.work import Recipe

CONFIG = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float32", "eos_token_id": 0}


def trained(folder: Path, spec: str = "", **files: str) -> TrainedDesk:
    """Return a desk with a checkpoint; names of files have `__` for a dot."""
    place = folder / "run" / "checkpoint"
    place.mkdir(parents=True)
    save_file(TENSORS, place / "model.safetensors")
    for name, text in {"config__json": json.dumps(CONFIG), **files}.items():
        (place / name.replace("__", ".")).write_text(text)
    return desk_over(folder, spec)


def content(made: dict[str, Any], path: str) -> Any:
    return yaml.safe_load(made[path])


def test_the_config_says_the_format_of_the_released_weights(tmp_path: Path) -> None:
    desk = trained(tmp_path, "release: {dtype: bfloat16}\n")
    entries = content(texts.config(desk), "release/config.json")
    assert entries == {
        "architectures": ["LlamaForCausalLM"],
        "eos_token_id": 0,
        "dtype": "bfloat16",
    }


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_file_that_names_code_is_refused(tmp_path: Path, name: str) -> None:
    desk = trained(tmp_path, **{name.replace(".", "__"): '{"auto_map": {"AutoModel": "a--b.C"}}'})
    work = texts.config if name == "config.json" else texts.copied(name)
    with pytest.raises(TaskError, match="auto_map"):
        work(desk)


def test_generation_follows_infer_and_the_tokens_of_the_checkpoint(tmp_path: Path) -> None:
    desk = trained(tmp_path)
    infer = {"temperature": 0.8, "top_k": 0, "top_p": 0.95, "max_new_tokens": 9}
    desk.package["blueprint/architecture.yaml"] = yaml.safe_dump({"infer": infer}).encode()
    made = content(texts.generation(desk), "release/generation_config.json")
    assert made == {"eos_token_id": 0, "do_sample": True, **infer}
    (tmp_path / "run/checkpoint/generation_config.json").write_text('{"top_k": 5}')
    assert content(texts.generation(desk), "release/generation_config.json") == {"top_k": 5}


@pytest.mark.parametrize(
    ("files", "has"),
    [
        ({}, False),
        ({"tokenizer_config__json": "{}"}, False),
        ({"tokenizer_config__json": '{"chat_template": "x"}'}, True),
        ({"chat_template__jinja": "x"}, True),
    ],
)
def test_a_chat_template_is_found_where_it_is(
    tmp_path: Path, files: dict[str, str], has: bool
) -> None:
    assert texts.has_template(trained(tmp_path, **files)) is has


def test_nothing_of_the_training_is_released_but_what_is_listed() -> None:
    names = ("tokenizer.json", "state.json", "optimizer/state.safetensors", "training_args.bin")
    made = [t for r in texts.recipes("text-generation", names) for t in r.targets]
    assert made == [
        f"release/{name}" for name in ("config.json", "generation_config.json", "tokenizer.json")
    ]


@pytest.mark.parametrize("name", sorted(licenses.TEXTS))
def test_the_text_of_a_licence_has_no_blank_for_its_holder(tmp_path: Path, name: str) -> None:
    desk = desk_over(tmp_path, f"license: {name}\nauthors: ['A \\g<0> [x](y)']\n")
    text = licenses.license_file(desk)[licenses.PATH]
    assert isinstance(text, bytes)
    head = text.decode()[:300]
    assert len(text) > 1000
    assert "<year>" not in head
    assert ("Copyright (c) A \\g<0> [x](y)\n" in head) == (name in ("mit", *_BSD))


_BSD = ("bsd-2-clause", "bsd-3-clause")


def test_each_licence_has_a_file_that_says_what_it_is(tmp_path: Path) -> None:
    for name in words.LICENSES:
        license = licenses.declared(desk_over(tmp_path, f"license: {name}\n"))
        said = licenses._instead(license)
        assert license.id == name
        assert said.endswith("This file does not hold the text.\n")
        assert license.link in said
        assert (license.name or name) in said
    assert licenses.recipes({"license": None}.get) == ()


def test_the_texts_are_those_in_the_folder() -> None:
    folder = paths.source("data/licenses.csv").parent / "licenses"
    assert {path.stem for path in folder.iterdir()} == licenses.TEXTS


def test_another_licence_is_named_as_it_is_declared(tmp_path: Path) -> None:
    spec = (
        "license: other\nrelease: {license_name: My Own v2, license_link: https://example.org/l}\n"
    )
    text = licenses.license_file(desk_over(tmp_path, spec))[licenses.PATH]
    assert isinstance(text, bytes)
    assert b"released under My Own v2." in text
    assert b"https://example.org/l" in text


@pytest.mark.parametrize("name", [None, "mit", "openrail", "llama2"])
def test_a_citation_is_valid(tmp_path: Path, name: str | None) -> None:
    spec = f"authors: ['Ada: #1', Bo]\nversion: 1.0\ndescription: x\nlicense: {name or 'null'}\n"
    made = content(citation.citation(desk_over(tmp_path, spec)), citation.PATH)
    assert made["authors"] == [{"name": "Ada: #1"}, {"name": "Bo"}]
    assert made.get("license") == ("MIT" if name == "mit" else None)
    validated(citation.citation(desk_over(tmp_path, spec))[citation.PATH])


def validated(data: Any) -> None:
    """Validate with the schema of the Citation File Format 1.2.0 (CC-BY-4.0, as published)."""
    jsonschema = pytest.importorskip("jsonschema", reason="not run: jsonschema is not installed")
    schema = json.loads(Path(__file__).with_name("citation_1.2.0.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(data), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"cff-version": "1.2.0", "title": "x"}, schema)


ROW = {
    "benchmark": "MMLU", "dataset": "cais/mmlu", "split": "test", "n": 100, "metric": "accuracy",
    "value": 0.25, "bound": True,
    "harness": {"name": "lm-eval", "version": "0.4.13", "num_fewshot": 5},
}  # fmt: skip


def test_results_are_entries_that_huggingface_hub_reads() -> None:
    from huggingface_hub import EvalResultEntry
    from huggingface_hub._eval_results import parse_eval_result_entries

    rows = [ROW, {**ROW, "metric": "f1"}, {**ROW, "dataset": "my tokens"}]
    rows += [{**ROW, "benchmark": "HellaSwag", "dataset": "Rowan/hellaswag", "bound": False}]
    made = scores.entries(rows)
    first, second = parse_eval_result_entries(made)
    assert first == EvalResultEntry(
        dataset_id="cais/mmlu",
        task_id="MMLU",
        value=0.25,
        notes="accuracy; split test; n = 100; 5-shot; lm-eval 0.4.13; "
        "the file of results names these weights",
    )
    assert second.notes is not None
    assert "stated, not bound" in second.notes
    assert hub.result_problems(yaml.safe_dump(made), "results.yaml") == []


def test_the_manifest_lists_digests_and_sizes(tmp_path: Path) -> None:
    desk = desk_over(tmp_path)
    desk.package = {"release/b": b"two", "release/a/c": b""}
    rows = content(listing.manifest(tuple(desk.package))(desk), listing.PATH)
    assert [row["path"] for row in rows] == ["a/c", "b"]
    assert rows[1] == {"path": "b", "sha256": hashlib.sha256(b"two").hexdigest(), "bytes": 3}


def test_the_release_has_the_files_that_its_numbers_come_from() -> None:
    targets = ("blueprint/params.json", "README.md", "docs/release_check.json",
               "docs/provenance/README.md.json", "docs/provenance.json",
               "code/model.py", "trained/model.json", "paper/main.tex",
               "manifest.json", "report.html")  # fmt: skip
    kept = (
        "report.html",
        "blueprint/params.json",
        "docs/provenance.json",
        "code/model.py",
        "trained/model.json",
    )
    assert set(listing.to_copy(targets)) == set(kept)


def test_each_file_of_a_release_has_a_task_that_makes_it(tmp_path: Path) -> None:
    binding = Binding(trained=write_run(tmp_path / "full_run"))
    spec = load(paths.specs() / "text" / "text_llm_tiny.yaml")
    bound = graph.of_spec(spec, bound=lambda run: binding)
    assert set(bound.in_order(bound.recipes)) == set(bound.recipes)
    about = (listing.PATH, listing.CRATE, listing.STATEMENT)
    assert {"release/README.md", "release/model.safetensors", *about} <= set(bound.maker)
    whole = {path for path in bound.maker if path.startswith("release/")}
    # The signature covers all but itself; the manifest lists neither itself nor the statement.
    assert set(bound.maker[listing.STATEMENT].inputs) == whole - {listing.STATEMENT}
    assert set(bound.maker[listing.PATH].inputs) == whole - {listing.STATEMENT, listing.PATH}


def test_the_statement_to_sign_has_the_digests_of_the_release(tmp_path: Path) -> None:
    desk = desk_over(tmp_path)
    desk.package = {"release/README.md": b"# card\n"}
    made = content(listing.signable(("release/README.md",))(desk), listing.STATEMENT)
    (row,) = made["predicate"]["resources"]
    assert row["name"] == "README.md"
    assert row["digest"] == hashlib.sha256(b"# card\n").hexdigest()


def test_files_of_one_task_are_copied_by_one_task() -> None:
    made = [
        Recipe("docs:limits", licenses.license_file, (), ("docs/a.md", "docs/provenance/a"), ""),
        Recipe("paper:main", licenses.license_file, (), ("paper/main.tex",), ""),
    ]
    (copy,) = listing.recipes(made, paper=False)
    assert (copy.inputs, copy.targets) == (("docs/a.md",), ("release/docs/a.md",))


def test_each_class_that_opens_has_a_call_and_its_library() -> None:
    assert worker._CALLS.keys() == opens.CLASSES.keys()
    assert opens.library("BertModel", "sentence-similarity", ("modules.json",)) == opens.SENTENCES
    assert opens.library("LlamaForCausalLM", "text-generation", ()) == opens.TRANSFORMERS
    assert opens.class_of({"architectures": ["EvilModel", ["BertModel"]]}) == ""


CARD = """# x

```bash
rm -rf before
```

## How to Get Started with the Model

```bash
cd code
python -m pip install -r requirements.txt
python infer.py --input photo.jpg
```

```python
import runpy
print("here")
```

## Training Details

```bash
rm -rf after
```
"""


def test_only_the_first_steps_of_a_card_are_run() -> None:
    found = list(smoke.steps(CARD))
    assert [language for language, _ in found] == ["bash", "python"]
    assert not any("rm" in text for _, text in found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "infer.py").write_text("import sys; print(sys.argv)")
    return tmp_path


def test_a_step_that_needs_a_file_of_the_users_is_said_not_to_be_run(folder: Path) -> None:
    (_, first), _ = smoke.steps(CARD)
    rows = worker.run("bash", first, folder)
    assert {row["command"]: row["why"] for row in rows} == {
        "python -m pip install -r requirements.txt": "a build installs nothing",
        "python infer.py --input photo.jpg": "it reads photo.jpg, a file of the user's",
    }


def test_a_step_that_ends_badly_has_failed(folder: Path) -> None:
    good, bad = "cd code\npython infer.py --prompt x", "cd code\nfalse\npython infer.py"
    assert [row["status"] for row in worker.run("bash", good, folder)] == ["ran"]
    assert [row["status"] for row in worker.run("bash", bad, folder)] == ["failed"]
    (row,) = worker.run("python", "raise SystemExit('no such weights')", folder)
    assert row["status"] == "failed"
    assert "no such weights" in row["why"]


def test_a_library_that_is_not_installed_is_named(folder: Path) -> None:
    (row,) = worker.run("python", "import no_such_library\n", folder)
    assert row["status"] == "not run"
    assert "pip install no_such_library" in row["why"]


def test_failures_of_the_check_end_the_build() -> None:
    good = {"code": {"status": "opened"}, "transformers": {"status": "not checked"}, "steps": []}
    smoke._judge(good)
    wrong = {"status": "failed", "why": "Outputs differ.", "hint": "the bound is 1e-4"}
    with pytest.raises(TaskError, match="Outputs differ"):
        smoke._judge(good | {"transformers": wrong})
    step = {"status": "failed", "command": "python infer.py", "why": "Traceback"}
    with pytest.raises(TaskError, match=r"first steps do not run: python infer\.py"):
        smoke._judge(good | {"steps": [step]})


@pytest.mark.parametrize(
    ("paper", "shown"), [(True, b'see <a href="paper.pdf">paper</a>'), (False, b"see paper")]
)
def test_the_page_of_a_release_links_the_paper_that_the_release_has(
    tmp_path: Path, paper: bool, shown: bytes
) -> None:
    desk = trained(tmp_path)
    desk.package["report.html"] = b'see <a href="paper/main.tex">paper</a>'
    made = listing.page(paper=paper)(desk)
    assert made == {"release/report.html": shown}


def test_the_copy_of_a_release_links_its_weights_alone(tmp_path: Path) -> None:
    source = tmp_path / "release"
    (source / "code").mkdir(parents=True)
    (source / "code" / "model.py").write_text("x")
    (source / "model.safetensors").write_bytes(b"w")
    places = {name: str(source / name) for name in ("code/model.py", "model.safetensors")}
    made = worker.copy(places, tmp_path / "copy")
    links = [path.name for path in made.rglob("*") if path.is_symlink()]
    assert links == ["model.safetensors"]
    assert (made / "code" / "model.py").read_text() == "x"


def test_what_does_not_fit_into_memory_is_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = {
        "files": {"README.md": str(Path(__file__))},
        "bytes": 10**15,
        "steps": [["bash", "false"]],
    }
    Path("task.json").write_text(json.dumps(task))
    worker.main("task.json")
    report = json.loads(Path(worker.REPORT).read_text())
    assert "GB of memory" in report["code"]["why"]
    assert report["steps"][0]["status"] == "not run"
