"""The sample package in every state of its training: files as a bound run would leave them."""

from __future__ import annotations

import copy
import json
from typing import Any

from helpers import docs_fixtures as sample
from helpers import sample_files
from helpers.fake_desk import FakeDesk

DIGEST = "ab" * 32
CURVE = "step,train_loss,val_loss,learning_rate\n1,9.5,,0.0001\n238000,2.4,2.5,0.0002\n"
UNRECORDED: dict[str, Any] = {
    "status": "trained",
    "checkpoint": {
        "sha256": DIGEST, "step": 477_000, "bytes": 15_959_859_200, "dtype": "BF16",
        "parameters": sample_files.TOTAL,
        "files": [{"name": "model.safetensors", "sha256": DIGEST, "bytes": 15_959_859_200}],
    },
    "size": "full",
    **dict.fromkeys((
        "seed", "init_from", "starts", "unit", "units", "steps", "seconds", "devices",
        "memory_peak", "throughput", "mfu", "energy", "precision", "parallel", "versions", "data",
        "losses",
    )),
    "code": {"same": None, "changed": []},
    "steps": 477_000,
    "seed": 42,
    "seconds": {"wall": None, "device": None},
    "energy": {"joules": None, "source": "not measured"},
    "data": {"name": None, "sha256": "cd" * 32, "unit": None, "splits": {}},
    "losses": {"train": 2.31, "val": None},
    "plan": {"differs": []},
}  # fmt: skip
RECORDED: dict[str, Any] = {
    **UNRECORDED,
    "seed": 42, "code": {"same": True, "changed": []}, "starts": 3, "unit": "tokens",
    "units": 1_999_999_336_448, "steps": 477_000,
    "seconds": {"wall": 1_823_040.5, "device": 466_698_368.0},
    "devices": {"type": "cuda", "names": ["NVIDIA A100-SXM4-40GB"], "count": 256},
    "memory_peak": 33_400_000_000, "throughput": 1_097_065.0, "mfu": 0.413,
    "energy": {"joules": 1.2e11, "source": "NVML"}, "precision": "bfloat16", "parallel": "fsdp",
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "data": {"name": "my_corpus", "sha256": "cd" * 32, "unit": "tokens",
             "splits": {"train": 1_960_000_000_000, "val": 20_000_000_000, "test": 20_000_000_000}},
    "losses": {"train": 2.31, "val": 2.3504},
}  # fmt: skip
PLAN = [
    {"quantity": "tokens", "unit": "tokens", "planned": 1_999_999_336_448,
     "planned_source": "code/launch/plan.json: units", "actual": 1_999_999_336_448,
     "actual_source": "trained/model.json: units"},
    {"quantity": "memory of a device", "unit": "bytes", "planned": 35_100_000_000,
     "planned_source": "code/launch/plan.json: modes", "actual": 33_400_000_000,
     "actual_source": "trained/model.json: memory_peak"},
    {"quantity": "validation loss", "unit": "nat/token", "planned": None,
     "planned_source": None, "actual": 2.3504, "actual_source": "trained/model.json: losses.val"},
    {"quantity": "energy", "unit": "kWh", "planned": 51_600.0,
     "planned_source": "blueprint/constraints.json: training_energy", "actual": None,
     "actual_source": None},
]  # fmt: skip
SAMPLES = [{"input": "The ", "output": "The cat\n```\n# sat 7 | times", "command":
            'python infer.py --size full --checkpoint .. --prompt "The "'}]  # fmt: skip
HARNESS = {
    "name": "lm-eval", "version": "0.4.9", "commit": "1a2b3c4", "task_version": "1.0",
    "num_fewshot": 5, "template_sha256": None, "file": "results.json",
}  # fmt: skip


def scored(**changed: Any) -> dict[str, Any]:
    """Return the score that eval.py gives the checkpoint."""
    row = copy.deepcopy(json.loads(sample.package()["benchmarks/results.json"])[0])
    return row | {
        "dataset": "my_corpus", "sha256": "cd" * 32, "n": 81_234, "steps": 477_000, "size": "full",
        "command": "python eval.py --size full --data tokens", "value": 0.7713, "seeds": {},
        "spread": None, "interval": [0.7702, 0.7724], "bound": True, "harness": None,
        "standard_error": None, **changed,
    }  # fmt: skip


