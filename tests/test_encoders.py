"""The encoder families: exact counts, BERT's own outputs, honest losses, data in users' formats."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from blueprint_desk import PlainDesk
from encoders import DIMS, FAMILIES, modules, sizes, write_package

from metagen import families, paths
from metagen.blueprint import architecture
from metagen.families import encoder, trend
from metagen.families.encoder_shape import fit

PUBLISHED = paths.source("data/published_models.csv").read_bytes()
SPECS = {
    "text_classifier": "text_classifier_bert",
    "sentence_embedder": "sentence_embedder",
    "document_ranker": "document_ranker",
}
WORDS = ("red", "green", "blue", "round", "square", "small", "large", "old", "new", "open")


def family(name: str) -> Any:
    return families.load(families.FAMILIES[name])


@pytest.fixture(scope="module", params=FAMILIES)
def package(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, ModuleType]]]:
    folder = write_package(tmp_path_factory.mktemp(request.param), request.param)
    with modules(folder) as code:
        yield request.param, folder, code


def records(name: str, count: int = 60) -> list[dict[str, str]]:
    """Return rows of a family's own data, in which there is something to learn."""
    texts = [f"{a} {b}" for a in WORDS for b in WORDS][:count]
    if name == "text_classifier":
        return [{"text": t, "label": "ab"[n % 2]} for n, t in enumerate(texts)]
    if name == "sentence_embedder":
        return [{"text_a": t, "text_b": t.upper() + " thing"} for t in texts]
    return [
        {
            "query": t,
            "passage": f"the {word} thing of {t if hit else 'none'}",
            "relevance": str(hit),
        }
        for t in texts
        for hit, word in ((2, "one"), (0, "other"))
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# Counts and shape


@pytest.mark.parametrize(
    "changed",
    [{}, {"d_ff": 56, "n_layers": 3}, {"vocab_size": 1000, "max_seq_len": 7, "n_segments": 1}],
)
def test_the_closed_form_is_what_torch_counts(
    package: tuple[str, Path, dict[str, ModuleType]], changed: dict[str, Any]
) -> None:
    name, _, code = package
    dims = sizes(name)["model"] | changed
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config(**dims))
    assert family(name).count(dims) == model.num_params()


def test_published_encoders_give_published_counts() -> None:
    for row in trend.rows(PUBLISHED, "encoder"):
        dims = {
            "d_model": int(row["d_model"]),
            "n_layers": int(row["n_layers"]),
            "d_ff": int(row["ffn"]),
            "vocab_size": int(row["vocab"]),
            "max_seq_len": int(row["context"]),
            "n_segments": 2,
        }
        pooler = dims["d_model"] ** 2 + dims["d_model"]
        assert encoder.encoder_count(dims) + pooler == int(row["params_exact"]), row["model"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_spec_fills_its_budget_and_keeps_what_it_fixes(name: str) -> None:
    desk = PlainDesk.of(paths.specs() / "text" / f"{SPECS[name]}.yaml")
    assert families.route(desk.key) == name
    desk.package |= architecture.work(desk)
    full = desk.entry("blueprint/architecture.yaml", "model")
    share = family(name).count(full) / desk.key("constraints.parameter_budget.max")
    assert 0.97 <= share <= 1
    assert full["max_seq_len"] == 512
    fixed = {"sentence_embedder": ("d_model", 768), "text_classifier": ("num_classes", 2)}
    if name in fixed:
        assert full[fixed[name][0]] == fixed[name][1]


def test_the_trend_gives_back_bert_base() -> None:
    lines = fit(PUBLISHED, 109_482_240).lines
    assert lines["d_model"].at(85_646_592) == pytest.approx(768, rel=0.15)
    assert lines["n_layers"].at(85_646_592) == pytest.approx(12, rel=0.2)


# The network is BERT


def reference(name: str, model: Any) -> Any:
    """Return transformers' model with the same weights."""
    config = transformers.BertConfig(
        **model.checkpoint_config() | {"vocab_size": DIMS["vocab_size"]}
    )
    if name == "sentence_embedder":
        found = transformers.BertModel(config, add_pooling_layer=False)
    else:
        found = transformers.BertForSequenceClassification(config)
    state = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
    left = found.double().load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert not left.missing_keys
    return found


def output(name: str, model: Any, tokens: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    mask = (tokens != 0).long()
    given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}
    if name == "sentence_embedder":
        vectors = model(**given).last_hidden_state
        return (vectors * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    logits = model(**given).logits
    return logits.squeeze(1) if name == "document_ranker" else logits


def test_outputs_and_gradients_are_those_of_transformers(
    package: tuple[str, Path, dict[str, ModuleType]],
) -> None:
    name, _, code = package
    torch.manual_seed(1)
    config = code["model"].Config(**sizes(name)["model"])
    if name == "text_classifier":
        config = code["model"].Config(**sizes(name)["model"] | {"num_classes": 2})
    model = code["model"].Model(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs = reference(name, model)
    tokens = torch.randint(3, 300, (4, 11))
    tokens[0, 7:] = 0
    segments = torch.zeros_like(tokens)
    if name == "document_ranker":
        segments[:, 5:] = (tokens[:, 5:] != 0).long()
        mine = model(tokens, segments)
    else:
        mine = model(tokens)
    other = output(name, theirs, tokens, segments)
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10)
    weights = torch.randn_like(mine)
    (mine * weights).sum().backward()
    (other * weights).sum().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters()}
    for n, parameter in model.named_parameters():
        expected = gradients[model.checkpoint_name(n)]
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-8, atol=1e-9)


