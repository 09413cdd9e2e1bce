"""Train random networks of search=best whole, some over several seeds, and keep all that was seen.

python -m benchmarks.tables.make mnist --folder FOLDER [key=value ...]

A line a training in benchmarks/tables/NAME.jsonl. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._measure import run_command, say

TABLES = Path(__file__).parent
WEEK = 7 * 24 * 3600


def sweep(options: argparse.Namespace, folder: Path, seed: int, networks: int) -> None:
    """The first networks of the same random draws, each under this seed."""
    overrides = [
        "search=best",
        *options.overrides,
        f"seed={seed}",
        f"trainer.epochs={options.epochs}",
        f"data.validation={options.validation}",
        f"trainer.precision={options.precision}",
        "hydra/sweeper/sampler=random",
        f"hydra.sweeper.sampler.seed={options.draw}",
        "hydra/sweeper/pruner=none",
        "hydra.sweeper.on_end=[]",
        "hydra.sweeper.finalists.count=0",
        f"hydra.sweeper.n_trials={networks}",
        f"hydra.sweeper.n_jobs={options.jobs}",
        f"hydra.sweep.dir='{folder}'",
    ]
    run_command(["-m", "benchmarks.apps.whole", "--multirun", *overrides], folder, WEEK)


def trainings(folder: Path, draw: int) -> Iterator[dict[str, Any]]:
    """What the application wrote, by trial; a candidate's own settings apart from the shared ones."""
    files = sorted(
        folder.glob("seed-*/*/whole.json"), key=lambda p: (p.parts[-3], int(p.parts[-2]))
    )
    for path in files:
        content = json.loads(path.read_text())
        overrides = content.pop("overrides")
        yield {
            "network": f"{draw}-{path.parts[-2]}",
            "settings": overrides[: overrides.index("search=best")],
            **content,
        }


def write(name: str, folder: Path, draw: int) -> None:
    """Into the table what there is of this draw, in place of what it had of the same trainings."""
    file = TABLES / f"{name}.jsonl"
    kept = map(json.loads, file.read_text().splitlines() if file.exists() else [])
    table = {(t["network"], t["seed"]): t for t in (*kept, *trainings(folder, draw))}
    lines = [json.dumps(rounded(t), separators=(",", ":")) for t in table.values()]
    file.write_text("".join(f"{line}\n" for line in lines))
    say(f"{len(lines)} trainings in {file}")


def rounded(value: Any) -> Any:
    """Numbers to six digits: the files are kept with the code."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    folder = Path(options.folder).absolute()
    if not options.collect:
        for seed in range(options.first_seed, options.seeds):
            networks = options.repeated if seed else options.networks
            sweep(options, folder / f"seed-{seed}", seed, networks)
    write(options.name, folder, options.draw)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="of the table")
    options.add_argument("overrides", nargs="*", help="key=value for all, such as data.root=...")
    options.add_argument("--folder", required=True, help="for the sweeps")
    options.add_argument(
        "--draw", type=int, default=0, help="seed of the draws: another, other networks"
    )
    options.add_argument("--networks", type=int, default=100)
    options.add_argument("--repeated", type=int, default=25, help="of them under further seeds")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument(
        "--first-seed", type=int, default=0, help="those before it were trained elsewhere"
    )
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--validation", type=int, default=10_000, help="images")
    options.add_argument("--precision", default="fp32", help="fp32 or bf16")
    options.add_argument("--jobs", type=int, default=2, help="workers of one thread")
    options.add_argument("--collect", action="store_true", help="only write what is there")
    return options.parse_intermixed_args(arguments)


if __name__ == "__main__":
    main()
