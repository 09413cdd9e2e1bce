"""The number format and memory layout that are fastest on the machine at hand, by measuring.

bfloat16 autocast is faster on a core with AVX512-BF16 and many times slower on one without, where
it is not tried. Otherwise `auto` times a few training steps of the very network and remembers the
answer: in the user's cache for this network and machine, and for runs that are to be compared, in
the folder above them, where all of them find it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from budgetsweep.config import Config
from budgetsweep.files import cache_dir, write_json
from budgetsweep.folders import FORMAT
from budgetsweep.training.shared import locked, shared_by

log = logging.getLogger(__name__)

BATCH_SIZE = 512  # of the timed steps, at most
ROUNDS, SECONDS = 9, 6.0  # of timed steps of each format, and how long they may take in all
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


def choose_format(
    network: nn.Module, config: Config, device: torch.device, folder: Path | None = None
) -> Format:
    """The format the configuration names; where it says auto, the fastest one measured here.

    Runs below a folder that `share` was called on compute alike: the first of them decides, for
    each type of device. Other answers are kept in the user's cache folder, for each machine, torch,
    network, batch and number of threads. Plain float32 stays unless another is clearly faster.
    """
    precision, layout = config.trainer.precision, config.trainer.memory_format
    if precision == "bf16" and not _computes_bf16(device):
        log.warning(
            "trainer.precision=bf16: this processor has no instructions for bfloat16 and emulates it, "
            "many times slower than float32. trainer.precision=auto takes what is fastest here."
        )
    if "auto" not in (precision, layout):
        return Format(precision, layout)

    def measured() -> Format:
        def decide() -> Format:
            return measure(network, config, device, _candidates(config, device))

        return _remembered(cache_dir() / "formats.json", _key(network, config, device), decide)

    shared = shared_by(folder)
    found = _remembered(shared / FORMAT, device.type, measured) if shared else measured()
    return Format(  # what is named holds, whatever others found
        found.precision if precision == "auto" else precision,
        found.memory_format if layout == "auto" else layout,
    )


def _remembered(path: Path, key: str, decide: Callable[[], Format]) -> Format:
    """What the file holds for the key, or else, from now on, what is decided."""
    with locked(path):  # two that measure at once would measure each other
        known = _read(path)
        if key not in known:
            known[key] = asdict(decide())
            with contextlib.suppress(OSError):
                write_json(path, known)
    return Format(**known[key])


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(path.read_text())
        return {k: v for k, v in known.items() if set(v) == {"precision", "memory_format"}}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


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
    """Time training steps of the candidates in turns; the first stays unless one is clearly faster.

    Each counts by its quickest step, as what else the machine does can only add to it. One whose first step takes over three times the best so far is not tried again.
    """
    if len(candidates) == 1:
        return candidates[0]
    state = {k: v.clone() for k, v in network.state_dict().items()}
    rng, start = torch.get_rng_state(), time.perf_counter()
    batch, data = min(BATCH_SIZE, config.trainer.batch_size), config.data
    images = torch.rand(batch, data.channels, data.size, data.size, device=device)
    labels = torch.arange(batch, device=device) % data.classes
    seconds: dict[Format, list[float]] = {}
    for candidate in candidates:  # the first step of each also warms up
        _step_seconds(network, images, labels, candidate)
        first = _step_seconds(network, images, labels, candidate)
        if not seconds or first < 3 * min(min(s) for s in seconds.values()):
            seconds[candidate] = [first]
    for n in range(ROUNDS):
        for candidate, times in seconds.items():
            times.append(_step_seconds(network, images, labels, candidate))
        if n >= 2 and time.perf_counter() - start > SECONDS:
            break
    network.load_state_dict(state)
    network.zero_grad(set_to_none=True)
    torch.set_rng_state(rng)
    quickest = {candidate: min(times) for candidate, times in seconds.items()}
    best = min(quickest, key=lambda f: quickest[f])
    return best if quickest[best] < MARGIN * quickest[candidates[0]] else candidates[0]


def _step_seconds(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, fmt: Format
) -> float:
    """Seconds of a step: of a GPU by the clock, of a CPU by what this process had of it.

    A clock would count what other work on the same cores took as well.
    """
    device = images.device
    network.train().to(memory_format=fmt.torch_memory_format)
    images = images.contiguous(memory_format=fmt.torch_memory_format)
    now = time.process_time if device.type == "cpu" else time.perf_counter
    _synchronize(device)
    start = now()
    with fmt.autocast(device):
        loss = F.nll_loss(network(images), labels)
    loss.backward()
    network.zero_grad(set_to_none=True)
    _synchronize(device)
    return now() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _key(network: nn.Module, config: Config, device: torch.device) -> str:
    """The very network: its modules with their settings, and the shapes of what they hold."""
    shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    parts = [
        machine(), str(device), torch.__version__, torch.get_num_threads(), network, shapes,
        config.data.size, config.data.channels, config.trainer.batch_size,
        config.trainer.precision, config.trainer.memory_format,
    ]  # fmt: skip
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def machine() -> str:
    """The processor's name and what of its vector instructions torch uses."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    flags = " bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    return f"{name} {torch.backends.cpu.get_cpu_capability()}{flags}"
