"""One quantity, one value: what two files or documents of a package state is equal in both.

`judge` reads a package as it lies on the disk, so `python -m tests.properties.consistent FOLDER...`
measures packages that somebody else built, with their real results.
"""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from metagen.amounts import parse_amount
from metagen.docs import cards, paper
from metagen.engine.digest import version
from metagen.measure import sandbox
from metagen.units import parse_duration
from tests.helpers.building import config_defaults
from tests.helpers.plain_desk import PlainDesk

from . import inside
from .counted import counted
from .inside import Build
from .lab import Lab
from .stated import Ledger, Package
from .tally import Tally

KINDS = (
    "settings", "parameters", "memory", "restated verdicts", "context", "operations", "devices",
    "batch", "data", "days", "energy", "formulas", "results", "ablations", "data sets", "figures",
    "versions", "documents",
)  # fmt: skip
# Training takes seconds in these, so their results are measured and not left out.
TRAINED = ("tabular_classifier", "tabular_regressor", "time_series_forecaster")
_NUMERAL = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
_ALONE = {"and", "of", "the"}
_ROUNDED = 0.01  # an estimate has three digits, and whole updates more or less data than declared


def measure(lab: Lab) -> Tally:
    """Build packages and compare what their files state; some cases are counted in closed form."""
    tally = Tally("consistent")
    tally.must_not(*KINDS)
    for spec in lab.progress("consistent", lab.some(lab.specs, "consistent"), lambda s: s.stem):
        with lab.folder() as folder:
            built = counted(folder, spec) if lab.number else _measured(folder, spec)
            if tally.check(not built.status, "builds that fail", built.output[-300:]):
                judge(Package(folder / f"run-{spec.stem}"), tally)
    return tally


def _measured(folder: Path, spec: Path) -> Build:
    overrides = [] if spec.stem in TRAINED else ["evaluation.bench=none"]
    with mock.patch.object(sandbox, "run", inside.real_run):
        return inside.build(folder, spec, overrides)


Check = Callable[[Package, Ledger], None]


def judge(package: Package, tally: Tally, *checks: Check) -> Tally:
    """Compare every quantity that two files of a package state, or what some checks compare."""
    tally.count("packages")
    for check in checks or CHECKS:
        check(package, Ledger(package, tally))
    return tally


def settings(package: Package, ledger: Ledger) -> None:
    """The plan of the architecture, the defaults of each script, and the proxy's file."""
    design = package.design
    for section in ("model", "data", "train", "eval", "infer"):
        defaults = config_defaults(package.bytes(f"code/{section}.py"))
        for name, value in design[section].items():
            ledger.same("settings", f"{section}.{name}", plan=value, script=defaults.get(name))
    graph = package["blueprint/graph.json"]["config"]
    for name, value in design["model"].items():
        ledger.same("settings", f"model.{name}", plan=value, graph=graph.get(name))
    proxy = package["code/config.json"]["proxy"]
    ledger.same("settings", "the proxy", plan=design["proxy"], config=proxy)


def parameters(package: Package, ledger: Ledger) -> None:
    """The parameters, wherever they are counted or used."""
    counted, summary = package["blueprint/params.json"], package["docs/summary.json"]
    decisions = {each["name"]: each["value"] for each in package.design["decisions"]}
    ledger.same(
        "parameters",
        "of the full model",
        counted=counted["total"],
        modules=sum(counted["by_module"].values()),
        decisions=decisions.get("parameters"),
        constraints=package.computed("parameter_budget.max"),
        least=package.computed("parameter_budget.min"),
        plan=package.plan["parameters"],
        sensitivity=package["blueprint/sensitivity.json"]["specified"]["parameters"],
        summary=summary["parameters"]["total"],
    )
    shown = summary["parameters"]["proxy"]
    ledger.same("parameters", "of the proxy", counted=counted["proxy_total"], summary=shown)


def memory(package: Package, ledger: Ledger) -> None:
    """The memory of inference and its three parts."""
    parts = [package.computed(name) for name in ("weights", "cache", "activations")]
    whole = package["blueprint/sensitivity.json"]["specified"]["memory"]
    ledger.same(
        "memory",
        "of inference",
        parts=sum(part or 0 for part in parts),
        budget=package.computed("memory_budget"),
        device=package.computed("device_memory"),
        sensitivity=whole["total"],
        summary=package["docs/summary.json"]["memory"]["computed"],
    )


