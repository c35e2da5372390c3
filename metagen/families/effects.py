"""What the declared keys of a spec change: those that a family makes nothing of, each with why.

Nothing that a spec declares is dropped in silence: the commands warn of these keys by name, and
limitations.md lists them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from metagen.families import ablations
from metagen.families.family import Family, Lookup
from metagen.spec.schema import keys
from metagen.units import counted

_OF_FAMILIES = re.compile(
    r"task\.(?!type)|constraints\.(\w+_size|context_window|prompt_length)|training\.config\."
)
_CONFIG = "training.config."
_DEVICE = "constraints.device"
_SHARE, _HARDWARE = "training.compute.utilization", "training.compute.hardware"
_INTENSITY = "training.compute.carbon_intensity"
UNUSED = "declared, not followed: "
"""How the reason of such a key begins among the decisions of architecture.yaml."""


class Unused(NamedTuple):
    """A declared key without an effect: its name, why it has none, and the next step."""

    key: str
    reason: str
    hint: str


def unused(family: Family, key: Lookup) -> list[Unused]:
    """Return what a spec declares and a family's package does not follow.

    Args:
        family: The family that the spec leads to.
        key: Gives the value of a leaf key of the spec, None when it is not declared.
    """
    return [
        *_settings(family, key),
        *_uncounted(family, key),
        *_unpowered(key),
        *_undone(family, key),
        *_objectives(key),
        *_ablations(family, key),
        *_metrics(family, key),
        *_devices(family, key),
    ]


def _settings(family: Family, key: Lookup) -> Iterator[Unused]:
    """Yield the keys of some families' models and trainings that this family does not have."""
    own = {*family.task.fixed_by.values(), *family.fixed_by.values()}
    own |= {f"{_CONFIG}{name}" for name in family.task.config_keys}
    own |= family.checked | family.task.checked | _windows(family)
    hint = f"remove it; the {family.name} family uses {', '.join(sorted(own))}"
    for name in keys():
        follows = name in own or keys()[name].only or not _OF_FAMILIES.match(name)
        if not follows and key(name) is not None:
            yield Unused(name, f"the {family.name} family has no such setting", hint)


def _windows(family: Family) -> set[str]:
    """Return the keys of what a family reads at once, which only some have."""
    window = {"constraints.context_window"} if family.windowed else set()
    return window | ({"constraints.prompt_length"} if family.prompted else set())


def _uncounted(family: Family, key: Lookup) -> Iterator[Unused]:
    """Yield the keys that need the number of the training's samples where it is not known."""
    counted = ", ".join(family.task.units)
    hint = f"count training.data.size in {counted}, or remove the key"
    for name, reason in family.task.uncounted(key).items():
        yield Unused(name, reason, hint)


def _unpowered(key: Lookup) -> Iterator[Unused]:
    """Yield the keys of estimates that need the hardware of the training, which is not declared."""
    missing = {
        _SHARE: "so the training has no peak to reach a share of",
        _INTENSITY: "so no energy is estimated; a release uses it for energy that was measured",
    }
    for name, why in missing.items():
        if key(name) is not None and key(_HARDWARE) is None:
            reason = f"{_HARDWARE} is not declared, {why}"
            yield Unused(name, reason, f"declare {_HARDWARE}, or remove the key")


def _undone(family: Family, key: Lookup) -> Iterator[Unused]:
    """Yield the keys of which a part is left out."""
    for name, reason in family.task.undone(key).items():
        yield Unused(name, reason, "declare what can be followed, or remove the key")


def _objectives(key: Lookup) -> Iterator[Unused]:
    if "instruction_tuning" in (key("training.objective") or ()):
        reason = (
            "instruction_tuning changes nothing: train.py predicts the next token of plain text, "
            "without a chat template and without a mask on prompts"
        )
        yield Unused("training.objective", reason, "tune the trained checkpoint with another tool")


def _ablations(family: Family, key: Lookup) -> Iterator[Unused]:
    """Yield the ablations where no proxy is trained that they could be compared with."""
    if key(ablations.KEY) and key("evaluation.bench") not in family.task.benchmark.steps:
        reason = "evaluation.bench is none, so no proxy is trained to compare them with"
        yield Unused(ablations.KEY, reason, "set evaluation.bench to quick or full")


def _metrics(family: Family, key: Lookup) -> Iterator[Unused]:
    own = family.task.metrics
    for name in key("evaluation.metrics") or ():
        if not any(is_part(name, each) for each in own):
            hint = f"it reports {', '.join(own)}"
            yield Unused("evaluation.metrics", f"{name} is not computed by eval.py", hint)


def _devices(family: Family, key: Lookup) -> Iterator[Unused]:
    """Yield the number of the devices where infer.py runs the model on one."""
    number, name = counted(key(_DEVICE) or "")
    if number > 1 and not family.divided:
        reason = f"infer.py runs on one device, so the verdicts are of one {name}, not of {number}"
        yield Unused(_DEVICE, reason, f"declare {name}, and one copy of the model for each device")


def is_part(name: str, longer: str) -> bool:
    """Return whether a metric's name is part of another's, as `recall@1` of `recall_at_1_i2t`.

    The order of its words plays no part: `f1_macro` is `macro_f1`.
    """
    words, others = _words(name), _words(longer)
    pairs = itertools.combinations(range(len(others) + 1), 2)
    runs = {"".join(others[start:end]) for start, end in pairs}
    return "".join(words) in runs or sorted(words) == sorted(others)


def _words(name: str) -> list[str]:
    """Return the words of a metric's name, a score's without that word: mIoU is a mean IoU."""
    named = name.lower().replace("@", " at ").replace("mean", "m")
    return [word for word in re.findall("[a-z0-9]+", named) if word != "score"]
