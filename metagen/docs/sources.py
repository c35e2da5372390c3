"""The files of a package that documents state facts of, and the units of their entries."""

from __future__ import annotations

from metagen.measure.evidence import EVIDENCE
from metagen.measure.results import (
    ABLATED,
    CURVE,
    FULL_CURVE,
    FULL_MODEL,
    IMPORTED,
    MEASURED,
    REPORT,
    RESULTS,
    TYPED,
)
from metagen.package.launch import PASSING, PLAN, STATES

FILES = {
    "arch": "blueprint/architecture.yaml",
    "graph": "blueprint/graph.json",
    "params": "blueprint/params.json",
    "shape": "blueprint/derived.json",
    "flops": "blueprint/flops.json",
    "peers": "blueprint/peers.json",
    "constraints": "blueprint/constraints.json",
    "sensitivity": "blueprint/sensitivity.json",
    "results": RESULTS,
    "report": REPORT,
    # Changes of the proxy beside it; without any that was selected it says so.
    "ablations": ABLATED,
    "curve": CURVE,
    "machine": "benchmarks/machine.json",
    # What the proxy read: how much of it each split has.
    "data": "benchmarks/data.json",
    "launch": PLAN,
    "lock": "code/requirements.lock",
    # What the task knows of the data of its benchmark.
    "sheets": "docs/data_sheets.json",
    # What task and family say of uses, risks and failures.
    "uses": "docs/uses.json",
    # Of a release alone; only its README prints it.
    "release": "docs/release.json",
    # These always exist; without a trained model they say so.
    "trained": FULL_MODEL,
    "trained_curve": FULL_CURVE,
    "plan": "trained/plan.json",
    "samples": "trained/samples.json",
    "bench": "trained/bench.json",
}
SPEC = "spec_resolved.yaml"
# Generated files that users are expected to edit; documents name those that were edited.
SOURCES = (
    FILES["arch"],
    *(REPORT, CURVE, RESULTS, FILES["machine"]),
    *(f"code/{name}.py" for name in ("model", "data", "train", "eval", "infer")),
)
ORIGINS = {
    MEASURED: "measured by this build",
    IMPORTED: "imported, not measured by this build",
    TYPED: "typed by a person, not measured by this build",
}
# How a result of the full model came; the braces hold the program that measured it.
FULL_ORIGINS = {
    MEASURED: "measured by eval.py",
    IMPORTED: "measured by {}",
    TYPED: "typed by a person",
}
# Whether the file of a result names the checkpoint of the package.
BOUND = {True: " on this checkpoint", False: "; stated, not bound to a checkpoint"}
# Names that contain a numeral, which is no measurement.
TERMS = {"digest": "SHA-256", "interval": "95% interval"}

UNITS = (
    ("machine.seconds.*", "seconds"),
    ("params.budget.share", "share"),
    ("params.embedding_share", "share"),
    ("params.proxy_share", "share"),
    ("params.*", "parameters"),
    ("peers.*size", "parameters"),
    ("release.bytes", "bytes"),
    ("release.parameters", "parameters"),
    ("flops.unit", ""),
    ("flops.*length", ""),
    ("flops.*", "FLOP"),
    ("ablations.*parameters", "parameters"),
    ("ablations.*share", "share"),
    ("ablations.resized", "share"),
    ("constraints.*.margin", "share"),
    ("sensitivity.*parameters", "parameters"),
    ("sensitivity.*.memory*", "bytes"),
    ("spec.constraints.parameter_budget.*", "parameters"),
    ("spec.constraints.memory_budget", "bytes"),
    ("spec.constraints.context_window", "tokens"),
    ("arch.*max_seq_len", "tokens"),
    ("arch.data.seq_len", "tokens"),
    *((f"launch.modes.*.{name}", "bytes") for name in (*STATES, *PASSING, "total", "most")),
    ("launch.usable_memory", "bytes"),
    ("launch.uncounted", "share"),
    ("trained.checkpoint.bytes", "bytes"),
    ("trained.checkpoint.files.*.bytes", "bytes"),
    ("trained.checkpoint.parameters", "parameters"),
    ("trained.steps", "training steps"),
    ("trained.seconds.*", "seconds"),
    ("trained.memory_peak", "bytes"),
    ("bench.cases.*.latency.*", "s"),
    ("bench.memory_peak", "bytes"),
    ("bench.bytes", "bytes"),
    ("trained.mfu", "share"),
    ("trained.energy.joules", "J"),
)


_CHECKED = {"results", "ablations", "curve", "trained", "trained_curve"}


def inputs(*names: str) -> tuple[str, ...]:
    """Return the files of some names, as inputs of a task.

    A task that states a result also waits for the check of the results.
    """
    checked = (EVIDENCE,) if _CHECKED & set(names) else ()
    return (*(FILES[name] for name in names), *checked)
