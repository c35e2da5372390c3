"""Linear layers of 8 and 4 bits, whose products are operators of torch.

The operators read whole numbers as they are, so a pass over a model reads half or a quarter of the
bytes. Each device packs 4 bits in its own order, so a layer is made where it will compute.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOADED = 16  # inputs of a row that the CPU's product of 8 bits loads at once
GROUP = 128  # inputs of a row that share a step and a zero at 4 bits
TILE = 16  # rows that the CPU's product of 4 bits computes at once


class Int8Linear(nn.Module):
    """A linear layer without bias whose weights are whole numbers of 8 bits times a scale a row.

    Symmetric round-to-nearest (Dettmers et al., 2022, arXiv:2208.07339, section 2.1): w is about
    scale * n, with scale = max |w| of the row / 127.
    """

    numbers: Tensor  # (out, in rounded up to a multiple of 16) int8
    scales: Tensor  # (out) bf16

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scales = (weight.abs().amax(1) / 127).bfloat16()
        numbers = rounded(weight, scales[:, None], 127)
        self.register_buffer("numbers", F.pad(numbers, (0, -weight.size(1) % LOADED)))
        self.register_buffer("scales", scales)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out), in bf16."""
        rows = widened(x.flatten(0, -2), self.numbers.size(1))
        if x.device.type == "cpu":
            y: Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.numbers, self.scales)
        else:  # torch.compile makes this one kernel; its own GPU kernel has a thread an output.
            y = F.linear(rows, self.numbers.to(x.dtype)) * self.scales
        return y.view(*x.shape[:-1], -1)


class Int4Linear(nn.Module):
    """A linear layer without bias whose weights are whole numbers of 4 bits in groups.

    Asymmetric round-to-nearest in groups (Dettmers & Zettlemoyer, 2023, arXiv:2212.09720, section
    2): w is about step * (n - 8) + zero, with step = (largest - smallest w of the group) / 15.
    """

    numbers: Tensor  # two numbers to a byte, in the order of the device's product
    scales: Tensor  # (groups, out rounded up to a multiple of 16, 2) bf16: step and zero

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.outputs = weight.size(0)
        whole = F.pad(weight, (0, -weight.size(1) % GROUP, 0, -self.outputs % TILE))
        groups = whole.float().view(whole.size(0), -1, GROUP)  # (out, groups, GROUP)
        low, high = groups.aminmax(dim=-1)
        steps = ((high - low) / 15).bfloat16()
        zeros = (low + 8 * steps).bfloat16()
        numbers = 8 + rounded(groups - zeros[..., None], steps[..., None], 8).clamp(max=7)
        self.register_buffer("numbers", packed(numbers.flatten(1)))
        self.register_buffer("scales", torch.stack((steps, zeros), -1).transpose(0, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out), in bf16."""
        rows = widened(x.flatten(0, -2), self.scales.size(0) * GROUP)
        ops = torch.ops.aten
        product = (
            ops._weight_int4pack_mm_for_cpu if x.device.type == "cpu" else ops._weight_int4pack_mm
        )
        y: Tensor = product(rows, self.numbers, GROUP, self.scales)[:, : self.outputs]
        return y.reshape(*x.shape[:-1], -1)


def widened(x: Tensor, width: int) -> Tensor:
    """Fill rows with zeros up to a width, as the weights are: (N, in) to (N, width)."""
    return x if x.size(1) == width else F.pad(x, (0, width - x.size(1)))


def rounded(x: Tensor, scales: Tensor, largest: int) -> Tensor:
    """Return x / scales as whole numbers from -largest to largest, int8; 0 where a scale is 0."""
    numbers = (x.float() / scales.float()).nan_to_num(0).round()
    return numbers.clamp(-largest, largest).to(torch.int8)


def packed(numbers: Tensor) -> Tensor:
    """Pack numbers from 0 to 15, (out, in) int8, as their device's product of 4 bits reads them."""
    if numbers.device.type == "cpu":
        tiles: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers.int(), 1)
        return tiles
    pairs = (numbers[:, ::2] << 4 | numbers[:, 1::2]).to(torch.uint8)
    tiles = torch.ops.aten._convert_weight_to_int4pack(pairs, 8)  # tiles of 16 inputs to a thread
    return tiles


def share(weight: Tensor) -> tuple[Tensor, bool]:
    """Return a process's share of a weight, and whether it has a share of each row's inputs."""
    from torch.distributed.tensor import DTensor

    if not isinstance(weight, DTensor):
        return weight, False
    return weight.to_local(), weight.placements[0].is_shard(1)


def added(layer: nn.Module, inputs: object, part: Tensor) -> Tensor:
    """Return the sum of all processes' parts of a layer's output, as a hook of the layer."""
    part = part.contiguous()
    torch.distributed.all_reduce(part)
    return part


def quantize(
    model: nn.Module, bits: int, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Convert a model in place to its deployment format, with its linear layers in fewer bits.

    Only the linear layers of its blocks, `model.layers`, become whole numbers; embeddings, the
    output layer and norms keep `dtype`, since they are small or sensitive.

    Args:
        model: A model with its blocks in `layers`.
        bits: 16 keeps `dtype`; 8 and 4 make each linear layer of a block one of whole numbers.
        device: Where the model will compute; it moves there layer by layer.
        dtype: Format of the other weights; products of whole numbers need bf16.
    """
    assert bits in (16, 8, 4), f"a weight takes 16, 8 or 4 bits, not {bits}"
    kind = Int8Linear if bits == 8 else Int4Linear
    blocks = [] if bits == 16 else list(model.get_submodule("layers").modules())
    for block in blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                weight, adds = share(layer.weight.detach())
                setattr(block, name, kind(weight.to(device)))
                if adds:
                    getattr(block, name).register_forward_hook(added)
    model.to(dtype).to(device)
