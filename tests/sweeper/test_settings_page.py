"""The page of the sweeper's settings is what the sweeper has."""

import dataclasses
import re
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from hydra_budget_sweeper.settings_page import page
from hydra_plugins.hydra_budget_sweeper.config import BudgetSweeperConf

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "sweeper-settings.md").read_text() == page(), (
        "python -m hydra_budget_sweeper.settings_page > docs/sweeper-settings.md"
    )


@pytest.mark.parametrize("field", dataclasses.fields(BudgetSweeperConf), ids=lambda f: f.name)
def test_every_setting_is_told_with_its_meaning(field: dataclasses.Field[object]) -> None:
    if field.name not in ("_target_", "defaults"):
        rows = re.findall(rf"^\| `{field.name}(?:\.\w+)?` \|.*\| (.*) \|$", page(), re.MULTILINE)
        assert rows and all(len(meaning) > 10 for meaning in rows)


@pytest.mark.parametrize("group", ["pruner", "sampler"])
def test_every_option_of_a_group_is_told(group: str) -> None:
    Plugins.instance()
    options = ConfigStore.instance().list(f"hydra/sweeper/{group}")
    assert len(options) > 5
    for option in options:
        name = option.removesuffix(".yaml")
        assert f"pruner={name}\n" in page() or f"| `{name}` |" in page() or name == "motpe"
