"""What a result was made with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from budgetsweep.report.collect import Run, Sweep, setting
from budgetsweep.report.words import count


def made_with(run: Run | None, sweep: Sweep | None = None) -> str:
    """Data, epochs, date, machine, versions and commit, in one line."""
    s = run.summary if run else {}
    versions = s.get("versions") if isinstance(s.get("versions"), Mapping) else {}
    epochs = setting(run.config, "trainer.epochs") if run else None
    parts = [
        s.get("data"),
        count(s["train_images"], "training image") if s.get("train_images") else "",
        count(int(epochs), "epoch") if epochs else "",
        _date(run, sweep),
        s.get("device") if s.get("device") != "cpu" or not s.get("machine") else "",
        s.get("machine"),
        " ".join(str(s[k]) for k in ("precision", "memory_format") if s.get(k)),
        count(s["threads"], "thread") if s.get("threads") else "",
        " ".join(f"{k} {v}" for k, v in versions.items()) if versions else "",
        f"commit {str(s['git_commit'])[:12]}" if s.get("git_commit") else "",
        f"seed {s['seed']}" if s.get("seed") is not None else "",
    ]
    return "Made with: " + "; ".join(str(p) for p in parts if p) + "." if any(parts) else ""


def _date(run: Run | None, sweep: Sweep | None) -> str:
    if sweep:
        begun = [t.told.started for t in sweep.trials if t.told.started]
        return f"begun {min(begun):%Y-%m-%d %H:%M}" if begun else ""
    metrics = run.folder / "metrics.csv" if run else None
    if metrics is None or not metrics.exists():
        return ""
    return f"of {datetime.fromtimestamp(metrics.stat().st_mtime):%Y-%m-%d %H:%M}"
