"""All benchmarks one after the other, then their tables into docs/benchmarks.md.

python -m benchmarks [--quick] [--only sweeper looks] [--tables]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks._measure import REPOSITORY, RESULTS, markdown, parser, say

NAMES = ("sweeper", "storages", "training", "looks", "endtoend", "quality", "pruning")
# Of what takes hours to make: by benchmarks.tables.replay, .early and .sampling, by benchmarks.quantized.
KEPT = ("replay-mnist", "replay-fashion", "early-mnist", "sampling-fashion", "quantized")
PAGE = REPOSITORY / "docs" / "benchmarks.md"


def measure(name: str, extra: Sequence[str]) -> bool:
    """Run one benchmark in a process of its own; whether it went well."""
    start = time.time()
    code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *extra], cwd=REPOSITORY)
    say(f"== {name}: exit code {code.returncode} after {time.time() - start:.0f} s\n")
    return code.returncode == 0


def section(result: dict[str, Any]) -> str:
    """The tables of a result file, with what they were measured on."""
    m = result["machine"]
    bf16 = "with" if m["avx512_bf16"] else "without"
    line = (
        f"{m['cpu']}, {m['cores']} cores, {m['vector_instructions']}, {bf16} AVX512-BF16, torch "
        f"{m['torch']}, optuna {m['optuna']}, hydra-core {m['hydra-core']}, hydra-optuna-sweeper "
        f"{m['hydra-optuna-sweeper']}; {result['date'][:10]}, {result['seconds']:.0f} s."
    )
    return "\n".join([f"Measured on {line}\n", *(markdown(t) for t in result["tables"])])


def rewrite(page: str) -> str:
    """The page with every generated part made anew from its result file."""
    for name in (*NAMES, *KEPT):
        path = RESULTS / f"{name}.json"
        if path.exists():
            page = replace_part(page, name, section(json.loads(path.read_text())))
        else:
            say(f"{path.relative_to(REPOSITORY)} is missing; its part of the page stays")
    return page


def replace_part(page: str, name: str, text: str) -> str:
    """The page with new text between the markers of one part."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE.name} lacks {begin} or {end}")
    return f"{head}{begin}\n{text}{end}{tail}"


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    options.add_argument("--tables", action="store_true", help="rewrite the page, measure nothing")
    chosen = options.parse_args()
    extra = ["--root", chosen.root, *(["--mirror", chosen.mirror] if chosen.mirror else [])]
    extra += ["--quick"] if chosen.quick else []
    names = [] if chosen.tables else chosen.only
    good = [measure(name, extra) for name in names]
    if chosen.quick:
        say("quick figures say nothing: docs/benchmarks.md stays as it is")
    else:
        PAGE.write_text(rewrite(PAGE.read_text()))
        say(f"{PAGE.relative_to(REPOSITORY)} is up to date with {RESULTS.relative_to(REPOSITORY)}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
