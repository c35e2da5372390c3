"""What the figures show: their data, and the same in words for readers who cannot see them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from metagen.docs import scores, wording
from metagen.docs.fact import Figure
from metagen.docs.modules import Box, boxes, span
from metagen.docs.sources import FILES
from metagen.measure.results import PROXY, STEPS_UNIT
from metagen.sizing import need

if TYPE_CHECKING:
    from metagen.docs.facts import Facts
    from metagen.families.family import Family

_OUTCOME = "report.report.figure"
_MOST = 12  # names in a sentence
_STEP_UNITS = {
    "parameter_budget.max": "parameters",
    "memory_budget": "bytes",
    "context_window": "tokens",
}


def design(facts: Facts) -> tuple[Family, dict[str, Any]]:
    """Return the family, and the model's dimensions with its formats of deployment."""
    family = facts.family()
    formats = {name: facts.get(f"arch.infer.{name}").value for name in family.formats}
    return family, {**facts.get("arch.model").value, **formats}


def module_parts(facts: Facts) -> dict[str, float]:
    """Return the parameters by module, smallest first; the layers are split into their blocks."""
    modules, layer = facts.get("params.by_module").value, facts.get("params.by_layer").value
    one, stack = sum(layer.values()), modules.get("layers", 0)
    blocks = {f"layers: {name}": stack * count // one for name, count in layer.items()}
    whole = {name: count for name, count in modules.items() if not (blocks and name == "layers")}
    parts = {name: count for name, count in (whole | blocks).items() if count}
    return dict(sorted(parts.items(), key=lambda part: part[1]))


def memory_over_context(facts: Facts) -> list[float]:
    """Return the bytes of weights, cache and activations at each context that was counted."""
    family, everything = design(facts)
    use = need.use(lambda name: facts.get(f"spec.{name}").value)
    extra = facts.get("params.total").value - family.count(everything)

    def memory(length: int) -> float:
        demand = family.demand({**everything, str(family.context_dim): length}, use)
        return float(demand.memory + 2 * extra)

    return [memory(point["length"]) for point in facts.get("flops.points").value]


def steps(facts: Facts) -> list[tuple[str, dict[str, Any]]]:
    """Return the design, and the one after a step of each constraint, each with its name."""
    content = facts.get("sensitivity").value
    return [
        ("as specified", content["specified"]),
        *((_named(step), step) for step in content["steps"]),
    ]


def _named(step: dict[str, Any]) -> str:
    """Return a step as `memory budget 12.0 GB`."""
    name, value = step["constraint"], step["value"]
    text = value if isinstance(value, str) else _short(value, _STEP_UNITS.get(name, ""))
    return f"{name.partition('.')[0].replace('_', ' ')} {text}"


def window(tokens: int) -> str:
    """Return a number of tokens as `128k`."""
    return _short(tokens, "tokens").removesuffix(" tokens")


def _short(value: float, unit: str) -> str:
    return wording.write(value, unit, "short").replace(wording.SPACE, " ")


def _of_parts(facts: Facts) -> Figure:
    parts = module_parts(facts)
    text = f"Bars of the parameters by module: {_shares(parts, 'parameters')}."
    return text, "", f"{FILES['params']}: by_module, by_layer"


def _shares(parts: dict[str, float], unit: str) -> str:
    """Return the largest parts with their shares of the sum, largest first."""
    total = sum(parts.values())
    every = sorted(parts.items(), key=lambda part: part[1], reverse=True)
    return _listed(
        f"{name.replace('_', ' ')} {_short(count, unit)} ({_short(count / total, 'share')})"
        for name, count in every
    )


def _of_modules(facts: Facts) -> Figure:
    outer = boxes(facts.get("graph.nodes").value, "")
    source = f"{FILES['graph']}: nodes"
    if not outer:
        return "No diagram: the model has no modules with parameters.", "", source
    largest = max(outer, key=lambda box: box.parameters)
    inner = boxes(facts.get("graph.nodes").value, largest.inside)
    spans = {span(inner, names) for names in facts.get("graph.residuals").value} - {None}
    inside = f"; inside {largest.name}: {_boxes(inner)}" if inner else ""
    inside += "".join(
        f"; a residual connection from before {inner[first].name} to after {inner[last].name}"
        for first, last in sorted(filter(None, spans))
    )
    return f"Diagram of the modules: {_boxes(outer)}{inside}.", "", source


def _boxes(stack: Sequence[Box]) -> str:
    said = (f"{box.name} ({box.kind}), {_short(box.parameters, 'parameters')}" for box in stack)
    return "; ".join(said).replace(wording.SPACE, " ")


def _of_cost(facts: Facts) -> Figure:
    unit = facts.family().words.unit
    if not facts.has("derived.context"):
        shares = _shares(facts.get("flops.by_operator").value, "FLOP")
        text = f"Bars of the operations of one {unit} by operator: {shares}."
        return text, "", f"{FILES['flops']}: by_operator"
    points, memory = facts.get("flops.points").value, memory_over_context(facts)
    first, last = points[0], points[-1]
    flops = _ends(first["forward_per_unit"], last["forward_per_unit"], "FLOP")
    text = (
        f"Two curves over the context, from {window(first['length'])} to {window(last['length'])} "
        f"tokens: the operations of one token {flops}, the memory "
        f"{_ends(memory[0], memory[-1], 'bytes')}."
    )
    return text, "", f"{FILES['flops']}: points"


def _ends(first: float, last: float, unit: str) -> str:
    return f"from {_short(first, unit)} to {_short(last, unit)}"


def _of_steps(facts: Facts) -> Figure:
    rows = _listed(
        f"{name}: {_short(row['memory']['total'], 'bytes')}" for name, row in steps(facts)
    )
    text = f"Bars of the memory of the design, and of designs for other limits: {rows}."
    return text, "", f"{FILES['sensitivity']}: specified, steps"


def _of_curve(facts: Facts) -> Figure:
    axis = next((row["steps_unit"] for row in facts.results(PROXY)), STEPS_UNIT)
    return _losses(facts, "curve", "the proxy", axis)


def _of_trained_curve(facts: Facts) -> Figure:
    return _losses(facts, "trained_curve", "the trained model", STEPS_UNIT)


def _losses(facts: Facts, name: str, model: str, axis: str) -> Figure:
    rows, source = facts.get(name).value, f"{FILES[name]}: step, train_loss, val_loss"
    if not rows:
        return f"No curve: the losses of {model} were not measured.", "", source
    unit = facts.family().words.loss_unit
    curves = (
        _curve(title, [row[key] for row in rows if row[key] is not None], unit)
        for title, key in (("training", "train_loss"), ("validation", "val_loss"))
    )
    last = wording.write(rows[-1]["step"], "", "bare")
    said = "; ".join(filter(None, curves))
    return f"Curves of the losses of {model} up to {last} {axis}: {said}.", "", source


def _curve(title: str, losses: Sequence[float], unit: str) -> str:
    if not losses:
        return ""
    first, last = (wording.write(each, "", "bare") for each in (losses[0], losses[-1]))
    return f"{title} from {first} to {last} {unit}"


def _of_outcome(facts: Facts) -> Figure:
    measured = facts.results(PROXY)
    if not measured:
        return "No picture: nothing was measured.", "", f"{FILES['results']}: status"
    if not facts.has(_OUTCOME):
        rows = "; ".join(map(_scored, measured))
        return f"Bars of scores of the proxy: {rows}.", "", f"{FILES['results']}: value, baselines"
    kind = facts.get(f"{_OUTCOME}.kind").value
    text = _FORMS[kind](facts) if kind in _FORMS else _by_the_task(facts)
    return text, "", f"{FILES['report']}: report.figure"


def _scored(row: dict[str, Any]) -> str:
    values = {"proxy": row["value"], **row["baselines"]}
    said = _listed(f"{name} {scores.write(value, row)}" for name, value in values.items())
    return f"{row['title']} ({row['unit']}): {said}"


def _of_ablations(facts: Facts) -> Figure:
    metrics, source = facts.get("ablations.metrics").value, f"{FILES['ablations']}: metrics"
    if not metrics:
        return "No picture: no ablation was run.", "", source
    first = metrics[0]
    rows = _listed(map(_differing, first["changes"]))
    text = f"Differences of {first['title']} ({first['unit']}) from the unchanged proxy: {rows}."
    return text, "", source


def _differing(row: dict[str, Any]) -> str:
    difference = row["difference"]
    low_high = difference["interval"]
    interval = f", interval {scores.write(low_high, difference)}" if low_high else ""
    value = scores.write(difference["value"], difference)
    return f"{row['name']} {value}{interval} ({row['outcome']})"


def _matrix(facts: Facts) -> str:
    x, y, labels = (facts.get(f"{_OUTCOME}.{name}").value for name in ("x", "y", "labels"))
    values = facts.get(f"{_OUTCOME}.values").value
    right, total = sum(row[at] for at, row in enumerate(values)), sum(map(sum, values))
    return (
        f"Matrix of counts, {x} against {y}, of {_listed(map(str, labels))}: "
        f"{right:,} of {total:,} lie on the diagonal."
    )


def _images(facts: Facts) -> str:
    columns, rows = facts.get(f"{_OUTCOME}.columns").value, facts.each(f"{_OUTCOME}.rows")
    named = f", in columns: {_listed(map(str, columns))}" if columns else ""
    return f"Grid of images in {_counted(len(rows), 'row')}{named}."


def _lines(facts: Facts) -> str:
    x, y = (facts.get(f"{_OUTCOME}.{name}").value for name in ("x", "y"))
    series = facts.each(f"{_OUTCOME}.series")
    return f"Lines of {y} over {x}: {_listed(str(facts.get(s / 'name').value) for s in series)}."


def _texts(facts: Facts) -> str:
    names, rows = (facts.get(f"{_OUTCOME}.{name}").value for name in ("columns", "rows"))
    said = (_listed(f"{n}: {t}" for n, t in zip(names, row, strict=True)) for row in rows)
    return f"Texts. {'; '.join(said)}."


def _by_the_task(facts: Facts) -> str:
    """Return how the task's own outcome.py describes the figure that it draws."""
    source = facts.shipped(facts.family().task.source("outcome.py"))
    said = ast.get_docstring(ast.parse(source)) or ""
    return " ".join(said.partition("\n\n")[0].split())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Iterable[str]) -> str:
    """Return names with commas between them; of many, the first ones and how many follow."""
    every = list(names)
    rest = len(every) - _MOST
    return ", ".join([*every[:_MOST], *([f"and {rest} more"] if rest > 0 else [])])


_FORMS: dict[str, Callable[[Facts], str]] = {
    "matrix": _matrix,
    "images": _images,
    "lines": _lines,
    "texts": _texts,
}
# The alternative text of each figure, by the figure's name.
TEXTS: dict[str, Callable[[Facts], Figure]] = {
    "diagram": _of_modules,
    "parameters": _of_parts,
    "cost": _of_cost,
    "sensitivity": _of_steps,
    "learning_curve": _of_curve,
    "trained_curve": _of_trained_curve,
    "outcome": _of_outcome,
    "ablations": _of_ablations,
}
