"""Where a run's numbers come from: device, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

import budgetsweep
from hydra_plugins.hydra_forkserver_launcher.cores import available_cores


def device_name(device: torch.device) -> str:
    """A GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def machine() -> str:
    """The processor's name, as far as the system tells it, and the cores that are to be had."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(named, "") or platform.processor() or platform.machine()
    return f"{name}, {available_cores()} cores"


def versions() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "budgetsweep": budgetsweep.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, `+` for uncommitted changes."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
