"""blueprint/constraints.json: each constraint of the spec beside what the model needs, and why.

Speeds are a roofline (Williams et al., 2009): the slower of arithmetic and memory traffic, at a
utilization that was measured elsewhere. They are estimates for batch 1, not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metagen import families
from metagen.blueprint import devices
from metagen.blueprint.devices import Device
from metagen.blueprint.sizing import WEIGHT_BYTES
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.units import (
    INFINITE,
    parse_amount,
    parse_duration,
    parse_hardware,
    parse_latency,
    parse_rate,
)
from metagen.work import Desk, Recipe

PARAMS, FLOPS, GRAPH = (f"blueprint/{name}.json" for name in ("params", "flops", "graph"))
INPUTS = (families.ARCHITECTURE, PARAMS, FLOPS, GRAPH)
TARGET = "blueprint/constraints.json"

# Share of a peak that real runs reach, and who measured it.
COMPUTE_USE = 0.33
COMPUTE_SOURCE = (
    "33% of peak: Llama-3.1-8B training without compilation on H100, torchtitan benchmarks"
)
BANDWIDTH_USE = 0.685
BANDWIDTH_SOURCE = "68.5% of bandwidth: Llama-2-7B decoding in bf16 on A100-80GB, gpt-fast README"

# Seconds until the first output for each class of `constraints.latency`; None sets no limit.
# 0.1 s feels instantaneous and 1 s keeps a train of thought (Miller, 1968; Nielsen, Usability
# Engineering, 1993, section 5.5).
LATENCY_CLASSES = {"real-time": 0.1, "near-real-time": 1.0, "batch": None, "offline": None}
PROMPT = 512  # tokens to read before the first output

COUNTED = "blueprint/params.json, counted on code/model.py"
CACHED = f"{COUNTED}; weights and cache in bf16, the cache by its Config"


def work(desk: Desk) -> dict[str, bytes]:
    """Hold the measured model against every constraint, declared or not."""
    model = _Model(desk)
    device = devices.target(desk)
    verdicts = [
        _most_parameters(desk, model),
        _least_parameters(desk, model),
        _memory_budget(desk, model),
        _device_memory(device, model),
        _context_window(desk, model),
        _throughput(desk, device, model),
        _latency(desk, device, model),
        _training_compute(desk, model),
    ]
    return {TARGET: json_bytes(verdicts)}


class _Model:
    """The figures of the model that several verdicts share."""

    def __init__(self, desk: Desk) -> None:
        self.family: Family = families.built(desk)
        self.parameters: int = desk.entry(PARAMS, "total")
        self.points: list[dict[str, Any]] = desk.entry(FLOPS, "points")
        self.training_flops: float = desk.entry(FLOPS, "training_per_token")
        self.dims: dict[str, Any] = desk.entry(GRAPH, "config")
        self.tokens = self.family.context(self.dims)

    @cached_property
    def weights(self) -> int:
        return WEIGHT_BYTES * self.parameters

    @cached_property
    def cache(self) -> int:
        return self.family.cache_bytes(self.dims, self.tokens) if self.tokens else 0

    @property
    def sum(self) -> str:
        cache = f" + cache {self.cache:,} at {self.tokens:,} tokens" if self.tokens else ""
        total = f"{self.weights + self.cache:,} bytes"
        return f"weights {WEIGHT_BYTES} x {self.parameters:,}{cache} = {total}"


@dataclass(frozen=True)
class _Asked:
    """What a spec requires: the value as it is shown, and as a number to compare with."""

    shown: Any
    limit: float | None
    at_least: bool = False

    def verdict(self, computed: float | None) -> tuple[str, float | None]:
        """Return the verdict and the share of the requirement that is left."""
        if self.shown is None or computed is None:
            return "not declared", None
        if self.limit is None:
            return "met", None
        room = computed - self.limit if self.at_least else self.limit - computed
        return ("met" if room >= 0 else "violated"), room / self.limit


def _entry(
    name: str, asked: _Asked, computed: float | None, unit: str, formula: str, source: str
) -> dict[str, Any]:
    verdict, margin = asked.verdict(computed)
    return {
        "constraint": name,
        "required": asked.shown,
        "computed": computed,
        "unit": unit,
        "formula": formula,
        "source": source,
        "verdict": verdict,
        "margin": margin,
    }


def _most_parameters(desk: Desk, model: _Model) -> dict[str, Any]:
    most = desk.key("constraints.parameter_budget.max")
    formula = f"{model.parameters:,}" + (f" <= {most:,}" if most else "")
    asked = _Asked(most, most)
    return _entry("parameter_budget.max", asked, model.parameters, "parameters", formula, COUNTED)


def _least_parameters(desk: Desk, model: _Model) -> dict[str, Any]:
    least = desk.key("constraints.parameter_budget.min")
    formula = f"{model.parameters:,}" + (f" >= {least:,}" if least else "")
    asked = _Asked(least, least, at_least=True)
    return _entry("parameter_budget.min", asked, model.parameters, "parameters", formula, COUNTED)


def _memory_budget(desk: Desk, model: _Model) -> dict[str, Any]:
    allowed = desk.key("constraints.memory_budget")
    used = model.weights + model.cache
    return _entry("memory_budget", _Asked(allowed, allowed), used, "bytes", model.sum, CACHED)


def _device_memory(device: Device | None, model: _Model) -> dict[str, Any]:
    usable = device.usable_memory if device else None
    formula, source = model.sum, CACHED
    if device and usable:
        formula += f"; usable {device.usable:.0%} of {device.memory:,.0f} bytes = {usable:,}"
        source += f"; {_row(device)}"
    used = model.weights + model.cache
    return _entry("device_memory", _Asked(usable, usable), used, "bytes", formula, source)


def _context_window(desk: Desk, model: _Model) -> dict[str, Any]:
    wanted = desk.key("constraints.context_window")
    asked = _Asked(wanted, None if wanted == INFINITE else wanted, at_least=True)
    formula = f"{model.tokens:,} tokens" if model.tokens else "the model has no context window"
    if wanted == INFINITE:
        formula += ", the largest power of two that the other constraints allow"
    source = "Config of code/model.py"
    return _entry("context_window", asked, model.tokens, "tokens", formula, source)


def _throughput(desk: Desk, device: Device | None, model: _Model) -> dict[str, Any]:
    declared = desk.key("constraints.throughput")
    unit = f"{model.family.work_unit}/s"
    rate = parse_rate(declared) if declared else None
    if rate and rate.unit != unit:
        return _unknown("throughput", declared, rate.unit, f"the model is measured in {unit}")
    if device is None:
        return _unknown("throughput", declared, unit, "no device is declared")
    speed = BANDWIDTH_USE * device.bandwidth
    formula = (
        f"{BANDWIDTH_USE} x {device.bandwidth:,.0f} bytes/s / ({model.weights:,} bytes of weights "
        f"+ {model.cache:,} bytes of cache at the full context); with an empty cache "
        f"{speed / model.weights:,.1f} {unit}"
    )
    computed = speed / (model.weights + model.cache)
    asked = _Asked(declared, rate.value if rate else None, at_least=True)
    source = f"{BANDWIDTH_SOURCE}; {_row(device)}"
    return _entry("throughput", asked, computed, unit, formula, source)


def _latency(desk: Desk, device: Device | None, model: _Model) -> dict[str, Any]:
    declared = desk.key("constraints.latency")
    if device is None or device.flops is None:
        reason = f"no speed of {device.name} is known" if device else "no device is declared"
        return _unknown("latency", declared, "s", reason)
    value = parse_latency(declared) if declared else None
    limit = LATENCY_CLASSES[value] if isinstance(value, str) else value
    per_token = _flops_near(model.points, PROMPT)
    arithmetic = PROMPT * per_token / (device.flops * _use(device))
    traffic = model.weights / (BANDWIDTH_USE * device.bandwidth)
    formula = (
        f"first output after {PROMPT} tokens of prompt: the larger of {PROMPT} x {per_token:,.0f} "
        f"FLOP / ({_use(device):g} x {device.flops:.4g} FLOP/s) = {arithmetic:.3g} s and "
        f"{model.weights:,} bytes / ({BANDWIDTH_USE} x {device.bandwidth:,.0f} bytes/s) = "
        f"{traffic:.3g} s" + (f"; {value} allows {limit:g} s" if limit and value != limit else "")
    )
    source = f"blueprint/flops.json; {_use_source(device)}{BANDWIDTH_SOURCE}; {_row(device)}"
    asked = _Asked(declared, limit)
    return _entry("latency", asked, max(arithmetic, traffic), "s", formula, source)


def _training_compute(desk: Desk, model: _Model) -> dict[str, Any]:
    declared = {
        name: desk.key(f"training.{name}")
        for name in ("data.size", "compute.hardware", "compute.duration")
    }
    missing = [name for name, value in declared.items() if value is None]
    if missing:
        return _unknown("training_compute", None, "FLOP", f"not declared: {', '.join(missing)}")
    tokens, thing = parse_amount(declared["data.size"])
    number, name = parse_hardware(declared["compute.hardware"])
    device, seconds = devices.by_prefix(desk, name), parse_duration(declared["compute.duration"])
    if thing != "tokens" or device is None or device.flops is None:
        wrong = f"no figures for {name}" if thing == "tokens" else f"the data is in {thing}"
        return _unknown("training_compute", None, "FLOP", wrong)
    per_token = model.training_flops
    delivered = number * device.flops * _use(device) * seconds
    formula = (
        f"needed {per_token:,.0f} FLOP x {tokens:.4g} tokens = {per_token * tokens:.4g}; delivered "
        f"{number} x {device.flops:.4g} FLOP/s x {_use(device):g} x {seconds:,.0f} s = "
        f"{delivered:.4g}"
    )
    source = f"blueprint/flops.json; {_use_source(device)}{_row(device)}"
    asked = _Asked(delivered, delivered)
    return _entry("training_compute", asked, per_token * tokens, "FLOP", formula, source)


def _unknown(name: str, required: Any, unit: str, reason: str) -> dict[str, Any]:
    """Return an entry for what cannot be computed, with the reason in place of a formula."""
    return _entry(name, _Asked(required, None), None, unit, reason, "the spec")


def _use(device: Device) -> float:
    return 1.0 if device.measured else COMPUTE_USE


def _use_source(device: Device) -> str:
    return "" if device.measured else f"{COMPUTE_SOURCE}; "


def _flops_near(points: list[dict[str, Any]], length: int) -> float:
    """Return the operations per token at the measured length that is nearest to one asked for."""
    nearest = min(points, key=lambda p: abs(p["sequence_length"] - length))
    return float(nearest["forward_per_token"])


def _row(device: Device) -> str:
    return f"data/devices.csv, {device.name}: {device.sources}"


RECIPES = (
    Recipe("blueprint:constraints", work, INPUTS, (TARGET,), "a verdict for every constraint"),
)
