"""A vision-language model: SigLIP's image tower, a projection, and a decoder in the Llama form.

The form of PaliGemma (Beyer et al., 2024, arXiv:2407.07726) and of SmolVLM (Marafioti et al., 2025,
arXiv:2504.05299). Symbols: w = vision_d_model, N patches, u = pixel_shuffle, M = N / u^2 vectors of
an image, T tokens of a text, S = M + T positions, d = d_model.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families import axes, clip, levers, parts, siglip, transformer
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks
from metagen.families.decoder import GROUPING
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.family import Dims, Figures, Peak, Value
from metagen.families.parts import HALF, Part
from metagen.families.trend import Row, Trend
from metagen.tasks.visual_question_answering import (
    PROMPT,
    VisualQuestionAnswering,
    image_tokens,
    patches,
    text_length,
)
from metagen.units import INFINITE

IMAGE_TOKENS = 256  # vectors of an image, at most; PaliGemma at 224 pixels
VOCABULARY = 49_152  # entries; SmolLM2, the decoder of SmolVLM
HEAD_DIMS = (128, 64, 32, 16, 8)  # Idefics3 has the first, SmolVLM the second.
LEAST_HEADS = 8  # PaliGemma has as many.
# Windows to try for an infinite one.
CONTEXTS: tuple[int, ...] = tuple(2**power for power in range(9, 31))
CONTEXT = 1024  # positions; three prompts and answers of PaliGemma's length beside its image


class VLM(Blocks):
    """Image tower, projection of its vectors, and a decoder that reads them before the text."""

    name = "vlm"
    kind = "vision-language model"
    task = VisualQuestionAnswering()
    components = (
        "vision_transformer vit image_encoder vision_encoder siglip projection projector connector "
        "pixel_shuffle transformer_decoder decoder causal_decoder prefix_decoder language_model "
        "embedding token_embedding lm_head"
    )
    traits = {**Blocks.traits, "group": GROUPING}
    rules = (
        axes.divides("patch_size", "image_size", "an image is cut into whole patches"),
        axes.divides("vision_n_heads", "vision_d_model", "the heads share the width evenly"),
        Rule(
            ("pixel_shuffle", "image_size", "patch_size"),
            lambda m: m["image_size"] // m["patch_size"] % m["pixel_shuffle"] == 0,
            "squares of patches cover the image, so image_size / patch_size must be a multiple of "
            "pixel_shuffle",
        ),
        axes.divides(
            "n_kv_heads", "n_heads", "each key/value head serves the same number of query heads"
        ),
        Rule(
            ("head_dim",),
            lambda m: m["head_dim"] % 2 == 0,
            "rotary position embedding turns pairs of dimensions, so head_dim must be even",
        ),
        Rule(
            ("max_seq_len", "image_size", "patch_size", "pixel_shuffle"),
            lambda m: m["max_seq_len"] >= image_tokens(m) + 2,
            "the sequence holds an image, a prompt and an answer, so max_seq_len must exceed the "
            "vectors of an image by two at least",
        ),
    )
    fixed_by = {"patch_size": "constraints.patch_size"}
    constants = {
        "projector_bias": (True, "as PaliGemma"),
        "tie_embeddings": (True, "as PaliGemma"),
        "norm_eps": (1e-6, "the value of SigLIP and of Gemma"),
    }
    context_dim = "max_seq_len"
    embedding_modules = ("embed_tokens", "lm_head")
    arithmetic = "text"
    prompted = True
    proxy_dims = {
        # One block of the tower learned faster than two: decoder blocks see the patches too.
        **{"patch_size": 16, "pixel_shuffle": 1, "vision_d_model": 64, "vision_n_layers": 1},
        **{"vision_n_heads": 2, "vision_d_ff": 256},
        **{"d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "head_dim": 16},
        **{"d_ff": 128, "tie_embeddings": False},
    }

    # What it is made of, and what it asks of its hardware.

    def parts(self, m: Dims) -> list[Part]:
        """Return the tower, the projection, and the decoder of an image and a usual prompt."""
        return [*vision(m), *decoder(m, self.input_length(m))]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block of the tower and of the decoder, and the logits.

        A block holds the residual stream, its normalized copy, and the wider of attention (queries,
        keys, values and result) and the feed-forward layer: before and after GELU in the tower;
        gate, up and their product in the decoder.
        """
        seen, width, inner = patches(m), int(m["vision_d_model"]), int(m["vision_d_ff"])
        text, d = self.input_length(m), int(m["d_model"])
        positions, attention = image_tokens(m) + text, 2 * (m["n_heads"] + m["n_kv_heads"])
        wide = int(max(3 * m["d_ff"], attention * m["head_dim"]))
        held = int(d + m["vocab_size"])
        tower = 2 * width + max(4 * width, 2 * inner)
        return [
            Peak(seen * tower, f"a block of the tower, {seen:,} patches x {tower:,}"),
            Peak(
                positions * (2 * d + wide),
                f"a block of the decoder, {positions:,} positions x (2 x {d:,} + {wide:,})",
            ),
            Peak(text * held, f"the logits, {text:,} tokens x {held:,}"),
        ]

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes of all weights but those of a token table that is only looked up."""
        looked_up = 0 if m["tie_embeddings"] else m["vocab_size"] * m["d_model"]
        return float(HALF * (self.count(m) - looked_up))

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what reading an image and a prompt takes, and decoding after it.

        A token after P positions takes two operations for each weight of the decoder's blocks and
        of the output layer, and 4hs (P + 1) a layer. It reads these weights and the cache.
        """
        weights, window = self.weight_bytes(m), int(m["max_seq_len"])
        text = self.input_length(m, use)
        read = self.bytes_read(m)
        idle = HALF * parts.count(vision(m))

        def after(past: int) -> Cost:
            cached = transformer.cache_bytes(m, past)
            flops = parts.flops(decoder(m, 1, past=past))
            return Cost(flops, read - idle + cached, cached).at_once(use.batch)

        first = Cost(parts.flops([*vision(m), *decoder(m, text)]), read)
        return Demand(
            weights=weights,
            cache=use.batch * transformer.cache_bytes(m, window),
            activations=use.batch * HALF * max(peak.numbers for peak in self.peaks(m)),
            first=first.at_once(use.batch),
            next=after(image_tokens(m) + text),
            last=after(window),
            batch=use.batch,
        )

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        at_once = f" x {use.batch} requests" if use.batch > 1 else ""
        return {
            **super().explained(m, parameters, use),
            "cache": f"2 x {m['n_layers']} layers x {m['n_kv_heads']} heads x {m['head_dim']} x "
            f"{m['max_seq_len']:,} positions, {image_tokens(m):,} of them of the image, x {HALF} "
            f"bytes{at_once}",
        }

    def input_length(self, m: Dims, use: Use = ALONE) -> int:
        """Return the tokens of a prompt; the vectors of the image are read besides."""
        # The window is chosen last, and counts of parameters do not depend on it.
        room = int(m["max_seq_len"]) - image_tokens(m) - 1 if "max_seq_len" in m else PROMPT
        return max(1, min(use.prompt or PROMPT, room))

    def training_length(self, m: Dims) -> int:
        """Return the tokens of the text of a training sample, beside which its image is read."""
        return text_length(m)

    def lengths(self, full: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return the tokens of a training text; and a prompt, and parts of the longest text."""
        m = full["model"]
        longest = int(m["max_seq_len"]) - image_tokens(m)
        shares = [max(1, longest // n) for n in (8, 1)]
        return text_length(m), [self.input_length(m), *shares]

    # The space around published models.

    def levels(self, table: list[Row]) -> dict[str, float]:
        return {"group": max(map(GROUPING.published, table))}

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_layers", "d_model"))
        widths = axes.near(width, axes.granule(width))

        def narrow(m: Dims) -> Iterable[int]:
            return self.within(budget, widths, lambda d: least({**m, "d_model": d}, budget), 8)

        return (
            *self.usual(),
            Axis("patch_size", lambda m: (clip.patch_size(m),)),
            Axis("vision_d_model", lambda m: (siglip.tower_of(m, budget).width,)),
            Axis("vision_n_layers", lambda m: (siglip.tower_of(m, budget).layers,)),
            Axis("vision_n_heads", lambda m: (siglip.heads(m, budget),)),
            Axis("vision_d_ff", lambda m: (siglip.tower_of(m, budget).inner,)),
            Axis("pixel_shuffle", lambda m: (shuffle(m),)),
            Axis("n_layers", lambda m: axes.depths_near(depth), grid=True),
            Axis("d_model", narrow, grid=True),
            Axis("head_dim", lambda m: (head_dim(int(m["d_model"])),)),
            Axis("n_heads", lambda m: (max(1, int(m["d_model"] // m["head_dim"])),)),
            levers.grouping(budget, trend),
            Axis("vocab_size", lambda m: (entries(int(m["d_model"]), budget),)),
            self.inner_axis(budget),
            Axis("max_seq_len", lambda m: (self._window(m, need),)),
            Axis("rope_theta", lambda m: (transformer.rope_base(m),)),
        )

    def _window(self, m: Dims, need: Need) -> int:
        """Return the declared window, the usual one, or the largest within the limits."""
        if need.context != INFINITE:
            return int(need.context or max(CONTEXT, 2 * image_tokens(m)))
        if not need.limits:
            return CONTEXT

        def breaks(window: int) -> bool:
            return need.excess(self.demand({**m, "max_seq_len": window}, need.use)) > 0

        return CONTEXTS[max(0, bisect.bisect_left(CONTEXTS, True, key=breaks) - 1)]

    # Words, the scaled-down model and its variants.

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        tower, total, d = parts.count(vision(m)), self.count(m), int(m["d_model"])
        size, group = self.size(m), m["n_heads"] / m["n_kv_heads"]
        turns = transformer.rope_turns(m, m["rope_theta"])
        named = (
            f"the tower and the projection have {tower:,} parameters, {tower / total:.1%} of all"
        )
        given = {"patch_size": "as in published models", **super().reasons(m, need, trend)}
        return {
            **given,
            "patch_size": f"{given['patch_size']}; an image has {patches(m):,} patches",
            "vision_d_model": f"{named}; {siglip.reason(need.budget)}",
            "vision_n_layers": "as the tower of this width",
            "vision_n_heads": "as the tower of this width",
            "vision_d_ff": "as the tower of this width",
            "pixel_shuffle": f"the smallest that leaves at most {IMAGE_TOKENS} vectors, those of "
            f"PaliGemma at 224 pixels; an image has {image_tokens(m):,}",
            "head_dim": f"the largest of {', '.join(map(str, HEAD_DIMS))} that cuts the width into "
            f"{LEAST_HEADS} heads or more, or the smallest",
            "n_heads": f"d_model / head_dim = {d / m['head_dim']:g}",
            "n_kv_heads": f"{group:g} query heads share one; the trend gives "
            f"{trend.lines['group'].at(size):.1f} and published models reach "
            f"{trend.levels['group']:g}; a position takes {transformer.cache_bytes(m, 1):,} bytes "
            "of cache in all layers",
            "vocab_size": axes.table_reason(int(m["vocab_size"]), VOCABULARY, d, need.budget),
            "max_seq_len": self._window_reason(m, need),
            "rope_theta": f"the slowest pair of dimensions makes {turns:.3f} turns over the "
            f"window, at most {transformer.ROPE_TURNS:g}",
        }

    def _window_reason(self, m: Dims, need: Need) -> str:
        held = f"{image_tokens(m):,} positions are those of the image"
        if need.context is None:
            return f"no context_window is declared: {CONTEXT:,}, or twice the image; {held}"
        if need.context == INFINITE:
            return f"an infinite context is requested; the most within the limits; {held}"
        return f"context window of {need.context:,} positions; {held}"

    def proxy(self, m: Dims) -> dict[str, Value]:
        """Return a small model, whose query heads share key heads as those of the full one do."""
        small = super().proxy(m)
        heads = int(small["n_heads"])
        shared = axes.divisor_near(heads, m["n_heads"] / m["n_kv_heads"])
        return {**small, "n_kv_heads": heads // shared, "rope_theta": 1e4}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        grid = int(m["image_size"] // m["patch_size"])
        coarser = next((n for n in axes.divisors(grid) if n > m["pixel_shuffle"]), grid)
        return (
            ("fewer vectors of an image", "pixel_shuffle", coarser),
            ("half the depth of the tower", "vision_n_layers", max(1, m["vision_n_layers"] // 2)),
            ("half the depth of the decoder", "n_layers", max(1, int(m["n_layers"] // 2))),
            ("one key/value head for all query heads", "n_kv_heads", 1),
            ("token tables untied", "tie_embeddings", False),
            ("token tables tied", "tie_embeddings", True),
        )

    def figures(self, m: Dims) -> Figures:
        """Return the parameters of each part, patches and vectors of an image, and the cache."""
        *tower, projection = vision(m)
        return {
            "patches": (patches(m), "patches"),
            "image_tokens": (image_tokens(m), "vectors"),
            "tower_parameters": (parts.count(tower), "parameters"),
            "projection_parameters": (parts.count([projection]), "parameters"),
            "decoder_parameters": (parts.count(decoder(m, 1)), "parameters"),
            "kv_cache": (self.demand(m).cache, "bytes"),
        }


def vision(m: Dims) -> list[Part]:
    """Return the image tower, and last the projection of its vectors.

    A patch is 3p^2 numbers, or p^2 in grey; a vector of the decoder's input is made of u^2 w.
    """
    width, seen = m["vision_d_model"], patches(m)
    pixels = m["num_channels"] * m["patch_size"] ** 2
    joined = width * m["pixel_shuffle"] ** 2
    return [
        parts.linear(pixels, width, seen),
        parts.table(seen, width),
        parts.encoder_block(width, m["vision_d_ff"], seen) * m["vision_n_layers"],
        parts.norm(width),
        parts.linear(joined, m["d_model"], image_tokens(m), bias=bool(m["projector_bias"])),
    ]


def decoder(m: Dims, tokens: int, past: int | None = None) -> list[Part]:
    """Return the decoder for some tokens: tables, blocks, the last norm and the output layer.

    Args:
        m: The dimensions.
        tokens: T.
        past: Positions before them, which the cache holds; None where the image is read with them.
    """
    d, before = int(m["d_model"]), image_tokens(m)
    places = tokens + (before if past is None else 0)
    seen = places + (past or 0)
    matrices = sum(outputs * inputs for outputs, inputs in transformer.linears(m))
    pairs = transformer.pair_flops(m) * places * seen
    return [
        *([] if m["tie_embeddings"] else [parts.table(m["vocab_size"], d)]),
        Part(matrices, 2 * d, places, pairs=pairs) * m["n_layers"],
        Part(others=d),
        parts.linear(d, m["vocab_size"], tokens, bias=False),
    ]


def shuffle(m: Dims) -> int:
    """Return the smallest side of squares of patches that leaves few enough vectors."""
    grid = int(m["image_size"] // m["patch_size"])
    sides = (n for n in axes.divisors(grid) if (grid // n) ** 2 <= IMAGE_TOKENS)
    return next(sides, grid)


def head_dim(width: int) -> int:
    """Return the largest usual size of a head that cuts a width into eight or more."""
    sizes = (n for n in HEAD_DIMS if width % n == 0 and width // n >= LEAST_HEADS)
    return next(sizes, HEAD_DIMS[-1])


def entries(width: int, budget: int) -> int:
    """Return the tokens of a table of this width that has room in a budget."""
    return axes.table_entries(VOCABULARY, width, budget)


def least(m: Dims, budget: int) -> Dims:
    """Return a design with the narrowest feed-forward layer, to see what a width takes."""
    width = int(m["d_model"])
    size = head_dim(width)
    heads = max(1, width // size)
    own = {"head_dim": size, "n_heads": heads, "n_kv_heads": heads}
    return {**own, "vocab_size": entries(width, budget), "d_ff": axes.granule(width), **m}


FAMILY = VLM()
