"""Point cloud classification: each cloud of points, such as a scan of a thing, has a class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.schedule import Habits, of_samples
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

HABITS = replace(
    of_samples(
        batch=32,
        rate=1e-3,
        decay=0.0,
        epochs=250,
        data=9_843,
        source="as the training of PointNet (arXiv:1612.00593, section C)",
    ),
    units=("shapes", "meshes", *ITEMS),
    why={"data": "the training shapes of ModelNet40, since none is declared"},
)


class PointCloudClassification(Task):
    """From clouds (B, P, 3) to the logits of each one's class."""

    name = "point_cloud_classification"
    metrics = ("accuracy", "macro_f1")
    switches = (("no random turns in training", "data.turned", False),)
    # The quick training takes about twenty seconds of one thread.
    benchmark = Benchmark(
        "turned, cut and noisy solids",
        {"quick": 400, "full": 1500},
        ("scikit-learn",),
        seeds=1,
        sheets=("cut_solids",),
    )
    words = {
        "pipeline_tag": "other",
        "unit": "cloud",
        "loss_unit": "nat/cloud",
        "usage": "--input clouds.jsonl",
        "does": "labels the clouds of a file",
        "data": "points on eight kinds of solids, which are turned, stretched, cut and noisy",
        "outcome": "The proxy's confusion matrix: how many held-out clouds of a kind it takes for "
        "another.",
        "risks": "scans of real things, which have backgrounds and gaps, other sensors than those "
        "of training, other poses, calibration, and rare classes",
    }
    work_unit = "cloud"
    units = ("shapes", "meshes", *ITEMS)
    input = "cloud"
    defaults = {"n_points": 1024, "num_classes": 40}
    default_reasons = {
        "n_points": "as in the experiments of PointNet (arXiv:1612.00593)",
        "num_classes": "no task.num_classes is declared: the 40 of ModelNet40",
    }
    # Data decides how many classes a proxy has; these are the bundled solids'.
    proxy = {"n_points": 128, "num_classes": 8}
    fixed_by = {"num_classes": "task.num_classes"}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=32, rate=3e-3, decay=0.05, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "val_fraction": 0.1,
            "test_fraction": 0.1,
            "turned": reduced,
            "jitter": 0.0 if reduced else 0.02,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 64, "baseline_clouds": 10_000, "baseline_trees": 100}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 64, "digits": 4, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of clouds: (length, P, 3)."""
        return [{"shape": [length, m["n_points"], 3], "dtype": "float32"}]
