"""Files that harnesses wrote are read: those of `recorded/`, and a fresh one of lm-eval.

The files of `recorded/` are the output of the versions in their names, for a checkpoint of 26,816
random parameters and eight questions of a local task, of 28 November 2026. lm-eval's is without its
account of the machine, and Inspect's without its samples (`inspect log dump --header-only`). That
of Every Eval Ever was converted from lm-eval's by its own command. lighteval ran with an older
xxhash, and without its look-ups of judges and of tinyBenchmarks, neither of which its file names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import bound, own_questions

from metagen.errors import TaskError
from metagen.trained import results
from metagen.trained.found import Found, Model
from metagen.trained.readers import READERS

FOLDER = Path(__file__).parent / "recorded"
MODEL = Model("text_llm_tiny", 26_816)


def read(content: Any, model: Model = MODEL) -> Found:
    """Return the only result of a file."""
    (reader,) = [each for each in READERS if each.fits(content)]
    (found,) = reader.read("results.json", content, model)
    assert isinstance(found, Found)
    return found


def recorded(name: str) -> Any:
    (path,) = FOLDER.glob(f"{name}_[0-9]*.json")
    return json.loads(path.read_text())


# The metric, its value, samples, data set, split, and what is known of the harness.
SAYS = {
    "lm_eval": ("acc", 1.0, 8, "questions.jsonl", "test", "lm-eval 0.4.13, task 1.0, 0-shot"),
    "lighteval": ("acc", 1.0, None, "task", "train", "lighteval None, task 1, 0-shot"),
    "inspect": ("accuracy", 0.0, 8, "questions", None, "inspect 0.3.285, task 2, None-shot"),
    "every_eval_ever": (
        *("accuracy", 1.0, 8, "own_questions", None),
        "lm_eval 0.4.13, task None, None-shot",
    ),
}


@pytest.mark.parametrize("name", SAYS)
def test_a_file_that_a_harness_wrote_is_read_whole(name: str) -> None:
    found = read(recorded(name))
    metric, value, n, dataset, split, harness = SAYS[name]
    assert found.task == "own_questions"
    assert (found.metric, found.value, found.n) == (metric, value, n)
    assert (found.dataset, found.split) == (dataset, split)
    assert found.standard_error == 0.0
    assert not found.bound
    told = [found.harness.get(key) for key in ("name", "version", "task_version", "num_fewshot")]
    assert "{} {}, task {}, {}-shot".format(*told) == harness


@pytest.mark.parametrize("name", ["lighteval", "inspect"])
def test_such_a_file_becomes_a_result_that_is_stated_and_not_bound(
    name: str, tmp_path: Path
) -> None:
    bound.training(tmp_path / "run")
    (path,) = FOLDER.glob(f"{name}_[0-9]*.json")
    desk = bound.desk(tmp_path / "run", {path.name: path.read_bytes()})
    desk.package |= bound.checked()
    rows = json.loads(results.results(desk)["trained/results.json"])
    (row,) = [row for row in rows if row["benchmark"] == "own_questions"]
    assert (row["value"], row["bound"], row["origin"]) == (SAYS[name][1], False, "imported")


@pytest.mark.parametrize("name", ["lm_eval", "every_eval_ever"])
def test_a_file_that_counts_other_parameters_is_of_another_model(name: str) -> None:
    with pytest.raises(TaskError, match="model with 26816 parameters, and this one has 26,817"):
        read(recorded(name), Model(MODEL.name, MODEL.parameters + 1))


@pytest.mark.slow
@pytest.mark.skipif(not own_questions.INSTALLED, reason="the extra clients is not installed")
def test_what_the_installed_lm_eval_writes_is_read_like_the_recorded_file(tmp_path: Path) -> None:
    weights = tmp_path / "full_run" / "checkpoint"
    parameters = checkpoint(weights)
    own_questions.scored(tmp_path, weights, 8, "metadata: {version: 1.0}\n")
    (path,) = tmp_path.rglob("results_*.json")
    found, old = read(json.loads(path.read_text()), Model("x", parameters)), recorded("lm_eval")
    same = ("task", "metric", "n", "dataset", "split", "higher", "bound")
    assert [getattr(found, name) for name in same] == [getattr(read(old), name) for name in same]
    assert 0 <= found.value <= 1


def checkpoint(folder: Path) -> int:
    """Save a language model of random weights, and return the number of its parameters."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate([*letters, "<end>"])}
    bytewise = Tokenizer(models.BPE(vocab=words, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<end>")
    made.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return sum(each.numel() for each in model.parameters())
