"""YOLOX: published counts, an assignment and a loss written out, and suppression by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.detection_settings import MODEL, TINY, Modules
from helpers.family_code import modules_of, published, write_code
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from metagen.families.trend import rows
from metagen.families.yolox import FAMILY as yolox


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), yolox, TINY)) as modules:
        yield modules


def dims(row: dict[str, str]) -> dict[str, Any]:
    side = int(row["image_size"])
    return {
        **{"image_height": side, "image_width": side, "num_channels": 3, "num_classes": 80},
        **{"width": int(row["d_model"]), "depth": int(row["n_layers"])},
        **{"head_channels": int(row["head_channels"]), "depthwise": row["depthwise"] == "1"},
    }


def test_published_dimensions_give_published_counts_and_operations(code: Modules) -> None:
    table = rows(published(yolox))
    assert len(table) >= 6
    for row in table:
        m = dims(row)
        assert yolox.count(m) == int(row["params_exact"]), row["model"]
        figure = row["params_published"].removesuffix("M")
        digits = len(figure.partition(".")[2])
        assert f"{yolox.count(m) / 1e6:.{digits}f}" == figure, row["model"]
        # The authors' counter adds biases and activations, which are a few percent in Nano alone.
        operations = yolox.demand(m).first.flops / 1e9
        assert operations == pytest.approx(float(row["flops_published_g"]), rel=0.04), row["model"]


@pytest.mark.parametrize("model", ["YOLOX-Nano", "YOLOX-S"])
def test_torch_counts_what_the_closed_form_does(code: Modules, model: str) -> None:
    (row,) = (row for row in rows(published(yolox)) if row["model"] == model)
    m = dims(row)
    with torch.device("meta"):
        network = code["model"].Model(code["model"].Config(**m))
        images = torch.zeros(1, 3, m["image_height"], m["image_width"])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    assert network.num_params() == int(row["params_exact"])
    assert counter.get_total_flops() == yolox.demand(m).first.flops


# The network, written out over its tensors


class Written:
    """The forward pass of a network in training, as functions of its tensors by name."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def has(self, name: str) -> bool:
        return any(each.startswith(f"{name}.") for each in self.tensors)

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Convolve, normalize over the batch, and weigh by the logistic function."""
        if self.has(f"{name}.0"):
            return self.conv(f"{name}.1", self.conv(f"{name}.0", x, stride))
        kernel = self.tensors[f"{name}.conv.weight"]
        groups = x.size(1) // kernel.size(1)
        x = F.conv2d(x, kernel, None, stride, kernel.size(-1) // 2, groups=groups)
        mean, spread = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        gain = self.tensors[f"{name}.bn.weight"] / (spread + 1e-3).sqrt()
        x = (x - mean[:, None, None]) * gain[:, None, None]
        x = x + self.tensors[f"{name}.bn.bias"][:, None, None]
        return x * torch.sigmoid(x)

    def csp(self, name: str, x: Tensor, *, add: bool) -> Tensor:
        side, inner = self.conv(f"{name}.conv2", x), self.conv(f"{name}.conv1", x)
        for n in itertools.takewhile(lambda n: self.has(f"{name}.m.{n}"), itertools.count()):
            block = f"{name}.m.{n}"
            new = self.conv(f"{block}.conv2", self.conv(f"{block}.conv1", inner))
            inner = inner + new if add else new
        return self.conv(f"{name}.conv3", torch.cat([inner, side], 1))

    def features(self, images: Tensor) -> list[Tensor]:
        # Squares of 2 x 2 pixels: upper left, lower left, upper right, lower right.
        squares = F.pixel_unshuffle(images, 2).unflatten(1, (-1, 4))
        x = squares[:, :, [0, 2, 1, 3]].transpose(1, 2).flatten(1, 2)
        x, found = self.conv("backbone.stem", x), []
        for stage in range(4):
            place = f"backbone.stages.{stage}"
            x = self.conv(f"{place}.0", x, 2)
            if stage == 3:
                x = self.conv(f"{place}.1.conv1", x)
                pools = [
                    F.max_pool2d(F.pad(x, [p] * 4, value=-math.inf), 2 * p + 1, 1)
                    for p in (2, 4, 6)
                ]
                x = self.conv(f"{place}.1.conv2", torch.cat([x, *pools], 1))
            x = self.csp(f"{place}.{2 if stage == 3 else 1}", x, add=stage < 3)
            found.append(x)
        return found[1:]

    def joined(self, images: Tensor) -> list[Tensor]:
        def doubled(x: Tensor) -> Tensor:
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

        fine, middle, coarse = self.features(images)
        top = self.conv("neck.lateral_conv0", coarse)
        x = self.csp("neck.C3_p4", torch.cat([doubled(top), middle], 1), add=False)
        side = self.conv("neck.reduce_conv1", x)
        one = self.csp("neck.C3_p3", torch.cat([doubled(side), fine], 1), add=False)
        two = torch.cat([self.conv("neck.bu_conv2", one, 2), side], 1)
        two = self.csp("neck.C3_n3", two, add=False)
        three = torch.cat([self.conv("neck.bu_conv1", two, 2), top], 1)
        return [one, two, self.csp("neck.C3_n4", three, add=False)]

    def predictions(self, images: Tensor) -> Tensor:
        every = []
        for n, x in enumerate(self.joined(images)):
            x = self.conv(f"heads.{n}.stem", x)
            for kind in ("cls", "reg"):
                branch = f"heads.{n}.{kind}_convs"
                features = self.conv(f"{branch}.1", self.conv(f"{branch}.0", x))
                for output in ("cls",) if kind == "cls" else ("reg", "obj"):
                    weight, bias = (
                        self.tensors[f"heads.{n}.{output}_preds.{part}"]
                        for part in ("weight", "bias")
                    )
                    every.append((n, output, F.conv2d(features, weight, bias)))
        return self.placed(every)

    def placed(self, every: list[tuple[int, str, Tensor]]) -> Tensor:
        """Return the boxes, objects and classes of each place, row by row of each grid."""
        outputs = {(n, kind): values for n, kind, values in every}
        places = []
        for n in range(3):
            boxes, stride = outputs[n, "reg"], 8 * 2**n
            for y, x in itertools.product(*map(range, boxes.shape[2:])):
                tx, ty, tw, th = boxes[:, :, y, x].unbind(1)
                cx, cy, w, h = (
                    (x + tx) * stride,
                    (y + ty) * stride,
                    tw.exp() * stride,
                    th.exp() * stride,
                )
                sides = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)
                rest = [outputs[n, kind][:, :, y, x] for kind in ("obj", "cls")]
                places.append(torch.cat([sides, *rest], 1))
        return torch.stack(places, 1)


@pytest.mark.parametrize("changed", [{}, {"depthwise": True, "depth": 2, "num_channels": 3}])
def test_outputs_and_gradients_are_those_of_the_network_written_out(
    code: Modules, changed: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**{**MODEL, **changed})).double()
    images = torch.randn(2, model.config.num_channels, 32, 64).double()
    own = model(images).double()  # Predictions are in float32, whatever the weights are in.
    tensors = {name: each.detach().requires_grad_() for name, each in model.named_parameters()}
    other = Written(tensors).predictions(images)
    torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)
    weights = torch.randn(own.shape).double()
    (own * weights).sum().backward()
    (other * weights).sum().backward()
    for name, each in model.named_parameters():
        torch.testing.assert_close(each.grad, tensors[name].grad, rtol=1e-3, atol=1e-3)


# Assignment and loss, written out


def overlap(one: list[float], two: list[float]) -> float:
    wide = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    high = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1]) for b in (one, two)]
    return wide * high / max(sum(areas) - wide * high, 1e-7)


def bce(chance: float, target: float) -> float:
    logs = (max(-100.0, math.log(p)) if p > 0 else -100.0 for p in (chance, 1 - chance))
    yes, no = logs
    return -(target * yes + (1 - target) * no)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def assigned(
    rows: list[list[float]], objects: list[tuple[list[float], int]], grid: list[tuple[float, ...]]
) -> dict[int, tuple[int, float]]:
    """Return the object of each assigned place of one image and their IoU, by SimOTA in loops.

    `rows` are predictions, `grid` column, row and stride of each place.
    """
    inside, near, costs, shares = {}, {}, {}, {}
    for (g, (box, label)), (a, (x, y, stride)) in itertools.product(
        enumerate(objects), enumerate(grid)
    ):
        px, py = (x + 0.5) * stride, (y + 0.5) * stride
        inside[g, a] = box[0] < px < box[2] and box[1] < py < box[3]
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        near[g, a] = abs(px - cx) < 2.5 * stride and abs(py - cy) < 2.5 * stride
        shares[g, a] = overlap(box, rows[a][:4])
        costs[g, a] = -3 * math.log(shares[g, a] + 1e-8)
        for k, logit in enumerate(rows[a][5:]):
            chance = math.sqrt(sigmoid(logit) * sigmoid(rows[a][4]))
            costs[g, a] += bce(chance, float(k == label))
        costs[g, a] += 0 if inside[g, a] and near[g, a] else 1e5
    count = range(len(objects))
    open_ = [a for a in range(len(grid)) if any(inside[g, a] or near[g, a] for g in count)]
    takers: dict[int, list[int]] = {}
    for g in count:
        best = sorted((shares[g, a] for a in open_), reverse=True)[:10]
        for a in sorted(open_, key=lambda a: costs[g, a])[: max(1, int(sum(best)))]:
            takers.setdefault(a, []).append(g)
    chosen = {}
    for a, each in takers.items():
        g = each[0] if len(each) == 1 else min(count, key=lambda g: costs[g, a])
        chosen[a] = g, shares[g, a]
    return chosen


def crowded(code: Modules) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Return a network, predictions near objects, and objects of which some overlap."""
    torch.manual_seed(3)
    model = code["model"].Model(code["model"].Config(**MODEL))
    places, strides = model.grids(torch.device("cpu"))
    boxes = torch.tensor(
        [
            [[4.0, 3, 20, 25], [8, 6, 30, 28], [40, 2, 60, 30], [41, 4, 50, 12]],
            [[0.0, 0, 63, 31], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    )
    classes = torch.tensor([[0, 2, 1, 2], [1, -1, -1, -1], [-1, -1, -1, -1]])
    centres = (places + 0.5) * strides + 3 * torch.randn(3, len(places), 2)
    sizes = 10 + 12 * torch.rand(3, len(places), 2)
    logits = torch.randn(3, len(places), 4)
    sides = torch.cat([centres - sizes / 2, centres + sizes / 2, logits], -1)
    return model, sides, boxes, classes


def test_the_assignment_and_the_loss_are_those_written_out(code: Modules) -> None:
    model, predictions, boxes, classes = crowded(code)
    places, strides = model.grids(torch.device("cpu"))
    grid = [tuple(each) for each in torch.cat([places, strides], 1).tolist()]
    own, _ = code["model"].assign(predictions, boxes, classes, places, strides)
    total, count = 0.0, 0
    for image, rows_ in enumerate(predictions.tolist()):
        pairs = zip(boxes[image].tolist(), classes[image].tolist(), strict=True)
        expected = assigned(rows_, [(b, c) for b, c in pairs if c >= 0], grid)
        found = {a: g for a, g in enumerate(own[image].tolist()) if g >= 0}
        assert found == {a: g for a, (g, _) in expected.items()}
        count += len(expected)
        for a, row in enumerate(rows_):
            total += bce(sigmoid(row[4]), float(a in expected))
            if a in expected:
                g, share = expected[a]
                total += 5 * (1 - share**2)
                label = int(classes[image, g])
                total += sum(bce(sigmoid(z), share * (k == label)) for k, z in enumerate(row[5:]))
    assert count > 8
    loss, targets = model.loss(predictions, boxes, classes)
    assert int(targets) == count
    assert float(loss) == pytest.approx(total / count, rel=1e-5)


def test_an_image_without_objects_has_a_loss_of_its_background_alone(code: Modules) -> None:
    model, predictions, boxes, classes = crowded(code)
    loss, targets = model.loss(predictions[2:], boxes[2:], classes[2:])
    assert int(targets) == 1
    expected = sum(bce(sigmoid(o), 0.0) for o in predictions[2, :, 4].tolist())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_class_keeps_its_surest_box_and_each_other_class_its_own(code: Modules) -> None:
    model, predictions, _, _ = crowded(code)
    quiet = torch.full_like(predictions[:1], -20.0)
    quiet[..., :4] = torch.tensor([0.0, 0, 9, 9])
    rows_ = {
        0: ([10.0, 10, 20, 20], 4.0, [9.0, -9, -9]),
        1: ([10.0, 10, 20, 21], 3.0, [9.0, -9, -9]),  # the same object, less sure
        2: ([10.0, 10, 20, 20], 2.0, [-9.0, 9, -9]),  # of another class
        3: ([15.0, 10, 25, 20], 1.0, [9.0, -9, -9]),  # overlaps by a third
        4: ([-5.0, 30, 10, 99], 0.5, [9.0, -9, -9]),  # reaches out of the image
    }
    for place, (box, chance, logits) in rows_.items():
        quiet[0, place] = torch.tensor([*box, chance, *logits])
    (found,) = model.detections(quiet, 0.1, 100)
    assert found.boxes.tolist() == [
        [10, 10, 20, 20],
        [10, 10, 20, 20],
        [15, 10, 25, 20],
        [0, 30, 10, 32],
    ]
    assert found.classes.tolist() == [0, 1, 0, 0]
    assert found.scores.tolist() == pytest.approx([sigmoid(s) * sigmoid(9) for s in (4, 2, 1, 0.5)])
    (two,) = model.detections(quiet, 0.1, 2)
    assert len(two.scores) == 2
