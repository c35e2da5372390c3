"""Order passages for a query with a trained checkpoint.

    python infer.py --prompt "How are names resolved?"                        validation passages
    python infer.py --prompt "How are names resolved?" --input passages.txt   the lines of a file

Prints score and passage, the best first. Scores have no unit: compare them within one query only.
"""

from dataclasses import dataclass

import torch

from data import Config as DataConfig
from data import load_records
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.sequences import outputs, read_lines, read_tokenizer


@dataclass(frozen=True)
class Config:
    """How passages are ordered."""

    batch_size: int = 32
    """Passages scored at once."""
    best: int = 5
    """Passages to print."""
    dtype: str = "bfloat16"
    """Format of the weights: float32 as trained, or bfloat16 in half the memory; scores of passages
    that are almost equal may swap in bfloat16."""


def options(group: Group) -> None:
    group.add_argument("--prompt", required=True, metavar="TEXT", help="the query")
    group.add_argument(
        "--input", type=existing, metavar="FILE", help="a file with one passage per line"
    )


def passages_of(trained: Trained[Config, DataConfig, ModelConfig]) -> list[str]:
    """Return the lines of --input, or the different passages of the validation split."""
    if trained.args.input:
        return read_lines(trained.args.input)
    # Val passages are a fair demonstration: training never saw them, and the test split stays
    # unused.
    records = load_records(trained.data, trained.args.data)["val"]
    # Several queries may judge one passage, but it is printed once.
    return list(dict.fromkeys(record["passage"] for record in records))


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the best passages."""
    query, config = trained.args.prompt, trained.config
    # The network would score passages for an empty query too, and the result would mean nothing.
    if not query.strip():
        fail("--prompt is empty: give the text of a query.")
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    passages = passages_of(trained)
    # The network reads query and passage together, so passages cannot be encoded in advance.
    # The cost grows with the number of passages: for more than some thousands, let a faster search
    # such as BM25 select candidates, and order those.
    pairs = [(query, passage) for passage in passages]
    tokenizer, length = read_tokenizer(trained.folder), trained.data.max_len
    scores = outputs(model, pairs, tokenizer, length, config.batch_size, trained.device)
    # topk fails if there are fewer passages than config.best.
    best = scores.topk(min(config.best, len(passages)))
    for score, row in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        print(f"{score:.4f}\t{passages[row]}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("passages scored at once"),
        "best": Setting("passages to print"),
    },
    data="the data whose validation passages are ordered (default: bundled sentences)",
)

if __name__ == "__main__":
    run(main)
