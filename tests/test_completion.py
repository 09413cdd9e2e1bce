"""Tab in bash, zsh and fish: each shell's own function, loaded by that shell, gives the candidates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Each is given a line by $1 and prints what its shell would offer.
DRIVERS = {
    "bash": """
        eval "$(budgetsweep completion bash)"
        COMP_LINE=$1 COMP_POINT=${#1}
        _budgetsweep budgetsweep
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        eval "$(budgetsweep completion zsh)"
        compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- "$@" }
        _files() { print -- $PREFIX* }
        words=("${(@s: :)1}") CURRENT=$#words PREFIX=$words[-1]
        _budgetsweep
    """,
    "fish": """
        budgetsweep completion fish | source
        complete -C $argv[1]
    """,
}
FLAGS = {"bash": ("--norc", "-c"), "zsh": ("-f", "-c"), "fish": ("--no-config", "-c")}


@pytest.fixture(params=DRIVERS)
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    name: str = request.param
    return name


def offered(shell: str, line: str, cwd: Path) -> set[str]:
    name = [] if shell == "fish" else ["driver"]  # $0
    done = subprocess.run(
        [shell, *FLAGS[shell], DRIVERS[shell], *name, line], cwd=cwd, timeout=120,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("budgetsweep su", {"summary"}),
        ("budgetsweep sweep optimizer.mom", {"optimizer.momentum="}),
        ("budgetsweep train model=re", {"model=reference", "model=residual", "model=resnet8"}),
        ("budgetsweep summary budget=micro", {"budget=microcontroller"}),
        ("budgetsweep train --hel", {"--help"}),
        ("budgetsweep find --time 2h data=us", {"data=usps"}),
        ("budgetsweep replicate out --seeds 3 trainer.ep", {"trainer.epochs="}),
        ("budgetsweep predict --t", {"--top"}),
        ("budgetsweep export run --format onnx to", {"torch"}),
    ],
)
def test_a_shell_offers(shell: str, line: str, candidates: set[str], tmp_path: Path) -> None:
    found = offered(shell, line, tmp_path)
    if shell == "bash" and "=" in line:  # replaces what follows the sign
        candidates = {candidate.split("=")[1] for candidate in candidates}
    assert found == candidates


@pytest.mark.parametrize(
    "command", ["replicate", "report", "predict", "export", "dashboard", "find --folder"]
)
def test_a_shell_completes_folders_itself(shell: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "multirun").mkdir()
    expected = {"bash": set(), "zsh": {"multirun"}, "fish": {"multirun/"}}[shell]
    assert offered(shell, f"budgetsweep {command} multi", tmp_path) == expected


def test_earlier_settings_decide_what_comes_next(shell: str, tmp_path: Path) -> None:
    line = "budgetsweep sweep model=tiny 'optimizer.lr=tag(log, interval(0.01, 0.3))' model.layers."
    found = offered(shell, line, tmp_path)
    assert {f"model.layers.{name}." for name in ("stem", "conv1", "conv2")} == found