# From a user's file to a checkpoint that transformers opens


def run(code: dict[str, ModuleType], script: str, *options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        line = [f"{script}.py", "--threads", 1, "--device", "cpu", *options]
        patch.setattr(sys, "argv", [str(part) for part in line])
        code[script].main()


def show(code: dict[str, ModuleType], *options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["data.py", *map(str, options)])
        code["data"].main()


def test_a_users_file_is_trained_on_scored_and_used(
    package: tuple[str, Path, dict[str, ModuleType]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, _, code = package
    data = write_jsonl(tmp_path / "mine.jsonl", records(name))
    run(code, "train", "--data", data, "--out", tmp_path, "--steps", 3)
    run(code, "eval", "--data", data, "--out", tmp_path)
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"] == "mine.jsonl"
    assert all(0 <= metric["value"] <= 1 for metric in report["metrics"])
    run(code, "infer", "--data", data, "--out", tmp_path, "--prompt", "red blue")
    assert len(capsys.readouterr().out.splitlines()) in (2, 3)
    opened(name, code, tmp_path / "checkpoint")


def opened(name: str, code: dict[str, ModuleType], checkpoint: Path) -> None:
    """Check that transformers' classes give what the package gives."""
    kinds = transformers.AutoModelForSequenceClassification, transformers.AutoModel
    kind = kinds[name == "sentence_embedder"]
    theirs = kind.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    config = code["model"].Config()
    mine = code["runtime.checkpoint"].load_model(lambda: code["model"].Model(config), checkpoint)
    own = code["runtime.sequences"].read_tokenizer(checkpoint)
    pairs = name == "document_ranker"
    texts = [("Red", "the blue one"), ("old", "x")] if pairs else ["Red [SEP] blue", "old"]
    tokens, segments = own.rows(texts, 24)
    columns = list(zip(*texts, strict=True)) if pairs else [texts]
    row = tokenizer(*map(list, columns), padding=True, return_tensors="pt")
    if pairs:
        assert row["token_type_ids"].equal(segments)
    else:
        assert row["input_ids"].equal(tokens) or "[SEP]" in texts[0]
    with torch.no_grad():
        made = mine(tokens, segments) if pairs else mine(tokens)
        torch.testing.assert_close(made, output(name, theirs, tokens, segments))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ""])
def test_each_format_gives_the_same_records(
    package: tuple[str, Path, dict[str, ModuleType]], tmp_path: Path, suffix: str
) -> None:
    name, _, code = package
    rows = records(name)
    columns = list(rows[0])
    read = code["runtime.records"]
    expected = read.cut(rows, columns[0], 0.2, 0.2)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".parquet":
        pytest.importorskip("pyarrow")
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        write_jsonl(path, rows)
    else:
        path.mkdir()
        for split, each in expected.items():
            write_jsonl(path / f"{split}.jsonl", each)
    assert read.read_splits(path, columns, columns[0], 0.2, 0.2) == expected


BAD = [
    ('{"text": "a"}\n', 'mine.jsonl:1 has no "label"'),
    ('{"text": "  ", "label": "b"}\n', 'mine.jsonl:1 has an empty "text"'),
    ('\n{"text": 1\n', "mine.jsonl:2 is not a JSON object"),
    ('{"text": "a", "label": "b"}\n', "is too little data"),
    ("".join(f'{{"text": "t{n}", "label": "{n}"}}\n' for n in range(40)), "has 40 labels"),
    ("".join(f'{{"text": "t{n}", "label": "one"}}\n' for n in range(40)), "has 1 labels"),
]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = write_package(tmp_path_factory.mktemp("classifier"), "text_classifier")
    with modules(folder) as code:
        yield code


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_bad_data_ends_in_one_sentence(
    classifier: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    sentence: str,
) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(SystemExit) as ended:
        show(classifier, "--data", tmp_path / "mine.jsonl")
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said
    assert said.count("\n") == 1


def test_prepared_texts_train_as_their_source_does(
    classifier: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = write_jsonl(tmp_path / "mine.jsonl", records("text_classifier"))
    prepared = tmp_path / "prepared"
    show(classifier, "prepare", "--data", data, "--out", prepared, "--size", "proxy")
    config, model = classifier["data"].Config(), classifier["model"].Config()
    one, two = (classifier["data"].load_dataset(config, p, model) for p in (data, prepared))
    assert one.sha256 == two.sha256
    assert one.tokenizer.json == two.tokenizer.json


def test_splits_of_the_bundled_texts_share_no_text(classifier: dict[str, ModuleType]) -> None:
    pytest.importorskip("django")
    found = classifier["data"].load_records(classifier["data"].Config(), None)
    texts = {split: {record["text"] for record in each} for split, each in found.items()}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))
    assert len({record["label"] for record in found["test"]}) == 20