def restated(package: Package, ledger: Ledger) -> None:
    """A decision that is also a verdict, such as a throughput."""
    for decision in package.design["decisions"]:
        if decision["name"] in package.constraints:
            row = package.constraints[decision["name"]]
            stated = {"decision": decision["value"], "verdict": row["computed"]}
            ledger.same("restated verdicts", decision["name"], **stated)


def context(package: Package, ledger: Ledger) -> None:
    """The context window: configured, judged and trained."""
    model = {**package.design["model"], **package.design["infer"]}
    window, row = package.family.context(model), package.constraints.get("context_window", {})
    ledger.same("context", "window", code=window, verdict=row.get("computed"))
    trained = package.design["data"].get("seq_len")
    if window and trained and trained < window:
        case = f"window of {window} tokens is {row.get('verdict')}, trained on {trained}"
        ledger.holds("context", case, row.get("verdict") != "met")


def operations(package: Package, ledger: Ledger) -> None:
    """Operations: of the code, of its parts, and of the whole training."""
    flops = package["blueprint/flops.json"]
    step, passed = flops["training_per_unit"], flops["forward_per_unit"]
    here = {p["length"]: p["forward_per_unit"] for p in flops["points"]}.get(flops.get("length"))
    operators = sum(flops["by_operator"].values())
    ledger.same("operations", "forward pass", whole=passed, operators=operators, point=here)
    needed = package.computed("training_compute")
    if needed:
        again = package.plan["modes"][package.plan["chosen"]]["operations"]
        expected = package.units_trained * step * again
        ledger.same("operations", "training", near=1e-6, verdict=needed, code=expected)


def devices(package: Package, ledger: Ledger) -> None:
    """The devices that verdicts count with, and those that the plan starts."""
    if not package.plan["declared"]:
        return
    ledger.same(
        "devices",
        "of the plan",
        plan=package.plan["devices"],
        nodes=package.plan["nodes"] * package.plan["devices_per_node"],
        declared=package.plan["declared"] - (package.plan["idle"] or 0),
    )
    pattern = re.compile(r"(?<![\w.])(\d[\d,]*) x [\d.,e+]+ (?:FLOP/s|W)\b")
    for name in ("training_compute", "training_time", "training_energy"):
        formula = package.constraints.get(name, {}).get("formula", "")
        for number in {int(match.replace(",", "")) for match in pattern.findall(formula)}:
            ledger.same("devices", f"of {name}", plan=package.plan["devices"], formula=number)
    scripts = package.text("code/launch/slurm.sh")
    for option, name in (("nodes", "nodes"), ("gpus-per-node", "devices_per_node")):
        number = int(re.search(rf"#SBATCH --{option}=(\d+)", scripts)[1])  # type: ignore[index]
        ledger.same("devices", name, plan=package.plan[name], slurm=number)


def batch(package: Package, ledger: Ledger) -> None:
    """A run: its updates, and the parts in which the plan's devices pass one."""
    plan, train = package.plan, package.design["train"]
    for name in ("batch_size", "steps"):
        ledger.same("batch", name, plan=plan[name], script=train[name])
    parts = math.ceil(plan["batch_size"] / (plan["devices"] * plan["samples_at_once"]))
    ledger.same("batch", "parts of an update", plan=plan["grad_accum"], samples=parts)
    units = plan["steps"] * plan["batch_size"] * plan["units_per_sample"]
    ledger.same("batch", "units of the run", plan=plan["units"], product=units)


def data(package: Package, ledger: Ledger) -> None:
    """The data of training: declared, read by train.py, and divided by the parameters."""
    declared, ratio = package.key("training.data.size"), package.constraints["data_per_parameter"]
    plan = package.plan
    counted = declared and plan["passes_are"] != "at least"  # pieces of text are no tokens
    amount = parse_amount(declared)[0] if counted else None
    if amount and plan["passes"]:
        read = plan["units"] / plan["passes"]
        ledger.same("data", "of one pass", near=_ROUNDED, spec=amount, plan=read)
    if amount and ratio["computed"]:
        own = ratio["computed"] * package["blueprint/params.json"]["total"]
        ledger.same("data", "declared and a parameter's", near=_ROUNDED, spec=amount, verdict=own)


