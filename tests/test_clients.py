"""Programs of others on checkpoints as train.py writes them: the rows of docs/clients.md.

The extra `clients` installs those that the other tests do without; a test of one that is not
installed is skipped as "not run". `python tests/test_clients.py` writes the versions installed here
into the table.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import generated
from helpers.family_code import spec_paths, write_proxy
from helpers.made import run
from helpers.plain_desk import PlainDesk

from metagen import paths

DOCUMENT = Path(__file__).parents[1] / "docs" / "clients.md"
ROW = re.compile(r"^\| ([\w.-]+)[^|]*\|.*\| ([^|]*) \| `(test_\w+)` \|$", re.MULTILINE)
PROMPT = "The import statement"
LANGUAGE = ("byte", "decoder")
IMAGES = ("vit", "resnet")
TRAINING = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "report_to": [],
    "use_cpu": True,
    "save_strategy": "no",
    "disable_tqdm": True,
}
TEXTS = ["print the value", "a name is bound to an object, and an object has a type", "x"] * 2

slow = pytest.mark.slow


def test_each_row_of_the_table_is_a_test_and_each_test_a_row() -> None:
    named = {name for _, _, name in ROW.findall(DOCUMENT.read_text())}
    here = {name for name in globals() if name.startswith("test_")}
    assert named == here - {"test_each_row_of_the_table_is_a_test_and_each_test_a_row"}


def client(name: str) -> Any:
    """Return a client's module, or skip the test."""
    return pytest.importorskip(name, reason=f"not run: {name} is not installed")


