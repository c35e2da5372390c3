"""Agents: actions in an environment, for the sum of its rewards.

What the scripts of every way to learn share lies in `templates/tasks/control/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metagen.errors import Problem, SpecError
from metagen.tasks.task import Dims, Lookup, Section, Task, Value
from metagen.units import parse_hardware

# Ways to learn differ in train.py, eval.py and objective.tex alone.
SHARED = (
    "README.md",
    "baselines.md",
    "baselines.tex",
    "bench.py",
    "data.py",
    "infer.py",
    "uses.yaml",
)
NO_FRAMES: Mapping[str, Value] = dict.fromkeys(("frame_height", "frame_width", "n_frames"), 0)
SIDE, FRAMES = 84, 4  # pixels and frames of Mnih et al. (2015)
NUMBERS: Mapping[str, Value] = {"obs_dim": 17, **NO_FRAMES}
ACTIONS = 6
READ = "as in Mnih et al., 2015, Nature 518:529"
ENVS = 8
UNITS = ("transitions", "frames", "steps", "samples")
TARGETS = "the passes that give its target"


class Control(Task):
    """From what is observed (B, ...) to what an agent does.

    Attributes:
        continuous: Whether actions are quantities where a spec that observes numbers is silent.
    """

    continuous: bool
    metrics: tuple[str, ...]
    words = {
        "pipeline_tag": "reinforcement-learning",
        "unit": "observation",
        "usage": "--output episode.png",
        "does": "plays an episode, prints its return, and draws it",
        "data": "an environment that comes with gymnasium, in which it acts",
        "outcome": "The proxy's mean return on the seeds of validation as it trains, beside its "
        "baselines on the seeds of the test.",
        "risks": "other environments, starts that the environment never draws, changes of its "
        "physics, and harm that its rewards do not count",
    }
    proxy: Mapping[str, Value] = {"obs_dim": 8, "n_actions": 4}
    work_unit = "sample"
    units = UNITS
    input = "observation"
    taken = "ID"
    checked = frozenset({"task.action_space", "task.num_actions", "task.action_dim"})
    default_reasons: Mapping[str, str] = {
        "obs_dim": "room for the numbers of HalfCheetah and of smaller environments; an "
        "environment may have fewer",
        "n_actions": f"no task.action_dim or task.num_actions is declared: {ACTIONS}, and an "
        "environment may have fewer",
    }
    fixed_by: Mapping[str, str] = {"n_actions": "task.num_actions"}
    shared = dict.fromkeys(SHARED, "control")

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the dimensions of what is observed and of what is done."""
        frames = key("modality.inputs") == ("image",)
        declared = key("task.num_actions") or key("task.action_dim")
        return {**self.acts(key, frames), **({"n_actions": declared} if declared else {})}

    def acts(self, key: Lookup, frames: bool) -> dict[str, Value]:
        """Return the dimension that says of which kind actions are, where there is one."""
        return {}

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_episodes": 10, "test_episodes": 100}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"seed": 0}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"seed": 0, "most_steps": 2000, "dtype": "float32"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of what is observed: (length, obs_dim)."""
        return [{"shape": [length, m["obs_dim"]], "dtype": "float32"}]

    def updates(self, m: Dims, key: Lookup, *, reduced: bool) -> tuple[int, int, int]:
        """Return the samples of an update, of how many environments, and uses of a sample."""
        habits = self.proxy_habits(m) if reduced else self.habits(m, 1, key)
        batch = None if reduced else key("training.config.batch_size")
        epochs = None if reduced else key("training.config.epochs")
        samples = batch or habits.batch
        return samples, environments(samples, key), int(epochs or habits.epochs)


class ScreenControl(Control):
    """From numbers, or from the last frames of a screen, to what an agent does."""

    proxy = {**Control.proxy, **NO_FRAMES}
    default_reasons = {
        **Control.default_reasons,
        **dict.fromkeys(NO_FRAMES, "0: numbers are observed, and no frames"),
    }
    fixed_by = {
        **Control.fixed_by,
        **dict.fromkeys(("frame_height", "frame_width"), "constraints.image_size"),
    }

    def fixed(self, key: Lookup) -> dict[str, Value]:
        if key("modality.inputs") != ("image",):
            return {**NO_FRAMES, **super().fixed(key)}
        size = key("constraints.image_size") or (SIDE, SIDE)
        height, width = size if isinstance(size, tuple) else (size, size)
        frames = {"frame_height": height, "frame_width": width, "n_frames": FRAMES}
        return {"obs_dim": 0, **frames, **super().fixed(key)}

    def left_out(self, key: Lookup) -> dict[str, str]:
        name, frames = "constraints.image_size", key("modality.inputs") == ("image",)
        return {} if frames or key(name) is None else {name: self.default_reasons["n_frames"]}

    def dim_reasons(self, fixed: Dims) -> dict[str, str]:
        reasons = super().dim_reasons(fixed)
        if fixed.get("obs_dim") == 0:
            reasons |= {"obs_dim": "0: frames are observed, and no numbers", "n_frames": READ}
            square = fixed["frame_height"] == fixed["frame_width"] == SIDE
            sides = READ if square else "constraints.image_size"
            reasons |= dict.fromkeys(("frame_height", "frame_width"), sides)
        else:
            reasons |= {name: self.default_reasons[name] for name in NO_FRAMES}
        return reasons

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of what is observed: (length, obs_dim), or frames."""
        if m["obs_dim"]:
            return super().example(m, length)
        shape = [length, m["n_frames"], m["frame_height"], m["frame_width"]]
        return [{"shape": shape, "dtype": "uint8"}]


class QuantityControl(Control):
    """From numbers to quantities; choices are refused."""

    continuous = True
    defaults = {"obs_dim": NUMBERS["obs_dim"], "n_actions": ACTIONS}
    fixed_by = {"n_actions": "task.action_dim"}
    method: str  # what learns so, in a sentence

    def acts(self, key: Lookup, frames: bool) -> dict[str, Value]:
        """Return nothing: all actions are quantities.

        Raises:
            SpecError: The spec declares choices.
        """
        if key("task.action_space") == "discrete" or key("task.num_actions"):
            sentence = f"{self.method} moves quantities, and choices have no values between them"
            hint = "declare task.type: value_based, or task.action_space: continuous"
            raise SpecError([Problem(sentence, "task.action_space", hint)])
        return {}


def environments(samples: int, key: Lookup) -> int:
    """Return how many environments share an update equally, at least one a device if they can."""
    hardware = key("training.compute.hardware")
    devices = parse_hardware(hardware)[0] if hardware else 1
    return math.gcd(samples, ENVS * 2 ** max(0, math.ceil(math.log2(devices / ENVS))))