def days(package: Package, ledger: Ledger) -> None:
    """The time of training, in its verdict and in the estimate of energy."""
    time = package.constraints["training_time"]
    hours = re.search(r" W x ([\d,.e+]+) h\b", package.constraints["training_energy"]["formula"])
    if hours and time["computed"]:
        used = float(hours[1].replace(",", "")) / 24
        stated = {"verdict": time["computed"], "energy": used}
        ledger.same("days", "of training", near=_ROUNDED, **stated)
    duration = package.key("training.compute.duration")
    if duration and isinstance(time["required"], str):
        stated = {"spec": parse_duration(duration), "verdict": parse_duration(time["required"])}
        ledger.same("days", "allowed", **stated)


def energy(package: Package, ledger: Ledger) -> None:
    """CO2 is energy times the intensity in its own formula."""
    used, row = package.computed("training_energy"), package.constraints["training_co2"]
    rate = re.search(r"x ([\d.]+) kg/kWh", row["formula"])
    if used and rate:
        stated = {"energy": used * float(rate[1]), "verdict": row["computed"]}
        ledger.same("energy", "CO2", near=_ROUNDED, **stated)


def formulas(package: Package, ledger: Ledger) -> None:
    """The arithmetic of each constraint has its result."""
    for name, row in package.constraints.items():
        if isinstance(row["computed"], int | float):
            numerals = _NUMERAL.findall(row["formula"])
            case = f"{name} is {row['computed']:.6g}, its formula: {row['formula']}"
            ledger.holds("formulas", case, any(_rounds(n, row["computed"]) for n in numerals))


def _rounds(numeral: str, value: float) -> bool:
    """Return whether a numeral is a value, rounded to the numeral's digits."""
    plain = numeral.replace(",", "")
    digits, _, power = plain.partition("e")
    unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    zeros = len(digits) - len(digits.rstrip("0")) if "." not in digits and not power else 0
    return abs(float(plain) - value) <= 0.500001 * unit * 10**zeros


def results(package: Package, ledger: Ledger) -> None:
    """Results: the report of eval.py, the table, the curve, the summary and the proxy's file."""
    report, shown = package["benchmarks/report.json"], package["docs/summary.json"]["benchmarks"]
    for row, line in zip(package["benchmarks/results.json"], shown, strict=True):
        case = f"{row['benchmark']}: table {row['value']}, summary {line['value']}"
        ledger.holds("results", case, row["value"] == line["value"])
    for row in package.measured:
        run, scored = report["run"], report["report"]
        for name in ("steps", "seed", "size"):
            ledger.same("results", name, table=row.get(name), run=run.get(name))
        ledger.same("results", "data set", table=row["dataset"], report=scored["dataset"])
        own = next((m for m in scored["metrics"] if m["metric"] == row["metric"]), {})
        of_seeds = list((row["seeds"] or {}).values())
        mean = sum(of_seeds) / len(of_seeds) if of_seeds else None
        ledger.same("results", f"mean of {row['metric']}", table=row["value"], seeds=mean)
        n = own.get("n", scored["n"])
        ledger.same("results", f"n of {row['metric']}", table=row["n"], report=n)
        last = int(package["benchmarks/curve.csv"][-1]["step"])
        ledger.same("results", "steps", table=row["steps"], curve=last)
    spec, seed = package.key("reproducibility.seed"), package["docs/summary.json"]["seed"]
    ledger.same("results", "seed", spec=spec, summary=seed, code=package.design["train"]["seed"])


def ablations(package: Package, ledger: Ledger) -> None:
    """Ablations: the scores of the unchanged proxy, the sizes of the changes, the differences."""
    made, first = package["benchmarks/ablations.json"], package.key("reproducibility.seed")
    listed = {each["name"]: each["proxy"] for each in package["blueprint/ablations.yaml"]}
    proxy = package["blueprint/params.json"]["proxy_total"]
    ledger.same("ablations", "parameters", table=made.get("parameters"), counted=proxy)
    for metric in made["metrics"]:
        base, name = metric["unchanged"], metric["metric"]
        for seed, value in base["seeds"].items():
            number = f"_{1 + int(seed) - first}" if int(seed) != first else ""
            report = package[f"benchmarks/report{number}.json"]["report"]["metrics"]
            own = next(each["value"] for each in report if each["metric"] == name)
            ledger.same("ablations", f"{name} with seed {seed}", table=value, report=own)
        for row in metric["changes"]:
            of = f"{row['name']}, {name}"
            size = listed[row["name"]]["parameters"]
            ledger.same("ablations", f"size of {of}", table=row["parameters"], blueprint=size)
            apart = [value - base["seeds"][seed] for seed, value in row["seeds"].items()]
            stated = row["difference"]["value"]
            ledger.same("ablations", of, 1e-6, table=stated, seeds=sum(apart) / len(apart))