# Losses and baselines by independent formulas


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = write_package(tmp_path_factory.mktemp("embedder"), "sentence_embedder")
    with modules(folder) as code:
        yield code


class Lookup(torch.nn.Module):
    """Embeds a text by its second token."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(300, 5))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table[tokens[:, 1]]


def test_the_contrast_is_infonce_without_texts_of_one_meaning(
    embedder: dict[str, ModuleType],
) -> None:
    torch.manual_seed(0)
    module, config = Lookup(), embedder["train"].Config()
    tokens = torch.randint(3, 300, (6, 2, 4))
    marks = torch.tensor([[0, 1, 10], [0, 2, 20], [0, 1, 30], [1, 4, 40], [1, 5, 50], [1, 6, 40]])
    loss, count = embedder["train"].contrastive_loss(module, (tokens, marks), config)
    a, b = (F.normalize(module(tokens[:, side]), dim=1) for side in (0, 1))
    others = {0: [1], 1: [0, 2], 2: [1], 3: [4], 4: [3, 5], 5: [4]}
    terms = []
    for x, y in ((a, b), (b, a)):
        for i, chosen in others.items():
            scores = [
                math.exp(float(x[i].detach() @ y[j].detach()) / config.temperature)
                for j in (i, *chosen)
            ]
            terms.append(-math.log(scores[0] / sum(scores)))
    assert count == 6
    assert loss.item() == pytest.approx(sum(terms) / 12, rel=1e-5)


@pytest.mark.parametrize(("batch", "parts", "processes"), [(12, 3, 2), (12, 4, 3)])
def test_parts_that_processes_would_mix_are_refused(
    embedder: dict[str, ModuleType], batch: int, parts: int, processes: int
) -> None:
    config = embedder["train"].Config(batch_size=batch, grad_accum=parts)
    share, part = batch // processes, batch // parts
    if part % share and share % part:
        with pytest.raises(SystemExit):
            embedder["train"].part_size(config, processes)
    else:
        assert embedder["train"].part_size(config, processes) == part


def test_ranks_are_those_of_the_nearest_partner_of_each_pool(
    embedder: dict[str, ModuleType],
) -> None:
    pair = embedder["data"].Pair
    pairs = [
        pair(("a", "x"), (0, 0), ""),
        pair(("b", "y"), (1, 1), ""),
        pair(("c", "z"), (2, 2), "2"),
    ]
    index = {text: number for number, text in enumerate("abcxyz")}
    near = torch.zeros(6, 6)
    near[0, 4], near[0, 3], near[1, 4] = 0.9, 0.5, 0.8
    near[3, 0], near[4, 0], near[4, 1] = 0.7, 0.6, 0.5
    ranks = embedder["eval"].first_ranks(lambda a, b: near[a[:, None], b], pairs, index)
    assert sorted(ranks.tolist()) == [1, 1, 1, 1, 2, 2]


def test_tf_idf_is_the_cosine_of_its_formula(embedder: dict[str, ModuleType]) -> None:
    made = embedder["eval"].TfIdf(["ab", "ac"])
    vectors = []
    for text in ("ab", "bc"):
        line = f" {text} "
        grams = [line[i : i + n] for n in (1, 2, 3) for i in range(len(line) - n + 1)]
        vectors.append(
            {g: grams.count(g) * (1 + math.log(3 / (1 + made.found[g]))) for g in set(grams)}
        )
    dot = sum(w * vectors[1].get(g, 0) for g, w in vectors[0].items())
    norms = [math.sqrt(sum(w * w for w in v.values())) for v in vectors]
    cosines = made.similarities(["ab", "bc"])
    assert float(cosines[0, 1]) == pytest.approx(dot / norms[0] / norms[1], rel=1e-5)
    assert cosines.diag().tolist() == pytest.approx([1, 1])


def test_naive_bayes_is_its_formula(classifier: dict[str, ModuleType]) -> None:
    samples = [("aab", 0), ("bbb", 1), ("b", 1)]
    made = classifier["eval"].NaiveBayes(1, samples, 2)
    # Characters of the training texts: a, b and the space at both ends.
    counts = {0: {"a": 2, "b": 1, " ": 2}, 1: {"b": 4, " ": 4}}
    for text in ("a", "b", "ab"):
        scores = []
        for label, prior in ((0, 1 / 3), (1, 2 / 3)):
            total = sum(counts[label].values()) + 3
            terms = [(counts[label].get(c, 0) + 1) / total for c in f" {text} "]
            scores.append(math.log(prior) + sum(map(math.log, terms)))
        assert made.predict([text])[0] == scores.index(max(scores))


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = write_package(tmp_path_factory.mktemp("ranker"), "document_ranker")
    with modules(folder) as code:
        yield code


def test_bm25_is_its_formula(ranker: dict[str, ModuleType]) -> None:
    passages = ["red blue", "red red green old", "blue"]
    made = ranker["eval"].BM25(passages)
    scores = made.scores("Red old", passages)
    idf = {"red": math.log(1 + 1.5 / 2.5), "old": math.log(1 + 2.5 / 1.5)}

    def term(count: int, length: int) -> float:
        return count / (count + 1.2 * (0.25 + 0.75 * length / (7 / 3)))

    expected = [
        idf["red"] * term(1, 2),
        idf["red"] * term(2, 4) + idf["old"] * term(1, 4),
        0.0,
    ]
    assert scores == pytest.approx(expected)


def test_orders_are_scored_by_their_formulas(ranker: dict[str, ModuleType]) -> None:
    rankings = [[0.0, 2.0, 1.0], [1.0, 0.0]]
    assert ranker["eval"].mrr(rankings) == pytest.approx((1 / 2 + 1) / 2)
    gained = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert ranker["eval"].ndcg_at_10(rankings) == pytest.approx((gained / best + 1) / 2)


def test_a_group_is_an_answer_and_passages_that_are_none(ranker: dict[str, ModuleType]) -> None:
    data = ranker["data"]
    judged = data.Judged("q", {"yes": 2.0, "also": 1.0, "no": 0.0})
    import random

    for seed in range(20):
        first, *others = data.group(judged, ["yes", "also", "p", "r"], 3, random.Random(seed))
        assert first in ("yes", "also")
        assert "no" in others
        assert not {"yes", "also"} & set(others)


# Several processes


def processes(folder: Path, data: Path, out: Path, count: int, *options: object) -> list[float]:
    """Train in some processes as torchrun would; return the losses and the gradients' norms."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "train.py", "--data", data, "--out", out, "--threads", 1, *options]
    shared = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [str(part) for part in line],
            cwd=folder,
            env=shared | {"RANK": str(n), "LOCAL_RANK": str(n)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, said
    rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    return [row[name] for row in rows for name in ("train_loss", "grad_norm")]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_tell_pairs_apart_as_one_does(tmp_path: Path, parts: int) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    write_package(folder, "sentence_embedder")
    data = write_jsonl(tmp_path / "mine.jsonl", records("sentence_embedder"))
    options = ("--batch-size", 8, "--grad-accum", parts, "--steps", 4)
    one = processes(folder, data, tmp_path / "one", 1, *options)
    two = processes(folder, data, tmp_path / "two", 2, *options)
    assert two == pytest.approx(one, rel=1e-5)
    other = processes(folder, data, tmp_path / "other", 1, *options[:2], "--steps", 4)
    assert (parts == 1) == (other == pytest.approx(one, rel=1e-5))


# The proxies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "beaten"),
    [
        pytest.param(
            "text_classifier_bert",
            {"majority", "naive Bayes, characters"},
            marks=pytest.mark.ci,
        ),
        ("sentence_embedder", {"length match", "TF-IDF, characters"}),
        ("document_ranker", {"chance"}),
    ],
)
def test_a_proxy_beats_its_baselines(name: str, beaten: set[str], tmp_path: Path) -> None:
    spec = paths.specs() / "text" / f"{name}.yaml"
    line = [sys.executable, "-m", "metagen", "synth", str(spec), "--out", str(tmp_path)]
    subprocess.run(line, check=True, capture_output=True)
    rows = json.loads((tmp_path / f"run-{name}" / "benchmarks" / "results.json").read_text())
    measured = [row for row in rows if row["status"] == "measured"]
    assert len(measured) >= 2
    for row in measured:
        assert beaten <= row["baselines"].keys()
        assert all(row["value"] > row["baselines"][each] for each in beaten), row
