"""Order passages for a query with a trained checkpoint.

    python infer.py --prompt "How are names resolved?"                        validation passages
    python infer.py --prompt "How are names resolved?" --input passages.txt   the lines of a file

Prints score and passage, the best first. Only the order of scores means something, not their size.
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
    """Passages read at once."""
    best: int = 5
    """Passages shown."""
    dtype: str = "bfloat16"
    """Format of the weights: float32 as trained, or bfloat16 in half the memory."""


def options(group: Group) -> None:
    group.add_argument("--prompt", required=True, metavar="TEXT", help="the query")
    group.add_argument(
        "--input", type=existing, metavar="FILE", help="a file with a passage a line"
    )


def passages_of(trained: Trained[Config, DataConfig, ModelConfig]) -> list[str]:
    """Return the lines of --input, or the different passages of the validation split."""
    if trained.args.input:
        return read_lines(trained.args.input)
    records = load_records(trained.data, trained.args.data)["val"]
    # A passage is judged for several queries, and is shown once.
    return list(dict.fromkeys(record["passage"] for record in records))


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the best passages."""
    query, config = trained.args.prompt, trained.config
    # An empty query has no best passage, and the network would still name one.
    if not query.strip():
        fail("--prompt holds no text.")
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    passages = passages_of(trained)
    # Query and passage are read together, so nothing can be computed before the query is known.
    pairs = [(query, passage) for passage in passages]
    tokenizer, length = read_tokenizer(trained.folder), trained.data.max_len
    scores = outputs(model, pairs, tokenizer, length, config.batch_size, trained.device)
    # There may be fewer passages than are to be shown.
    best = scores.topk(min(config.best, len(passages)))
    for score, row in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        print(f"{score:.4f}\t{passages[row]}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("passages read at once"),
        "best": Setting("passages shown"),
    },
    data="its validation passages are ordered (default: bundled sentences)",
)

if __name__ == "__main__":
    run(main)