def names(package: Package, ledger: Ledger) -> None:
    """Each word of a data set's name occurs in the code that loads it, beside the name itself."""
    source = package.text("code/data.py")
    labels = {row["dataset"] for row in package.measured}
    for bundled in _constants(source, "BUNDLED"):
        # Names in a table are those of a library, which takes them as they are.
        labels = labels - {*bundled.values()} if isinstance(bundled, dict) else labels | {bundled}
    for label in sorted(labels):
        words = set(re.findall(r"[a-z]+", label.lower())) - _ALONE
        known = _spoken(package, label)
        missing = sorted(word for word in words if word not in known)
        ledger.holds("data sets", f"{label}: {missing} in no loader", not missing)


def _spoken(package: Package, label: str) -> str:
    """Return the names and texts of data.py and of the modules that it imports, in one text."""
    spoken: list[str] = []
    modules = [package.folder / "code" / "data.py"]
    imported = re.findall(r"^from runtime\.(\w+) import", modules[0].read_text(), re.MULTILINE)
    modules += [package.folder / "code" / "runtime" / f"{name}.py" for name in imported]
    for module in modules:
        tree = ast.parse(module.read_text())
        skipped = {id(node) for node in _docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                spoken += [node.value] if id(node) not in skipped and node.value != label else []
            else:
                spoken += [getattr(node, name, None) or "" for name in ("id", "attr", "name")]
                spoken += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return " ".join(map(str, spoken)).lower()


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _constants(source: str, name: str) -> Iterator[Any]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            yield ast.literal_eval(node.value)


def figures(package: Package, ledger: Ledger) -> None:
    """A figure of one mark a row draws as many as the rows that the results count."""
    if not package.measured:
        return
    report = package["benchmarks/report.json"]["report"]
    drawn = report.get("figure") or {}
    marks = None
    if drawn.get("kind") == "matrix":
        marks = sum(map(sum, drawn["values"]))
    elif drawn.get("kind") == "lines" and drawn.get("diagonal"):
        marks = len(drawn["series"][0]["x"])
    if marks is not None:
        case = f"{marks} marks are drawn, the split holds {report['n']}"
        ledger.holds("figures", case, marks == report["n"])


def versions(package: Package, ledger: Ledger) -> None:
    """The exact versions beside the ranges of requirements.txt, and the build's own."""
    ranges = package.text("code/requirements.txt").split()
    lock = package.folder / "code/requirements.lock"
    exact = dict(re.findall(r"^([\w-]+)==(\S+)$", lock.read_text(), re.M)) if lock.is_file() else {}
    for name in (re.split(r"[>=<]", line)[0] for line in ranges):
        here = version(name).partition("+")[0]
        if here:
            ledger.holds(
                "versions", f"{name} {here}, locked: {exact.get(name)}", exact.get(name) == here
            )


def documents(package: Package, ledger: Ledger) -> None:
    """Documents and paper say what the files say now."""
    desk = PlainDesk.of(package.folder / "spec_resolved.yaml")
    files = (path for path in package.folder.rglob("*") if path.is_file())
    desk.package = {p.relative_to(package.folder).as_posix(): p.read_bytes() for p in files}
    drawn = ("paper/figures/", "docs/figures/")
    for recipe in (*cards.RECIPES, *paper.RECIPES):
        if not recipe.targets[0].startswith(drawn) and recipe.targets[0] in desk.package:
            for path, made in recipe.work(desk).items():  # type: ignore[arg-type]
                ledger.holds("documents", f"{path} is not up to date", desk.package[path] == made)


CHECKS: tuple[Check, ...] = (
    settings, parameters, memory, restated, context, operations, devices, batch, data, days,
    energy, formulas, results, ablations, names, figures, versions, documents,
)  # fmt: skip


def main(folders: list[str]) -> int:
    """Judge packages that lie on the disk."""
    tally = Tally("consistent")
    tally.must_not(*KINDS)
    for folder in folders:
        judge(Package(Path(folder)), tally)
    print(tally.text())
    return int(bool(tally.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
