"""Result files in the forms of harnesses, made by hand after real ones of the stated versions.

Forms: lm-eval 0.4.9 (EleutherAI/lm-evaluation-harness, lm_eval/loggers/evaluation_tracker.py),
lm-eval 0.3, lighteval of 2026 (huggingface/lighteval, src/lighteval/logging/evaluation_tracker.py),
Inspect 0.3 (UKGovernmentBEIS/inspect_ai, src/inspect_ai/log/_log.py, log version 2), and Every Eval
Ever 0.2.1 (evaleval/every_eval_ever, eval.schema.json).
"""

from __future__ import annotations

import json
from typing import Any

from . import bound

TEMPLATE = "12" * 32
BEFORE, AFTER = 1777636800.0, 1779000000.0  # 1 May 2026, 12:00 UTC, and 17 May


def lm_eval(date: float = AFTER) -> dict[str, Any]:
    """Return results of MMLU, a group of two tasks with a score of its own, and of SciQ."""
    tasks = {"mmlu_anatomy": 135, "mmlu_law": 65, "sciq": 1000}
    scores = {"acc,none": 0.25, "acc_stderr,none": 0.03, "alias": "x"}
    return {
        "results": {
            "mmlu": {"acc,none": 0.255, "acc_stderr,none": 0.02, "alias": "mmlu"},
            "mmlu_anatomy": scores, "mmlu_law": scores,
            "sciq": {"alias": "sciq", "acc,none": 0.3, "acc_stderr,none": 0.01,
                     "acc_norm,none": 0.35, "acc_norm_stderr,none": "N/A"},
        },
        "group_subtasks": {"mmlu": ["mmlu_anatomy", "mmlu_law"], "sciq": []},
        "configs": {task: {"task": task, "dataset_path": f"hf/{task}", "test_split": "test",
                           "num_fewshot": 5} for task in tasks},
        "versions": {"mmlu": 2, "mmlu_anatomy": 1.0, "mmlu_law": 1.0, "sciq": 1.0},
        "n-shot": {"mmlu_anatomy": 5, "mmlu_law": 5, "sciq": 0},
        "higher_is_better": {"sciq": {"acc": True, "acc_norm": True}, "mmlu": {"acc": True}},
        "n-samples": {task: {"original": n, "effective": n} for task, n in tasks.items()},
        "config": {"model": "hf", "model_args": "pretrained=full_run/checkpoint,dtype=float32",
                   "model_num_parameters": bound.TOTAL, "model_sha": "", "limit": None},
        "git_hash": "1f84a09f", "date": date, "lm_eval_version": "0.4.9.2",
        "task_hashes": {"sciq": "41" * 32}, "model_source": "hf",
        "model_name": "full_run/checkpoint", "model_name_sanitized": "full_run__checkpoint",
        "chat_template_sha": TEMPLATE, "start_time": 3.0, "end_time": 9.0,
    }  # fmt: skip


def lm_eval_of_2023() -> dict[str, Any]:
    """Return results in the form of lm-eval 0.3."""
    return {
        "results": {"sciq": {"acc": 0.3, "acc_stderr": 0.01, "acc_norm": 0.35}},
        "versions": {"sciq": 0},
        "config": {
            "model": "gpt2",
            "model_args": "use_fast=True,pretrained=runs/a/checkpoint",
            "num_fewshot": 2,
        },
    }


