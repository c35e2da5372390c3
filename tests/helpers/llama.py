"""Published Llama models: their dimensions, and the verdicts on one under chosen constraints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from helpers.plain_desk import PlainDesk
from metagen.families.decoder import FAMILY
from metagen.measure import memory, sandbox
from metagen.measure.nodes import machines
from metagen.package.code import runtime_files
from metagen.sizing.verdicts import TARGET, work

Dims = dict[str, int | float | bool]


def llama(d: int, n_layers: int, h: int, k: int, s: int, f: int, vocab: int, tied: bool) -> Dims:
    """Return the dimensions of a decoder in the form of Llama."""
    return {
        "d_model": d, "n_layers": n_layers, "n_heads": h, "n_kv_heads": k, "head_dim": s,
        "d_ff": f, "vocab_size": vocab, "max_seq_len": 4096, "rope_theta": 1e4,
        "norm_eps": 1e-5, "tie_embeddings": tied,
    }  # fmt: skip


LLAMA_2_7B = llama(4096, 32, 32, 32, 128, 11008, 32000, False)
LLAMA_3_8B = llama(4096, 32, 32, 8, 128, 14336, 128256, False)
LLAMA_3_2_1B = llama(2048, 16, 32, 8, 64, 8192, 128256, True)
SMOLLM2_135M = llama(576, 30, 9, 3, 64, 1536, 49152, True)
# The sizes of Llama-3-8B, by hand.
PARAMETERS = 8_030_261_248
WEIGHTS = 16_060_522_496
CACHE = 131_072 * 8192  # bytes a token, at a window of 8,192 tokens
TABLE = 2 * 128_256 * 4096  # bytes of the input table, of which a token reads one row


# What a training pass of Llama-3-8B takes, in round figures.
TRAINING = 48_000_000_000  # FLOP a token
STATES = {"weights": 4, "gradients": 4, "optimizer": 8}  # bytes a parameter
PASSING = {"gathered": 3_000_000_000, "temporary": 4_000_000_000}
KEPT = {"none": 60_000_000_000, "selective": 20_000_000_000, "full": 8_000_000_000}
AGAIN = {"none": 1.0, "selective": 1.1, "full": 1.3}


def verdicts(
    spec: str,
    folder: Path,
    parameters: int = PARAMETERS,
    bits: tuple[int, int] = (16, 16),
    **changed: Any,
) -> dict[str, dict[str, Any]]:
    """Return the entries of constraints.json by constraint, with some of the dimensions changed."""
    desk = PlainDesk(spec, folder)
    dims = {**LLAMA_3_8B, "max_seq_len": 8192, **changed}
    points = [
        {"length": 128, "forward_per_unit": 15e9},
        {"length": 8192, "forward_per_unit": 20e9},
    ]
    flops = {"training_per_unit": TRAINING, "points": points}
    infer = dict(zip(("weight_bits", "cache_bits"), bits, strict=True))
    desk.package = {
        "blueprint/architecture.yaml": yaml.safe_dump(
            {
                "family": "decoder",
                "data": {"seq_len": min(8192, dims["max_seq_len"])},
                "infer": infer,
            }
        ).encode(),
        "blueprint/graph.json": json.dumps({"config": dims, "operations": 0}).encode(),
        "blueprint/params.json": json.dumps({"total": parameters}).encode(),
        "blueprint/flops.json": json.dumps(flops).encode(),
        "trained/forecast.json": b'{"verdicts": []}',
    }
    desk.package |= _plan(desk, dims, parameters)
    made = json.loads(work(desk)[TARGET])
    return {each["constraint"]: each for each in made}


def _plan(desk: PlainDesk, dims: Dims, parameters: int) -> dict[str, bytes]:
    """Return the launch plan of scripts with the settings that the spec asks for."""
    settings = FAMILY.task.sections(dims, parameters, desk.key, reduced=False)
    desk.package |= dict.fromkeys((*memory.SCRIPTS, *runtime_files(FAMILY)), b"")
    held = _held(int(_declared(desk)), settings, parameters)
    with patch.object(sandbox, "run", lambda *_, **__: {"memory.json": json.dumps(held).encode()}):
        return memory.work(desk)


def _declared(desk: PlainDesk) -> str:
    return str(desk.key("training.compute.hardware") or "1").partition("x")[0]


def _held(count: int, settings: Mapping[str, Any], parameters: int) -> dict[str, Any]:
    nodes, per_node = machines(count, settings["train"]["batch_size"])
    held = {"nodes": nodes, "devices_per_node": per_node, "samples_at_once": 1}
    held |= {"train": settings["train"], "data": settings["data"], "parameters": parameters}
    for mode, shards in (("ddp", 1), ("fsdp", nodes * per_node)):
        states = {name: size * parameters // shards for name, size in STATES.items()}
        held[mode] = {**states, **PASSING, "activations": KEPT, "operations": AGAIN}
    return held
