"""The encoder of a caption: a small Transformer over bytes, trained together with the model.

Families whose model is conditioned on a text share its dimensions, their axes and their reasons.
"""

from __future__ import annotations

from metagen.families import parts
from metagen.families.axes import Axis, divides
from metagen.families.family import Dims, Figures
from metagen.families.parts import Part

WIDTHS = (768, 512, 256, 128, 64, 32, 16)  # CLIP ViT-L/14 has the first, 12 layers and 12 heads.
SHARE = 0.25  # SDXL's text encoders have 817M of 3.4B parameters, about a quarter.
HEAD_DIM = 64  # width of a head of CLIP
LENGTH, ENTRIES = 256, 257

COMPONENTS = "text_encoder transformer_encoder"
CONSTANTS = {
    "text_length": (LENGTH, "about the bytes of the 77 tokens that CLIP reads"),
    "vocab_size": (ENTRIES, "byte values, and one for what follows a caption"),
}
RULE = divides("text_heads", "text_width", "the heads share the text encoder's width evenly")


def text_encoder(m: Dims) -> list[Part]:
    """Return the tables of bytes and places, the layers and the last norm."""
    width, length = m["text_width"], m["text_length"]
    return [
        parts.table(m["vocab_size"] + length, width),
        parts.encoder_block(width, 4 * width, length) * m["text_layers"],
        parts.norm(width),
    ]


def text_axes(budget: int) -> tuple[Axis, ...]:
    """Return the axes of the encoder: the widest that takes its share of the budget at most."""
    text = next((w for w in WIDTHS if affordable(w, budget)), WIDTHS[-1])
    return (
        Axis("text_width", lambda m: (text,)),
        Axis("text_layers", lambda m: (layers(int(m["text_width"])),)),
        Axis("text_heads", lambda m: (layers(int(m["text_width"])),)),
    )


def text_reasons(m: Dims, total: int, budget: int) -> dict[str, str]:
    """Return why the encoder has its dimensions, in a design of `total` parameters."""
    encoder, own = parts.count(text_encoder(m)), m["text_width"] // m["text_heads"]
    return {
        "text_width": f"the text encoder has {encoder:,} parameters, {encoder / total:.1%} of all; "
        f"{_width_reason(m, budget)}, about the share of SDXL's",
        "text_layers": f"one for each {HEAD_DIM} of its width, as CLIP ViT-L/14, and at least one",
        "text_heads": f"heads of {own} dimensions; in CLIP {HEAD_DIM}",
    }


def text_figures(m: Dims) -> Figures:
    """Return the encoder's count, for documents."""
    return {"text_parameters": (parts.count(text_encoder(m)), "parameters")}


def layers(width: int) -> int:
    """Return the layers of a text encoder, and the heads of each: one for 64 of its width."""
    return max(1, width // HEAD_DIM)


def affordable(width: int, budget: int) -> bool:
    """Return whether a text encoder of a width takes its share of the budget at most."""
    lengths = {"text_length": LENGTH, "vocab_size": ENTRIES}
    encoder = text_encoder({**lengths, "text_width": width, "text_layers": layers(width)})
    return parts.count(encoder) <= SHARE * budget


def _width_reason(m: Dims, budget: int) -> str:
    listed, most = ", ".join(map(str, WIDTHS)), f"{SHARE:.0%} of the budget"
    if affordable(int(m["text_width"]), budget):
        return f"the largest of the widths {listed} that takes at most {most}"
    return f"even the smallest of the widths {listed} takes more than {most}"
