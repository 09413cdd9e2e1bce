"""A forward pass of shapes on the meta device: which operations there are, and what each takes.

It reads torch's functions as they are called, so that a module of one's own is seen as well.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Their output has their first input's shape and may take its place in memory.
_ELEMENTWISE = {
    "batch_norm", "group_norm", "layer_norm", "instance_norm", "dropout", "dropout2d",
    "relu", "relu6", "hardtanh", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish",
    "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softmax", "threshold",
    "relu_", "leaky_relu_", "elu_", "hardtanh_", "sigmoid_", "tanh_", "threshold_",
}  # fmt: skip
_AVERAGED = {"batch_norm", "group_norm", "instance_norm", "layer_norm"}
_BINARY = {"add", "sub", "mul", "div", "maximum", "minimum"}
_CHANGES_ITSELF = {"add_", "sub_", "mul_", "div_"}
# Products that torch's own counter counts.
_PRODUCTS = {
    "matmul", "mm", "bmm", "addmm", "baddbmm", "mv", "einsum", "tensordot", "bilinear",
    "__matmul__", "__rmatmul__", "scaled_dot_product_attention", "multi_head_attention_forward",
    "conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
}  # fmt: skip


@dataclass(frozen=True)
class Reach:
    """What a pixel of a map sees of the image along one axis: `field` pixels, `jump` to the next."""

    field: int = 1
    jump: int = 1

    def through(self, window: int, stride: int) -> Reach:
        return Reach(self.field + (window - 1) * self.jump, self.jump * stride)


@dataclass(frozen=True)
class Norm:
    """A norm, by torch's name of it: its channels, and the values of one image behind each average."""

    kind: str
    channels: int
    values: int


@dataclass
class Operation:
    """One call: in which row, the maps that it reads and makes (numbers in `Trace.sizes`), its work."""

    row: str
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    in_place: bool
    macs: int = 0
    norm: Norm | None = None


