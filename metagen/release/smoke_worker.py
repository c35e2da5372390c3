"""Open a release as its users do, in a process of its own.

`python -m metagen.release.smoke_worker TASK` copies the release beside itself, with links to its
weights, so that nothing that runs there writes into it. It compares the network of code/model.py
with that of transformers on one input, runs the first steps of the card, and leaves `report.json`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

REPORT = "report.json"
HERE = "release"  # the copy, in the current folder
_STEP_SECONDS = 1800
_WEIGHTS = ".safetensors"
_TAIL = 12  # lines of an error that are shown
_INSTALL = re.compile(r"python -m pip install ")
_READ = re.compile(r"--(?:input|normal|data)[ =](\S+)")
_OPENED = re.compile(r'"([\w-]+\.(?:jpg|png|csv|txt|jsonl))"')
_IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
_PIP_NAMES = {"PIL": "pillow", "sentence_transformers": "sentence-transformers"}
_ROOM = 1.5  # memory of a process, as a multiple of its weights
Report = dict[str, Any]


def main(path: str) -> None:
    """Check the release that a task names."""
    task = json.loads(Path(path).read_text())
    release = copy(task["files"], Path(HERE))
    lacking = _lacking(task["bytes"])
    if lacking:
        steps = [_not_run(text, lacking) for _, text in task["steps"]]
        report = {"code": _skipped(lacking), "transformers": _skipped(lacking), "steps": steps}
    else:
        report = _compared(task, release)
        report["steps"] = [row for kind, text in task["steps"] for row in run(kind, text, release)]
    Path(REPORT).write_text(json.dumps(report))


def copy(places: Mapping[str, str], target: Path) -> Path:
    """Copy the files of a release, with links in place of its weights; return the folder.

    Args:
        places: Where each file lies, by its path in the release.
        target: The folder to make.
    """
    for name, place in places.items():
        made = target / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if made.suffix == _WEIGHTS:
            made.symlink_to(place)
        else:
            shutil.copyfile(place, made)
    return target.resolve()


def _lacking(weights: int) -> str:
    """Return why the weights do not fit into memory; "" if they do."""
    need, free = int(_ROOM * weights), _free_memory()
    if free is None or need <= free:
        return ""
    return f"it takes {need / 1e9:.0f} GB of memory, and {free / 1e9:.0f} GB are free"


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(next(sizes, "0")) or None


# The network of code/ and that of transformers.


def _compared(task: Report, release: Path) -> Report:
    """Return how both networks opened, and how far apart their outputs are."""
    import torch

    torch.set_num_threads(1)
    inputs = _inputs(task)
    try:
        own = _own(task, release, inputs)
    except (Exception, SystemExit) as error:
        hint = "correct the code of the package, or bind another training"
        failed = {"status": "failed", "why": f"code/ does not open it: {error}", "hint": hint}
        return {"code": failed, "transformers": _skipped("code/ does not open it")}
    finite = bool(own.isfinite().all())
    code = {"status": "opened" if finite else "failed", "outputs": list(own.shape)}
    if not finite:
        code |= {"why": "Outputs are not finite.", "hint": "train it with a lower learning rate"}
    return {"code": code, "transformers": _theirs(task, release, inputs, own)}


def _inputs(task: Report) -> list[Any]:
    """Return the arguments of `Model.forward`, drawn with a fixed seed."""
    import torch

    torch.manual_seed(0)
    drawn = []
    for place, each in enumerate(task["inputs"]):
        if each["dtype"] == "float32":
            drawn.append(torch.randn(each["shape"]))
        elif "below" in each:
            drawn.append(torch.randint(0, each["below"], each["shape"]))
        elif place and not drawn[0].is_floating_point():
            # A token is of the first or of the second text.
            drawn.append(torch.randint(0, 2, each["shape"]))
        else:
            drawn.append(torch.randint(1, task["vocabulary"] or 2, each["shape"]))
    if task["class"] == "CLIPModel":
        drawn[1][:, -1] = 0  # the end of a text
    return drawn


def _own(task: Report, release: Path, inputs: list[Any]) -> Any:
    """Return the output of code/model.py."""
    import torch

    sys.path.insert(0, str(release / "code"))
    from runtime.weights import load_model  # type: ignore[import-not-found]

    from model import Config, Model  # type: ignore[import-not-found]

    network = load_model(lambda: Model(Config()), release)
    with torch.no_grad():
        out = network(*inputs)
    return out[0] @ out[1].T if task["class"] == "CLIPModel" else _first(out)


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def _theirs(task: Report, release: Path, inputs: list[Any], own: Any) -> Report:
    """Return how transformers opens the release."""
    if task["class"] is None:
        return _skipped("transformers has no such network; the code of the release opens it")
    if importlib.util.find_spec("transformers") is None:
        return _skipped("transformers is not installed: pip install transformers")
    import torch
    import transformers

    try:
        kind = getattr(transformers, task["class"])
        network = kind.from_pretrained(release, dtype=torch.float32, local_files_only=True)
        with torch.no_grad():
            out = _CALLS[task["class"]](network.eval(), inputs)
        if task["unit_vectors"]:
            out = torch.nn.functional.normalize(out, dim=-1)
    except Exception as error:
        why = f"transformers {transformers.__version__} does not open it: {error}"
        return {"status": "failed", "why": why, "hint": "install another version of transformers"}
    return _difference(own, out.reshape(own.shape), task["bound"]) | {
        "version": transformers.__version__,
        "class": task["class"],
    }


def _difference(own: Any, out: Any, bound: float) -> Report:
    largest, apart = own.abs().max().item(), (own - out).abs().max().item()
    seen = {"largest_output": largest, "largest_difference": apart, "bound": bound}
    if apart <= bound * max(largest, 1.0):
        return {"status": "equal", **seen}
    why = f"Outputs of transformers differ from those of code/model.py by {apart:.2g}."
    hint = f"the bound is {bound:g} of the largest output, {largest:.3g}"
    return {"status": "failed", "why": why, "hint": hint, **seen}


def _language(network: Any, inputs: list[Any]) -> Any:
    return network(input_ids=inputs[0]).logits


def _sequence(network: Any, inputs: list[Any]) -> Any:
    more = {"token_type_ids": inputs[1]} if len(inputs) > 1 else {}
    mask = (inputs[0] != 0).long()
    return network(input_ids=inputs[0], attention_mask=mask, **more).logits


def _embedding(network: Any, inputs: list[Any]) -> Any:
    mask = (inputs[0] != 0).long()
    vectors = network(input_ids=inputs[0], attention_mask=mask).last_hidden_state
    return (vectors * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


def _image(network: Any, inputs: list[Any]) -> Any:
    return network(pixel_values=inputs[0]).logits


def _pairs(network: Any, inputs: list[Any]) -> Any:
    return network(pixel_values=inputs[0], input_ids=inputs[1]).logits_per_image


def _forecast(network: Any, inputs: list[Any]) -> Any:
    return network(past_values=inputs[0][:, :, None]).prediction_outputs[:, :, 0]


def _series(network: Any, inputs: list[Any]) -> Any:
    return network(past_values=inputs[0].transpose(1, 2)).prediction_logits


def _speech(network: Any, inputs: list[Any]) -> Any:
    return network(input_features=inputs[0], decoder_input_ids=inputs[1]).logits


def _question(network: Any, inputs: list[Any]) -> Any:
    import torch

    images, tokens = inputs
    vision = network.config.vision_config
    vectors = (vision.image_size // vision.patch_size) ** 2
    places = torch.full((len(tokens), vectors), network.config.image_token_id)
    ids = torch.cat((places, tokens), dim=1)
    # A type of 0 is the prompt: each position of it sees all others.
    more = {"token_type_ids": torch.zeros_like(ids), "attention_mask": torch.ones_like(ids)}
    return network(input_ids=ids, pixel_values=images, **more).logits[:, vectors:]


_CALLS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "LlamaForCausalLM": _language,
    "MistralForCausalLM": _language,
    "MinistralForCausalLM": _language,
    "BertForSequenceClassification": _sequence,
    "BertModel": _embedding,
    "CLIPModel": _pairs,
    "ViTForImageClassification": _image,
    "ResNetForImageClassification": _image,
    "PatchTSTForPrediction": _forecast,
    "PatchTSTForClassification": _series,
    "WhisperForConditionalGeneration": _speech,
    "PaliGemmaForConditionalGeneration": _question,
}


# The first steps of the card.


def run(language: str, text: str, release: Path) -> list[Report]:
    """Run a code block of the card in the folder of the release; return a row for each command."""
    commands = [text] if language == "python" else [line for line in text.splitlines() if line]
    reasons = {each: _reason(language, each, release) for each in commands}
    rows = [_not_run(each, why) for each, why in reasons.items() if why]
    left = [each for each in commands if not reasons[each]]
    # A change of folder by itself shows nothing.
    if all(each.startswith("cd ") for each in left):
        return rows
    script = ["bash", "-e", "-c", "\n".join(left)]
    ended = _ended([sys.executable, "-c", text] if language == "python" else script, release)
    shown = "\n".join(left)
    if ended.returncode == 0:
        return [*rows, {"command": shown, "status": "ran"}]
    tail = "\n  ".join((ended.stdout + ended.stderr).strip().splitlines()[-_TAIL:])
    return [*rows, {"command": shown, "status": "failed", "why": tail}]


def _reason(language: str, command: str, release: Path) -> str:
    """Return why a command is not run; "" if it is."""
    if _INSTALL.match(command):
        return "a build installs nothing"
    pattern = _OPENED if language == "python" else _READ
    for name in pattern.findall(command):
        if not any((folder / name).exists() for folder in (release, release / "code")):
            return f"it reads {name}, a file of the user's"
    missing = _missing(command) if language == "python" else ()
    return next((f"{name} is not installed: pip install {name}" for name in missing), "")


def _missing(text: str) -> Iterator[str]:
    for name in _IMPORTED.findall(text):
        if importlib.util.find_spec(name) is None:
            yield _PIP_NAMES.get(name, name)


def _ended(command: list[str], release: Path) -> subprocess.CompletedProcess[str]:
    paths = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    env = os.environ | offline | {"PATH": os.pathsep.join(paths)}
    env.pop("PYTHONPATH", None)  # the release does without metagen
    print(f"first steps: {shlex.join(command)[:80]}", file=sys.stderr, flush=True)
    try:
        return subprocess.run(
            command,
            cwd=release,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STEP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        late = f"It was stopped after {_STEP_SECONDS} seconds."
        return subprocess.CompletedProcess(command, 1, "", late)


def _skipped(why: str) -> Report:
    return {"status": "not checked", "why": why}


def _not_run(command: str, why: str) -> Report:
    return {"command": command, "status": "not run", "why": why}


if __name__ == "__main__":
    main(sys.argv[1])
