"""A sweep's page shows its finalists by their means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from test_report import Page

from budgetsweep.report import write_report


def write_sweep(folder: Path, trials: list[dict[str, Any]], **status: Any) -> None:
    rows = [
        {"rank": place, "trial": 10 + place, "state": "COMPLETE", "value": 0.1 * place, **row}
        for place, row in enumerate(trials, start=1)
    ]
    (folder / "leaderboard.json").write_text(json.dumps(rows))
    (folder / "sweep.json").write_text(json.dumps({"state": "finished", **status}))


def test_the_page_shows_what_single_runs_would_have_chosen(tmp_path: Path) -> None:
    trials = [
        {"mean": 0.0613, "sd": 0.0021, "n": 4, "single_run_rank": 2},
        {"mean": 0.0654, "sd": None, "n": 1, "single_run_rank": 1},
    ]
    write_sweep(tmp_path, trials, finalists={"n_misled": 3, "rank_correlation": -0.19})
    text = " ".join(Page(write_report(tmp_path)).text.split())
    assert "mean objective 0.0613 sd 0.0021 over 4 seeds; its single run 0.1" in text
    assert "The 2 finalists, trained again under other seeds" in text
    assert "1 11 0.0613 0.0021 4 0.1 2" in text and "2 12 0.0654 1 0.2 1" in text
    assert "chosen by 3 of 4 seeds alone" in text and "correlate with these by -0.19" in text
    assert "Nothing is known over fresh seeds yet" in text


def test_no_table_before_a_round_is_over(tmp_path: Path) -> None:
    write_sweep(tmp_path, [{"mean": None, "sd": None, "n": 0, "single_run_rank": 1}])
    assert "finalist" not in Page(write_report(tmp_path)).text
