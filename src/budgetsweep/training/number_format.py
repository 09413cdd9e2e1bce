"""The number format and memory layout that are fastest on the machine at hand, by measuring.

bfloat16 autocast is faster on a core with AVX512-BF16 and many times slower on one without, where
it is not tried. Otherwise `auto` times a few training steps of the very network and remembers the
answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from budgetsweep.config import Config
from budgetsweep.files import cache_dir, write_json

BATCH_SIZE = 64  # of the timed steps
REPEATS = 3
MARGIN = 0.95  # share of plain float32's time that another format must stay under


@dataclass(frozen=True)
class Format:
    """How a run computes; a resumed or repeated run uses the same."""

    precision: str  # fp32 | bf16
    memory_format: str  # channels_last | contiguous

    @property
    def torch_memory_format(self) -> torch.memory_format:
        """The layout as torch names it."""
        channels_last = self.memory_format == "channels_last"
        return torch.channels_last if channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 autocast, or nothing."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        # The cast weights are not kept: they change every step.
        return torch.autocast(device.type, torch.bfloat16)


PLAIN = Format("fp32", "contiguous")


def choose_format(network: nn.Module, config: Config, device: torch.device) -> Format:
    """The format the configuration names; where it says auto, the fastest one measured here.

    The answer is kept in the user's cache folder, for each machine, torch, kind of network, image
    size and number of threads: a sweep measures once, not once a trial. Plain float32 stays unless
    another is clearly faster.
    """
    candidates = _candidates(config, device)
    if len(candidates) == 1:
        return candidates[0]
    cache = cache_dir() / "formats.json"
    known, key = _read(cache), _key(network, config, device)
    if key not in known or Format(**known[key]) not in candidates:
        choice = measure(network, config, device, candidates)
        write_json(cache, {**_read(cache), key: asdict(choice)})
        return choice
    return Format(**known[key])


def _candidates(config: Config, device: torch.device) -> list[Format]:
    """Plain float32 first, if the configuration allows it."""
    precision, layout = config.trainer.precision, config.trainer.memory_format
    if precision == "auto":
        precisions = ["fp32", "bf16"] if _computes_bf16(device) else ["fp32"]
    else:
        precisions = [precision]
    layouts = ["contiguous", "channels_last"] if layout == "auto" else [layout]
    pairs = [Format(p, m) for p, m in itertools.product(precisions, layouts)]
    # bfloat16 in the contiguous layout never won where it was tried.
    return [f for f in pairs if len(pairs) < 4 or f != Format("bf16", "contiguous")]


def _computes_bf16(device: torch.device) -> bool:
    """Whether bfloat16 may have instructions of its own; emulated, it loses by far."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def measure(
    network: nn.Module, config: Config, device: torch.device, candidates: list[Format]
) -> Format:
    """Time training steps of each candidate in turns; the first stays unless one is clearly faster.

    Each counts by its quickest step: what else the machine does can only add to it. A candidate
    whose first step takes over three times the best so far is not tried again.
    """
    state = {k: v.clone() for k, v in network.state_dict().items()}
    rng = torch.get_rng_state()
    batch = min(BATCH_SIZE, config.trainer.batch_size)
    data = config.data
    images = torch.rand(batch, data.channels, data.size, data.size, device=device)
    labels = torch.arange(batch, device=device) % data.classes
    seconds: dict[Format, list[float]] = {}
    for candidate in candidates:  # the first step of each also warms up
        _step_seconds(network, images, labels, candidate)
        first = _step_seconds(network, images, labels, candidate)
        if not seconds or first < 3 * min(min(s) for s in seconds.values()):
            seconds[candidate] = [first]
    for _ in range(REPEATS):
        for candidate, times in seconds.items():
            times.append(_step_seconds(network, images, labels, candidate))
    network.load_state_dict(state)
    network.zero_grad(set_to_none=True)
    torch.set_rng_state(rng)
    quickest = {candidate: min(times) for candidate, times in seconds.items()}
    best = min(quickest, key=lambda f: quickest[f])
    return best if quickest[best] < MARGIN * quickest[candidates[0]] else candidates[0]


def _step_seconds(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, fmt: Format
) -> float:
    network.train().to(memory_format=fmt.torch_memory_format)
    images = images.contiguous(memory_format=fmt.torch_memory_format)
    _synchronize(images.device)
    start = time.perf_counter()
    with fmt.autocast(images.device):
        loss = F.nll_loss(network(images), labels)
    loss.backward()
    network.zero_grad(set_to_none=True)
    _synchronize(images.device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _read(cache: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(cache.read_text())
        return {k: v for k, v in known.items() if set(v) == {"precision", "memory_format"}}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _key(network: nn.Module, config: Config, device: torch.device) -> str:
    parts = [
        machine(), str(device), torch.__version__, torch.get_num_threads(), _kind(network),
        config.data.size, config.data.channels, config.trainer.batch_size,
        config.trainer.precision, config.trainer.memory_format,
    ]  # fmt: skip
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _kind(network: nn.Module) -> list[str]:
    """What a network is made of, whatever its widths."""
    convolutions = {
        f"Conv2d {m.kernel_size[0]} {'depthwise' if m.groups > 1 else ''}"
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    }
    return sorted(convolutions | {type(m).__name__ for m in network.modules()})


def machine() -> str:
    """The processor's name and what of its vector instructions torch uses."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    flags = " bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    return f"{name} {torch.backends.cpu.get_cpu_capability()}{flags}"
