"""The decoder of audio tokens of MusicGen (Copet et al., 2023, arXiv:2306.05284), with its codec.

Symbols: T frames, K codebooks of N entries, P = T + K - 1 positions, d = d_model, f = d_ff, g the
width of all key heads together, L bytes of a caption, S samples.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families import axes, captions, encodec, parts
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.family import Dims, Figures, Lookup, Peak, Value
from metagen.families.parts import HALF, Part
from metagen.families.trend import Trend
from metagen.tasks.audio_generation import CLIP_FRAMES, STRIDES, AudioGeneration, clip_frames, hop
from metagen.units import CLIP, INFINITE

TEXT = ("text_length", "text_width", "text_layers", "text_heads")
PROMPT = 512  # frames of a clip to continue; ten seconds of the published codec
FILTERS = (64, 32, 16, 8, 4, 2)  # MusicGen's codec has the first.
# MusicGen's codebooks have the first.
ENTRIES: tuple[int, ...] = tuple(2**power for power in range(11, 4, -1))
CODEC_SHARE, TABLE_SHARE = 0.15, 0.25  # MusicGen-small has 12 % and 4 % there.
HEAD_DIMS = (64, 32, 16, 8)  # Published models have the first.
# Windows to try for an infinite one.
CONTEXTS: tuple[int, ...] = tuple(2**power for power in range(9, 31))
MOST_SHARED = 8  # query heads that share one key head, at most; Llama 3 70B has as many
SHARING_PRICE = 0.5  # price of a halving of the key heads, in usual deviations squared


class MusicGen(Blocks):
    """Codec; pre-norm blocks of causal attention, attention to a caption, and GELU; K heads."""

    name = "musicgen"
    kind = "codec language model of audio"
    task = AudioGeneration()
    components = (
        "transformer_decoder decoder causal_decoder codec audio_codec encodec vector_quantizer rvq "
        f"embedding cross_attention lm_head {captions.COMPONENTS}"
    )
    rules = (
        axes.divides("n_heads", "d_model", "the heads share the width evenly"),
        axes.divides(
            "n_kv_heads", "n_heads", "each key head serves the same number of query heads"
        ),
        Rule(
            ("d_model",),
            lambda m: m["d_model"] % 2 == 0,
            "half of a position's numbers are cosines and half sines, so d_model must be even",
        ),
        Rule(
            ("codec_filters",),
            lambda m: m["codec_filters"] % 2 == 0,
            "a residual block halves the channels, so codec_filters must be even",
        ),
        Rule(
            ("text_heads", "text_width"),
            lambda m: not m["text_heads"] or m["text_width"] % m["text_heads"] == 0,
            "the heads share the text encoder's width evenly, so text_width must be a multiple of "
            "text_heads",
        ),
    )
    constants = {
        "sample_rate": (32_000, "the rate of MusicGen's codec"),
        **dict(zip(STRIDES, ((n, "as MusicGen's codec") for n in (4, 4, 5, 8)), strict=True)),
        "codec_lstm_layers": (2, "two layers, as EnCodec"),
        "n_codebooks": (4, "four, as MusicGen's codec"),
        **captions.CONSTANTS,
    }
    context_dim = "max_seq_len"
    embedding_modules = ("embed_tokens", "lm_heads")
    size_unit = "parameters of the decoder"
    arithmetic = "text"
    prompted = True
    # The proxy has about half a million parameters, and frames of a fiftieth of a second at 8 kHz.
    proxy_dims = {
        **{"stride_1": 8, "stride_2": 5, "stride_3": 2, "stride_4": 2},
        **{"codec_filters": 4, "codec_lstm_layers": 1, "codec_dim": 16},
        **{"n_codebooks": 4, "codebook_size": 64},
        **{"d_model": 128, "n_layers": 2, "n_heads": 4, "d_ff": 256},
        **{"text_length": 8, "text_width": 32, "text_layers": 1, "text_heads": 2},
    }

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return also that a spec without text as an input has no captions."""
        inputs = key("modality.inputs")
        silent = inputs is not None and "text" not in inputs
        return {**super().fixed(key), **(dict.fromkeys(TEXT, 0) if silent else {})}

    # What it is made of, and what it asks of its hardware.

    def parts(self, m: Dims) -> list[Part]:
        """Return the codec, which a pass over tokens does not use, and the rest."""
        idle = [part._replace(places=0) for part in encodec.layers(m)]
        return [*idle, *language_model(m, self.input_length(m))]

    def size(self, m: Dims) -> int:
        """Return the parameters of the decoder alone, which published counts are of."""
        return parts.count(transformer(m, 1))

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block, the logits, and the codec at the samples of a clip.

        A block holds the residual stream, its normalized copy, and the wider of attention (queries,
        keys, values and result) and the feed-forward layer (before and after GELU).
        """
        frames, d, f = self.input_length(m), int(m["d_model"]), int(m["d_ff"])
        places = frames + int(m["n_codebooks"]) - 1
        inner, entries = (
            max(2 * (d + key_width(m)), 2 * f),
            int(m["n_codebooks"] * m["codebook_size"]),
        )
        samples, width = frames * hop(m), encodec.HELD * int(m["codec_filters"])
        return [
            Peak(places * (2 * d + inner), f"block {places:,} positions x (2 x {d:,} + {inner:,})"),
            Peak(
                places * (d + 2 * entries),
                f"logits {places:,} positions x ({d:,} + 2 x {entries:,})",
            ),
            Peak(samples * width, f"codec {samples:,} samples x {width:,}"),
        ]

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what reading a clip and continuing it takes; memory is at the longest clip.

        A frame after P others takes two operations for each weight of the decoder that it meets,
        4d (P + 1) a layer for the past and 4dL for the caption, and its share of the codec's
        decoder. It reads the decoder's weights and the cache.
        """
        weights, window = self.weight_bytes(m), int(m["max_seq_len"])
        held = HALF * max(peak.numbers for peak in self.peaks(m))

        def after(past: int) -> Cost:
            flops = parts.flops([*transformer(m, 1, past), *encodec.decoder(m, 1)])
            cached = cache_bytes(m, past)
            return Cost(flops, HALF * self.size(m) + cached, cached).at_once(use.batch)

        return Demand(
            weights=weights,
            cache=use.batch * cache_bytes(m, window),
            activations=use.batch * held,
            first=Cost(self._reading(m, use), float(weights)).at_once(use.batch),
            next=after(self.input_length(m, use)),
            last=after(window),
            batch=use.batch,
            worth={"tok/s": float(m["n_codebooks"]), CLIP: 60 * hop(m) / m["sample_rate"]},
        )

    def _reading(self, m: Dims, use: Use) -> float:
        """Return the operations of the tokens of a clip and of its caption."""
        return parts.flops(language_model(m, self.input_length(m, use)))

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        text = f" + {m['text_length']:,} bytes of a caption" if m["text_length"] else ""
        at_once = f" x {use.batch} requests" if use.batch > 1 else ""
        return {
            **super().explained(m, parameters, use),
            "cache": f"2 x {m['n_layers']} layers x {key_width(m):,} x ({m['max_seq_len']:,} "
            f"frames + {m['n_codebooks'] - 1}{text}) x {HALF} bytes{at_once}",
        }

    def input_length(self, m: Dims, use: Use = ALONE) -> int:
        # The window is chosen last, and counts of parameters do not depend on it.
        return min(use.prompt or PROMPT, int(m.get("max_seq_len", PROMPT)))

    def training_length(self, m: Dims) -> int:
        """Return the frames of a training clip: training data is counted in clips."""
        return clip_frames(m)

    def lengths(self, full: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return a training clip; and a prompt, and parts of the window up to all of it."""
        window = full["model"]["max_seq_len"]
        shares = [max(1, window // n) for n in (64, 8, 1)]
        return self.training_length(full["model"]), [min(PROMPT, window), *shares]

    # The space around published models.

    def around(self, budget: int, levels: Mapping[str, float]) -> float:
        """Return the size of a decoder that leaves the codec and the captions their usual share."""
        codec = min(CODEC_SHARE * budget, codec_count(filters(budget)))
        return max(budget * (1 - captions.SHARE) - codec, budget / 4)

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        size = self.around(budget, trend.levels)
        depth, width = (trend.lines[name].at(size) for name in ("n_layers", "d_model"))
        widths = axes.near(width, axes.granule(width))

        def narrow(m: Dims) -> Iterable[int]:
            return self.within(budget, widths, lambda d: least({**m, "d_model": d}), 8)

        return (
            *self.usual(),
            Axis("codec_filters", lambda m: (filters(budget),)),
            Axis("codec_dim", lambda m: (int(2 * m["codec_filters"]),)),
            Axis("codebook_size", lambda m: (entries(width, budget),)),
            *captions.text_axes(budget),
            Axis("n_layers", lambda m: axes.depths_near(depth), grid=True),
            Axis("d_model", narrow, grid=True),
            Axis("n_heads", lambda m: axes.heads(m["d_model"], HEAD_DIMS)[:1]),
            SHARING,
            self.inner_axis(budget),
            Axis("max_seq_len", lambda m: (self._window(m, need),)),
        )

    def _window(self, m: Dims, need: Need) -> int:
        """Return the declared window, the published clip, or the largest within the limits."""
        if need.context != INFINITE or not need.limits:
            return int(need.context or CLIP_FRAMES) if need.context != INFINITE else CLIP_FRAMES

        def breaks(window: int) -> bool:
            return need.excess(self.demand({**m, "max_seq_len": window}, need.use)) > 0

        return CONTEXTS[max(0, bisect.bisect_left(CONTEXTS, True, key=breaks) - 1)]

    # Words, the scaled-down model and its variants.

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        codec, total = parts.count(encodec.layers(m)), self.count(m)
        frame = cache_bytes(m, 1) - cache_bytes(m, 0)
        share = m["n_heads"] / m["n_kv_heads"]
        text = (
            captions.text_reasons(m, total, need.budget)
            if m["text_length"]
            else dict.fromkeys(TEXT, "modality.inputs has no text")
        )
        return {
            **super().reasons(m, need, trend),
            **text,
            "codec_filters": f"the codec has {codec:,} parameters, {codec / total:.1%} of all; the "
            f"largest of {', '.join(map(str, FILTERS))} that takes no more than {CODEC_SHARE:.0%} "
            "of the budget, or the last",
            "codec_dim": "twice the channels at the sample rate, as MusicGen's codec",
            "codebook_size": f"the largest power of two up to MusicGen's {ENTRIES[0]:,} whose "
            f"tables take no more than {TABLE_SHARE:.0%} of the budget, or the smallest that is "
            "tried",
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"have {HEAD_DIMS[0]}",
            "n_kv_heads": f"{share:g} query heads share one; in MusicGen each has its own, and "
            f"fewer are taken where a limit requires it; a frame takes {frame:,} bytes of cache",
            "max_seq_len": self._window_reason(m, need),
        }

    def _window_reason(self, m: Dims, need: Need) -> str:
        seconds = f"{m['max_seq_len'] * hop(m) / m['sample_rate']:.4g} s"
        if need.context is None:
            return f"no context_window is declared: {seconds}, the clips of MusicGen"
        if need.context == INFINITE:
            return f"an infinite context is requested; {seconds} are the most within the limits"
        return f"context window of {need.context:,} frames, {seconds}"

    def proxy(self, m: Dims) -> dict[str, Value]:
        """Return a small model that shares key heads as the full one does, with captions or not."""
        small = super().proxy(m)
        heads = int(small["n_heads"])
        group = axes.divisor_near(heads, m["n_heads"] / m["n_kv_heads"])
        silent = {} if m["text_length"] else dict.fromkeys(TEXT, 0)
        return {**small, "n_kv_heads": heads // group, **silent}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("half the codebooks", "n_codebooks", max(1, int(m["n_codebooks"] // 2))),
            (
                "codebooks of half the entries",
                "codebook_size",
                max(2, int(m["codebook_size"] // 2)),
            ),
            ("one key head for all query heads", "n_kv_heads", 1),
            ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
            ("feed-forward layer of twice the width", "d_ff", 2 * m["d_model"]),
        )

    def figures(self, m: Dims) -> Figures:
        rate = m["sample_rate"] / hop(m)
        bits = m["n_codebooks"] * math.log2(m["codebook_size"])
        return {
            "codec_parameters": (parts.count(encodec.layers(m)), "parameters"),
            "decoder_parameters": (self.size(m), "parameters"),
            "frame_rate": (rate, "frames/s"),
            "codec_rate": (rate * bits, "bit/s"),
            "longest_clip": (m["max_seq_len"] / rate, "s"),
            **(captions.text_figures(m) if m["text_length"] else {}),
        }


def _shared(m: Dims) -> list[int]:
    """Return the numbers of key heads to try: one for each query head, then halves of it."""
    heads = int(m["n_heads"])
    groups = [2**n for n in range(MOST_SHARED.bit_length())]
    return [heads // group for group in groups if heads % group == 0]


SHARING = Axis(
    "n_kv_heads",
    _shared,
    lambda m, value: SHARING_PRICE * math.log2(m["n_heads"] / (value or 1)),
    lambda m: f"{m['n_kv_heads']} key/value heads",
)


def filters(budget: int) -> int:
    """Return the codec's channels at the sample rate: the most that take their share."""
    fitting = (n for n in FILTERS if codec_count(n) <= CODEC_SHARE * budget)
    return next(fitting, FILTERS[-1])


def codec_count(channels: int) -> int:
    """Return the parameters of a codec of the usual form with some channels, without codebooks."""
    usual = {name: value for name, (value, _) in MusicGen.constants.items()}
    m = {**usual, "codec_filters": channels, "codec_dim": 2 * channels}
    return parts.count([*encodec.encoder(m, 1), *encodec.decoder(m, 1)])


def entries(width: float, budget: int) -> int:
    """Return the entries of a codebook: the most whose token tables and heads take their share."""
    books = MusicGen.constants["n_codebooks"][0]
    fitting = (n for n in ENTRIES if 2 * books * n * width <= TABLE_SHARE * budget)
    return next(fitting, ENTRIES[-1])


def least(m: Dims) -> Dims:
    """Return a design with the narrowest feed-forward layer, to see what a width takes."""
    heads = axes.heads(m["d_model"], HEAD_DIMS)[0]
    return {**m, "n_heads": heads, "n_kv_heads": heads, "d_ff": axes.granule(m["d_model"])}


# The language model.


def key_width(m: Dims) -> int:
    """Return the width of all key heads together."""
    return int(m["n_kv_heads"] * m["d_model"] // m["n_heads"])


def transformer(m: Dims, places: int, past: int = 0) -> list[Part]:
    """Return the decoder for some positions: K tables, the blocks, the last norm and K heads.

    A block has 2d^2 + 2dg weights of attention to the past, as many to the caption, 2df of the
    feed-forward layer, and a norm before each. After others, it has read the caption.
    """
    d, f, g, p = int(m["d_model"]), int(m["d_ff"]), key_width(m), places
    books, size, length = m["n_codebooks"], m["codebook_size"], int(m["text_length"])
    block = [Part(2 * d * d + 2 * d * g + 2 * d * f, 4 * d, p, pairs=4 * p * (past + p) * d)]
    if length:
        block += [
            Part(2 * d * d, 2 * d, p, pairs=4 * p * length * d),
            Part(2 * d * g, places=0 if past else length),
        ]
    return [
        parts.table(size + 1, d) * books,
        *(part * m["n_layers"] for part in block),
        parts.norm(d),
        parts.linear(d, size, p, bias=False) * books,
    ]


def language_model(m: Dims, frames: int) -> list[Part]:
    """Return the decoder, and what makes a caption of bytes its input."""
    places = int(frames + m["n_codebooks"] - 1)
    if not m["text_length"]:
        return transformer(m, places)
    projection = parts.linear(m["text_width"], m["d_model"], m["text_length"])
    return [*captions.text_encoder(m), projection, *transformer(m, places)]


def cache_bytes(m: Dims, frames: int) -> int:
    """Return keys and values of the positions of so many frames, and of the caption, in bf16."""
    places = frames + int(m["n_codebooks"]) - 1 + int(m["text_length"])
    return int(2 * m["n_layers"] * key_width(m) * places * HALF)


FAMILY = MusicGen()
