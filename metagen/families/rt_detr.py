"""RT-DETR, a detector that predicts a set of objects (Zhao et al., 2024, arXiv:2304.08069)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from metagen.families.axes import Axis, Rule, divides, floor_power, multiple, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value, dim
from metagen.families.parts import Part, conv_norm, encoder_block, linear, norm, table
from metagen.families.residual import DEPTHS, EXPANSION, depth_of, depths, halved
from metagen.families.segmentation_unet import most_within
from metagen.families.trend import Row, Trend
from metagen.tasks.object_detection import SetDetection

QUERIES = 300
LEVELS = 3  # maps at an eighth, a sixteenth and a thirty-second of the image's sides
HEAD = 32  # width of an attention head, in all published models
STEP = 8  # channels; tensor cores take multiples of 8 at full speed
# Designs above the largest published model keep its shape and grow in width: a trend of three
# backbones says nothing of much deeper ones.
LARGEST = 76_661_740
WIDEST = 2**13  # channels of the backbone's first stage that are tried
# All published models have the same inner width of the decoder, so that their own spread is near 0;
# a smaller one than this would forbid a width that takes what is left of the budget.
SPREAD = 0.3


class RTDETR(Family):
    """A ResNet, an encoder that mixes its maps, and a decoder of queries chosen from their pixels.

    Widths are multiples of the backbone's: the decoder's of four, as in all published models.
    """

    name = "rt_detr"
    kind = "set-predicting detector"
    task = SetDetection()
    arithmetic = "convolutions"
    convolutional = True
    components = (
        "transformer cnn backbone convolutional_backbone resnet encoder transformer_encoder "
        "hybrid_encoder decoder transformer_decoder object_queries queries bipartite_matching "
        "hungarian_matcher detection_head head deformable_attention"
    )
    traits = {
        "expansion": Trait("block", lambda m: EXPANSION if m["bottleneck"] else 1.0),
        **{name: depth_of(place) for place, name in enumerate(DEPTHS)},
        "width": dim("width", "d_model"),
        "n_layers": dim("n_layers", "decoder_layers"),
        "encoder": Trait("d_encoder / d_model", lambda m: m["d_encoder"] / m["width"]),
        "encoder_ff": Trait(
            "d_encoder_ff / d_encoder", lambda m: m["d_encoder_ff"] / m["d_encoder"]
        ),
        "fusion": Trait("d_fusion / d_encoder", lambda m: m["d_fusion"] / m["d_encoder"]),
        "d_ff": Trait("d_ff / d_query", lambda m: m["d_ff"] / m["d_model"]),
    }
    rules = (
        divides("n_heads", "d_model", "a head has a whole number of dimensions"),
        divides("n_heads", "d_encoder", "a head has a whole number of dimensions"),
        Rule(
            ("d_encoder",),
            lambda m: m["d_encoder"] % 4 == 0,
            "a position has sine and cosine of a row and a column, so d_encoder must be a multiple "
            "of 4",
        ),
        Rule(
            ("num_queries", "image_height", "image_width"),
            lambda m: m["num_queries"] <= sum(pixels(m)),
            "queries are chosen from the pixels of the maps, so num_queries is at most as many",
        ),
        Rule(("width",), lambda m: m["width"] % 2 == 0, "the stem begins with half of width"),
    )
    constants = {
        "fusion_blocks": (3, "as all published models"),
        "n_points": (4, "as all published models"),
        "num_denoising": (100, "as all published models"),
    }
    fixed_by = {"num_queries": "task.num_anchors"}
    proxy_dims = {
        "num_queries": 30,
        "width": 16,
        "bottleneck": False,
        **dict.fromkeys(DEPTHS, 1),
        "d_encoder": 32,
        "d_encoder_ff": 64,
        "d_fusion": 32,
        "fusion_blocks": 1,
        "d_model": 64,
        "d_ff": 128,
        "n_layers": 2,
        "n_heads": 4,
        "n_points": 2,
        "num_denoising": 10,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return every layer, in the order in which they run."""
        return [*backbone(m), *encoder(m), *selection(m), *decoder(m)]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the stem, the first block, the finest fusion and the selection of queries."""
        w, d, inner = int(m["width"]), int(m["d_encoder"]), int(m["d_fusion"])
        half, quarter = area(m, 1), area(m, 2)
        fine, *coarser = pixels(m)
        # The stem's last convolution holds its input of half the channels, its result and the
        # normalized copy; a block its input, its shortcut, the inner channels, and those two.
        stem = 5 * w // 2 * half
        channels = (3 * EXPANSION + 2) * w if m["bottleneck"] else 5 * w
        # The finest fusion holds both inputs and their union, four maps of a block, and all maps
        # that the backbone made.
        maps = sum(c * p for c, p in zip(map_channels(m), (fine, *coarser), strict=True))
        fused = (4 * d + 4 * inner) * fine + 2 * d * sum(coarser) + maps
        every, query = sum(pixels(m)), int(m["d_model"])
        chosen = (5 * query + int(m["num_classes"])) * every
        # A decoder layer holds what its queries read three times, and the pixels that they read.
        queries, places = int(m["num_queries"]), LEVELS * int(m["n_points"])
        asked = 2 * query + places * (3 * query + 8 * int(m["n_heads"]))
        layer = 3 * query * every + asked * queries
        return [
            Peak(stem, f"the stem, 2.5 x {w} x {half:,} numbers"),
            Peak(channels * quarter, f"the first block, {channels:,} x {quarter:,}"),
            Peak(fused, f"the finest fusion, (4 x {d} + 4 x {inner}) x {fine:,} beside other maps"),
            Peak(chosen, f"the choice of queries, (5 x {query} + {m['num_classes']}) x {every:,}"),
            Peak(layer, f"a decoder layer, 3 x {query} x {every:,} + {queries} x {asked:,}"),
        ]

    def rows(self, published: bytes) -> list[Row]:
        """Return the models of this form; others of the table predict sets otherwise."""
        return [row for row in super().rows(published) if row["arch"] == self.name]

    def size(self, m: Dims) -> int:
        return min(self.count(m), LARGEST)

    def around(self, budget: int, levels: Mapping[str, float]) -> float:
        return min(budget, LARGEST)

    def fit(self, published: bytes, budget: int) -> Trend:
        trend = super().fit(published, budget)
        low = min(float(row[self.size_column]) for row in self.rows(published))
        lines = {name: replace(line, low=low) for name, line in trend.lines.items()}
        lines["d_ff"] = replace(lines["d_ff"], spread=SPREAD)
        return replace(trend, lines=lines)

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget, size = need.budget, min(need.budget, LARGEST)
        at = {name: line.at(size) for name, line in trend.lines.items()}

        step, layers = max(1, floor_power(at["depth_3"]) // 4), round(at["n_layers"])

        def depth(name: str) -> Axis:
            return Axis(name, lambda m: (max(1, round(at[name])),))

        return (
            *self.usual(),
            Axis("num_queries", lambda m: (min(QUERIES, sum(pixels(m))),)),
            Axis("bottleneck", lambda m: (at["expansion"] > EXPANSION / 2,)),
            *map(depth, ("depth_1", "depth_2", "depth_4")),
            Axis("depth_3", lambda m: near(at["depth_3"], step), grid=True),
            Axis("n_layers", lambda m: range(max(1, layers - 1), layers + 2), grid=True),
            Axis("width", lambda m: self._widths(m, budget, at), grid=True),
            Axis("d_encoder", lambda m: encoders(m, at), grid=True),
            Axis("d_encoder_ff", lambda m: (round(at["encoder_ff"]) * m["d_encoder"],)),
            Axis("d_fusion", lambda m: (m["d_encoder"], max(1, m["d_encoder"] // 2)), grid=True),
            Axis("d_model", lambda m: (EXPANSION * m["width"],)),
            Axis("n_heads", lambda m: (common_heads(m),)),
            Axis("d_ff", lambda m: (self._inner(m, budget),), fills=True),
        )

    def _widths(self, m: Dims, budget: int, at: Mapping[str, float]) -> list[int]:
        """Return the width with which a design of the usual ratios fits, and its neighbours."""

        def count(width: int) -> int:
            d, wide = round(at["encoder"]) * width, EXPANSION * width
            fused, inner = int(min(1, at["fusion"]) * d), round(at["encoder_ff"]) * d
            design = {**m, "width": width, "d_encoder": d, "d_fusion": fused, "d_model": wide}
            design |= {"d_encoder_ff": inner, "d_ff": 4 * wide, "n_heads": 1}
            return self.count(design)

        most = most_within(range(2, WIDEST, 2), count, budget)
        step = max(2, min(STEP, floor_power(most) // 8), floor_power(most) // 16)
        down = max(step, most // step * step)
        return sorted({max(2, down - step), down, down + step})

    def _inner(self, m: Dims, budget: int) -> int:
        return self.fill(m, "d_ff", max(1, min(STEP, int(m["d_model"]) // 8)), budget)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        heads = f"heads of {int(m['d_model'] / m['n_heads'])} dimensions; published models have "
        line = trend.lines
        size, unit = self.size(m), self.size_unit
        return {
            "num_queries": f"the {QUERIES} of published models, or all pixels of small maps",
            **super().reasons(m, need, trend),
            "bottleneck": f"growth of a block's channels: {line['expansion'].reason(size, unit)}",
            "d_model": f"{EXPANSION} x width, as all published models",
            "d_encoder": f"ratio to width: {line['encoder'].reason(size, unit)}",
            "d_encoder_ff": f"ratio to d_encoder: {line['encoder_ff'].reason(size, unit)}",
            "d_fusion": f"ratio to d_encoder: {line['fusion'].reason(size, unit)}",
            "n_heads": f"{heads}{HEAD}",
            "d_ff": "the most within the parameter count; published models have 4 x d_model",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("half the decoder layers", "n_layers", max(1, m["n_layers"] // 2)),
            ("half the queries", "num_queries", max(1, m["num_queries"] // 2)),
            ("no noisy queries in training", "num_denoising", 0),
            ("half the channels within a fusion", "d_fusion", max(1, m["d_fusion"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "depths": (", ".join(map(str, depths(m))), ""),
            "maps": (", ".join(f"{each:,}" for each in pixels(m)), ""),
            "pixels": (sum(pixels(m)), ""),
            "read": (int(LEVELS * m["n_points"]), ""),
            "convolutions": (3 if m["bottleneck"] else 2, ""),
        }


def area(m: Dims, halvings: int) -> int:
    """Return the pixels of a map whose sides are halved a number of times, each rounded up."""
    height, width = m["image_height"], m["image_width"]
    for _ in range(halvings):
        height, width = halved(height), halved(width)
    return int(height * width)


def pixels(m: Dims) -> list[int]:
    """Return the pixels of the three maps, the finest first."""
    return [area(m, halvings) for halvings in (3, 4, 5)]


def map_channels(m: Dims) -> list[int]:
    """Return the channels of the backbone's last three stages."""
    outputs = EXPANSION if m["bottleneck"] else 1
    return [int(m["width"]) * 2**stage * outputs for stage in (1, 2, 3)]


