"""The files of a sample package, a language model, as the stages of a build write them."""

from __future__ import annotations

import math
from typing import Any

from metagen.docs import sheets, uses
from metagen.families import parts, transformer
from metagen.families.decoder import FAMILY as decoder
from metagen.measure import trial

from .fake_desk import FakeDesk

DIMS = {
    "d_model": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128,
    "d_ff": 14208, "vocab_size": 128256, "max_seq_len": 262144, "rope_theta": 500000.0,
    "norm_eps": 1e-05, "tie_embeddings": False,
}  # fmt: skip
PROXY = {
    "d_model": 128, "n_layers": 4, "n_heads": 4, "n_kv_heads": 1, "head_dim": 32,
    "d_ff": 352, "vocab_size": 256, "max_seq_len": 256, "rope_theta": 500000.0,
    "norm_eps": 1e-05, "tie_embeddings": False,
}  # fmt: skip
TRAIN = {"steps": 477000, "batch_size": 256, "learning_rate": 3e-4, "warmup_steps": 2000,
         "weight_decay": 0.1, "grad_clip": 1.0, "beta1": 0.9, "beta2": 0.95}  # fmt: skip
INFER = {
    "temperature": 0.8,
    "top_k": 50,
    "top_p": 0.95,
    "dtype": "bfloat16",
    "weight_bits": 16,
    "cache_bits": 16,
}
PROXY_TRAIN = {**TRAIN, "steps": 200, "batch_size": 16, "learning_rate": 1e-3, "warmup_steps": 20}


def _by_module(dims: dict[str, Any]) -> dict[str, int]:
    """Return the count of each module of a decoder whose output layer is its own."""
    names = ("embed_tokens", "layers", "norm", "lm_head")
    return dict(zip(names, (parts.count([part]) for part in decoder.parts(dims)), strict=True))


TOTAL = decoder.count(DIMS)
MEMORY = 2 * TOTAL + transformer.cache_bytes(DIMS, DIMS["max_seq_len"])


def files() -> dict[str, Any]:
    return {
        "blueprint/architecture.yaml": _architecture(),
        "blueprint/params.json": _params(),
        "blueprint/derived.json": {
            name: {"value": value, "unit": unit}
            for name, (value, unit) in decoder.figures({**DIMS, **INFER}).items()
        },
        "blueprint/flops.json": _flops(),
        "blueprint/graph.json": _graph(),
        "blueprint/peers.json": _peers(),
        "blueprint/constraints.json": constraints(),
        "blueprint/sensitivity.json": _sensitivity(),
        "benchmarks/results.json": _results(),
        "benchmarks/ablations.json": {
            "status": "not selected", "resized": 0.05, "not_shown": [], "metrics": [],
        },
        "benchmarks/machine.json": {"cpu": "Some CPU", "cores": 8, "system": "Linux x86_64",
                                    "threads": 1, "seconds": {"training": 11.5, "scoring": 4.0}},
        "benchmarks/data.json": {
            "name": "pydoc_topics", "sha256": "ab" * 32, "unit": "bytes",
            "splits": {"train": 330_000, "val": 3_900, "test": 41_234}, "counts": {},
        },
        "docs/data_sheets.json": _sheets(),
        "docs/uses.json": uses.read(FakeDesk({}, {}), decoder),
        "benchmarks/report.json": {"report": {"figure": {
            "kind": "lines", "x": "bytes of context", "y": "bit/byte",
            "series": [{"name": "proxy", "x": [0, 1, 2], "y": [4.5, 3.5, 2.9]}],
            "examples": {"asked": "query", "given": "passages, the best first", "rows": [
                {"query": "Who * reads 3 lines?", "first_right": 2, "answers": [
                    {"text": "Nobody_ | does.", "right": False},
                    {"text": "All 7 do.", "right": True}]},
                {"query": "What is right?", "first_right": None, "answers": [
                    {"text": "Nothing & nobody.", "right": False}]}]},
        }}},
        "benchmarks/curve.csv": _curve(),
        "trained/model.json": {"status": "not trained"},
        "trained/curve.csv": "step,train_loss,val_loss,learning_rate\n",
        "trained/results.json": [],
        "trained/forecast.json": {"status": "not forecast", "forecast": None, "check": None,
                                  "verdicts": []},
        "code/launch/plan.json": plan(),
        **untrained(),
        "code/requirements.lock": "# Python 3.11.7 and these versions made the package.\n"
        "numpy==2.4.6\ntorch==2.13.0\n",
    }  # fmt: skip


