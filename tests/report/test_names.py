"""Whatever a folder, a class or a table calls itself, the page shows it as text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report import NASTY, Page, write_run

from budgetsweep.errors import UserError
from budgetsweep.report import write_report
from budgetsweep.report.mistakes import Mistake, Mistakes
from budgetsweep.report.network import Looked, sections, warnings
from budgetsweep.report.page import render

NAMES = [
    NASTY,
    "\"quoted\" & 'single'",
    r"$\price$",
    "</script><img src=x onerror=alert(1)>",
    os.fsdecode(b"caf\xe9"),  # from an archive made on an old Windows
    "a" * 4_000,
]


def write_table(sweep: Path, **row: Any) -> None:
    told = {"trial": 0, "rank": 1, "state": "COMPLETE", "value": 0.3, "folder": "0"}
    (sweep / "leaderboard.json").write_text(json.dumps([told | row]))


def shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode().replace("?", "\ufffd")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_table_from_elsewhere_cannot_put_markup_on_the_page(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "0", 0.9, 0.3, 2, parameters=10)
    write_table(tmp_path, params={name: name, "x": 1}, error=name)
    page = Page(write_report(tmp_path))
    assert shown(name) in page.text
    assert not any("onerror" in tag or "alert" in tag for tag in page.addresses)
    assert "<img src=x" not in (tmp_path / "report.html").read_text()
    assert NASTY not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_class_may_have_any_name(name: str, tmp_path: Path) -> None:
    picture = Mistake(np.zeros((8, 8), np.uint8), name, "b", 0.9)
    mistakes = Mistakes("validation", (name, "b"), np.array([[0, 3], [0, 5]]), [picture])
    looked = Looked(None, None, mistakes)
    path = tmp_path / "page.html"
    path.write_text(render(name, warnings(looked), sections(looked, "the network")))
    page = Page(path)
    assert shown(name) in page.text
    assert f"Never predicted on the validation images: {shown(name)}" in page.text
    assert NASTY not in path.read_text()


def test_only_the_pages_own_scripts_may_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 0.9, 0.1, 3)
    policy = write_report(tmp_path / "run").read_text().split("Content-Security-Policy")[1][:400]
    scripts = policy.split("script-src")[1].split(";")[0]
    assert "unsafe" not in scripts and scripts.count("'sha256-") == 2


def test_a_table_of_other_types_is_refused_in_one_line(tmp_path: Path) -> None:
    write_table(tmp_path, trial=NASTY)
    with pytest.raises(UserError, match="trial must be int"):
        write_report(tmp_path)


def test_a_folder_of_any_name_is_linked_by_its_bytes(tmp_path: Path) -> None:
    folder = os.fsdecode(b"caf\xe9")
    try:
        write_run(tmp_path / folder, 0.9, 0.3, 2, parameters=10)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    write_table(tmp_path, folder=folder)
    assert "caf%E9/" in Page(write_report(tmp_path)).links


def test_chance_level_and_per_class_figures() -> None:
    confusion = np.array([[90, 0, 0], [5, 5, 0], [10, 0, 0]])
    mistakes = Mistakes("test", ("a", "b", "c"), confusion, [])
    assert mistakes.recall == pytest.approx([1, 0.5, 0])
    assert mistakes.precision == pytest.approx([90 / 105, 1, np.nan], nan_ok=True)
    assert mistakes.never == ["c"]
    # 95 of 110 where naming `a` each time is right 90 times
    assert mistakes.is_chance
    better = Mistakes("test", ("a", "b"), np.array([[50, 0], [5, 45]]), [])
    assert not better.is_chance
