"""The application that costs nothing, with how long its worker holds the lock that all workers share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from benchmarks.apps import noop
from omegaconf import DictConfig

import hydra_budget_sweeper.workers.session as session

_claim_lock = session.claim_lock


@contextmanager
def timed(place: Any) -> Iterator[None]:
    """The lock, and a line of how many seconds it took, held and gave back."""
    asked = time.perf_counter()
    with _claim_lock(place):
        yield
    with open(os.environ["CLAIMS"], "a") as file:
        file.write(f"{time.perf_counter() - asked:.6f}\n")


session.claim_lock = timed


@hydra.main(config_path="conf", config_name="noop")
def main(cfg: DictConfig) -> float:
    return float(noop.main.__wrapped__(cfg))


if __name__ == "__main__":
    main()
