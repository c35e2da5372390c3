"""Building packages in tests: quickly, in this process, with measurements that cost nothing."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metagen import families, files, paths
from metagen.engine import graph
from metagen.engine.binding import Binding
from metagen.engine.digest import Environment
from metagen.engine.engine import Engine, Outcome
from metagen.engine.ledger import Ledger
from metagen.engine.workspace import StateFolder, Workspace
from metagen.measure import sandbox
from metagen.measure.nodes import machines
from metagen.spec import load

from . import remembered, trained_run

TINY = paths.specs() / "text" / "text_llm_tiny.yaml"


def build(
    out: Path,
    spec: Path = TINY,
    overrides: Sequence[str] = (),
    *,
    run_id: str | None = None,
    trained: Path | None = None,
    results: Sequence[Path] = (),
) -> dict[str, Outcome]:
    """Build a package without its PDF, as a new process would; return what was done by task.

    A training folder and results are used in this build, and are not recorded.
    """
    bound = Binding.of(trained, results)
    tasks = graph.of_spec(load(spec, overrides), run_id, lambda run: bound)
    ledger = Ledger(StateFolder(out).ledger)
    engine = Engine(tasks, Workspace.on_disk(out, tasks.run, ledger), Environment(ledger))
    try:
        with remembered.figures_of_equal_data():
            for recipe in tasks.in_order(graph.whole(tasks.recipes)):
                engine.build(recipe, lambda *_: None)
        engine.outputs.sweep()
        return engine.outcomes
    finally:
        engine.close()
        ledger.close()


def ran(outcomes: Mapping[str, Outcome]) -> set[str]:
    """Return the names of the tasks that ran."""
    return {name for name, outcome in outcomes.items() if outcome.action == "run"}


def tree(out: Path) -> dict[str, bytes]:
    """Return every file of the run folders below an out folder."""
    found = (p for p in out.glob("run-*/**/*") if p.is_file())
    return {str(p.relative_to(out)): p.read_bytes() for p in found}


def fake_measurements(
    arguments: Sequence[str], given: Mapping[str, bytes], wanted: Sequence[str], **_: Any
) -> dict[str, bytes]:
    """Stand in for `sandbox.run`: figures that change with whatever the real ones depend on."""
    digests = {name: files.sha256(data) for name, data in given.items()}
    number = int(files.sha256(files.canonical([list(arguments), digests]).encode())[:6], 16) + 1
    if "probe.json" in wanted:
        return {"probe.json": json.dumps(_probed(number, given, arguments[-1])).encode()}
    if "memory.json" in wanted:
        return {"memory.json": json.dumps(_held(number, given, int(arguments[-1]))).encode()}
    if "machine.json" in wanted:
        return {"machine.json": b'{"cpu": "a faked CPU", "cores": 2, "system": "Linux x86_64"}'}
    if sandbox.STDOUT in wanted:
        report = json.dumps(_scored(number)).encode()
        return {sandbox.STDOUT: report, sandbox.SECONDS: b"%d" % (number % 10)}
    steps = int(arguments[arguments.index("--steps") + 1]) if "--steps" in arguments else 1
    row = {"step": steps, "train_loss": number / 1e6, "val_loss": 2.0, "learning_rate": 0.001}
    data = {"name": "pydoc_topics", "unit": "bytes", "splits": {"train": number, "test": 100}}
    record = {"version": 1, "starts": [{"data": data}]}
    logs = {"out/metrics.jsonl": row, "out/run.json": record}
    return dict.fromkeys(wanted, b"%d" % number) | {
        name: json.dumps(log).encode() for name, log in logs.items()
    }


def _probed(number: int, given: Mapping[str, bytes], name: str) -> dict[str, Any]:
    family, model = families.named(name), config_defaults(given["code/model.py"])
    data = json.loads(given["sizes.json"])["full"]["data"]
    measured, curve = family.lengths({"model": model, "data": data})
    lengths = {measured, *curve}
    tensors = {n: f"F32 {'x'.join(map(str, shape))}" for n, shape in trained_run.SHAPES.items()}
    return {
        "total": number,
        "trainable": number,
        "by_module": {"embed_tokens": number // 4, "layers": number // 2, "norm": number // 8},
        "by_layer": {"self_attn": 10, "mlp": 20, "norms": 2},
        "proxy_total": 7,
        "graph": {"config": model, "nodes": [], "edges": [], "residuals": [], "operations": 12},
        "tensors": {"parameters": tensors, "others": {}, "spare": []},
        "measured": measured,
        "tool": "fvcore",
        "by_operator": {str(n): {"linear": 2.0 * n, "attention": 1.0 * n} for n in lengths},
    }


def config_defaults(script: bytes) -> dict[str, Any]:
    """Return the defaults of the `Config` of a script."""
    statements = ast.parse(script).body
    config = next(s for s in statements if isinstance(s, ast.ClassDef) and s.name == "Config")
    fields = [s for s in config.body if isinstance(s, ast.AnnAssign) and s.value]
    return {ast.unparse(s.target): ast.literal_eval(s.value) for s in fields if s.value}


def _held(number: int, given: Mapping[str, bytes], declared: int) -> dict[str, Any]:
    states = dict.fromkeys(("weights", "gradients", "optimizer", "gathered"), number)
    modes = ("none", "selective", "full")
    kept = {name: (3 - index) * number for index, name in enumerate(modes)}
    mode = states | {"temporary": number, "activations": kept}
    mode |= {"operations": {"none": 1.0, "selective": 1.1, "full": 1.3}}
    train, data = (config_defaults(given[f"code/{name}.py"]) for name in ("train", "data"))
    nodes, per_node = machines(declared, train["batch_size"])
    run = {"nodes": nodes, "devices_per_node": per_node, "train": train, "data": data}
    return {**run, "samples_at_once": 1, "parameters": number, "ddp": mode, "fsdp": mode}


def _scored(number: int) -> dict[str, Any]:
    metric = {"metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte"}
    metric |= {"higher_is_better": False}
    scores = {"value": number / 1e6, "baselines": {"unigram": 4.7, "bigram": 3.4, "5-gram": 2.0}}
    source = {"dataset": "pydoc_topics", "sha256": "0" * 64, "split": "test", "n": 100}
    return {**source, "metrics": [metric | scores], "checkpoint_step": 1}
