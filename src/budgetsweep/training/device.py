"""Where a run computes: the device, its memory, its random numbers."""

from __future__ import annotations

import ctypes
import platform

import torch

from budgetsweep.errors import SettingError


def choose_device(name: str) -> torch.device:
    """`auto`: CUDA, then Apple's MPS, then the CPU.

    Raises:
        SettingError: there is no such device here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, True):
        allowed = f"torch {torch.__version__} finds no such device here."
        raise SettingError("trainer.device", name, allowed, "Use auto or cpu.")
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's mallopt(3)


def keep_memory() -> None:
    """Let glibc keep the memory of freed tensors instead of returning it to the system.

    A step's large tensors would each be mapped anew, zeroed by the system page by page: a sixth of
    the time of a step of the reference network. Elsewhere than on Linux with glibc, nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**30), (M_TOP_PAD, 2**26):
        libc.mallopt(parameter, value)


def seed_everything(seed: int, epoch: int) -> None:
    """Seed torch for one epoch of one run; epoch -1 is the initialization."""
    # Knuth's multiplicative hash keeps the streams of neighbouring seeds and epochs apart.
    torch.manual_seed((seed * 2_654_435_761 + epoch + 1) % 2**63)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception came of memory that was refused; on a CPU torch has no class for that."""
    told = "can't allocate memory", "not enough memory"
    out = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return out or any(words in str(error) for words in told)