class Trace(TorchFunctionMode):
    """Records the operations on a map, and gives maps of the right shape for what they give.

    torch's own kernels for convolutions, norms and some activations on the meta device import its
    compiler's symbolic arithmetic, which takes about as long as all the rest of a start.
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.row = ""
        self.operations: list[Operation] = []
        self.sizes = [x.numel()]  # of every map, in numbers
        # A tensor's map, reach along both axes, and itself, so that no other gets its id.
        self._known: dict[int, tuple[int, tuple[Reach, Reach], Tensor]] = {}
        self._known[id(x)] = (0, (Reach(), Reach()), x)

    def field(self, x: Tensor) -> int:
        """The side of the square of the image that every pixel of `x` sees, at the least."""
        return min(reach.field for reach in self._known[id(x)][1])

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        inputs = [t for t in _tensors((args, kwargs)) if id(t) in self._known]
        macs, windows = 0, ((1, 1), (1, 1))
        if name in _ELEMENTWISE and inputs:
            if name == "batch_norm" and args[1] is not None:
                _expect(args[0].shape[1], len(args[1]))
            out = inputs[0].new_empty(inputs[0].shape)
        elif name in _WINDOWED and inputs:
            out, windows, macs = _WINDOWED[name](*args, **kwargs)
        elif name in _BINARY and inputs:
            out = _broadcast(*args, **kwargs)
        elif name in _CHANGES_ITSELF and inputs:
            out = args[0]
        elif name in _PRODUCTS:
            out, macs = _counted(func, args, kwargs)
        else:
            out = func(*args, **kwargs)
        made = list(_tensors(out))
        if inputs and made:
            self._record(name, inputs, made, windows, macs)
            if name in _AVERAGED:
                self.operations[-1].norm = _norm(name, inputs[0], *args[1:2], **kwargs)
        return out

    def _record(
        self, name: str, inputs: list[Tensor], made: list[Tensor], windows: Any, macs: int
    ) -> None:
        known = [self._known[id(t)] for t in inputs]
        # A gate, smaller than what it weighs, is left aside.
        full = [k for k in known if k[2].shape[2:] == inputs[0].shape[2:]] or known
        reach = tuple(max((k[1][i] for k in full), key=lambda r: r.field) for i in (0, 1))
        reach = tuple(r.through(*window) for r, window in zip(reach, windows, strict=True))
        makes = []
        for tensor in made:
            if id(tensor) in self._known:
                number = self._known[id(tensor)][0]
            elif tensor._base is not None:  # a view
                number = known[0][0]
            else:
                number = len(self.sizes)
                self.sizes.append(tensor.numel())
            makes.append(number)
            self._known[id(tensor)] = (number, reach, tensor)  # type: ignore[assignment]
        self.operations.append(
            Operation(
                row=self.row,
                reads=tuple(dict.fromkeys(k[0] for k in known)),
                makes=tuple(makes),
                in_place=name in _ELEMENTWISE or name in _BINARY,
                macs=macs,
            )
        )

    def peaks(self) -> Iterator[tuple[Operation, int]]:
        """Each operation with the numbers that must be held during it."""
        last = {n: i for i, op in enumerate(self.operations) for n in (*op.makes, *op.reads)}
        place = list(range(len(self.sizes)))  # the map whose memory a map lies in
        for i, op in enumerate(self.operations):
            free = [
                n for n in op.reads if last[n] == i and self.sizes[n] == self.sizes[op.makes[0]]
            ]
            if op.in_place and free and op.makes[0] not in op.reads:
                place[op.makes[0]] = place[free[0]]
        first, end = dict[int, int](), dict[int, int]()
        for i, op in enumerate(self.operations):
            for n in (*op.reads, *op.makes):
                first.setdefault(place[n], i)
                end[place[n]] = i
        for i, op in enumerate(self.operations):
            yield op, sum(self.sizes[n] for n in end if first[n] <= i <= end[n])


def meta_copy(module: nn.Module) -> nn.Module:
    """The module without its values, in evaluation mode; itself stays as it is."""
    return copy.deepcopy(module).to("meta").eval()


def output_shape(module: nn.Module, channels: int, size: int) -> tuple[int, ...]:
    """The shape that a module gives, from maps of `channels` × `size` × `size`."""
    x = torch.empty(1, channels, size, size, device="meta")
    with torch.no_grad(), Trace(x):
        return tuple(meta_copy(module)(x).shape[1:])


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _counted(func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
    from torch.utils.flop_counter import FlopCounterMode  # imports the compiler's arithmetic

    with FlopCounterMode(display=False) as counter:
        out = func(*args, **kwargs)
    return out, counter.get_total_flops() // 2


def _conv(
    x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    _expect(x.shape[1], weight.shape[1] * groups)
    kernel, stride, dilation = weight.shape[2:], _pair(stride), _pair(dilation)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    if isinstance(padding, str):
        both = tuple(r - 1 if padding == "same" else 0 for r in reach)
    else:
        both = tuple(2 * p for p in _pair(padding))
    out = _slid(x, len(weight), reach, stride, both)
    return out, tuple(zip(reach, stride, strict=True)), out.numel() * weight[0].numel()


def _max_pool(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    kernel, dilation = _pair(kernel_size), _pair(dilation)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    step = _pair(kernel_size if stride is None else stride)
    out = _slid(x, x.shape[1], reach, step, [2 * p for p in _pair(padding)], ceil_mode)
    return out, tuple(zip(reach, step, strict=True)), 0


def _avg_pool(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    *rest: Any, **more: Any,
) -> Any:  # fmt: skip
    return _max_pool(x, kernel_size, stride, padding, ceil_mode=ceil_mode)


def _global_pool(x: Tensor, output_size: Any) -> Any:
    out = x.new_empty(*x.shape[:2], *_pair(output_size))
    windows = tuple(
        (n - m + 1, max(1, n // m)) for n, m in zip(x.shape[2:], out.shape[2:], strict=True)
    )
    return out, windows, 0


def _linear(x: Tensor, weight: Tensor, bias: Any = None) -> Any:
    _expect(x.shape[-1], weight.shape[1])
    out = x.new_empty(*x.shape[:-1], len(weight))
    return out, ((1, 1), (1, 1)), out.numel() * weight.shape[1]


def _norm(name: str, x: Tensor, given: Any = None, **more: Any) -> Norm:
    """Of (1, C, ...); `given` is what torch's function takes behind its input."""
    pixels, channels = math.prod(x.shape[2:]), x.shape[1]
    values = {
        "batch_norm": lambda: pixels,
        "instance_norm": lambda: pixels,
        "group_norm": lambda: channels * pixels // more.get("num_groups", given),
        "layer_norm": lambda: math.prod(more.get("normalized_shape", given)),
    }
    return Norm(name, channels, values[name]())


def _expect(given: int, wanted: int) -> None:
    if given != wanted:
        raise RuntimeError(f"a layer for {wanted} channels gets {given}")


def _slid(
    x: Tensor, channels: int, window: Any, stride: Any, both: Any, up: bool = False
) -> Tensor:
    """The map that a sliding window gives from (1, C, H, W), padded by `both` in all."""
    sides = []
    for n, padding, w, step in zip(x.shape[2:], both, window, stride, strict=True):
        places = (n + padding - w + (step - 1 if up else 0)) // step + 1
        outside = (places - 1) * step >= n + padding // 2  # a window must begin in the map
        sides.append(places - 1 if up and outside else places)
    return x.new_empty(len(x), channels, *sides)


def _broadcast(x: Any, y: Any, **more: Any) -> Tensor:
    # torch.broadcast_shapes imports the compiler's arithmetic.
    shapes = [t.shape[::-1] for t in (x, y) if isinstance(t, Tensor)]
    sides = [max(pair) for pair in zip_longest(*shapes, fillvalue=1)]
    return next(t for t in (x, y) if isinstance(t, Tensor)).new_empty(sides[::-1])


def _pair(value: Any) -> tuple[int, int]:
    first, *rest = (value,) if isinstance(value, int) else tuple(value)
    return first, rest[0] if rest else first


_WINDOWED: dict[str, Callable[..., Any]] = {
    "conv2d": _conv,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _global_pool,
    "linear": _linear,
}
