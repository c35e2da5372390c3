"""The scripts that start training on many devices, with the plan of `code/launch/plan.json`.

Like the Python, they are real files whose defaults are replaced. Whole numbers and fixed words
reach a shell, and one text of the spec, in quotes that no text can leave.
"""

from __future__ import annotations

import shlex

from metagen import paths
from metagen.errors import TaskError
from metagen.work import Desk, Recipe

PLAN = "code/launch/plan.json"
# The memory of a mode in the plan: what stays on a device, and what passes through it.
STATES = ("weights", "gradients", "optimizer")
PASSING = ("gathered", "activations", "temporary")
SLURM, TORCHRUN = "code/launch/slurm.sh", "code/launch/torchrun.sh"


def slurm(desk: Desk) -> dict[str, bytes]:
    """Return the batch script, for the plan's nodes and their devices."""
    values = {
        "#SBATCH --nodes=1": f"#SBATCH --nodes={_number(desk, 'nodes')}",
        "#SBATCH --gpus-per-node=8": f"#SBATCH --gpus-per-node={_number(desk, 'devices_per_node')}",
    }
    return {SLURM: _set(desk, SLURM, values)}


def torchrun(desk: Desk) -> dict[str, bytes]:
    """Return the script of one node, with the options of the chosen mode."""
    way = ("modes", str(_number(desk, "chosen")))
    parallel = {"ddp": "ddp", "fsdp": "fsdp"}[desk.entry(PLAN, *way, "parallel")]
    again = {
        "none": "",
        "selective": " --grad-checkpoint selective",
        "full": " --grad-checkpoint full",
    }
    recompute = again[desk.entry(PLAN, *way, "grad_checkpoint")]
    line = "OPTIONS=(--size full --parallel fsdp)"
    values = {line: f"OPTIONS=(--size full --parallel {parallel}{recompute})"}
    if begin := desk.key("training.init_from"):
        # One word with a sign of equality, because a path may begin with a hyphen.
        values["BEGIN=()"] = f"BEGIN=({shlex.quote(f'--init-from={begin}')})"
    return {TORCHRUN: _set(desk, TORCHRUN, values)}


def _number(desk: Desk, name: str) -> int:
    return int(desk.entry(PLAN, name))


def _set(desk: Desk, path: str, values: dict[str, str]) -> bytes:
    """Return a script with some of its lines replaced."""
    lines = desk.source(paths.template(path)).decode().splitlines()
    if missing := set(values) - set(lines):
        raise TaskError(f"{path} has no line {min(missing)}")
    return "".join(f"{values.get(line, line)}\n" for line in lines).encode()


RECIPES = (
    Recipe("code:slurm", slurm, (PLAN,), (SLURM,), "write the batch script for a Slurm cluster"),
    Recipe("code:torchrun", torchrun, (PLAN,), (TORCHRUN,), "write the script that starts a node"),
)
