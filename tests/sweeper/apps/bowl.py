"""A tiny application whose best value is known: (x - 1)^2 + y^2 times the shape's scale.

It needs no torch. With `steps` it reports after each and keeps a checkpoint in its folder;
`trouble` names what goes wrong; `trace` is a file that gets a line whenever a task starts or ends.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hydra_budget_sweeper import report, show


def limits(cfg: DictConfig) -> dict[str, float]:
    """At most 10 of `width`."""
    return {"width": (cfg.width - 10) / 10}


def never(cfg: DictConfig) -> dict[str, float]:
    return {"width": float(cfg.width), "depth": 0.5}


def fragile(cfg: DictConfig) -> dict[str, float]:
    """At most 10 of `width`, which cannot be told of odd ones."""
    if cfg.width % 2:
        raise ValueError("feature map vanishes")
    return {"width": (cfg.width - 10) / 10}


def needle(cfg: DictConfig) -> dict[str, float]:
    return {"width": float(cfg.width != 777)}


def broken(cfg: DictConfig) -> dict[str, float]:
    return {"width": cfg.widht}


def more(cfg: DictConfig, trial) -> None:
    """Stands for a custom search space: y depends on x."""
    trial.suggest_float("y", 0.0, trial.params["x"] + 1.0)


def refuse(cfg: DictConfig) -> None:
    raise ValueError(f"a bowl of width {cfg.width} holds nothing")


def celebrate(folder: Path) -> None:
    (folder / "ended").write_text("yes")


def decline(folder: Path) -> None:
    raise ValueError("nothing to celebrate: open a bottle first")


def break_down(folder: Path) -> None:
    raise RuntimeError("no report today")


def linger(folder: Path) -> None:
    time.sleep(30)


def trace(cfg: DictConfig, what: str) -> None:
    if cfg.trace is not None:
        with open(cfg.trace, "a") as file:
            file.write(f"{what} {HydraConfig.get().job.num} {cfg.x!r}\n")


def fork(note: Path) -> None:
    """Leave a child that lives on for a minute, in a session of its own."""
    if child := os.fork():
        note.write_text(str(child))
        return
    os.setsid()
    time.sleep(60)
    os._exit(0)


def get_into_trouble(cfg: DictConfig, folder: Path) -> None:
    first = not (folder / "tried").exists()
    (folder / "tried").touch()
    if cfg.trouble == "raise" or (cfg.trouble == "raise_if_high" and cfg.x > 0):
        raise ValueError("the loss exploded")
    if cfg.trouble == "kill" or (cfg.trouble == "kill_once" and first and cfg.width == 7):
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.trouble == "hang":
        time.sleep(60)
    if cfg.trouble == "fork":
        fork(folder / "fork")
    if cfg.trouble == "exit":
        raise SystemExit("goodbye")
    if cfg.trouble == "shout":
        raise ValueError("\x1b[31mno\0 " * 100_000)
    if cfg.trouble == "half_step":
        report(1.0, 0.5)  # type: ignore[arg-type]
    if cfg.trouble == "cancel" and cfg.x > 0:
        raise asyncio.CancelledError("no time")


@hydra.main(config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | list[float] | str | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trace(cfg, "start")
    show(wide=cfg.width)
    get_into_trouble(cfg, folder)
    value = cfg.shape.scale * ((cfg.x - 1) ** 2 + cfg.y**2)
    checkpoint = folder / "checkpoint"
    first = int(checkpoint.read_text()) if cfg.resume and checkpoint.exists() else 0
    for step in range(first, cfg.steps):
        time.sleep(cfg.seconds / cfg.steps)
        half_way = folder / "checkpoint.half"  # a kill must not leave an empty checkpoint
        half_way.write_text(str(step + 1))
        half_way.replace(checkpoint)
        trace(cfg, f"step{step}")
        report(value + 1 / (step + 1), step)
    if not cfg.steps:
        time.sleep(cfg.seconds)
    trace(cfg, "end")
    if cfg.trouble == "diverge":
        return float("nan")
    if cfg.trouble == "text":
        return "good"
    if cfg.trouble == "digits":
        return "12"
    return [value, abs(cfg.y)] if cfg.trouble == "two" else value


if __name__ == "__main__":
    main()
