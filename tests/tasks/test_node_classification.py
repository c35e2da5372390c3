"""Labels of nodes: the forms of a user's graph, refusals, splits, baselines, scores."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.network_settings import NODES, Network, network, write_network
from sklearn import metrics
from sklearn.semi_supervised import LabelSpreading

from metagen import paths
from metagen.families.node_classifier import FAMILY as classifier

SPEC = paths.specs() / "graph" / "node_classifier_gat.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), classifier, NODES)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        names = ("networks", "modules", "module_graph")
        yield modules | {name: importlib.import_module(f"runtime.{name}") for name in names}


def loaded(code: dict[str, ModuleType], path: Path | None, **settings: Any) -> Any:
    config = code["data"].Config(**{**NODES["data"], **settings})
    return code["data"].load_graph(config, path, code["model"].Config(), "proxy")


def as_tables(folder: Path, content: Network) -> Path:
    for name in ("nodes", "edges"):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, [*content[name][0]])
            table.writeheader()
            table.writerows(content[name])
    return folder


def as_arrays(path: Path, content: Network) -> Path:
    numbers = {node["id"]: number for number, node in enumerate(content["nodes"])}
    ends = [[numbers[e["source"]], numbers[e["target"]]] for e in content["edges"]]
    columns = [[n["size"], n["colour"] == "blue", n["colour"] == "red"] for n in content["nodes"]]
    np.savez(
        path,
        x=np.array(columns, np.float32),
        edge_index=np.array(ends).T,
        edge_attr=np.array([[e["kind"] == "thick", e["kind"] == "thin"] for e in content["edges"]]),
        y=np.array([int(n["label"] == "odd") for n in content["nodes"]]),
        names=np.array([*numbers]),
    )
    return path


def test_json_tables_and_arrays_are_read_alike(code: dict[str, ModuleType], tmp_path: Path) -> None:
    content = network()
    own = loaded(code, write_network(tmp_path / "mine.json", content))
    links = {"links": content["edges"], "nodes": content["nodes"]}
    older = loaded(code, write_network(tmp_path / "older.json", links))
    (tmp_path / "tables").mkdir()
    tables = loaded(code, as_tables(tmp_path / "tables", content))
    arrays = loaded(code, as_arrays(tmp_path / "mine.npz", content))
    assert own.labels == ("even", "odd")
    assert own.columns.nodes.words == (("blue", "red"),)
    assert own.network.names[:2] == ("n0", "n1")
    for other in (older, tables, arrays):
        assert torch.allclose(own.graph.nodes, other.graph.nodes)
        for name in ("edges", "index"):
            assert getattr(own.graph, name).equal(getattr(other.graph, name)), name
        assert own.targets.equal(other.targets)
        assert all(own.splits[split].equal(other.splits[split]) for split in own.splits)


def test_plain_lists_are_read_too(code: dict[str, ModuleType], tmp_path: Path) -> None:
    content = {"nodes": [[0.5, "a"], [1.5, "b"], [0.1, "a"]] * 20, "label": ["x", "y", None] * 20,
               "edges": [[number, number + 1] for number in range(59)]}  # fmt: skip
    data = loaded(code, write_network(tmp_path / "plain.json", content))
    assert data.network.names[:2] == ("0", "1")
    assert sum(map(len, data.splits.values())) == 40
    assert data.graph.index.shape == (2, 118)


def test_splits_of_the_data_are_kept_and_nodes_without_a_label_are_in_none(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    content = network()
    for number, node in enumerate(content["nodes"]):
        node["split"] = ("train", "validation", "test", None)[number % 4]
    content["nodes"][0]["label"] = None
    data = loaded(code, write_network(tmp_path / "mine.json", content))
    assert data.splits["val"].tolist() == [*range(1, 80, 4)]
    assert data.splits["test"].tolist() == [*range(2, 80, 4)]
    assert data.splits["train"].tolist() == [*range(4, 80, 4)]
    _, _, _, chosen, targets = code["data"].batch_of(data, "train", 2)
    assert chosen.tolist() == [*range(4, 80, 4), *range(84, 160, 4)]
    assert targets.tolist() == [0] * 38


def test_masks_name_the_splits_of_arrays(code: dict[str, ModuleType], tmp_path: Path) -> None:
    arrays = dict(np.load(as_arrays(tmp_path / "a.npz", network())))
    masks = {f"{split}_mask": np.arange(80) % 4 == place
             for place, split in enumerate(("train", "val", "test"))}  # fmt: skip
    np.savez(tmp_path / "masked.npz", **arrays, **masks)
    data = loaded(code, tmp_path / "masked.npz")
    assert data.splits["test"].tolist() == [*range(2, 80, 4)]


NODE, EDGE = {"id": "a", "label": "x"}, {"source": "a", "target": "b"}
PAIR = [NODE, {"id": "b", "label": "y"}]
WRONG: dict[str, tuple[Any, str]] = {
    "unknown": ({"nodes": PAIR, "edges": [{"source": "a", "target": "c"}]}, "leads to 'c', which"),
    "no end": ({"nodes": PAIR, "edges": [{"source": "a"}]}, 'edge 0 has no "target" that is'),
    "no edges": ({"nodes": PAIR}, 'has no list of "edges", or "links"'),
    "twice": ({"nodes": [NODE, NODE], "edges": [EDGE]}, "node 1 has the name 'a' of an earlier"),
    "mixed": ({"nodes": [NODE, [1]], "edges": [EDGE]}, "node 1 is no JSON object, as others are"),
    "labels": ({"nodes": [NODE, {"id": "b", "label": ["y"]}], "edges": [EDGE]}, "one class"),
    "split": ({"nodes": [{**NODE, "split": "mine"}, PAIR[1]], "edges": [EDGE]}, "split 'mine'"),
    "nested": ({"nodes": [{**NODE, "f": [1]}, PAIR[1]], "edges": [EDGE]}, "several values in 'f'"),
    "gap": ({"nodes": [{**NODE, "f": 1}, PAIR[1]], "edges": [EDGE]}, "node 1 has no number in"),
    "infinite": ({"nodes": [{**NODE, "f": 1e999}, PAIR[1]], "edges": [EDGE]}, "is not|no number"),
    "few": ({"nodes": PAIR, "edges": [EDGE]}, "has too few labelled nodes"),
    "beyond": ({"nodes": [[1], [2]], "edges": [[0, 2]]}, "goes from node 0 to node 2"),
    "long": ({"nodes": [[1], [2]], "label": ["x"], "edges": [[0, 1]]}, "one of labels for each"),
    "number": (3, "is no JSON object with nodes and edges"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_graph_is_refused_with_its_place(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content, sentence = WRONG[name]
    with pytest.raises(SystemExit) as ended:
        loaded(code, write_network(tmp_path / "mine.json", content))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "mine.json" in error
    assert re.search(sentence, error), error


def test_broken_files_and_objects_are_refused_and_nothing_is_unpickled(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.json").write_text('{"nodes": [')
    (tmp_path / "empty.json").write_text("")
    np.savez(tmp_path / "objects.npz", edge_index=np.array([{}, []], object))
    (tmp_path / "folder").mkdir()
    sentences = {"cut.json": "cannot be read as JSON", "empty.json": "cannot be read as JSON",
                 "objects.npz": "cannot be read as arrays",
                 "folder": "has 0 tables with 'node' in their name"}  # fmt: skip
    for name, sentence in sentences.items():
        with pytest.raises(SystemExit):
            loaded(code, tmp_path / name)
        assert sentence in capsys.readouterr().err, name


def test_texts_and_names_are_no_features(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = network()
    for number, node in enumerate(content["nodes"]):
        node["title"] = f"title {number}"
    data = loaded(code, write_network(tmp_path / "mine.json", content))
    assert data.columns.nodes.width == 3
    assert "the column 'title' is left out" in capsys.readouterr().err.replace("\n", " ")


def test_the_bundled_graph_says_no_answer_and_its_splits_have_each_class(
    code: dict[str, ModuleType],
) -> None:
    data = loaded(code, None)
    assert len(data.labels) == 19
    sizes = {split: len(nodes) for split, nodes in data.splits.items()}
    assert sum(sizes.values()) == len(data.network)
    assert sizes["train"] / len(data.network) == pytest.approx(0.2, abs=0.02)
    for nodes in data.splits.values():
        assert len(data.targets[nodes].unique()) == 19
    assert data.graph.nodes.unique().tolist() == [0, 1]
    parts = [name.split(".")[1] for name in data.network.names]
    assert tuple(parts) == data.network.labels
    documented = code["module_graph"].documentation
    assert "secret" not in documented('"""Words.\n>>> secret\n... secret\n"""\nsecret = 1')


def test_label_propagation_is_that_of_scikit_learn(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = loaded(code, write_network(tmp_path / "mine.json", network()))
    settings = code["eval"].Config(spread=0.5, rounds=200)
    own = code["eval"].propagated(data, settings)
    table = torch.zeros(80, 80)
    table[data.graph.index[0], data.graph.index[1]] = 1
    known = np.full(80, -1)
    known[data.splits["train"]] = data.targets[data.splits["train"]]
    theirs = LabelSpreading(kernel=lambda *_: table.numpy(), alpha=0.5, max_iter=500, tol=1e-9)
    labels = theirs.fit(np.zeros((80, 1)), known).transduction_
    assert (own.numpy() == labels).all()


def test_scores_are_those_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = np.random.default_rng(0)
    truth, guess = draw.integers(4, size=(2, 200))
    samples = code["eval"].Samples("nodes", len(truth))
    rows = code["eval"].class_metrics(truth, guess, {}, samples)
    values = {row["metric"]: row["value"] for row in rows}
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert values["macro_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro"))


@pytest.mark.slow
@pytest.mark.ci
def test_an_own_graph_trains_is_scored_and_labelled(folder: Path, tmp_path: Path) -> None:
    path, out = write_network(tmp_path / "mine.json", network()), tmp_path / "out"
    shared = ("--out", out, "--threads", 1)
    run(folder, "train", "--data", path, "--steps", 4, *shared)
    report = json.loads(run(folder, "eval", "--data", path, *shared))
    assert [row["metric"] for row in report["metrics"]] == ["accuracy", "macro_f1"]
    rows = [*csv.reader(io.StringIO(run(folder, "infer", "--input", path, *shared)))]
    assert rows[0] == ["node", "label", "p(even)", "p(odd)"]
    assert [row[0] for row in rows[1:]] == [f"n{number}" for number in range(80)]
    for _, label, *each in rows[1:]:
        assert sum(map(float, each)) == pytest.approx(1, abs=2e-4)
        assert label == ("even", "odd")[each.index(max(each))]


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_what_reads_words_or_edges_alone(tmp_path: Path) -> None:
    for name in ("majority", "label propagation", "logistic regression, features"):
        beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only=name)
