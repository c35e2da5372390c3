"""Image diffusion: the settings of `data.py`, `train.py`, `eval.py` and `infer.py`.

What a spec's `training.config` declares goes first. The rest of the full model's settings are those
of DDPM (Ho et al., 2020, arXiv:2006.11239, appendix B) and of classifier-free guidance (Ho &
Salimans, 2022, arXiv:2207.12598); the proxy's are chosen so that a build trains it in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.errors import Problem, SpecError
from metagen.families.family import Dims, Key
from metagen.families.grid import divisors
from metagen.tasks import training
from metagen.units import parse_amount

CONFIG_KEYS = frozenset(
    {
        "batch_size",
        "ema_decay",
        "epochs",
        "learning_rate",
        "noise_schedule",
        "optimizer",
        "timesteps",
        "unconditional_probability",
        "warmup_steps",
        "weight_decay",
    }
)
OPTIMIZER = "adamw"
RUNTIME = (
    *("captions", "diffusion", "digests", "digits", "ema", "files", "images", "records", "rows"),
)
PACKAGES = ("scikit-learn",)
FOLDER = "templates/tasks/image_diffusion"
SCHEDULES = ("cosine", "linear")

BATCH_SIZE = 128
STEPS = 800_000  # of DDPM on CIFAR-10, for a spec without data.size
LEARNING_RATE = 2e-4
WARMUP_STEPS = 5000
TIMESTEPS = 1000
EMA_DECAY = 0.9999
WITHHELD = 0.1  # share of captions; 0.1 to 0.2 are best in section 4 of the paper on guidance
GUIDANCE = 3.0
SAMPLING_STEPS = 50
PASS_PIXELS = 2**20  # that pass through the model at once

# The proxy: about ten seconds on one thread, or a few minutes to the better score.
BENCH_STEPS = {"quick": 300, "full": 5000}
PROXY_BATCH = 32
PROXY_LEARNING_RATE = 4e-3
PROXY_WARMUP_STEPS = 30
PROXY_EMA_DECAY = 0.999
PROXY_SAMPLES = 1000
PROXY_SAMPLING_STEPS = 20


def sections(m: Dims, key: Key, default: str, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the `data`, `train`, `eval` and `infer` sections for a model of this size.

    Args:
        m: Its dimensions, and of the full model its `sampling_steps`.
        key: Gives what the spec declares.
        default: The noise schedule where none is declared.
        reduced: Whether it is the proxy.
    """
    seed, steps = key("reproducibility.seed"), m.get("sampling_steps", PROXY_SAMPLING_STEPS)
    return {
        "data": {
            "noise_schedule": schedule(key, default),
            "timesteps": key("training.config.timesteps") or TIMESTEPS,
            "val_fraction": 0.1 if reduced else 0.01,
            "test_fraction": 0.3 if reduced else 0.01,
        },
        "train": _proxy_training(key) if reduced else _training(m, key),
        "eval": {
            "samples": PROXY_SAMPLES if reduced else 10_000,
            "batch_size": 250 if reduced else _at_once(m),
            "sampling_steps": steps,
            "guidance": 1.0,
            "side": 32,
            "components": 32,
            "references": 10_000,
            "seed": seed,
        },
        "infer": {
            "samples": 8 if reduced else 1,
            "sampling_steps": steps,
            "guidance": GUIDANCE,
            "seed": seed,
            "dtype": "bfloat16",
        },
    }


def schedule(key: Key, default: str) -> str:
    """Return the declared noise schedule, or a default.

    Raises:
        SpecError: It is none that the code has.
    """
    name = "training.config.noise_schedule"
    declared = key(name) or default
    if declared not in SCHEDULES:
        allowed = " and ".join(SCHEDULES)
        raise SpecError([Problem(f"found {declared!r}, allowed are {allowed}", name)])
    return str(declared)


def _proxy_training(key: Key) -> dict[str, Any]:
    fields = training.fields(
        key,
        steps=BENCH_STEPS["quick"],
        batch=PROXY_BATCH,
        parts=1,
        rate=PROXY_LEARNING_RATE,
        warmup=PROXY_WARMUP_STEPS,
        decay=0.0,
        beta2=0.99,
    )
    return {**fields, "ema_decay": PROXY_EMA_DECAY, "unconditional_probability": _withheld(key)}


def _training(m: Dims, key: Key) -> dict[str, Any]:
    """Return the full model's schedule: the declared data, once or for the declared epochs."""
    batch = key("training.config.batch_size") or BATCH_SIZE
    images, warmup = _images(key), key("training.config.warmup_steps")
    steps = max(1, round(images / batch)) if images else STEPS
    average = key("training.config.ema_decay")
    fields = training.fields(
        key,
        steps=steps,
        batch=batch,
        parts=next((n for n in divisors(batch) if batch // n <= _at_once(m)), batch),
        rate=key("training.config.learning_rate") or LEARNING_RATE,
        warmup=min(WARMUP_STEPS, steps // 10) if warmup is None else warmup,
        decay=key("training.config.weight_decay") or 0.0,
        beta2=0.99,
    )
    return {
        **fields,
        "ema_decay": EMA_DECAY if average is None else average,
        "unconditional_probability": _withheld(key),
    }


def _withheld(key: Key) -> float:
    declared = key("training.config.unconditional_probability")
    return WITHHELD if declared is None else float(declared)


def _images(key: Key) -> float:
    """Return the images to train on, over all epochs; 0 where they are not declared."""
    size = key("training.data.size")
    amount, thing = parse_amount(size) if size else (0.0, "")
    once = amount if thing == "images" else 0.0
    return float(once * (key("training.config.epochs") or 1))


def _at_once(m: Dims) -> int:
    """Return the images that pass through the model at once."""
    return max(1, PASS_PIXELS // int(m["image_height"] * m["image_width"]))


def reasons(full: Mapping[str, Any], key: Key) -> dict[str, str]:
    """Return why the settings of the full model's training are what they are."""
    train, images = full["train"], _images(key)
    declared = "declared in training.config"

    def told(name: str, otherwise: str) -> str:
        return declared if key(f"training.config.{name}") is not None else otherwise

    return {
        "data.noise_schedule": told("noise_schedule", "of Nichol & Dhariwal, 2021"),
        "data.timesteps": told("timesteps", "of DDPM"),
        "train.steps": f"{images:,.0f} images in updates of {train['batch_size']}"
        if images
        else "no number of images is declared: as DDPM on CIFAR-10",
        "train.batch_size": told("batch_size", "of DDPM"),
        "train.grad_accum": f"at most {PASS_PIXELS:,} pixels pass through the model at once",
        "train.learning_rate": told("learning_rate", "of DDPM on CIFAR-10"),
        "train.ema_decay": told("ema_decay", "of DDPM"),
        "train.unconditional_probability": told(
            "unconditional_probability", "of classifier-free guidance, section 4"
        ),
    }
