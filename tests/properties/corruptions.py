"""Changes of a training folder and of result files, which make wrong what a build takes in."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers import bound, harness_files

NUMBERS = (7.5, -3, 0, 1, 0.5, 65.12, math.nan, math.inf, -math.inf, 1e308, 10**40, "0.5", None,
           True, [0.5], {}, "", "x" * 100_000, "\ud800", "a\nb", "<img src=x>")  # fmt: skip
RUN, LOG, SCORES = "run.json", "metrics.jsonl", "scores.json"
WEIGHTS, STATE = "checkpoint/model.safetensors", "checkpoint/state.json"
_BESIDE = ("checkpoint/config.json", "checkpoint/tokenizer.json")
_JSON = (RUN, SCORES, STATE, *_BESIDE)


@dataclass
class Case:
    """What is corrupted: a training folder, result files by name, and the random numbers.

    Attributes:
        wrong: Whether the change can only be right to refuse.
    """

    folder: Path
    given: dict[str, bytes]
    chance: random.Random
    wrong: bool = False

    def content(self, name: str) -> Any:
        """Return a JSON file of the folder."""
        return json.loads((self.folder / name).read_bytes())

    def put(self, name: str, content: Any) -> None:
        """Replace a JSON file of the folder."""
        (self.folder / name).write_bytes(harness_files.encoded(content))

    def result(self) -> tuple[str, Any]:
        """Return the name and the content of a result file."""
        name = self.chance.choice(sorted(self.given))
        return name, json.loads(self.given[name])


Change = Callable[[Case], None]


def _leaves(content: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in parts:
        yield (*way, name)
        if isinstance(value, (dict, list)):
            yield from _leaves(value, (*way, name))


def _changed(content: Any, chance: random.Random) -> Any:
    """Return some JSON with another value somewhere, or without a part."""
    content = copy.deepcopy(content)
    *above, last = chance.choice(list(_leaves(content)))
    part = content
    for name in above:
        part = part[name]
    if chance.random() < 0.2:
        del part[last]
    else:
        part[last] = chance.choice(NUMBERS)
    return content


def _broken(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes of a JSON file, cut off or broken."""
    return chance.choice(
        (data[: chance.randrange(len(data))], b"", b"null", b"[" * 50_000, b"\xff\xfe" + data,
         data.replace(b":", b": NaN,", 1), b'{"a": 1, "a": 2}', b"\x00", b"9" * 6000,
         data.replace(b'"', b'"a": 1, "a": 1, "', 1), data + data)
    )  # fmt: skip


def _field_of_the_run(case: Case) -> None:
    name = case.chance.choice(_JSON)
    case.put(name, _changed(case.content(name), case.chance))


def _broken_file_of_the_run(case: Case) -> None:
    path = case.folder / case.chance.choice((*_JSON, LOG))
    path.write_bytes(_broken(path.read_bytes(), case.chance))


def _damaged_weights(case: Case) -> None:
    path = case.folder / WEIGHTS
    data, at = bytearray(path.read_bytes()), case.chance.randrange(path.stat().st_size)
    data[at] ^= 1 << case.chance.randrange(8)
    size = case.chance.randrange(len(data))
    path.write_bytes(case.chance.choice((bytes(data), bytes(data[:size]), bytes(data) + b"\0")))
    case.wrong = True


def _wrong_tensor(case: Case) -> None:
    tensors = bound.TENSORS | bound.OTHERS
    name = case.chance.choice(sorted(tensors))
    other = case.chance.choice(("F32 7x7", "BF16 8x4", "I8 4x4", "F16", "F32 4x8", ""))
    if not other:
        del tensors[name]
    elif case.chance.random() < 0.3:
        tensors[f"{name}.more"] = other
    else:
        case.wrong = tensors[name] != other
        tensors[name] = other
    case.wrong = case.wrong or not other or len(tensors) > 4
    (case.folder / WEIGHTS).write_bytes(bound.safetensors(tensors, metadata={"step": "6"}))


def _other_weights(case: Case) -> None:
    """Put the weights of another training in the place of the run's own."""
    data = bound.safetensors(bound.TENSORS | bound.OTHERS, b"\1", {"step": str(bound.STEPS)})
    (case.folder / WEIGHTS).write_bytes(data)
    case.wrong = True


def _other_setting(case: Case) -> None:
    state = case.content(STATE)
    name = case.chance.choice([n for n in state if n.startswith(("model.", "data.", "train.seed"))])
    state[name] = case.chance.choice((7, "byte", 0.5, None))
    case.put(STATE, state)
    case.wrong = True


