"""The documentation's commands: each one parses, and each guide can be walked from top to bottom.

A fenced `bash` block is run; what is only to be looked at is `text`, `yaml` or `console`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from composing import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Transformer

from budgetsweep.commands import COMMANDS

TOP = Path(__file__).resolve().parents[1]
PAGES = [
    *(TOP / "README.md", TOP / "CONTRIBUTING.md"),
    *sorted((TOP / "docs").glob("*.md")),
    *sorted((TOP / "distributions").glob("*/README.md")),
]
HYDRA_APPS = ("train", "sweep", "summary")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of a page's fenced blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def command_lines(prefix: str) -> list[str]:
    """Every command of a `bash` block that begins like this, once."""
    text = "\n".join(text for page in PAGES for kind, text in blocks(page) if kind == "bash")
    lines = text.replace("\\\n", " ").splitlines()
    return list(dict.fromkeys(line for line in lines if line.startswith(prefix)))


def first_value(override: Override) -> str:
    """A swept override as its first candidate has it."""
    text = override.input_line or ""
    if not override.is_sweep_override():
        return text
    value = override.value()
    if isinstance(value, IntervalSweep):
        return f"{text.split('=')[0]}={value.start}"
    return f"{text.split('=')[0]}={next(override.sweep_iterator(Transformer.encode))}"


@pytest.mark.parametrize("line", command_lines("budgetsweep "))
def test_a_command_parses(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    if name not in HYDRA_APPS:
        module, _ = COMMANDS[name][0].split(":")
        import_module(module).parser().parse_intermixed_args(arguments)
        return
    overrides = [a for a in arguments if not a.startswith("--")]
    if "--config-dir" in arguments:  # its experiment is known once the guide is walked
        overrides = [o for o in overrides if "=" in o and not o.startswith("experiment=")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    compose(*map(first_value, parsed))


@pytest.mark.parametrize("line", command_lines("make "))
def test_a_target_exists(line: str) -> None:
    command = ["make", "-n", "DIR=x", *shlex.split(line, comments=True)[1:]]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text())
    for address, anchor in links:
        if "://" in address:
            continue
        target = (page.parent / address).resolve() if address else page
        assert target.exists(), address
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads]


# Runs take minutes as they stand. Nothing else of a command is changed.
SHRINK = """
set -euo pipefail
small="data.limit=300 trainer.epochs=1 trainer.progress=false data.root=$DATA data.download=false"
few="hydra.sweeper.n_trials=2 hydra.sweeper.n_jobs=1"
source() { [ "$1" = .venv/bin/activate ]; }
make() {
  case $1 in
    demo | sweep) set -- "$1" "ARGS=$(echo "${2-}" | cut -c6-) $small $few" ;;
    test) echo "left out: make test"; return ;;
  esac
  command make -s -o "$VENV/.ready" "VENV=$VENV" "$@"
}
budgetsweep() {
  case "$*" in
    sweep*hydra/sweeper=basic*) set -- "$@" $small ;;
    sweep*) set -- "$@" $small $few ;;
    train*) set -- "$@" $small ;;
    replicate*--seeds*) set -- "$@" --seeds 2 $small ;;
  esac
  command budgetsweep "$@"
}
"""


def script(page: Path) -> str:
    """A page's commands, in order."""
    return "\n".join(text for kind, text in blocks(page) if kind == "bash")


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not all(map(shutil.which, ("make", "bash"))), reason="needs a shell")
@pytest.mark.parametrize(
    "pages",
    [("docs/first-sweep.md", "docs/report.md"), ("docs/own-data.md",), ("docs/colour-images.md",),
     ("docs/own-layers.md",), ("docs/seeds.md",), ("docs/microcontroller.md",), ("README.md",)],
    ids=lambda pages: pages[0],
)  # fmt: skip
def test_a_guide_can_be_walked(pages: tuple[str, ...], mnist_root: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("src", "conf", "tests", "docs"):
        shutil.copytree(TOP / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(TOP / name, clone)
    text = SHRINK + "set -x\n" + "\n".join(script(TOP / page) for page in pages)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone / "src"),
        "VENV": sys.prefix,
        "DATA": str(mnist_root),
    }
    done = subprocess.run(
        ["bash", "-c", text], cwd=clone, env=environment, capture_output=True, text=True,
        timeout=1_700,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
