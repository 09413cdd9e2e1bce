"""An application that stays for a minute in the moment that `STAY` names, and says so in a file.

Moments: `preload` (of slow_import, by the server), `script` (imported by a job's process), `job`,
`end` (all jobs are done, the main process is not).
"""

import os
import time
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


if __name__ == "__mp_main__":
    stay("script")
if __name__ == "__main__":
    main()
    stay("end")
