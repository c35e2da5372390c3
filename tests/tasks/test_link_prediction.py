"""Links of a graph: splits without leaks, pairs without a link, baselines, scores, candidates."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.network_settings import LINKS, network, write_network
from sklearn import metrics

from metagen import paths
from metagen.families.link_predictor import FAMILY as predictor

SPEC = paths.specs() / "graph" / "link_predictor_gat.yaml"
Pairs = set[tuple[int, int]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), predictor, LINKS)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        yield modules | {"networks": importlib.import_module("runtime.networks")}


def loaded(code: dict[str, ModuleType], path: Path | None, **settings: Any) -> Any:
    config = code["data"].Config(**{**LINKS["data"], **settings})
    return code["data"].load_graph(config, path, code["model"].Config(), "proxy")


@pytest.fixture(scope="module")
def data(code: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return loaded(code, write_network(tmp_path_factory.mktemp("data") / "mine.json", network()))


def pairs_of(pairs: torch.Tensor) -> Pairs:
    return {(min(pair), max(pair)) for pair in pairs.T.tolist()}


def test_only_training_links_pass_messages_and_no_pair_without_a_link_has_one(data: Any) -> None:
    splits = {split: pairs_of(links) for split, links in data.links.items()}
    every = set().union(*splits.values())
    assert len(every) == sum(map(len, splits.values())) == 320
    assert pairs_of(data.graph.index) == splits["train"]
    for kinds in data.apart.values():
        for pairs in kinds.values():
            assert not pairs_of(pairs) & every
            assert all(a != b for a, b in pairs.T.tolist())


def test_links_that_an_update_predicts_pass_no_messages_in_it(
    code: dict[str, ModuleType], data: Any
) -> None:
    train = pairs_of(data.links["train"])
    nodes, edges, index, pairs, targets = code["data"].batch_of(data, 40, 3, 2, 0)
    assert len(nodes) == 160
    assert len(edges) == index.size(1)
    assert targets.tolist() == ([1.0] * 20 + [0.0] * 20) * 2
    seen = []
    for copy in range(2):
        own = (index[0] // 80) == copy
        passing = pairs_of(index[:, own] - 80 * copy)
        chosen = pairs[:, 40 * copy : 40 * copy + 40] - 80 * copy
        hidden = pairs_of(chosen[:, :20])
        assert len(hidden) == 20
        assert passing | hidden == train
        assert not passing & hidden
        assert not pairs_of(chosen[:, 20:]) & train
        seen.append(hidden)
    assert seen[0] != seen[1]
    again = code["data"].batch_of(data, 40, 4, 1, 0)
    assert pairs_of(again[3][:, :20]) == seen[1]


def test_edge_features_stay_with_their_edges(code: dict[str, ModuleType], data: Any) -> None:
    kinds = {(e["source"], e["target"]): e["kind"] == "thick" for e in network()["edges"]}
    _, edges, index, *_ = code["data"].batch_of(data, 40, 0, 1, 0)
    for (a, b), features in zip(index.T.tolist(), edges.tolist(), strict=True):
        low, high = (data.network.names[node] for node in sorted((a, b)))
        assert features[0] == kinds[low, high]


def test_ends_of_hard_pairs_have_as_many_links_as_those_of_links(
    code: dict[str, ModuleType],
) -> None:
    data = loaded(code, None)
    degrees = torch.bincount(data.links["train"].flatten(), minlength=len(data.network)).float()
    means = {kind: degrees[data.apart["test"][kind]].mean() for kind in ("hard", "uniform")}
    assert means["uniform"] < degrees[data.links["test"]].mean() / 1.5
    assert means["hard"] > 1.5 * means["uniform"]


def test_a_link_has_no_direction_and_a_loop_is_none(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = network()
    back = [{**e, "source": e["target"], "target": e["source"]} for e in content["edges"][:50]]
    loop = {"source": "n0", "target": "n0", "kind": "thin"}
    twice = {**content, "edges": [*content["edges"], *back, loop]}
    once, both = (loaded(code, write_network(tmp_path / f"{n}.json", each))
                  for n, each in (("once", content), ("both", twice)))  # fmt: skip
    assert "1 edges from a node to itself are left out" in capsys.readouterr().err
    assert once.graph.index.equal(both.graph.index)
    assert once.graph.edges.equal(both.graph.edges)


def test_a_table_of_edges_alone_is_a_graph(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{e['source']},{e['target']}" for e in network()["edges"]]
    (tmp_path / "edges.csv").write_text("\n".join(["from,to", *lines]) + "\n")
    data = loaded(code, tmp_path / "edges.csv")
    assert "nodes have no features" in capsys.readouterr().err
    held_out = sum(data.links[split].size(1) for split in ("val", "test"))
    degrees = data.network.graph.nodes.numbers[:, 0]
    # The degree counts links that pass messages: others would tell of those that are held out.
    assert degrees.sum() == 2 * (320 - held_out)


def test_a_graph_full_of_links_is_refused(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edges = [[a, b] for a in range(12) for b in range(a)]
    with pytest.raises(SystemExit):
        loaded(code, write_network(tmp_path / "full.json", {"num_nodes": 12, "edges": edges}))
    assert "too few pairs without one" in capsys.readouterr().err


def test_counts_of_neighbours_are_those_of_plain_sets(
    code: dict[str, ModuleType], data: Any
) -> None:
    around: dict[int, set[int]] = {node: set() for node in range(80)}
    for a, b in data.links["train"].T.tolist():
        around[a].add(b)
        around[b].add(a)
    pairs = data.apart["test"]["uniform"]
    found = code["eval"].Neighbours(data).simple(pairs)
    for place, (a, b) in enumerate(pairs.T.tolist()):
        common = around[a] & around[b]
        assert found["degrees"][place] == len(around[a]) * len(around[b])
        assert found["common neighbours"][place] == len(common)
        rare = sum(1 / np.log(max(2, len(around[node]))) for node in common)
        assert found["Adamic-Adar"][place] == pytest.approx(rare)


def test_the_factorization_is_the_best_of_its_rank(code: dict[str, ModuleType], data: Any) -> None:
    known = code["eval"].Neighbours(data)
    pairs = torch.cartesian_prod(torch.arange(80), torch.arange(80)).T
    found = known.factorized(pairs, 4).reshape(80, 80)
    left, values, right = np.linalg.svd(known.table.numpy())
    best = (left[:, :4] * values[:4]) @ right[:4]
    assert np.allclose(found.numpy(), best, atol=1e-8)


def test_scores_are_those_of_scikit_learn(code: dict[str, ModuleType]) -> None:
    draw = np.random.default_rng(0)
    truth = np.arange(200) < 100
    own = draw.normal(truth, 1.0).round(1)
    rows = code["eval"].metrics(truth, own, {}, "hard")
    values = {row["metric"]: row["value"] for row in rows}
    assert values["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, own))
    expected = metrics.average_precision_score(truth, own)
    assert values["average_precision"] == pytest.approx(expected)


def test_candidates_are_unlinked_pairs_with_a_common_neighbour(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("source,target\na,b\nb,c\nc,a\nc,d\ne,f\n")
    network = code["data"].undirected(code["networks"].read_network(path)[1], path.name)
    found = pairs_of(code["infer"].near(network, path.name))
    assert {tuple(network.names[n] for n in pair) for pair in found} == {("a", "d"), ("b", "d")}


@pytest.mark.slow
@pytest.mark.ci
def test_an_own_graph_trains_is_scored_and_its_links_are_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_network(tmp_path / "mine.json", network()), tmp_path / "out"
    shared = ("--out", out, "--threads", 1)
    run(folder, "train", "--data", path, "--steps", 4, *shared)
    report = json.loads(run(folder, "eval", "--data", path, *shared))
    names = [row["metric"] for row in report["metrics"]]
    kinds = ("roc_auc", "average_precision")
    assert names == [*kinds, *(f"{kind}_uniform" for kind in kinds)]
    rows = [*csv.reader(io.StringIO(run(folder, "infer", "--input", path, *shared)))]
    assert rows[0] == ["source", "target", "p(link)"]
    shares = [float(row[2]) for row in rows[1:]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,target\nn0,n2\nn2,n0\n")
    rows = [*csv.reader(io.StringIO(run(folder, "infer", "--input", path, "--pairs", pairs,
                                        *shared)))]  # fmt: skip
    assert [row[:2] for row in rows[1:]] == [["n0", "n2"], ["n2", "n0"]]
    assert rows[1][2] == rows[2][2]
    pairs.write_text("source,target\nn0,other\n")
    run(folder, "infer", "--input", path, "--pairs", pairs, *shared, status=2)
    assert "leads to 'other', which is no node" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_what_counts_neighbours(tmp_path: Path) -> None:
    for name in ("degrees", "common neighbours", "SVD of rank 32"):
        beats_its_baselines(SPEC, tmp_path, "evaluation.seeds=1", only=name)