def _other_step(case: Case) -> None:
    name, way = case.chance.choice(
        ((STATE, ("step",)), (RUN, ("starts", 1, "steps", "to")),
         (RUN, ("starts", 1, "steps", "from")), (RUN, ("starts", 1, "checkpoint", "step")),
         (SCORES, ("scores", 0, "checkpoint", "step")))
    )  # fmt: skip
    bound.change(case.folder / name, *way, to=case.chance.choice((1, 3, 5, 7, 300, 10**9)))
    case.wrong = True


def _edited_log(case: Case) -> None:
    lines = (case.folder / LOG).read_text().splitlines(keepends=True)
    number = case.chance.randrange(len(lines) - 1)  # a line more at the end is no part of it
    row = json.loads(lines[number])
    forms = (
        lines[:number] + lines[number + 1 :],
        lines[:number] + lines[number:][:1] * 2 + lines[number + 1 :],
        lines[::-1],
        [*lines[:number], json.dumps(row | {"step": row["step"] + 1}) + "\n", *lines[number + 1 :]],
        [*lines[:-1], json.dumps(json.loads(lines[-1]) | {"train_loss": 0.01}) + "\n"],
        [*lines[:number], json.dumps(row | {"train_loss": math.nan}) + "\n", *lines[number + 1 :]],
        [*lines[:number], lines[number][: len(lines[number]) // 2] + "\n", *lines[number + 1 :]],
    )
    (case.folder / LOG).write_text("".join(case.chance.choice(forms)))
    case.wrong = True


def _other_starts(case: Case) -> None:
    first, last = case.content(RUN)["starts"]
    other = copy.deepcopy(last)
    other["seed"] += 1
    forms = ([first], [last, first], [first, first, last], [first, last, last], [first, other], [])
    case.put(RUN, {"version": 1, "starts": case.chance.choice(forms)})


def _other_tokenizer(case: Case) -> None:
    case.put(_BESIDE[1], {"model": {"vocab": {"z": 0, "y": 1}}})
    case.wrong = True


def _edited_code(case: Case) -> None:
    """Train with a changed script, which the record of the code shows."""
    way = ("starts", case.chance.randrange(2), "code", case.chance.choice(("model.py", "data.py")))
    bound.change(case.folder / RUN, *way, to="0" * 64)


def _stale_scores(case: Case) -> None:
    sha256 = case.chance.choice(("ef" * 32, "zz", "", None, 7))
    step = case.chance.choice((2, bound.STEPS, bound.STEPS + 1, None))
    case.put(SCORES, {"version": 1, "scores": [bound.score(sha256, step)]})  # type: ignore[arg-type]
    case.wrong = True


def _two_scores(case: Case) -> None:
    own = case.content(SCORES)["scores"][0]
    other = copy.deepcopy(own)
    other["report"] = bound.report(3.25)
    other["command"] += " --batch-size 1"
    case.put(SCORES, {"version": 1, "scores": [own, other]})
    case.wrong = True


def _missing_file(case: Case) -> None:
    name = case.chance.choice((WEIGHTS, STATE, _BESIDE[0], _BESIDE[1], LOG))
    (case.folder / name).unlink()
    case.wrong = True


def _odd_file(case: Case) -> None:
    """Put a link, a FIFO, a folder or a pickle in the place of a file."""
    path = case.folder / case.chance.choice((WEIGHTS, STATE, RUN, LOG, SCORES))
    kept = path.with_name("kept")
    path.rename(kept)
    form = case.chance.randrange(4)
    if form == 0:
        path.symlink_to(kept)
    elif form == 1:
        os.mkfifo(path)
    elif form == 2:
        path.mkdir()
    else:
        path.write_bytes(b"\x80\x04\x95pickle")
    case.wrong = True


def _shards(case: Case) -> None:
    """Cut the weights into parts whose index is wrong, or of which one is missing."""
    place = case.folder / "checkpoint"
    (case.folder / WEIGHTS).unlink()
    pairs = list((bound.TENSORS | bound.OTHERS).items())
    table = {}
    for number, part in enumerate((dict(pairs[:2]), dict(pairs[2:]))):
        name = f"model-{number}.safetensors"
        (place / name).write_bytes(bound.safetensors(part))
        table |= dict.fromkeys(part, name)
    name = case.chance.choice(pairs)[0]
    forms = ("../x.safetensors", "/etc/passwd", "model-2.safetensors", 7, "", "model-0.safetensors",
             "model-1.safetensors")  # fmt: skip
    other = case.chance.choice(forms)
    if case.chance.random() < 0.3:
        (place / "model-1.safetensors").unlink()
    else:
        table[name] = other  # type: ignore[assignment]
    case.put("checkpoint/model.safetensors.index.json", {"weight_map": table})
    case.wrong = True  # these weights are not those of run.json, whatever the index says


def _field_of_a_result(case: Case) -> None:
    name, content = case.result()
    case.given = {name: harness_files.encoded(_changed(content, case.chance))}


def _broken_result(case: Case) -> None:
    name, _ = case.result()
    case.given = {name: _broken(case.given[name], case.chance)}
    case.wrong = case.given[name] != b"null"


def _results_of_another(case: Case) -> None:
    """Bring the results of another model: by its name, its size or the digest of its weights."""
    name = case.chance.choice(("lm_eval", "lighteval", "inspect", "every_eval_ever", "plain"))
    content = getattr(harness_files, name)()
    other = "EleutherAI/pythia-70m"
    if name == "lm_eval":
        change: dict[str, Any] = {"model_name": other}
        content |= case.chance.choice((change, {"config": {"model_num_parameters": 70_426_624}}))
    elif name == "lighteval":
        content["config_general"]["model_name"] = other
    elif name == "inspect":
        content["eval"]["model"] = f"hf/{other}"
    elif name == "every_eval_ever":
        content["model_info"] |= case.chance.choice(
            ({"id": other}, {"additional_details": {"checkpoint_sha256": "ef" * 32}})
        )
    else:
        content |= case.chance.choice(
            ({"model": other}, {"parameters": 70_426_624}, {"checkpoint_sha256": "ef" * 32})
        )
    case.given = {f"{name}.json": harness_files.encoded(content)}
    case.wrong = True


def _other_units(case: Case) -> None:
    """State a share in percent."""
    name, content = case.result()
    text = harness_files.encoded(content).decode()
    shares = list(re.finditer(r'"(acc,none|acc|accuracy|score|acc_norm)": 0\.\d+', text))
    if not shares:
        return
    found = case.chance.choice(shares)
    head, _, number = found[0].rpartition(" ")
    percent = f"{head} {100 * float(number):.2f}"
    case.given = {name: (text[: found.start()] + percent + text[found.end() :]).encode()}


def _twice(case: Case) -> None:
    """Give one result in two files, with the same value or with another."""
    name, content = case.result()
    text = harness_files.encoded(content).decode()
    other = re.sub(r"0\.(1|24|25|255|26|3|31|4)\b", "0.2222", text, count=1)
    case.given = {name: case.given[name], f"again/{name}": other.encode()}


def _stale_results(case: Case) -> None:
    content = case.chance.choice((harness_files.lm_eval(1.0), harness_files.inspect()))
    if "eval" in content:
        content["eval"]["created"] = "2020-01-01T00:00:00+00:00"
    case.given = {"old.json": harness_files.encoded(content)}
    case.wrong = True


def _swapped(case: Case) -> None:
    """Exchange the results of two tasks of a file; each then lies where the file says."""
    content = harness_files.lm_eval()
    scores = content["results"]
    scores["mmlu"], scores["sciq"] = scores["sciq"], scores["mmlu"]
    case.given = {"lm_eval.json": harness_files.encoded(content)}


def _wrong_digest(case: Case) -> None:
    make = case.chance.choice((harness_files.plain, harness_files.every_eval_ever))
    digest = case.chance.choice(("ef" * 32, "zz", "AB" * 32, "ab" * 31, " " + "ab" * 32))
    case.given = {"a.json": harness_files.encoded(make(digest))}
    case.wrong = True


def _unknown_file(case: Case) -> None:
    forms = ({}, [], {"results": {}}, {"accuracy": 0.9}, {"results": {"mmlu": {"acc": 0.9}}}, 7)
    case.given = {"x.json": harness_files.encoded(case.chance.choice(forms))}
    case.wrong = True


def nothing(case: Case) -> None:
    """Change nothing: what is right is taken."""


CHANGES: tuple[Change, ...] = (
    _field_of_the_run, _field_of_a_result, _broken_file_of_the_run, _broken_result,
    _damaged_weights, _wrong_tensor, _other_weights, _other_setting, _other_step, _edited_log,
    _other_starts, _other_tokenizer, _edited_code, _stale_scores, _two_scores, _missing_file,
    _odd_file, _shards, _results_of_another, _other_units, _twice, _stale_results, _swapped,
    _wrong_digest, _unknown_file, nothing, _field_of_the_run, _field_of_a_result,
)  # fmt: skip