def imported(**changed: Any) -> dict[str, Any]:
    """Return a result of lm-eval, bound to the checkpoint."""
    row = dict.fromkeys(scored())
    return row | {
        "benchmark": "MMLU", "dataset": "cais/mmlu", "split": "test", "n": 14_042,
        "metric": "accuracy", "title": "accuracy", "unit": "share", "higher_is_better": True,
        "value": 0.65123, "size": "full", "status": "measured", "origin": "imported",
        "baselines": {}, "seeds": {}, "differences": {}, "outcomes": {}, "bound": True,
        "harness": HARNESS, "standard_error": 0.0038, **changed,
    }  # fmt: skip


def typed(**changed: Any) -> dict[str, Any]:
    """Return a result that a person typed."""
    return imported(origin="typed", bound=False, harness=None, standard_error=None, **changed)


def desk(
    model: dict[str, Any] | None, rows: list[dict[str, Any]], *, proxy: bool = True, **keys: Any
) -> FakeDesk:
    """Return a desk over the sample package with a trained model and results of it.

    Args:
        model: The content of trained/model.json; None for the package without a model.
        rows: Results of the full model.
        proxy: Whether the proxy was trained.
        keys: Keys of the spec, with `__` for dots.
    """
    results = json.loads(sample.package()["benchmarks/results.json"])
    kept = [row for row in results if proxy or row["status"] != "measured"]
    named = {row["benchmark"] for row in rows}
    kept = [row for row in kept if row["status"] == "measured" or row["benchmark"] not in named]
    changed: dict[str, Any] = {"results": [*kept, *rows]}
    if not proxy:
        changed |= {"curve": "step,train_loss,val_loss,learning_rate\n", "machine": {}}
    spec = {name.replace("__", "."): value for name, value in keys.items()}
    made = sample.desk(spec, **changed)
    if model is not None:
        made.files |= {
            path: sample.encode(path, value) for path, value in trained_files(model).items()
        }
    return made


def trained_files(model: dict[str, Any]) -> dict[str, Any]:
    recorded = model["units"] is not None
    return {
        "trained/model.json": model,
        "trained/curve.csv": CURVE if recorded else CURVE.splitlines(True)[0],
        "trained/plan.json": PLAN if recorded else PLAN[2:3],
        "trained/samples.json": SAMPLES if recorded else [],
        "trained/bench.json": BENCH if recorded else {},
    }


BENCH: dict[str, Any] = {
    "version": 1, "command": "python bench.py --checkpoint .. --size full --device cpu",
    "precision": "bfloat16", "threads": 1, "warmup": 1, "repeats": 5,
    "devices": {"type": "cpu", "names": ["Some other CPU"], "count": 1}, "bytes": 15_959_859_200,
    "memory_peak": 17_100_000_000, "memory_source": "peak resident set of the process",
    "cases": [{"name": "decoding", "batch": 1, "unit": "tokens", "units": 63, "memory_peak": None,
               "latency": {"median": 25.3, "lowest": 24.9, "highest": 26.2}, "throughput": 2.49}],
}  # fmt: skip
_PART = {
    **RECORDED,
    "status": "partial",
    "checkpoint": {**RECORDED["checkpoint"], "step": 1200},
    "steps": 1200,
    "units": 5_000_000_000,
}
_DIFFERS = [{"setting": "train.learning_rate", "planned": 3e-4, "actual": 2e-4}]
_SEVERAL = {
    **RECORDED, **dict.fromkeys(("devices", "versions", "precision")),
    "history": [{"devices": {"count": 1}}, {"devices": {"count": 8}}],
    "plan": {"differs": _DIFFERS},
}  # fmt: skip
_EDITED = {**RECORDED, "code": {"same": False, "changed": ["model.py", "train.py"]}}
STATES: dict[str, tuple[dict[str, Any] | None, list[dict[str, Any]], bool]] = {
    "nothing trained": (None, [], False),
    "proxy only": (None, [], True),
    "full only": (RECORDED, [scored(), imported()], False),
    "both": (RECORDED, [scored(), imported()], True),
    "results without checkpoint": (None, [typed()], True),
    "imported results without checkpoint": (None, [imported(bound=False)], False),
    "not scored": (RECORDED, [], True),
    "partial": (_PART, [scored(steps=1200)], True),
    "edited code": (_EDITED, [scored()], True),
    "not recorded": (UNRECORDED, [scored()], False),
    "several machines": (_SEVERAL, [scored()], False),
    "stated beside bound": (RECORDED, [scored(), typed()], True),
}


def state(name: str) -> FakeDesk:
    """Return the desk of a state."""
    model, rows, proxy = STATES[name]
    return desk(model, rows, proxy=proxy)