def _sheets() -> list[dict[str, Any]]:
    """Return the data sheets of a language model."""
    return [sheets.read(FakeDesk({}, {}), "pydoc_topics")]


def untrained() -> dict[str, Any]:
    """Return the files about the trained model of a package without one."""
    return {
        "trained/model.json": {"status": "not trained"},
        "trained/curve.csv": "step,train_loss,val_loss,learning_rate\n",
        "trained/plan.json": [],
        "trained/samples.json": [],
        "trained/bench.json": {},
    }


def _architecture() -> dict[str, Any]:
    def sections(model: dict[str, Any], tokens: int, train: dict[str, Any]) -> dict[str, Any]:
        data = {"tokenizer": "bytes", "seq_len": tokens}
        scripts = {"train": train, "eval": {"batch_size": 8}, "infer": INFER}
        return {"model": model, "data": data, **scripts}

    return {
        "family": "decoder",
        **sections(DIMS, 4096, TRAIN),
        "proxy": sections(PROXY, 256, PROXY_TRAIN),
        "decisions": [{"name": "d_model", "value": 4096, "reason": "fits the budget"}],
    }


def _params() -> dict[str, Any]:
    modules = _by_module(DIMS)
    layer = modules["layers"] // DIMS["n_layers"]
    mlp, norms = 3 * DIMS["d_model"] * DIMS["d_ff"], 2 * DIMS["d_model"]
    return {
        "total": TOTAL,
        "trainable": TOTAL,
        "by_module": modules,
        "by_layer": {"self_attn": layer - mlp - norms, "mlp": mlp, "norms": norms},
        "embedding_share": modules["embed_tokens"] / TOTAL,
        "budget": {"min": None, "max": 8_000_000_000, "share": TOTAL / 8e9},
        "proxy_total": decoder.count(PROXY),
        "proxy_share": decoder.count(PROXY) / TOTAL,
    }


def _flops() -> dict[str, Any]:
    points = [
        {"length": n, "forward_per_unit": 2.0 * TOTAL + 4.0 * 32 * 4096 * n / 2}
        for n in (512, 2048, 8192, 32768, 131072, 262144)
    ]
    forward = points[0]["forward_per_unit"]
    return {
        "tool": "fvcore",
        "convention": "a multiply-add counts as two operations",
        "unit": "token",
        "length": 512,
        "forward_per_unit": forward,
        "training_per_unit": 3 * forward,
        "by_operator": {"linear": 2.0 * TOTAL, "attention": 1.3e8},
        "points": points,
    }


def _graph() -> dict[str, Any]:
    """Return the modules of a decoder; of its equal blocks, two."""
    modules, width = _by_module(DIMS), DIMS["d_model"]
    layer, mlp = modules["layers"] // DIMS["n_layers"], 3 * width * DIMS["d_ff"]
    inside = {"input_layernorm": ("RMSNorm", width), "mlp": ("SwiGLU", mlp)}
    block = {"": ("Block", layer), **{f".{name}": each for name, each in inside.items()}}
    blocks = {f"layers.{n}{name}": each for n in (0, 1) for name, each in block.items()}
    named = {
        "embed_tokens": ("Embedding", modules["embed_tokens"]),
        **blocks,
        "norm": ("RMSNorm", modules["norm"]),
        "lm_head": ("Linear", modules["lm_head"]),
    }
    return {
        "config": DIMS,
        "operations": 900,
        "nodes": [
            {"name": name, "type": kind, "parameters": count, "output_shape": [1, 512, width]}
            for name, (kind, count) in named.items()
        ],
        "residuals": [[f"layers.{n}.input_layernorm", f"layers.{n}.mlp"] for n in (0, 1)],
    }