@dataclass(frozen=True)
class Trained:
    """A proxy after some steps."""

    code: Path
    out: Path

    @property
    def checkpoint(self) -> str:
        return str(self.out / "checkpoint")

    def infer(self, *options: object) -> str:
        return run(self.code, "infer", "--threads", 1, "--out", self.out, *options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Train the proxy of a family, once; `byte` is a language model of bytes."""

    @functools.cache
    def made(family: str) -> Trained:
        # A language model learns to write whole characters.
        root, steps = tmp_path_factory.mktemp(family), 60 if family in LANGUAGE else 2
        options = ["--threads", 1, "--steps", steps]
        if family == "byte":
            (root / "code").mkdir()
            code = generated.write_package(root / "code")
        else:
            code = write_proxy(PlainDesk.of(spec_paths()[family]), root)
        run(code, "train", *options, "--eval-every", steps, "--out", root / "out")
        return Trained(code, root / "out")

    return made


@slow
@pytest.mark.ci
@pytest.mark.parametrize("family", LANGUAGE)
def test_a_pipeline_generates_what_infer_prints(
    trained: Callable[[str], Trained], family: str
) -> None:
    transformers, here = client("transformers"), trained(family)
    generate = transformers.pipeline("text-generation", model=here.checkpoint)
    (theirs,) = generate(PROMPT, max_new_tokens=8, do_sample=False)
    ours = here.infer("--prompt", PROMPT, "--temperature", 0, "--max-new-tokens", 8)
    # infer.py prints a character with its last byte.
    whole = theirs["generated_text"].rstrip("\N{REPLACEMENT CHARACTER}")
    assert whole == ours.removesuffix("\n")


@slow
@pytest.mark.parametrize("family", LANGUAGE)
def test_the_trainer_pads_rows_of_different_length(
    trained: Callable[[str], Trained], tmp_path: Path, family: str
) -> None:
    client("accelerate")
    transformers, place = client("transformers"), trained(family).checkpoint
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    rows = [tokenizer(text) for text in TEXTS]
    batch = collator(rows[:2])
    # Nothing but padding is left out of the loss.
    assert (batch["labels"] == -100).sum() == (batch["attention_mask"] == 0).sum() > 0
    trainer = transformers.Trainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(place),
        args=transformers.TrainingArguments(output_dir=str(tmp_path), **TRAINING),
        train_dataset=rows,
        data_collator=collator,
    )
    assert trainer.train().training_loss > 0


@slow
@pytest.mark.parametrize("family", LANGUAGE)
def test_supervised_fine_tuning_ends_each_text(
    trained: Callable[[str], Trained], tmp_path: Path, family: str
) -> None:
    trl, datasets = client("trl"), client("datasets")
    transformers, place = client("transformers"), trained(family).checkpoint
    settings = trl.SFTConfig(output_dir=str(tmp_path), **TRAINING)
    data = datasets.Dataset.from_dict({"text": TEXTS})
    as_it_is = trl.SFTTrainer(model=place, args=settings, train_dataset=data)
    assert as_it_is.train().training_loss > 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, split_special_tokens=False)
    ending = trl.SFTTrainer(
        model=place, args=settings, train_dataset=data, processing_class=tokenizer
    )
    assert {row["input_ids"][-1] for row in ending.train_dataset} == {tokenizer.eos_token_id}


@slow
@pytest.mark.parametrize("family", LANGUAGE)
def test_an_adapter_is_saved_loaded_and_merged(
    trained: Callable[[str], Trained], tmp_path: Path, family: str
) -> None:
    peft, transformers, here = client("peft"), client("transformers"), trained(family)
    load = transformers.AutoModelForCausalLM.from_pretrained
    adapted = peft.get_peft_model(load(here.checkpoint), peft.LoraConfig(task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(load(here.checkpoint), tmp_path / "adapter")
    merged, tokens = loaded.merge_and_unload().eval(), torch.arange(12)[None]
    assert torch.allclose(merged(tokens).logits, adapted.eval()(tokens).logits, atol=1e-3)
    # Scripts of the package read what transformers saved.
    tokenizer = transformers.AutoTokenizer.from_pretrained(here.checkpoint)
    for part in (merged, tokenizer):
        part.save_pretrained(tmp_path / "merged")
    options = ("--prompt", PROMPT, "--temperature", 0, "--max-new-tokens", 8)
    ours = here.infer(*options, "--checkpoint", tmp_path / "merged")
    row = tokenizer(PROMPT, return_tensors="pt")
    theirs = merged.generate(**row, max_new_tokens=8, do_sample=False)[0]
    text = tokenizer.decode(theirs, skip_special_tokens=True)
    assert ours.removesuffix("\n") == text.rstrip("\N{REPLACEMENT CHARACTER}")


HARNESS = {
    "choice": "output_type: multiple_choice\ndoc_to_text: '{{question}}'\n"
    "doc_to_choice: '{{choices}}'\ndoc_to_target: '{{answer}}'\nmetric_list: [{metric: acc}]",
    "rolling": "output_type: loglikelihood_rolling\ndoc_to_text: ''\n"
    "doc_to_target: '{{question}}'\nmetric_list: [{metric: bits_per_byte}]",
    "writing": "output_type: generate_until\ndoc_to_text: '{{question}}'\n"
    "doc_to_target: '{{choices[0]}}'\ngeneration_kwargs: {until: ['.'], max_gen_toks: 4}\n"
    "metric_list: [{metric: exact_match}]",
}


@slow
@pytest.mark.parametrize("family", LANGUAGE)
def test_the_harness_scores_choices_texts_and_answers(
    trained: Callable[[str], Trained],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
) -> None:
    client("lm_eval")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    question = {"question": PROMPT, "choices": ["yes", "it is"], "answer": 0}
    (tmp_path / "questions.jsonl").write_text(2 * (json.dumps(question) + "\n"))
    data = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/questions.jsonl}}}}"
    )
    for name, settings in HARNESS.items():
        text = f"task: own_{name}\n{data}\ntest_split: test\n{settings}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    tasks = ",".join(f"own_{name}" for name in HARNESS)
    line = f"lm_eval run --model hf --model_args pretrained={trained(family).checkpoint}"
    options = ["--device", "cpu", "--include_path", str(tmp_path), "--tasks", tasks]
    options += ["--output_path", str(tmp_path / "scores")]
    subprocess.run([sys.executable, "-m", *line.split(), *options], check=True, cwd=tmp_path)
    (path,) = (tmp_path / "scores").rglob("results_*.json")
    scores = json.loads(path.read_text())["results"]
    assert 0 < scores["own_rolling"]["bits_per_byte,none"] < 20
    assert 0 <= scores["own_choice"]["acc,none"] <= 1
    assert "exact_match,none" in scores["own_writing"]


@slow
def test_the_harness_knows_each_task_of_the_reports() -> None:
    from metagen.tasks.harness import TASKS

    known = client("lm_eval.tasks").TaskManager().all_tasks
    assert {task for tasks in TASKS.values() for task in tasks.split(",")} <= set(known)


@slow
@pytest.mark.ci
def test_a_pipeline_labels_texts_of_any_length(trained: Callable[[str], Trained]) -> None:
    transformers, here = client("transformers"), trained("text_classifier")
    label = transformers.pipeline("text-classification", model=here.checkpoint)
    for text in ("Bitte geben Sie ein Datum ein.", "Wort " * 300):
        theirs = label(text.strip(), truncation=True)[0]
        name, share = here.infer("--prompt", text.strip()).splitlines()[0].split("\t")
        assert theirs["label"] == name
        assert theirs["score"] == pytest.approx(float(share), abs=0.01)


@slow
def test_vectors_of_sentence_transformers_are_those_of_infer(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    library, here = client("sentence_transformers"), trained("sentence_embedder")
    texts = ["Enter a date.", "Bitte geben Sie ein Datum ein. " * 60]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    here.infer("--input", tmp_path / "texts.txt", "--output", tmp_path / "vectors.npy")
    theirs = library.SentenceTransformer(here.checkpoint).encode(texts)
    ours = np.load(tmp_path / "vectors.npy")
    assert np.linalg.norm(theirs, axis=1) == pytest.approx(1, abs=1e-5)
    assert theirs == pytest.approx(ours, abs=0.01)  # infer.py computes in bfloat16


@slow
def test_scores_of_a_cross_encoder_are_those_of_infer(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    library, here = client("sentence_transformers"), trained("document_ranker")
    passages = ["A scope defines the visibility of a name.", "Yields are expressions. " * 90]
    (tmp_path / "passages.txt").write_text("\n".join(passages))
    query = "How are names resolved?"
    printed = here.infer("--prompt", query, "--input", tmp_path / "passages.txt").splitlines()
    ours = {text: float(score) for score, text in (line.split("\t") for line in printed)}
    scores = library.CrossEncoder(here.checkpoint).predict([(query, text) for text in passages])
    for text, score in zip(passages, scores, strict=True):
        assert ours[text.strip()] == pytest.approx(float(score), abs=0.02)


def pictures(folder: Path) -> list[Path]:
    """Write a picture in grey and one in colours, and return their paths."""
    from PIL import Image

    draw = np.random.default_rng(0)
    shapes = {"grey.png": (40, 40), "colours.png": (30, 50, 3)}
    for name, shape in shapes.items():
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return [folder / name for name in shapes]


@slow
@pytest.mark.ci
@pytest.mark.parametrize("family", IMAGES)
def test_a_pipeline_labels_grey_and_coloured_images(
    trained: Callable[[str], Trained], tmp_path: Path, family: str
) -> None:
    transformers, here = client("transformers"), trained(family)
    label = transformers.pipeline("image-classification", model=here.checkpoint)
    for picture in pictures(tmp_path):
        shares = {each["label"]: each["score"] for each in label(str(picture), top_k=10)}
        line = here.infer("--input", picture, "--dtype", "float32", "--top", 10)
        printed = line.strip().split(": ")[-1].split(", ")
        ours = {name: float(share[:-1]) / 100 for name, share in map(str.split, printed)}
        assert shares == pytest.approx(ours, abs=0.002)


@slow
def test_a_pipeline_finds_the_text_of_an_image(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    transformers, here = client("transformers"), trained("clip")
    choose = transformers.pipeline("zero-shot-image-classification", model=here.checkpoint)
    texts = ["greek small letter omega", "digit seven", "black heart suit"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    for picture in pictures(tmp_path):
        found = choose(str(picture), candidate_labels=texts, hypothesis_template="{}")
        answer = here.infer("--input", picture, "--texts", tmp_path / "texts.txt",
                            "--weight-bits", 32)  # fmt: skip
        order = [line.split(maxsplit=1)[1] for line in answer.splitlines()]
        assert [each["label"] for each in found] == order


@slow
def test_transformers_forecasts_from_the_checkpoint(trained: Callable[[str], Trained]) -> None:
    load = client("transformers").PatchTSTForPrediction.from_pretrained
    network, report = load(trained("patch_forecaster").checkpoint, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    past = torch.randn(2, network.config.context_length, network.config.num_input_channels)
    assert network(past_values=past).prediction_outputs.isfinite().all()


@slow
def test_an_exported_network_gives_the_same_logits(trained: Callable[[str], Trained]) -> None:
    with generated.modules(trained("byte").code) as code, torch.no_grad():
        network, tokens = code["model"].Model(code["model"].Config()).eval(), torch.arange(12)[None]
        length = torch.export.Dim("length", min=2, max=32)
        shapes = {"tokens": {1: length}}
        exported = torch.export.export(network, (tokens,), dynamic_shapes=shapes).module()
        for row in (tokens, tokens[:, :5]):
            assert torch.equal(exported(row), network(row))


@slow
def test_onnxruntime_gives_the_same_logits(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    client("onnxscript")
    runtime, here = client("onnxruntime"), trained("byte")
    readme = paths.source("templates/tasks/language_modeling/README.md").read_text()
    (recipe,) = re.findall(r"```python\n([^`]*torch\.onnx[^`]*)```", readme)
    # At the tiny size of this package, the full model is the proxy.
    places = {"full_run/checkpoint": here.checkpoint, "model.onnx": str(tmp_path / "model.onnx")}
    for name, place in places.items():
        recipe = recipe.replace(name, place)
    names: dict[str, Any] = {}
    with generated.modules(here.code), torch.no_grad():
        exec(recipe, names)
        tokens = torch.arange(16)[None]
        session = runtime.InferenceSession(places["model.onnx"])
        (theirs,) = session.run(None, {session.get_inputs()[0].name: tokens.numpy()})
        assert theirs == pytest.approx(names["network"](tokens).numpy(), abs=1e-4)


def renewed(text: str) -> str:
    """Return the table with the versions that are installed here."""

    def row(match: re.Match[str]) -> str:
        return match[0].replace(f"| {match[2]} | `", f"| {version(match[1])} | `")

    return ROW.sub(row, text)


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))
