"""Chromium without a window, as a person's browser would show a page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def browse(address: str, profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Open an address; skips the test where there is no Chromium."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={profile}", "--enable-logging=stderr", *arguments,
        address,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def dom(address: str, profile: Path) -> str:
    """The page's elements once its scripts have run."""
    return browse(address, profile, "--virtual-time-budget=20000", "--dump-dom").stdout
