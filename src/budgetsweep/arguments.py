"""Types of command-line arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def place(text: str) -> Path:
    """A file or folder by its name; none at all would be taken for the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(
            "it is empty; name a file or folder (the current one is .)"
        )
    return Path(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to 1, such as 0.9945")
    return number


def positive(text: str) -> int:
    """A whole number from 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1")
    return number
