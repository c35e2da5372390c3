"""The part of the probe that imports torch: counts and traces a generated model.

`python -m metagen.measure.probe_worker FAMILY` in a folder that holds `code/model.py` and
`sizes.json` writes `probe.json`; with `code/train.py` and what that imports, the operations of an
update are counted too. Tensors are on the meta device, so a model of any size costs no
memory. An exception of the model's code is written as `error`, with its line.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import logging
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from metagen import families
from metagen.families.family import Family

MODEL, TRAIN = "code/model.py", Path("code/train.py")
GRAPH_DEPTH = 3  # `layers.0.self_attn` is shown, the projections in it are not
# Operators whose multiply-adds fvcore counts as one; it counts operations of all others.
MULTIPLY_ADDS = frozenset({"linear", "matmul", "bmm", "addmm", "conv", "einsum", "attention"})
ADDITIONS = frozenset({"add", "__add__", "__radd__", "add_", "__iadd__"})
MOST_STEPS = 4000  # operations from an addition back to the tensor that goes round modules
STORED = {  # the names of formats in a .safetensors file
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
# The names of operators in torch's own counter, and their names in fvcore.
OPERATORS = {"mm": "linear", "addmm": "linear", "bmm": "attention", "convolution": "conv"}


def main(family: str) -> None:
    """Probe the model in the current folder and write `probe.json`."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        result = probe(families.named(family))
    except Exception as error:
        result = {"error": _described(error)}
    Path("probe.json").write_text(json.dumps(result))


def probe(family: Family) -> dict[str, Any]:
    """Return counts, the graph and FLOPs of `Model(Config())`, and the count of the proxy."""
    module = _load(Path(MODEL))
    sizes = json.loads(Path("sizes.json").read_text())
    config = module.Config()
    full = {**sizes["full"], "model": dataclasses.asdict(config)}
    measured, curve = family.lengths(full)
    with torch.device("meta"):
        model = module.Model(config).eval()
        proxy = module.Model(module.Config(**sizes["proxy"]["model"]))
        inputs = {each: _inputs(family, full["model"], each) for each in {measured, *curve}}
        return {
            **_counts(model),
            "proxy_total": _count(proxy),
            "tensors": _tensors(model),
            "graph": {
                "config": full["model"],
                "operations": _operations(model, inputs[measured]),
                **_graph(model, inputs[measured]),
            },
            "measured": measured,
            "tool": "torch.utils.flop_counter" if _by_torch(model) else "fvcore",
            "by_operator": {str(each): _flops(model, inputs[each]) for each in sorted(inputs)},
            **({"update": _update(model)} if TRAIN.is_file() else {}),
        }


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model"] = module  # Dataclasses look up annotations there.
    spec.loader.exec_module(module)
    return module


def _inputs(family: Family, dims: dict[str, Any], length: int) -> tuple[torch.Tensor, ...]:
    return tuple(
        torch.empty(each["shape"], dtype=getattr(torch, each["dtype"]))
        for each in family.example(dims, length)
    )


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())  # parameters() names a shared one once


def _counts(model: nn.Module) -> dict[str, Any]:
    """Return the counts of the model, of its modules, and of the parts of one repeated layer."""
    seen: set[int] = set()
    by_module = {name: _new(child, seen) for name, child in model.named_children()}
    # A parameter of the model's own, such as a temperature, stands for itself.
    own = model.named_parameters(recurse=False)
    by_module |= {name: p.numel() for name, p in own if id(p) not in seen}
    stacks = [child for child in model.children() if isinstance(child, nn.ModuleList)]
    return {
        "total": _count(model),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "by_module": by_module,
        "by_layer": _by_layer(stacks[0]) if stacks else {},
    }


def _tensors(model: nn.Module) -> dict[str, Any]:
    """Return the tensors of a checkpoint, by the names that it has in a file.

    Beside the parameters, a checkpoint holds buffers and further names of a shared parameter.
    """
    name_of = model.checkpoint_name
    scalars = {name_of(name) for name in getattr(model, "scalars", ())}  # type: ignore[operator]
    own = {name_of(name) for name, _ in model.named_parameters()}  # type: ignore[operator]
    texts = {name_of(n): _stored(t) for n, t in model.state_dict().items()}  # type: ignore[operator]
    texts |= {name: texts[name].partition(" ")[0] for name in scalars}
    return {
        "parameters": {name: text for name, text in texts.items() if name in own},
        "others": {name: text for name, text in texts.items() if name not in own},
        "spare": list(getattr(model, "spare", ())),
    }


def _stored(tensor: torch.Tensor) -> str:
    """Return the format and the shape of a tensor, such as `F32 64x32`; `F32` is one number."""
    return " ".join(filter(None, (STORED[tensor.dtype], "x".join(map(str, tensor.shape)))))


def _new(module: nn.Module, seen: set[int]) -> int:
    """Count the parameters that no earlier module shares, and add them to `seen`."""
    fresh = [p for p in module.parameters() if id(p) not in seen]
    seen.update(map(id, fresh))
    return sum(p.numel() for p in fresh)


def _by_layer(stack: nn.ModuleList) -> dict[str, int]:
    """Return the counts of a layer's parts; empty if layers differ in them."""
    layers = [_by_part(layer) for layer in stack]
    return layers[0] if layers and all(each == layers[0] for each in layers) else {}


def _by_part(layer: nn.Module) -> dict[str, int]:
    parts: Counter[str] = Counter()
    for name, child in layer.named_children():
        parts["norms" if "norm" in name else name] += _count(child)
    return dict(parts)


