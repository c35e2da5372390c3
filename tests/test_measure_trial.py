"""The trial runs the package's own scripts, and says of what it did not run that it did not."""

import csv
import json

import pytest
from helpers.generated import RUNTIME
from helpers.plain_desk import PlainDesk

from metagen.errors import TaskError
from metagen.families.decoder import FAMILY as decoder
from metagen.measure import trial
from metagen.measure.results import ABLATED
from metagen.package import code
from metagen.sizing import architecture

TRAIN = """
import json, pathlib, sys
out = pathlib.Path("out/checkpoint")
out.mkdir(parents=True)
for name in ("model.safetensors", "config.json", "state.json", "tokenizer.json"):
    (out / name).write_text(" ".join(sys.argv[1:]))
with (out.parent / "metrics.jsonl").open("w") as log:
    for step in (1, 2):
        row = {"step": step, "train_loss": 1 / step, "val_loss": None, "learning_rate": 0.1}
        log.write(json.dumps(row | ({"val_loss": 0.7} if step == 2 else {})) + "\\n")
record = {"version": 1, "starts": [{"data": {"splits": {"train": 7}}}]}
(out.parent / "run.json").write_text(json.dumps(record))
print("step 2/2: train loss 0.500", file=sys.stderr)
"""
EVAL = """
import json, pathlib, sys
assert pathlib.Path("out/checkpoint/model.safetensors").read_text()
metric = {"metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte",
          "higher_is_better": False, "value": 2.5, "baselines": {"bigram": 3.4}}
print(json.dumps({"dataset": "d", "sha256": "0" * 64, "split": "test", "n": 9, "metrics": [metric],
                  "checkpoint_step": 2}))
"""


def desk_with(folder, spec, train=TRAIN, evaluate=EVAL):
    desk = PlainDesk(spec, folder)
    scripts = {"model": "", "data": "", "train": train, "eval": evaluate}
    desk.package = {f"code/{name}.py": text.encode() for name, text in scripts.items()}
    desk.package |= dict.fromkeys(RUNTIME, b"")
    # No full model is trained.
    empty = {"model.json": b'{"status": "not trained"}', "curve.csv": b"", "results.json": b"[]"}
    desk.package |= {f"trained/{name}": data for name, data in empty.items()}
    desk.package[ABLATED] = b"{}"
    desk.package["code/config.json"] = b'{"proxy": {}}'
    desk.package["blueprint/architecture.yaml"] = b"family: decoder\ntrain: {steps: 300}\n"
    return desk


def test_the_machine_is_recorded_apart_from_all_that_is_the_same_anywhere(tmp_path):
    made = trial.trial(desk_with(tmp_path, ""))
    seen = json.loads(made.pop(trial.SEEN))
    assert set(seen) == {"cpu", "cores", "system", "threads", "seconds"}
    assert seen["cpu"]
    assert seen["cores"] >= 1
    assert all(seen["seconds"][part] >= 0 for part in ("training", "scoring"))
    for data in made.values():
        assert seen["cpu"].encode() not in data
        assert b"seconds" not in data


def outputs(desk):
    desk.package |= trial.trial(desk)
    for recipe in trial.recipes(decoder, trial.seeds(decoder, desk.key))[1:]:
        desk.package |= recipe.work(desk)
    results, curve = (desk.package[name].decode() for name in (trial.RESULTS, trial.CURVE))
    return json.loads(results), list(csv.DictReader(curve.splitlines()))


def test_what_the_scripts_measured_becomes_the_results(tmp_path):
    desk = desk_with(
        tmp_path, "reproducibility: {seed: 7}\nevaluation: {benchmarks: [MMLU], seeds: 1}\n"
    )
    told = []
    desk.progress = lambda *arguments: told.append(arguments)
    (measured, named), curve = outputs(desk)
    assert measured == {
        "benchmark": "held-out text", "dataset": "d", "sha256": "0" * 64, "split": "test", "n": 9,
        "metric": "bits_per_byte", "title": "bits per byte", "unit": "bit/byte",
        "higher_is_better": False, "value": 2.5, "baselines": {"bigram": 3.4},
        "n_unit": None, "seeds": {"7": 2.5}, "spread": None, "interval": None,
        "interval_method": None, "interval_unit": None, "interval_n": None,
        "differences": {"bigram": None}, "outcomes": {"bigram": "cannot tell"},
        "origin": "measured", "seed": 7, "steps": 800, "steps_unit": "training steps",
        "size": "proxy",
        "command": "python train.py --steps 800 --seed 7 --size proxy --device cpu --threads 1 "
                   "&& python eval.py --size proxy --device cpu --threads 1",
        "status": "measured", "bound": None, "harness": None, "standard_error": None,
    }  # fmt: skip
    assert (named["benchmark"], named["value"], named["status"]) == ("MMLU", None, "not run")
    assert set(named) == set(measured)
    assert [row["val_loss"] for row in curve] == ["", "0.7"]
    assert list(curve[0]) == ["step", "train_loss", "val_loss", "learning_rate"]
    assert told == [(2, 2, "train loss 0.500")]


