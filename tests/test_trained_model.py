"""A training folder is taken in if it is of the package's model and does not contradict itself."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import bound
from helpers.bound import change

from metagen import files
from metagen.errors import TaskError
from metagen.trained import log, model

Folder = Path
Change = Callable[[Folder], object]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    bound.training(tmp_path / "full_run")
    return tmp_path / "full_run"


def taken(folder: Folder | None) -> dict[str, Any]:
    made = model.model(bound.desk(folder))
    content: dict[str, Any] = json.loads(made["trained/model.json"])
    return content


def refused(folder: Folder) -> str:
    with pytest.raises(TaskError) as caught:
        taken(folder)
    for problem in caught.value.problems:
        assert problem.place
        assert problem.hint
        assert problem.sentence.endswith(".")
    return str(caught.value)


def test_without_a_folder_nothing_is_trained() -> None:
    made = model.model(bound.desk(None))
    assert json.loads(made["trained/model.json"]) == {"status": "not trained"}
    assert made["trained/curve.csv"] == b"step,train_loss,val_loss,learning_rate\n"


def test_a_training_says_what_it_was(folder: Folder) -> None:
    found = taken(folder)
    data = (folder / "checkpoint" / "model.safetensors").read_bytes()
    name = {"name": "model.safetensors", "sha256": files.sha256(data), "bytes": len(data)}
    assert found["status"] == "trained"
    assert found["checkpoint"]["sha256"] == files.sha256(data)
    assert found["checkpoint"]["files"] == [name]
    assert (found["seed"], found["steps"], found["starts"]) == (bound.SEED, bound.STEPS, 2)
    assert found["code"] == {"same": True, "changed": []}


def test_sums_are_over_the_starts_of_the_run(folder: Folder) -> None:
    found = taken(folder)
    assert found["units"] == bound.STEPS * bound.AMOUNT
    assert found["seconds"] == {"wall": 60.0, "device": 54.0}
    assert found["energy"] == {"joules": 10.0, "source": "RAPL"}
    assert found["memory_peak"] == 3000
    assert found["throughput"] == pytest.approx(20.0)


def test_a_start_at_step_0_begins_another_run(folder: Folder) -> None:
    starts = json.loads((folder / "run.json").read_text())["starts"]
    change(folder / "run.json", "starts", to=[starts[0], *starts])
    assert taken(folder)["starts"] == 2


def test_a_kill_between_a_checkpoint_and_its_entry_leaves_no_sum(folder: Folder) -> None:
    change(folder / "run.json", "starts", 0, "status", to="running")
    change(folder / "run.json", "starts", 1, "steps", "from", to=3)
    change(folder / "run.json", "starts", 1, "units", to=3 * bound.AMOUNT)
    found = taken(folder)
    assert found["seconds"] == {"wall": None, "device": None}
    assert found["energy"]["source"] == "not measured"
    assert found["units"] == bound.STEPS * bound.AMOUNT


def test_what_differs_between_starts_is_stated_of_none(folder: Folder) -> None:
    change(
        folder / "run.json", "starts", 0, "devices", to={"type": "cuda", "names": ["X"], "count": 8}
    )
    change(folder / "run.json", "starts", 0, "precision", to="bfloat16")
    found = taken(folder)
    assert found["devices"] is None
    assert found["precision"] is None
    assert found["history"][0]["devices"]["count"] == 8


def test_fewer_steps_than_planned_are_a_part_of_the_training(tmp_path: Path) -> None:
    bound.training(tmp_path / "run", step=4)
    assert taken(tmp_path / "run")["status"] == "partial"


def test_a_folder_of_older_code_has_its_weights_and_no_record(folder: Folder) -> None:
    (folder / "run.json").unlink()
    found = taken(folder)
    assert found["status"] == "trained"
    assert found["code"] == {"same": None, "changed": []}
    assert found["devices"] is found["units"] is found["starts"] is None
    assert found["losses"]["train"] is not None


def test_settings_that_people_change_are_listed(folder: Folder) -> None:
    change(folder / "checkpoint" / "state.json", "train.learning_rate", to=0.002)
    for number in (0, 1):
        way = ("starts", number, "settings", "train", "learning_rate")
        change(folder / "run.json", *way, to=0.002)
    different = {"setting": "train.learning_rate", "planned": 0.001, "actual": 0.002}
    assert taken(folder)["plan"] == {"differs": [different]}


def test_edited_code_is_stated(folder: Folder) -> None:
    change(folder / "run.json", "starts", 0, "code", "model.py", to="0" * 64)
    change(folder / "run.json", "starts", 1, "code", "mine.py", to="0" * 64)
    assert taken(folder)["code"] == {"same": False, "changed": ["mine.py", "model.py"]}


def test_a_line_after_the_checkpoint_is_not_of_it(folder: Folder) -> None:
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(bound.line(bound.STEPS + 1)) + "\n" + '{"step": 8, "train_l')
    curve = model.model(bound.desk(folder))["trained/curve.csv"].decode()
    assert [row["step"] for row in csv.DictReader(io.StringIO(curve))] == list("123456")


def test_a_long_curve_keeps_validations_and_the_ends() -> None:
    rows: list[log.Row] = [
        {
            "step": n,
            "train_loss": 1.0,
            "val_loss": 2.0 if n % 777 == 0 else None,
            "learning_rate": 0.1,
        }
        for n in range(1, 10_001)
    ]
    table = list(csv.DictReader(io.StringIO(log.table(rows).decode())))
    assert len(table) < 2100
    assert (table[0]["step"], table[-1]["step"]) == ("1", "10000")
    assert sum(bool(row["val_loss"]) for row in table) == 12


def _set(name: str, *way: Any, to: Any) -> Change:
    return lambda folder: change(folder / name, *way, to=to)


def _without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def _text(name: str, old: str, new: str) -> Change:
    def edit(folder: Folder) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return edit


STATE, CONFIG, RUN = "checkpoint/state.json", "checkpoint/config.json", "run.json"


def _large_tokenizer(folder: Folder) -> None:
    change(folder / STATE, "files", to={})
    words = {str(number): number for number in range(9)}
    change(folder / "checkpoint" / "tokenizer.json", "model", "vocab", to=words)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (_set(STATE, "train.seed", to=7), "train.seed is 7, and 42 in the package."),
        (_set(STATE, "model.d_model", to=8), "model.d_model is 8, and 4 in the package."),
        (_set(STATE, "model.tie_embeddings", to=1), "model.tie_embeddings is 1, and True"),
        (_set(STATE, "data.test_fraction", to=0.5), "data.test_fraction is 0.5, and 0.01"),
        (_set(STATE, "data.tokenizer", to="byte"), "data.tokenizer is 'byte', and 'bpe'"),
        (_set(STATE, "step", to=5), "The weights are of step 6, and state.json of step 5."),
        (_set(STATE, "step", to=0), "step is 0; allowed: a whole number"),
        (_set(STATE, "sha256", to="zz"), "sha256 is 'zz'; allowed: 64 hexadecimal digits"),
        (_set(STATE, "files", "config.json", to="ab" * 32), "config.json is not the one that"),
        (_set(STATE, "files", to=7), "files is 7; allowed"),
        (_set(CONFIG, "d_model", to=8), "checkpoint/config.json: d_model is 8, and 4"),
        (_text(STATE, "{", '{"step": 6, '), "an object has the name 'step' twice"),
        (_text(STATE, "}", ""), "This is not valid JSON, or it is cut short"),
        (_without(STATE), "The checkpoint has no state.json."),
        (
            lambda folder: shutil.rmtree(folder / "checkpoint"),
            "The training folder has no checkpoint.",
        ),
        (_without(CONFIG), "The checkpoint has no config.json."),
        (_without("metrics.jsonl"), "has no metrics.jsonl"),
        (
            _large_tokenizer,
            "The tokenizer has 9 tokens, and the model 8.",
        ),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(
    folder: Folder, edit: Change, sentence: str
) -> None:
    edit(folder)
    assert sentence in refused(folder)


def test_a_tokenizer_that_was_not_saved_with_the_weights_is_refused(folder: Folder) -> None:
    change(folder / "checkpoint" / "tokenizer.json", "model", "vocab", to={"b": 0, "a": 1})
    assert "tokenizer.json is not the one that train.py saved." in refused(folder)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (_set(RUN, "version", to=2), "This must be an object with the version 1."),
        (_set(RUN, "starts", to=[]), "This must be a list of the starts"),
        (_set(RUN, "starts", 0, to=7), "This must be an object, and is 7."),
        (_set(RUN, "starts", 1, "seed", to=7), "Start 2: seed is 7, and 42 in the start before."),
        (_set(RUN, "starts", 1, "began", to="yesterday"), "began is 'yesterday'; allowed: a time"),
        (_set(RUN, "starts", 1, "ended", to="2026-05-01T12:00:00+00:00"), "before the start began"),
        (_set(RUN, "starts", 1, "status", to="fine"), "status is 'fine'; allowed: running"),
        (_set(RUN, "starts", 1, "seconds", "wall", to=-1), "wall is -1; allowed"),
        (_set(RUN, "starts", 1, "seconds", "device", to="9"), "device is '9'; allowed"),
        (_set(RUN, "starts", 1, "memory_peak", to=1.5), "memory_peak is 1.5; allowed"),
        (_set(RUN, "starts", 1, "mfu", to=1.5), "mfu is 1.5; allowed"),
        (_set(RUN, "starts", 1, "energy", "joules", to=-5), "joules is -5; allowed"),
        (_set(RUN, "starts", 1, "code", to={"model.py": "x"}), "code.model.py is 'x'; allowed: 64"),
        (_set(RUN, "starts", 1, "code", to={"a\nb": "ab" * 32}), "has the control character"),
        (_set(RUN, "starts", 1, "steps", "from", to=3), "steps.from is 3, but the start before"),
        (_set(RUN, "starts", 1, "steps", "to", to=9), "checkpoint.step is 6, but the start ends"),
        (_set(RUN, "starts", 1, "steps", "to", to=1), "steps.to is 1, before the first step, 2"),
        (_set(RUN, "starts", 1, "units", to=1), "units is 1, but 4 steps of 8 samples take more"),
        (_set(RUN, "starts", 1, "units", to=4000), "units does not grow with the steps"),
        (_set(RUN, "starts", 1, "checkpoint", to=None), "checkpoint is null, but steps were saved"),
        (
            _set(RUN, "starts", 1, "checkpoint", "sha256", to="ab" * 32),
            "The weights are not those that train.py saved",
        ),
        (_set(RUN, "starts", 1, "data", "sha256", to="cd" * 32), "data.sha256 differs"),
        (
            _set(RUN, "starts", 1, "losses", "train", to=0.5),
            "The train loss is 0.5, and 0.541341 in",
        ),
        (_set(RUN, "starts", 1, "losses", "val", to=0.1), "The val loss is 0.1, and 0.641341"),
        (_set(RUN, "starts", 1, "losses", "val", to=float("nan")), "NaN is not a number of JSON"),
        (
            _set(RUN, "starts", 1, "settings", "model", "d_model", to=8),
            "settings.model.d_model is 8, and 4 in the checkpoint.",
        ),
        (_text(RUN, '"units"', '"unit"'), "has the name 'unit' twice"),
        (_text(RUN, '"memory_peak"', '"memory"'), "The field memory_peak is missing."),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    folder: Folder, edit: Change, sentence: str
) -> None:
    edit(folder)
    assert sentence in refused(folder)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('{"step": 3', '{"step": 4', "The step is 4, which does not follow 2."),
        ('{"step": 3', '{"step": 3.0', "The step is 3.0"),
        ('{"step": 3', '{"step": 3, "step": 3', "has the name 'step' twice"),
        ('"train_loss": 1.4715', '"train_loss": 1.4715e999', "train_loss is inf; allowed"),
        ('"train_loss": 1.4715', '"train_loss": "1.4715', "cut short"),
        ('"learning_rate": 0.001', '"learning_rate": -0.001', "learning_rate is -0.001"),
        ('"train_loss"', '"loss"', "The train_loss of this step is missing."),
        ('"val_loss": null', '"val_loss": NaN', "NaN is not a number of JSON"),
        ('{"step": 1,', "[", "This is not valid JSON"),
    ],
)
def test_a_log_that_was_edited_is_refused(
    folder: Folder, old: str, new: str, sentence: str
) -> None:
    _text("metrics.jsonl", old, new)(folder)
    assert sentence in refused(folder)


def test_a_log_that_ends_before_the_checkpoint_is_refused(folder: Folder) -> None:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:4]) + "\n")
    assert "The checkpoint is of step 6, but the log ends at step 4." in refused(folder)


def test_an_edited_loss_contradicts_the_record(folder: Folder) -> None:
    _text("metrics.jsonl", "0.5413411", "0.4413411")(folder)
    assert "The train loss is 0.541341, and 0.441341 in metrics.jsonl." in refused(folder)


def test_a_record_that_ends_elsewhere_is_refused(folder: Folder) -> None:
    starts = json.loads((folder / "run.json").read_text())["starts"]
    change(folder / "run.json", "starts", to=starts[:1])
    assert "The checkpoint is of step 6, but the last start ended at step 2." in refused(folder)