def _peers() -> dict[str, Any]:
    return {
        "unit": "parameters",
        "columns": ["layers", "width"],
        "own": {"size": TOTAL, "values": [DIMS["n_layers"], DIMS["d_model"]]},
        "models": [
            {"model": "Llama-2-7B", "size": 6_738_415_616, "values": [32, 4096],
             "source": "Lightning-AI/litgpt:litgpt/config.py"},
        ],
    }  # fmt: skip


def constraints() -> list[dict[str, Any]]:
    return [
        row("parameter_budget.max", 8_000_000_000, TOTAL, "parameters", "met"),
        row("parameter_budget.min", None, TOTAL, "parameters", "not declared"),
        row("memory_budget", 16_000_000_000, MEMORY, "bytes", "violated"),
        row("context_window", 262144, 262144, "tokens", "met"),
        row("throughput", 120, 61.3, "tok/s", "violated"),
        row("latency", "near-real-time", None, "s", "not declared"),
    ]


def _sensitivity() -> dict[str, Any]:
    looser = {
        "constraint": "memory_budget",
        "declared": 16_000_000_000,
        "value": 20_000_000_000,
        **_outcome(TOTAL, MEMORY // 2),
        "changes": [{"name": "n_kv_heads", "from": 8, "to": 4}],
    }
    return {
        "specified": _outcome(TOTAL, MEMORY, "memory_budget"),
        "binding": ["memory_budget"],
        "steps": [looser],
    }


_INTERVAL = {"interval_method": "bootstrap", "interval_unit": "windows", "interval_n": 82}


def _results() -> list[dict[str, Any]]:
    data = {"benchmark": "held-out text", "dataset": "pydoc_topics", "sha256": "0f" * 32,
            "split": "test", "n": 41234, "n_unit": "bytes"}  # fmt: skip
    run = {"seed": 42, "steps": 200, "steps_unit": "training steps", "size": "proxy",
           "command": "python eval.py --size proxy", "status": "measured",
           "origin": "measured", **dict.fromkeys(trial.OF_THE_FULL)}  # fmt: skip
    bits = {"metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte",
            "higher_is_better": False, "value": 2.87312,
            "seeds": {"42": 2.86012, "43": 2.91002, "44": 2.84922}, "spread": 0.03241,
            "interval": [2.83151, 2.91473], **_INTERVAL,
            "baselines": {"unigram": 4.7211, "bigram": 3.4402, "5-gram": 2.0411},
            "differences": {"unigram": [-1.94, -1.76], "bigram": [-0.66, -0.48],
                            "5-gram": [0.74, 0.92]},
            "outcomes": {"unigram": "beats", "bigram": "beats", "5-gram": "loses"},
            }  # fmt: skip
    accuracy = {"metric": "next_byte_accuracy", "title": "next-byte accuracy", "unit": "share",
                "higher_is_better": True, "value": 0.41037,
                "seeds": {"42": 0.41037}, "spread": None,
                "interval": [0.40321, 0.41752], **_INTERVAL,
                "baselines": {"unigram": 0.1764, "bigram": 0.4081, "5-gram": 0.5902},
                "differences": {"unigram": [0.23, 0.24], "bigram": [-0.01, 0.01],
                                "5-gram": [-0.19, -0.17]},
                "outcomes": {"unigram": "beats", "bigram": "cannot tell", "5-gram": "loses"},
                }  # fmt: skip
    measured = [{**data, **metric, **run} for metric in (bits, accuracy)]
    return [*measured, *(_not_run(name) for name in ("MMLU", "HellaSwag"))]


def ablations() -> dict[str, Any]:
    """Return what two changes of the proxy measured with three seeds, and one not shown."""
    base = {"42": 2.86012, "43": 2.91002, "44": 2.84922}
    changes = [
        _change("half the depth", -0.258, [0.11, 0.12, 0.10], [0.07, 0.15], "worse"),
        _change("no dropout", 0.0, [-0.01, 0.02, 0.0], [-0.03, 0.04], "cannot tell"),
    ]
    bits = {"metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte",
            "higher_is_better": False,
            "unchanged": {"value": 2.87312, "spread": 0.03241, "seeds": base},
            "changes": changes}  # fmt: skip
    left_out = [{"name": "token tables untied", "reason": "it is so already"}]
    return {"status": "measured", "steps": 200, "steps_unit": "training steps", "resized": 0.05,
            "parameters": 412_032, "not_shown": left_out, "metrics": [bits]}  # fmt: skip


def _change(
    name: str, share: float, apart: list[float], interval: list[float], outcome: str
) -> dict[str, Any]:
    seeds = dict(zip(("42", "43", "44"), apart, strict=True))
    mean = sum(apart) / len(apart)
    return {
        "name": name, "change": {"n_layers": 1}, "parameters": round(412_032 * (1 + share)),
        "share": share, "resized": abs(share) > 0.05, "value": 2.87312 + mean, "spread": 0.04,
        "seeds": {seed: 2.87312 + each for seed, each in seeds.items()},
        "difference": {"value": mean, "seeds": seeds, "interval": interval}, "outcome": outcome,
    }  # fmt: skip


def plan() -> dict[str, Any]:
    modes = [(mode, again) for again in ("none", "selective", "full") for mode in ("ddp", "fsdp")]
    return {
        "declared": 256, "nodes": 32, "devices_per_node": 8, "devices": 256, "idle": None,
        "device": "A100-40GB-SXM", "usable_memory": 36_800_000_000,
        "steps": 953_674, "batch_size": 256, "units_per_sample": 8192,
        "units": 1_999_999_336_448, "unit": "tokens", "passes": 1.0, "passes_are": None,
        "samples_at_once": 1, "grad_accum": 1, "parameters": TOTAL, "uncounted": 0.27, "chosen": 5,
        "modes": [_mode(mode, again) for mode, again in modes],
    }  # fmt: skip


def _mode(mode: str, again: str) -> dict[str, Any]:
    states = 16 * TOTAL // (1 if mode == "ddp" else 256)
    kept = {"none": 57_216_696_324, "selective": 22_774_000_000, "full": 8_649_867_268}[again]
    passing = 1_946_198_016 + kept + 4_294_967_296
    return {
        "parallel": mode, "grad_checkpoint": again, "weights": states // 4,
        "gradients": states // 4, "optimizer": states // 2, "gathered": 1_946_198_016,
        "activations": kept, "temporary": 4_294_967_296, "total": states + passing,
        "most": states + round(1.27 * passing),
        "operations": {"none": 1.0, "selective": 1.0886, "full": 1.3144}[again],
        "fits": (mode, again) == ("fsdp", "full"),
    }  # fmt: skip


def row(name: str, required: Any, computed: Any, unit: str, verdict: str) -> dict[str, Any]:
    numbers = isinstance(required, int) and computed
    return {
        "constraint": name, "required": required, "limit": required if numbers else None,
        "relation": "allowed", "computed": computed, "low": None, "high": None, "unit": unit,
        "formula": f"all tensors = {computed}" if computed else "no device is declared",
        "source": "counted on code/model.py",
        "cites": "gptfast,nvidiaada" if unit == "tok/s" else "",
        "verdict": verdict, "margin": 1 - computed / required if numbers else None,
        "nearest": "memory_budget 51GB" if verdict == "violated" else None,
    }  # fmt: skip


def _outcome(parameters: int, memory: int, *exceeded: str) -> dict[str, Any]:
    parts = {"weights": memory // 2, "cache": memory // 4, "activations": memory // 4}
    memories = {**parts, "total": memory}
    return {
        "parameters": parameters, "memory": memories, "memory_allowed": 16_000_000_000,
        "exceeded": list(exceeded),
    }  # fmt: skip


def _not_run(name: str) -> dict[str, Any]:
    return trial.entry(name, "not run")


def _curve() -> str:
    rows = ["step,train_loss,val_loss,learning_rate"]
    for step in range(0, 201, 5):
        loss = 1.9 + 3.6 * math.exp(-step / 30) + 0.05 * math.sin(step)
        validation = f"{loss + 0.05:.4f}" if step % 20 == 0 else ""
        rows.append(f"{step},{loss:.4f},{validation},{0.001 * (1 - step / 250):.6f}")
    return "\n".join(rows) + "\n"