def test_each_further_seed_is_a_task_of_its_own_and_joins_the_row(tmp_path):
    desk = desk_with(tmp_path, "reproducibility: {seed: 4294967295}\nevaluation: {seeds: 2}\n")
    first, second, *_ = trial.recipes(decoder, trial.seeds(decoder, desk.key))
    assert (first.targets[0], second.targets) == (trial.REPORT, ("benchmarks/report_2.json",))
    (row,), _ = outputs(desk)
    assert row["seeds"] == {"4294967295": 2.5, "0": 2.5}
    assert row["spread"] == 0
    again = json.loads(desk.package["benchmarks/report_2.json"])
    assert "figure" not in again["report"]


@pytest.mark.parametrize(
    ("keys", "count"),
    [("", decoder.task.benchmark.seeds), ("bench: full", 1), ("bench: none, seeds: 4", 1),
     ("bench: full, seeds: 4", 4)],
)  # fmt: skip
def test_short_benchmarks_are_repeated_and_others_if_declared(tmp_path, keys, count):
    desk = PlainDesk(f"evaluation: {{{keys}}}\n", tmp_path)
    assert trial.seeds(decoder, desk.key) == count
    names = [recipe.name for recipe in trial.recipes(decoder, count)]
    assert sum(name.startswith("benchmarks:trial") for name in names) == count


def test_a_longer_bench_takes_more_steps(tmp_path):
    (measured,), _ = outputs(desk_with(tmp_path, "evaluation: {bench: full}\n"))
    assert measured["steps"] > 1000


def test_without_a_bench_nothing_runs_and_nothing_is_claimed(tmp_path):
    broken = "raise SystemExit('this must not run')"
    spec = "evaluation: {bench: none, benchmarks: [MMLU, HellaSwag]}\n"
    results, curve = outputs(desk_with(tmp_path, spec, broken, broken))
    assert [(each["value"], each["status"]) for each in results] == [
        (None, "not measured"), (None, "not run"), (None, "not run"),
    ]  # fmt: skip
    assert curve == []


def test_a_script_that_fails_shows_what_it_said(tmp_path):
    with pytest.raises(TaskError, match="no such corpus"):
        trial.trial(desk_with(tmp_path, "", train="raise SystemExit('no such corpus')"))


def test_a_report_that_is_no_json_is_an_error(tmp_path):
    with pytest.raises(TaskError, match=r"code/eval\.py printed something other"):
        trial.trial(desk_with(tmp_path, "", evaluate="print('fine')"))


def proxy_results(folder, bench):
    desk = PlainDesk(f"evaluation: {{bench: {bench}}}\n", folder)
    desk.package |= architecture.work(desk)
    for recipe in code.recipes(decoder):
        desk.package |= recipe.work(desk)
    return outputs(desk)


@pytest.mark.slow
def test_the_quick_training_beats_the_witten_bell_five_gram_with_the_same_bytes_each_time(
    tmp_path,
):
    first, second = (proxy_results(tmp_path, "quick") for _ in range(2))
    assert first == second
    (result, *_), _ = first
    assert result["metric"] == "bits_per_byte"
    assert result["value"] < 0.95 * result["baselines"]["Witten-Bell 5-gram"]


@pytest.mark.slow
def test_the_longer_training_beats_kneser_ney(tmp_path):
    (result, *_), _ = proxy_results(tmp_path, "full")
    assert result["metric"] == "bits_per_byte"
    assert result["value"] < 0.97 * result["baselines"]["Kneser-Ney 8-gram"]
