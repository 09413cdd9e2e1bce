"""The settings page is what the schema says."""

from __future__ import annotations

from pathlib import Path

from budgetsweep.config.settings_page import page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_settings_page_is_up_to_date() -> None:
    assert (DOCS / "settings.md").read_text() == page()
