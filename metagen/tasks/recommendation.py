"""Recommendation: the items that a user takes next rank first among the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metagen.amounts import ITEMS
from metagen.errors import Problem, SpecError
from metagen.tasks.schedule import Habits, of_samples
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task, Value

OUTPUTS = "task.num_outputs"
# A pair is contrasted with the other items of its part of an update, so parts are large.
PAIRS, AT_ONCE = 8192, 1024
HABITS = replace(
    of_samples(batch=PAIRS, rate=1e-3, decay=0.1, epochs=10, data=20_000_000, source="chosen"),
    why={
        "batch_size": "chosen: each pair is contrasted with the items of the others",
        "learning_rate": "as SASRec (arXiv:1808.09781)",
        "data": "the size of MovieLens-20M, since none is declared",
    },
    units=("interactions", "pairs", "clicks", "ratings", "events", *ITEMS),
    samples_at_once=AT_ONCE,
    at_once=f"{AT_ONCE:,} pairs",
    beta2=0.98,
)
ROOM = "room for the columns of {}, none being declared; words are counted one by one"


class Recommendation(Task):
    """From a user's history and features, and an item and its features, to two vectors."""

    name = "recommendation"
    compares_within_a_batch = True
    metrics = ("recall_at_10", "ndcg_at_10")
    benchmark = Benchmark(
        "names that modules import",
        {"quick": 200, "full": 400},
        ("sympy",),
        sheets=("sympy_imports",),
    )
    words = {
        "pipeline_tag": "graph-ml",
        "unit": "pair",
        "loss_unit": "nat/pair",
        "usage": "--user sympy.solvers.solveset",
        "does": "prints the items that fit a user best, and with --output writes them to a file",
        "data": "modules of sympy and the names that they import",
        "outcome": "The share of held-out items among the first k recommended, beside the "
        "baselines.",
        "risks": "bias towards popular items, narrowing of what users see, use of what a history "
        "says of a person, and items that training never saw",
    }
    work_unit = "pair"
    units = HABITS.units
    input = "pair"
    checked = frozenset({OUTPUTS})
    defaults = {"history_length": 200, "node_features": 128, "edge_features": 32, "ordered": True}
    default_reasons = {
        "history_length": "the 200 latest, as SASRec (arXiv:1808.09781) on MovieLens-1M",
        "node_features": ROOM.format("users and of items"),
        "edge_features": ROOM.format("interactions"),
        "ordered": "interactions have a time, so that the latest say what comes next",
    }
    # Data decides these of a proxy; here are those of the bundled interactions.
    proxy = {
        "num_items": 491,
        "history_length": 24,
        "node_features": 33,
        "edge_features": 0,
        "ordered": False,
    }
    fixed_by = {"node_features": "task.node_features", "edge_features": "task.edge_features"}
    demonstration = "--user sympy.solvers.solveset"

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=128, rate=8e-3, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"holdout": "time", "val_fraction": 0.1, "test_fraction": 0.1}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "baseline_items": 10_000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"top": 10, "digits": 3, "dtype": "float32"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of `length` users with full histories, and of an item each."""
        nodes = {"shape": [length, m["node_features"]], "dtype": "float32"}
        history = [length, m["history_length"]]
        return [
            {"shape": history, "dtype": "int64"},
            {"shape": [*history, m["edge_features"]], "dtype": "float32"},
            nodes,
            {"shape": [length], "dtype": "int64"},
            nodes,
        ]

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the features of users, items and interactions.

        Raises:
            SpecError: The spec declares more than one output.
        """
        if key(OUTPUTS) not in (None, 1):
            sentence = f"{OUTPUTS}: an item has one score for a user"
            raise SpecError([Problem(sentence, OUTPUTS, "give 1, or leave it out")])
        return super().fixed(key)

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {"data.holdout": "the latest interactions are held out, as they come in use"}
