"""Deployment formats of fewer bits: linear layers, and the store of a KV cache."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 64  # inputs of a row that share a scale


class QuantizedLinear(nn.Module):
    """A linear layer without bias whose weights are whole numbers of 8 or 4 bits times a scale.

    Symmetric round-to-nearest in groups (Dettmers & Zettlemoyer, 2023, arXiv:2212.09720, section
    2): w is about scale * n, with scale = max |w| of the group / 127, or / 7 at 4 bits.
    """

    numbers: Tensor  # (out, in) int8, or (out, ceil(in / 2)) uint8, two to a byte
    scales: Tensor  # (out, ceil(in / GROUP)) bf16

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        assert bits in (4, 8), f"a quantized weight takes 4 or 8 bits, not {bits}"
        self.bits, self.inputs = bits, weight.size(1)
        largest = 2 ** (bits - 1) - 1
        groups = [group.abs().amax(1) for group in torch.split(weight, GROUP, dim=1)]
        scales = (torch.stack(groups, dim=1) / largest).bfloat16()
        numbers = rounded(weight, self._spread(scales), largest)
        self.register_buffer("scales", scales)
        self.register_buffer("numbers", numbers if bits == 8 else pack(numbers))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        numbers = self.numbers if self.bits == 8 else unpack(self.numbers)[:, : self.inputs]
        return F.linear(x, numbers.to(x.dtype) * self._spread(self.scales.to(x.dtype)))

    def _spread(self, scales: Tensor) -> Tensor:
        """Repeat the scale of each group for its inputs: (out, groups) -> (out, in)."""
        return scales.repeat_interleave(GROUP, dim=1)[:, : self.inputs]


def rounded(x: Tensor, scales: Tensor, largest: int) -> Tensor:
    """Return x / scales as whole numbers from -largest to largest, int8; 0 where a scale is 0."""
    numbers = (x.float() / scales.float()).nan_to_num(0).round()
    return numbers.clamp(-largest, largest).to(torch.int8)


def pack(numbers: Tensor) -> Tensor:
    """Pack pairs of 4-bit numbers from -7 to 7: (out, in) int8 to (out, ceil(in / 2)) uint8."""
    shifted = F.pad(numbers + 8, (0, numbers.size(1) % 2)).to(torch.uint8)
    return shifted[:, ::2] | shifted[:, 1::2] << 4


def unpack(packed: Tensor) -> Tensor:
    """Return the numbers that `pack` packed: (out, n) uint8 -> (out, 2n) int8."""
    pairs = torch.stack((packed & 15, packed >> 4), dim=-1)
    return pairs.flatten(1).to(torch.int8) - 8


class Int8Store:
    """Replaces the tensor of a KV cache: int8 numbers, and a bf16 scale for each head.

    The scale is the head's largest magnitude / 127, so D numbers take D + 2 bytes.
    """

    def __init__(self, store: Tensor) -> None:
        self.dtype = store.dtype
        self.numbers = store.new_zeros(store.shape, dtype=torch.int8)  # (2, B, K, size, D)
        self.scales = store.new_zeros(*store.shape[:-1], 1, dtype=torch.bfloat16)

    def __setitem__(self, places: tuple[int | slice | Tensor, ...], heads: Tensor) -> None:
        scales = (heads.abs().amax(-1, keepdim=True) / 127).bfloat16()
        self.scales[places] = scales
        self.numbers[places] = rounded(heads, scales, 127)

    def __getitem__(self, places: tuple[int | slice | Tensor, ...]) -> Tensor:
        return self.numbers[places].to(self.dtype) * self.scales[places].to(self.dtype)


def quantize(model: nn.Module, bits: int) -> None:
    """Convert a model in place to its deployment format: bf16, and linear layers in fewer bits.

    Only the linear layers of its blocks, `model.layers`, become whole numbers; embeddings, the
    output layer and norms stay bf16, since they are small or sensitive.

    Args:
        model: A model with its blocks in `layers`.
        bits: 16 keeps bf16; 8 and 4 make each linear layer of a block a `QuantizedLinear`.
    """
    blocks = [] if bits == 16 else list(model.get_submodule("layers").modules())
    for block in blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(block, name, QuantizedLinear(layer.weight.detach(), bits))
    model.bfloat16()