def lighteval() -> dict[str, Any]:
    """Return results of MMLU by its mean and a part, and of CoLA."""
    config = {"hf_repo": "lighteval/mmlu", "evaluation_splits": ["test"], "num_fewshots": 5,
              "metrics": [{"metric_name": "acc", "higher_is_better": True}], "version": 0,
              "original_num_docs": 100, "effective_num_docs": 100}  # fmt: skip
    cola = {**config, "hf_repo": "nyu-mll/glue", "evaluation_splits": ["validation"],
            "num_fewshots": 0, "metrics": [{"metric_name": "mcc", "higher_is_better": True}],
            "effective_num_docs": 1043}  # fmt: skip
    return {
        "config_general": {"lighteval_sha": "?", "max_samples": None, "start_time": 3122.7,
                           "model_config": {"model_name": "full_run/checkpoint"},
                           "model_name": "full_run/checkpoint"},
        "results": {
            "mmlu:anatomy|5": {"acc": 0.24, "acc_stderr": 0.04},
            "mmlu:_average|5": {"acc": 0.26, "acc_stderr": float("nan")},
            "glue:cola|0": {"mcc": 0.1, "mcc_stderr": 0.03},
            "all": {"acc": 0.2, "mcc": 0.1},
        },
        "versions": {"mmlu:anatomy|5": 0, "glue:cola|0": 0},
        "config_tasks": {"mmlu:anatomy|5": config, "glue:cola|0": cola},
        "summary_tasks": {}, "summary_general": {},
    }  # fmt: skip


def inspect() -> dict[str, Any]:
    """Return a log of PubMedQA, without its samples."""
    return {
        "version": 2, "status": "success",
        "eval": {"created": "2026-05-20T16:44:30+02:00", "task": "inspect_evals/pubmedqa",
                 "task_version": 0, "task_args": {}, "model": "hf/full_run/checkpoint",
                 "dataset": {"name": "bigbio/pubmed_qa", "samples": 500},
                 "config": {"limit": None, "epochs": 1}, "packages": {"inspect_ai": "0.3.108"},
                 "revision": {"type": "git", "origin": "o", "commit": "abc1234"}},
        "plan": {"name": "plan", "steps": []},
        "results": {"total_samples": 500, "completed_samples": 500, "scores": [
            {"name": "choice", "scorer": "choice", "params": {}, "metrics": {
                "accuracy": {"name": "accuracy", "value": 0.4, "params": {}},
                "stderr": {"name": "stderr", "value": 0.02, "params": {}}}}]},
        "stats": {"started_at": "2026-05-20T16:44:30+02:00"},
    }  # fmt: skip


def every_eval_ever(sha256: str | None = None) -> dict[str, Any]:
    """Return a record of IFEval; with a digest, it is bound to those weights."""
    details = {"checkpoint_sha256": sha256} if sha256 else {}
    return {
        "schema_version": "0.2.1", "evaluation_id": "a/b/1", "retrieved_timestamp": "1779000000",
        "source_metadata": {"source_type": "evaluation_run", "source_organization_name": "O",
                            "evaluator_relationship": "first_party"},
        "eval_library": {"name": "lm_eval", "version": "0.4.9"},
        "model_info": {"name": "text_llm_tiny", "id": "org/text-llm-tiny",
                       "additional_details": details},
        "evaluation_results": [{
            "evaluation_name": "IFEval",
            "source_data": {"dataset_name": "IFEval", "source_type": "hf_dataset",
                            "hf_repo": "google/IFEval", "hf_split": "train"},
            "metric_config": {"evaluation_description": "Accuracy on IFEval",
                              "lower_is_better": False, "score_type": "continuous",
                              "min_score": 0.0, "max_score": 1.0},
            "score_details": {"score": 0.1, "uncertainty": {
                "standard_error": {"value": 0.01, "method": "analytic"}, "num_samples": 541}},
        }],
    }  # fmt: skip


def plain(sha256: str | None = None) -> dict[str, Any]:
    """Return a file in the form of docs/results.md."""
    named = {"checkpoint_sha256": sha256} if sha256 else {}
    return {
        "version": 1, **named, "model": "text_llm_tiny", "parameters": bound.TOTAL,
        "harness": {"name": "our-eval", "version": "1.2", "commit": "abc1234"},
        "results": [{"benchmark": "HellaSwag", "dataset": "Rowan/hellaswag", "split": "validation",
                     "n": 10042, "metric": "acc_norm", "value": 0.31, "standard_error": 0.004,
                     "num_fewshot": 0, "task_version": "1"}],
    }  # fmt: skip


def encoded(content: Any) -> bytes:
    """Return JSON as Python's writers make it, with NaN where a number is none."""
    return json.dumps(content, indent=2).encode()
