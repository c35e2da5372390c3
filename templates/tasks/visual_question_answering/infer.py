"""Answer a question about an image with a trained checkpoint.

    python infer.py --image photo.png --prompt "how many digits are there?"
    python infer.py --image page.jpg --prompt "what is the total?" --max-new-tokens 100

Prints the answer on stdout: the likeliest token after each other, up to the end of the text.
"""

from dataclasses import dataclass

import torch

from data import Config as DataConfig
from data import pixels_of
from model import Config as ModelConfig
from model import Model, generate
from runtime.device import in_bfloat16
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.pixels import survey
from runtime.scripts import Setting, Trained, serving
from runtime.tokenizer import BPETokenizer, open_bpe


@dataclass(frozen=True)
class Config:
    """How an answer is made."""

    max_new_tokens: int = 32
    """Largest number of tokens of the answer; an end-of-text token ends it earlier."""
    dtype: str = "bfloat16"
    """Format of weights and arithmetic; auto is float32, as trained, on a CPU."""


def options(group: Group) -> None:
    group.add_argument(
        "--image", type=existing, required=True, metavar="FILE", help="the image to look at"
    )
    group.add_argument("--prompt", required=True, metavar="TEXT", help="the question about it")


def encoded(
    trained: Trained[Config, DataConfig, ModelConfig], tokenizer: BPETokenizer
) -> list[int]:
    """Return the tokens of --prompt, or stop if the model cannot read them."""
    prompt, model = trained.args.prompt, trained.model
    if any("\ud800" <= c <= "\udfff" for c in prompt):  # Python's form of bytes that are not UTF-8
        fail("--prompt is not UTF-8 text: check the encoding of the terminal.")
    # Training strips blanks around a prompt and ends it with a line feed.
    tokens = tokenizer.encode(f"{prompt.strip()}\n")
    room = model.max_seq_len - model.image_tokens() - trained.config.max_new_tokens
    if len(tokens) > room:
        fail(
            f"the prompt has {len(tokens):,} tokens, and {max(0, room):,} fit beside the image and "
            "--max-new-tokens: shorten it, or lower that number."
        )
    return tokens


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the answer."""
    c, image = trained.model, trained.args.image
    tokenizer = open_bpe(trained.folder / "tokenizer.json")
    prompt = torch.tensor([encoded(trained, tokenizer)], device=trained.device)
    survey([image]).say(c.num_channels)
    pixels = pixels_of(image, c.image_size, c.num_channels)[None].float() / 127.5 - 1
    low = in_bfloat16(trained.device, trained.config.dtype)
    dtype = torch.bfloat16 if low else torch.float32
    model = trained.load(lambda: Model(c), dtype)
    images = pixels.to(trained.device, dtype)
    end = tokenizer.end_of_text
    row = generate(model, images, prompt, trained.config.max_new_tokens, end)[0].tolist()
    print(tokenizer.decode(row[: row.index(end)] if end in row else row))


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "max_new_tokens": Setting("largest number of tokens of the answer"),
        "dtype": Setting("auto: float32 on a CPU", str, ("auto", "float32", "bfloat16")),
    },
)

if __name__ == "__main__":
    run(main)
