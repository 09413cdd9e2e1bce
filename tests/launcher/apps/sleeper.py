"""An application that stays for a minute in the moment that `STAY` names, and says so in a file.

Moments: `preload` (of slow_import, by the server), `start` (of the second process, while the first
imports the script), `script` (imported by a job's process), `job`, `end` (all jobs are done, the
main process is not).
"""

import os
import time
from multiprocessing import forkserver
from pathlib import Path

import hydra
from omegaconf import DictConfig


def stay(moment: str) -> None:
    if os.environ["STAY"] == moment:
        Path(os.environ["STAYS"]).touch()
        time.sleep(60)


@hydra.main(config_path=None)
def main(cfg: DictConfig) -> float:
    stay("job")
    return float(cfg.x)


def slow_second_start() -> None:
    read, pids = forkserver.read_signed, []

    def read_slowly(fd: int) -> int:
        if pids:
            Path(os.environ["STAYS"]).touch()
            time.sleep(2)
        pids.append(read(fd))
        return pids[-1]

    forkserver.read_signed = read_slowly


if __name__ == "__mp_main__":
    stay("script")
    if os.environ["STAY"] == "start":
        time.sleep(60)
if __name__ == "__main__":
    if os.environ["STAY"] == "start":
        slow_second_start()
    main()
    stay("end")