def backbone(m: Dims) -> Iterator[Part]:
    """Yield the stem's three convolutions, and the blocks of four stages."""
    w, half, first = int(m["width"]), int(m["width"]) // 2, area(m, 1)
    for inputs, outputs in ((m["num_channels"], half), (half, half), (half, w)):
        yield conv_norm(inputs, outputs, 3, first)
    inputs, before = w, area(m, 2)
    for stage, depth in enumerate(depths(m)):
        inner, places = w * 2**stage, area(m, 2 + stage)
        outputs = inner * (EXPANSION if m["bottleneck"] else 1)
        yield conv_norm(inputs, outputs, 1, places)  # the shortcut
        if m["bottleneck"]:
            yield conv_norm(inputs, inner, 1, before)
            yield conv_norm(outputs, inner, 1, places) * (depth - 1)
            yield conv_norm(inner, inner, 3, places) * depth
            yield conv_norm(inner, outputs, 1, places) * depth
        else:
            yield conv_norm(inputs, inner, 3, places)
            yield conv_norm(inner, inner, 3, places) * (2 * depth - 1)
        inputs, before = outputs, places


def encoder(m: Dims) -> Iterator[Part]:
    """Yield the convolutions before, within and after the hybrid encoder, and its attention."""
    d, (fine, middle, coarse) = int(m["d_encoder"]), pixels(m)
    for channels, places in zip(map_channels(m), pixels(m), strict=True):
        yield conv_norm(channels, d, 1, places)
        yield conv_norm(d, m["d_model"], 1, places)
    yield encoder_block(d, m["d_encoder_ff"], coarse)
    for places in (coarse, middle):
        yield conv_norm(d, d, 1, places)
        yield conv_norm(d, d, 3, places)
    for places in (middle, fine, middle, coarse):
        yield from fusion(m, places)


