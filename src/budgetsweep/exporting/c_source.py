"""C source for a microcontroller: emx-onnx-cgen's, with all maps packed into one block of RAM.

The generator gives every map memory of its own. Here maps share it whose lifetimes do not meet, and an
operation on single values writes over its input. Each map is placed at the lowest offset that is free,
the largest first (Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference")
or in order of time from either end or from the largest, whichever takes least.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from budgetsweep.errors import UserError

COMPILE = ("cc", "-std=c11", "-O2", "-fno-strict-aliasing")
_BYTES = {
    "float": 4,
    "double": 8,
    "int8_t": 1,
    "uint8_t": 1,
    "int32_t": 4,
    "int64_t": 8,
    "_Bool": 1,
}
_ALIGNMENT = 8
# Each value of the output depends on the value at the same place of an input.
_IN_PLACE = {
    "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu",
    "Add", "Sub", "Mul", "Div", "BatchNormalization", "QLinearAdd", "QLinearMul", "QLinearLeakyRelu",
    "QLinearSigmoid",
}  # fmt: skip
_MAP = re.compile(r"^    (\w+) (tmp\w+)\[(\d+)\]((?:\[\d+\])*);$", re.MULTILINE)
_CALL = re.compile(r"^    node(\d+)_\w+\((.*)\);$", re.MULTILINE)
_NODE = re.compile(r"\* Node (\d+):\n \* OpType: (\w+)\n.*?\*/\n[^(]*\(([^)]*)\)", re.DOTALL)
# Of a depthwise 1×1 convolution: from one channel, by one pixel.
_ONE_WEIGHT = re.compile(r"\bweights\[\d+\]\[1\]\[1\]\[1\]")


@dataclass(frozen=True)
class CSource:
    """A C file with one function, `network(pixels, log_probabilities)`, for one image."""

    text: str
    ram_bytes: int  # of the block of maps, which is static


@dataclass
class _Block:
    """Memory of one map, or of several that take each other's place."""

    size: int
    first: int  # the calls that it lives through
    last: int
    offset: int = 0

    def meets(self, other: _Block) -> bool:
        return self.first <= other.last and other.first <= self.last


def to_c(model: Any) -> CSource:
    """The network as C without dynamic memory.

    Raises:
        UserError: emx-onnx-cgen is not installed, or cannot generate this network.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "network.onnx"), Path(folder, "network.c")
        onnx.save(model, str(source))
        command = [
            sys.executable, "-m", "emx_onnx_cgen", "compile", str(source), str(target),
            "--model-name", "network", "--input-dim", "batch=1",
            "--large-temp-threshold", "0", "--large-weight-threshold", "0",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "No module named emx_onnx_cgen" in done.stderr:
            raise UserError("the C formats need the c extra: pip install 'budgetsweep[c]'")
        if done.returncode:
            told = (done.stderr or done.stdout).strip().splitlines()[-1]
            raise UserError(f"emx-onnx-cgen cannot generate this network: {told}")
        return pack(target.read_text())


def pack(text: str) -> CSource:
    """Let the maps of a generated file share one static block."""
    in_place = {n: kind in _IN_PLACE or bool(_ONE_WEIGHT.search(parameters))
                for n, kind, parameters in _NODE.findall(text)}  # fmt: skip
    calls = [(in_place[n], re.findall(r"\w+", args)) for n, args in _CALL.findall(text)]
    blocks = _blocks(text, calls)
    total = _place(list({id(block): block for block in blocks.values()}.values()))

    def pointer(found: re.Match[str]) -> str:
        kind, name, _, inner = found.groups()
        target = f"(*{name}){inner}" if inner else f"*{name}"
        return f"    {kind} {target} = (void *)(maps + {blocks[name].offset});"

    text = _MAP.sub(pointer, text)
    block = f"/* All maps of one image; not reentrant. */\nstatic _Alignas(8) unsigned char maps[{total}];\n"
    return CSource(text.replace("\nvoid network(", f"\n{block}\nvoid network(", 1), total)


def _blocks(text: str, calls: list[tuple[bool, list[str]]]) -> dict[str, _Block]:
    """Each map's memory and lifetime."""
    blocks: dict[str, _Block] = {}
    types = {name: (kind, first, inner) for kind, name, first, inner in _MAP.findall(text)}
    for name, (kind, first, inner) in types.items():
        numbers = [int(first), *map(int, re.findall(r"\d+", inner))]
        alive = [i for i, (_, used) in enumerate(calls) if name in used]
        blocks[name] = _Block(prod(numbers) * _BYTES[kind], min(alive), max(alive))
    for i, (in_place, used) in enumerate(calls):
        *inputs, output = used
        for name in inputs if in_place and output in blocks else ():
            same = name in blocks and types[name] == types[output]
            if same and (block := blocks[name]).last == i:
                block.last = blocks[output].last
                blocks[output] = block
                break
    return blocks


def _place(blocks: Sequence[_Block]) -> int:
    """Give each block its offset; return the size of all."""
    largest = max(blocks, key=lambda b: b.size, default=_Block(0, 0, 0))
    orders: list[Callable[[_Block], int]] = [
        lambda b: -b.size,
        lambda b: b.first,
        lambda b: -b.last,
        lambda b: abs(b.first - largest.first),
    ]
    plans = [_in_order(sorted(blocks, key=order)) for order in orders]
    offsets = min(plans, key=lambda plan: _end(blocks, plan))
    for block in blocks:
        block.offset = offsets[id(block)]
    return _end(blocks, offsets)


def _in_order(blocks: Sequence[_Block]) -> dict[int, int]:
    """Offsets by identity: each block as low as those before it allow."""
    offsets: dict[int, int] = {}
    for i, block in enumerate(blocks):
        offset = 0
        for other in sorted(blocks[:i], key=lambda b: offsets[id(b)]):
            if block.meets(other) and offset + block.size > offsets[id(other)]:
                end = offsets[id(other)] + other.size
                offset = max(offset, -(-end // _ALIGNMENT) * _ALIGNMENT)
        offsets[id(block)] = offset
    return offsets


def _end(blocks: Sequence[_Block], offsets: dict[int, int]) -> int:
    return max((offsets[id(b)] + b.size for b in blocks), default=1)


def run_c(source: CSource, pixels: Tensor, classes: int) -> Tensor:
    """Log-probabilities by the compiled file, an image at a time.

    Raises:
        UserError: there is no C compiler, or it does not take the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, library = Path(folder, "network.c"), Path(folder, "network.so")
        path.write_text(source.text)
        command = [*COMPILE, "-shared", "-fPIC", str(path), "-lm", "-o", str(library)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise UserError(
                "the C formats are checked by compiling them: `cc` is missing"
            ) from None
        except subprocess.CalledProcessError as error:
            raise UserError(f"the C source does not compile: {error.stderr.strip()}") from None
        network = ctypes.CDLL(str(library)).network
        scores = torch.zeros(len(pixels), classes)
        for image, row in zip(pixels.contiguous(), scores, strict=True):
            network(ctypes.c_void_p(image.data_ptr()), ctypes.c_void_p(row.data_ptr()))
    return scores
