"""What every benchmark needs: turns, spread, child processes, the machine, results and tables."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
APPS = REPOSITORY / "benchmarks" / "apps"

Table = dict[str, Any]  # title, headings, rows


@dataclass(frozen=True)
class Spread:
    """Repeated measures of one thing."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """An empty sequence gives NaN: nothing was measured."""
        if not values:
            return cls(math.nan, math.nan, math.nan, 0)
        return cls(statistics.median(values), min(values), max(values), len(values))

    def text(self, digits: int = 0, scale: float = 1.0) -> str:
        """`median (low–high)`, the bare median where it was measured once."""
        if self.n == 0:
            return "not measured"
        middle, low, high = (f"{scale * v:,.{digits}f}" for v in (self.median, self.low, self.high))
        return middle if self.n == 1 else f"{middle} ({low}–{high})"


def in_turns(
    sides: Mapping[str, Callable[[], float]], repeats: int, unit: str
) -> dict[str, list[float]]:
    """Measure A, B, A, B, ..., so that a change of the machine's mood meets both alike."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name, measure in sides.items():
            value = measure()
            values[name].append(value)
            say(f"  {name}, {turn + 1} of {repeats}: {value:,.3g} {unit}")
    return values


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Each turn's own ratio: what slowed both sides down in a turn cancels out."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def times(spread: Spread) -> str:
    """A ratio for a table: `3.1 × (3.0–3.2)`."""
    if spread.n == 0:
        return "not measured"
    text = f"{spread.median:.2f} ×"
    return text if spread.n == 1 else f"{text} ({spread.low:.2f}–{spread.high:.2f})"


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


# --- child processes ------------------------------------------------------------------------------


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for sweeps and runs, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def environment(cache: Path) -> dict[str, str]:
    """Without the user's cache: the choice of a number format is measured on the spot."""
    paths = [str(REPOSITORY), str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "XDG_CACHE_HOME": str(cache),
        "HYDRA_FULL_ERROR": "1",
    }


class Command:
    """A process group of its own, whose output goes to a file; ends with the block."""

    def __init__(self, arguments: Sequence[str], folder: Path, cache: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._cache = cache or folder / "cache"
        self.log = folder / "output.log"
        self._arguments = list(arguments)

    def __enter__(self) -> Command:
        with self.log.open("wb") as file:
            self.started = time.time()
            self.process = subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=REPOSITORY,
                env=environment(self._cache),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing of the group behind: workers outlive an interrupted main process."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self, timeout: float) -> float:
        """Wait for the end; the seconds since the start.

        Raises:
            RuntimeError: it failed, or did not end in time; the message ends with its output.
        """
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no end after {timeout:g} s; {self._said()}") from None
        seconds = time.time() - self.started
        if code:
            raise RuntimeError(f"exit code {code}; {self._said()}")
        return seconds

    def watch(self, done: Callable[[], bool], timeout: float) -> None:
        """Wait until `done()`, looking twice a second, or until the process ends.

        Raises:
            RuntimeError: neither happened in time, or it failed.
        """
        deadline = time.time() + timeout
        while not done():
            if self.process.poll() is not None:
                self.finish(1)
                return
            if time.time() > deadline:
                raise RuntimeError(f"not there after {timeout:g} s; {self._said()}")
            time.sleep(0.5)

    def _said(self) -> str:
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"{' '.join(self._arguments)} said:", *tail])


def run_command(
    arguments: Sequence[str], folder: Path, timeout: float = 300, cache: Path | None = None
) -> float:
    """Run Python with these arguments to its end; the seconds it took."""
    with Command(arguments, folder, cache) as command:
        return command.finish(timeout)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines that another process may be writing."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


# --- the machine and the results ------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    lines = _cpuinfo()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": any("avx512_bf16" in line for line in lines if line.startswith("flags")),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{
            name: importlib.metadata.version(name)
            for name in ("torch", "torchvision", "optuna", "hydra-core", "hydra-optuna-sweeper")
        },
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """One table of a result file."""
    return {"title": title, "headings": list(headings), "rows": [list(row) for row in rows]}


def markdown(content: Table) -> str:
    """A table as markdown, under its title."""
    head = content["headings"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *content["rows"]]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{content['title']}**\n\n{rows}\n"


def plain(value: Any) -> Any:
    """Without dataclasses, and None for NaN, so that any JSON reader takes it."""
    if isinstance(value, Spread):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Report:
    """One benchmark's results: figures and tables, saved after every part."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.quick = bool(options.quick)
        self._path = RESULTS / (f"{name}-quick.json" if self.quick else f"{name}.json")
        self._start = time.time()
        chosen = {k: v for k, v in vars(options).items() if k not in ("root", "mirror")}
        self.content: dict[str, Any] = {
            "name": name,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "options": chosen,
            "figures": {},
            "tables": [],
        }
        shown = ", ".join(f"{k} {v}" for k, v in self.content["machine"].items())
        say(f"== {name}: {shown}")
        if self.content["machine"]["load_average"] > 0.7:
            say("   the machine is busy, or was a minute ago: figures will be too low")

    def add(self, part: str, figures: Any, content: Table) -> None:
        """Keep and print a part's figures and their table."""
        self.content["figures"][part] = plain(figures)
        self.content["tables"].append(content)
        self.content["seconds"] = round(time.time() - self._start, 1)
        RESULTS.mkdir(exist_ok=True)
        aside = self._path.with_suffix(".part")
        aside.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n")
        aside.replace(self._path)
        print(markdown(content), flush=True)

    def close(self) -> None:
        """Say where it all is."""
        seconds = time.time() - self._start
        say(f"== {self._path.relative_to(REPOSITORY)}, {seconds:.0f} s")


# --- options --------------------------------------------------------------------------------------


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    options = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    options.add_argument("--root", default="data", help="folder of the datasets (data.root)")
    options.add_argument("--mirror", help="where their files come from (data.mirror)")
    return options


def with_sizes(
    chosen: argparse.Namespace, usual: Mapping[str, int], quick: Mapping[str, int]
) -> argparse.Namespace:
    """The options, with the usual or the quick size wherever none was given."""
    for name, value in (quick if chosen.quick else usual).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def data_overrides(options: argparse.Namespace) -> list[str]:
    """The options on data as Hydra overrides."""
    root = Path(options.root).expanduser().absolute()
    overrides = [f"data.root='{root}'"]
    return [*overrides, f"data.mirror='{options.mirror}'"] if options.mirror else overrides
