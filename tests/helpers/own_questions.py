"""A task of lm-eval whose questions lie in a file, and a run of it without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

INSTALLED = all(map(importlib.util.find_spec, ("lm_eval", "accelerate")))  # by the extra `clients`
TASK = """task: own_questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: '{{{{question}}}}'
doc_to_choice: '{{{{choices}}}}'
doc_to_target: '{{{{answer}}}}'
metric_list: [{{metric: acc}}]
{more}"""
QUESTION = {"question": "The import statement", "choices": [" yes", " is"], "answer": 1}


def scored(folder: Path, checkpoint: Path, count: int, more: str = "") -> Path:
    """Score a checkpoint on a question that stands `count` times, and return where results lie.

    Args:
        folder: Takes the task, the questions and the results.
        checkpoint: The folder of a model that transformers opens.
        count: How many questions there are.
        more: Further lines of the task.
    """
    (folder / "questions.jsonl").write_text(count * (json.dumps(QUESTION) + "\n"))
    (folder / "own.yaml").write_text(TASK.format(folder=folder, more=more))
    line = f"lm_eval run --model hf --model_args pretrained={checkpoint} --device cpu"
    options = f"--include_path {folder} --tasks own_questions --output_path {folder / 'out'}"
    offline = {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", *line.split(), *options.split()]
    done = subprocess.run(
        command, env=os.environ | offline, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"