class Dispatches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that PyTorch runs one by one, without those that only name a view."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def _operations(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """Return how many operators one call of the model starts."""
    counter = Dispatches()
    with torch.inference_mode(), counter:
        model(*inputs)
    return counter.count


def _graph(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """Return the modules that ran, the order of the innermost ones, and what additions go round."""
    shapes: dict[str, list[int]] = {}
    every = dict(model.named_modules())
    # A module of a list is as deep as the list, which does not run itself.
    listed = [name for name in every if isinstance(every[_parent(name)], nn.ModuleList)]
    depths = {name: name.count(".") - (name in listed) for name in every}
    shown = {n: m for n, m in every.items() if n and depths[n] < GRAPH_DEPTH}
    additions = Additions([n for n in shown if not any(each.startswith(f"{n}.") for each in shown)])

    def ran(name: str, output: Any) -> None:
        shapes[name] = _shape(output)
        additions.passed(name, output)

    hooks = [
        module.register_forward_hook(lambda m, i, output, name=name: ran(name, output))
        for name, module in shown.items()
    ]
    with additions:
        model(*inputs)
    for hook in hooks:
        hook.remove()
    nodes = [
        {
            "name": name,
            "type": type(module).__name__,
            "parameters": _count(module),
            "output_shape": shapes[name],
        }
        for name, module in shown.items()
        if name in shapes
    ]
    inner = [name for name in shapes if not any(n.startswith(f"{name}.") for n in shapes)]
    return {
        "nodes": nodes,
        "edges": [list(edge) for edge in pairwise(inner)],
        "residuals": additions.around,
    }


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


class Additions(TorchFunctionMode):
    """Finds residual connections: additions of a tensor to what some modules made of it.

    Attributes:
        around: The innermost modules that each of them goes round.
    """

    def __init__(self, innermost: Sequence[str]) -> None:
        super().__init__()
        self.innermost = frozenset(innermost)
        self.ran: list[str] = []
        self.around: list[list[str]] = []

    def passed(self, name: str, output: Any) -> None:
        """Note that a module has run."""
        if name in self.innermost:
            self.ran.append(name)
            for each in output if isinstance(output, tuple) else (output,):
                self._dated(each)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ADDITIONS and len(args) == 2:
            self._added(*args)
        result = func(*args, **(kwargs or {}))
        return self._dated(result)

    def _dated(self, result: Any) -> Any:
        """Note before which module a tensor was made."""
        if isinstance(result, torch.Tensor):
            result.made = len(self.ran)  # type: ignore[attr-defined]
        return result

    def _added(self, one: Any, other: Any) -> None:
        if not all(hasattr(each, "made") for each in (one, other)) or one.shape != other.shape:
            return
        earlier, later = sorted((one, other), key=lambda each: int(each.made))
        between = dict.fromkeys(self.ran[earlier.made : later.made])
        if between and _follows(later, earlier):
            self.around.append(list(between))


def _follows(later: torch.Tensor, earlier: torch.Tensor) -> bool:
    """Return whether a tensor was computed from another one, by the graph of their gradients."""
    left: list[Any] = [later.grad_fn]
    seen: set[Any] = set()
    while left and earlier.grad_fn and len(seen) < MOST_STEPS:
        step = left.pop()
        if step is earlier.grad_fn:
            return True
        if step is not None and step not in seen:
            seen.add(step)
            left += [before for before, _ in step.next_functions]
    return False


def _shape(output: Any) -> list[int]:
    first = output[0] if isinstance(output, tuple) else output
    return list(first.shape) if isinstance(first, torch.Tensor) else []


def _flops(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, float]:
    """Return the operations of one forward pass by operator; a multiply-add counts as two."""
    if _by_torch(model):
        return _torch_flops(model, inputs)
    analysis = FlopCountAnalysis(model, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
    counts = analysis.by_operator()
    return {n: float(c * (2 if n in MULTIPLY_ADDS else 1)) for n, c in sorted(counts.items()) if c}


def _update(model: nn.Module) -> int:
    """Return the operations of an update on one sample, by the loss of train.py."""
    sys.path.insert(0, str(TRAIN.parent))
    train, data, flops = map(importlib.import_module, ("train", "data", "runtime.flops"))
    return int(flops.sample_flops(lambda count: train.example_loss(model, count, data.Config())))


def _by_torch(model: nn.Module) -> bool:
    """Return whether torch's counter counts a model.

    fvcore cannot trace convolutions on the meta device, and counts no update.
    """
    return TRAIN.is_file() or any(isinstance(module, _ConvNd) for module in model.modules())


def _torch_flops(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, float]:
    """Return the operations of matrix products and convolutions by torch's counter."""
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    operations: Counter[str] = Counter()
    for operator, count in counter.get_flop_counts()["Global"].items():
        name = str(operator).partition(".")[2]
        operations[OPERATORS.get(name, name)] += count
    return {name: float(count) for name, count in sorted(operations.items())}


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Count the multiply-adds of q k^T and of the weighted sum of v, over the full square."""
    query, key, value = (get_shape(each) for each in inputs[:3])
    *batch, queries, size = query
    pairs = queries * key[-2]
    for each in batch:
        pairs *= each
    return Counter({"attention": pairs * (size + value[-1])})


def _described(error: Exception) -> dict[str, str]:
    """Return the last line of the traceback, and its place in the model's code."""
    sentence = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError):
        return {"sentence": sentence, "place": f"{MODEL}:{error.lineno}"}
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename.endswith(MODEL)]
    return {"sentence": sentence, "place": f"{MODEL}:{lines[-1]}" if lines else MODEL}


if __name__ == "__main__":
    main(sys.argv[1])