def fusion(m: Dims, places: int) -> Iterator[Part]:
    """Yield the convolutions that make one map of two."""
    d, inner, blocks = int(m["d_encoder"]), int(m["d_fusion"]), int(m["fusion_blocks"])
    yield conv_norm(2 * d, inner, 1, places) * 2
    yield conv_norm(inner, inner, 3, places) * blocks
    yield conv_norm(inner, inner, 1, places) * blocks
    if inner != d:
        yield conv_norm(inner, d, 1, places)


def selection(m: Dims) -> Iterator[Part]:
    """Yield the layers that see each pixel, and the table of classes for noisy queries."""
    d, classes, places = int(m["d_model"]), int(m["num_classes"]), sum(pixels(m))
    yield table(classes + 1, d)
    yield linear(d, d, places)
    yield norm(d)
    yield linear(d, classes, places)
    yield from box_head(d, places)


def box_head(d: int, places: int) -> Iterator[Part]:
    """Yield an MLP that gives the four numbers of a box."""
    yield linear(d, d, places) * 2
    yield linear(d, 4, places)


def decoder(m: Dims) -> Iterator[Part]:
    """Yield the layers of the decoder with their heads, and what turns boxes into positions."""
    d, layers, queries = int(m["d_model"]), int(m["n_layers"]), int(m["num_queries"])
    # The MLP of positions is shared by all layers.
    yield linear(4, 2 * d, layers * queries)
    yield linear(2 * d, d, layers * queries)
    read = int(m["n_heads"] * LEVELS * m["n_points"])
    layer = [
        encoder_block(d, m["d_ff"], queries),
        linear(d, 2 * read, queries),
        linear(d, read, queries),
        linear(d, d, sum(pixels(m))),
        linear(d, d, queries),
        norm(d),
        linear(d, m["num_classes"], queries),
        *box_head(d, queries),
    ]
    for part in layer:
        yield part * layers


def encoders(m: Dims, at: Mapping[str, float]) -> list[int]:
    """Return multiples of the width around the trend's ratio, in whole heads."""
    return [2 * half * int(m["width"]) for half in near(at["encoder"] / 2, 1)]


def common_heads(m: Dims) -> int:
    """Return how many heads of about the published width divide both widths."""
    wanted = multiple(m["d_model"] / HEAD, 1)
    both = (m["d_model"], m["d_encoder"])
    return next(n for n in range(wanted, 0, -1) if not any(width % n for width in both))


FAMILY = RTDETR()
