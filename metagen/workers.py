"""Files that start many workers on machines of others: one shard of a build, or of a study, each.

Nothing here runs a worker or asks a service; the user hands the file to the program that does. Each
file is text of one language or of two, one in the other, and every value of a user is quoted for
all of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metagen import paths
from metagen.errors import Problem, UsageError

if TYPE_CHECKING:
    import yaml

_MOST = {"github": 256}  # jobs of one matrix
_NAME = "metagen"
_IN_CONTAINERS = ("kubernetes", "github", "skypilot", "hf")
_LINES = {
    "slurm": "sbatch THIS_FILE; MaxArraySize of the cluster must be larger than the workers.",
    "kubernetes": "kubectl apply -f THIS_FILE; the image holds metagen and the specs.",
    "github": "Put this file into .github/workflows/ of the repository that has the specs.",
    "skypilot": "sky launch THIS_FILE, in the folder that has the specs; it is sent along.",
    "hf": "bash THIS_FILE; the image holds metagen and the specs.",
}


@dataclass(frozen=True)
class Work:
    """What the workers do.

    Attributes:
        command: `metagen synth ...`, or `metagen search join ...`; every worker has the same.
        out: The folder below which each worker builds its shard; "" where there are no shards.
        workers: How many.
        jobs: Cores of each.
        secrets: Names of variables that the workers get from where their machine keeps secrets.
        image: A container image with metagen; "" for none.
    """

    command: tuple[str, ...]
    out: str
    workers: int
    jobs: int = 1
    secrets: tuple[str, ...] = ()
    image: str = ""

    def line(self, worker: str) -> str:
        """Return the command in a shell, where the arithmetic `worker` is the worker's number."""
        head, rest = self.command[:2], shlex.join(self.command[2:])
        if not self.out:
            return f"exec {shlex.join(self.command)}"
        out = f'{shlex.quote(f"{self.out}/shard-")}"$worker"'
        shard = f'--shard "$worker/{self.workers}" --out {out}'
        return f"worker=$(({worker}))\nexec {shlex.join(head)} {shard} {rest}"


def text(kind: str, work: Work) -> str:
    """Return the file of a kind.

    Raises:
        UsageError: The service does not take so many workers, or needs an image.
    """
    most = _MOST.get(kind, work.workers)
    if work.workers > most:
        sentence = f"A file of {kind} starts at most {most} workers."
        raise UsageError(Problem(sentence, "--workers", "Give each worker a larger share."))
    if kind in _IN_CONTAINERS and not work.image:
        hint = "Name a container image that has metagen and bash."
        raise UsageError(Problem(f"A file of {kind} needs an image.", "--image", hint))
    return KINDS[kind](work)


def _slurm(work: Work) -> str:
    settings = {
        "job-name": _NAME,
        "array": f"1-{work.workers}",
        "cpus-per-task": work.jobs,
        "time": "24:00:00",
        "requeue": None,
        "open-mode": "append",
        "output": f"{_NAME}-%A-%a.log",
    }
    lines = [f"#SBATCH --{name}" + _value(value) for name, value in settings.items()]
    head = ["#!/usr/bin/env bash", *lines, f"# {_LINES['slurm']}"]
    return _script([*head, "set -euo pipefail", work.line("SLURM_ARRAY_TASK_ID")])


def _value(value: object) -> str:
    return "" if value is None else f"={value}"


def _hf(work: Work) -> str:
    secrets = " ".join(f"--secrets {name}" for name in work.secrets)
    inner = _script(["set -euo pipefail", work.line("NUMBER")])
    words = f"{secrets} {shlex.quote(work.image)} bash -c {shlex.quote(inner)}".lstrip()
    return _script(
        [
            "#!/usr/bin/env bash",
            f"# {_LINES['hf']}",
            "set -euo pipefail",
            f"for number in $(seq 1 {work.workers}); do",
            # What is between single quotes is for the shell of the worker.
            "  # shellcheck disable=SC2016",
            f'  hf jobs run --detach --timeout 24h --env NUMBER="$number" {words}',
            "done",
        ]
    )


def _kubernetes(work: Work) -> str:
    inner = _script(["set -euo pipefail", work.line("JOB_COMPLETION_INDEX + 1")])
    container: dict[str, Any] = {
        "name": "worker",
        "image": work.image,
        # Kubernetes replaces $(NAME) in a command; $$ stands for a dollar sign.
        "command": ["bash", "-c", inner.replace("$", "$$")],
        "resources": {"requests": {"cpu": str(work.jobs)}},
    }
    if work.secrets:
        container["env"] = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": _NAME, "key": name}}}
            for name in work.secrets
        ]
    job = {
        "completions": work.workers,
        "parallelism": work.workers,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": 3,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    }
    content = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": _NAME}, "spec": job}
    return _yaml("kubernetes", content)


def _github(work: Work) -> str:
    # An expression in the script would be code in it; in a variable it is data.
    variables = {"NUMBER": "${{ matrix.worker }}"}
    variables |= {name: f"${{{{ secrets.{name} }}}}" for name in work.secrets}
    script = _script([work.line("NUMBER")]).replace("${{", "${{ '${{' }}")
    job = {
        "runs-on": "ubuntu-latest",
        "container": work.image,
        "timeout-minutes": 360,
        "strategy": {"fail-fast": False, "matrix": {"worker": list(range(1, work.workers + 1))}},
        "steps": [
            {"uses": "actions/checkout@v4"},
            {"run": script, "shell": "bash", "env": variables},
        ],
    }
    content = {
        "name": _NAME,
        "on": "workflow_dispatch",
        "permissions": {"contents": "read"},
        "jobs": {"worker": job},
    }
    return _yaml("github", content)


def _skypilot(work: Work) -> str:
    content: dict[str, Any] = {
        "name": _NAME,
        "num_nodes": work.workers,
        "workdir": ".",
        "resources": {"cpus": f"{work.jobs}+", "image_id": f"docker:{work.image}"},
    }
    if work.secrets:
        content["secrets"] = dict.fromkeys(work.secrets)
    run = _script(["set -euo pipefail", work.line("SKYPILOT_NODE_RANK + 1")])
    return _yaml("skypilot", content | {"run": run})


def _submitit(work: Work) -> str:
    """Return a script of Python, whose constants are replaced."""
    values: dict[str, object] = {"COMMAND": list(work.command), "OUT": work.out}
    values |= {"WORKERS": work.workers, "CORES": work.jobs}
    lines = paths.source("templates/workers/array.py").read_text().splitlines()
    # In ASCII, so that an editor shows every character.
    known = {name: f"{name} = {value!a}" for name, value in values.items()}
    return "".join(f"{known.get(line.partition(' = ')[0], line)}\n" for line in lines)


def _script(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _yaml(kind: str, content: Mapping[str, Any]) -> str:
    import yaml  # Every command imports this module, and few need YAML.

    class Dumper(yaml.SafeDumper):
        """Writes a script as a block, line by line."""

    Dumper.add_representer(str, _block)
    text = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    return f"# {_LINES[kind]}\n{text}"


def _block(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


KINDS: Mapping[str, Callable[[Work], str]] = {
    "slurm": _slurm,
    "kubernetes": _kubernetes,
    "github": _github,
    "skypilot": _skypilot,
    "hf": _hf,
    "submitit": _submitit,
}
