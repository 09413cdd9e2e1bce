"""What the launcher runs: a process that takes trials from the study until there are no more."""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_budget_sweeper.workers.liveness import Presence, Watch
from hydra_budget_sweeper.workers.loop import TrialLoop
from hydra_budget_sweeper.workers.session import Plan, Session
from hydra_budget_sweeper.workers.signals import Interrupts

_WATCH_SECONDS = 0.5


class Worker:
    """The task function that the launcher gets; it has its plan before it is called."""

    plan: Plan

    def __init__(self, task: TaskFunction, context: HydraContext) -> None:
        self.task = task
        self.context = context

    def __getstate__(self) -> dict[str, Any]:
        """Pack the worker so that its process first learns where the application's modules are.

        A process that a cluster's launcher starts does not know the folder of the script.
        """
        import cloudpickle

        return {"path": list(sys.path), "packed": cloudpickle.dumps(vars(self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        sys.path.extend(place for place in state["path"] if place not in sys.path)
        vars(self).update(pickle.loads(state["packed"]))

    def __call__(self, _: DictConfig) -> int:
        """Take trials until there are no more; return how many were trained here."""
        presence = Presence(self.plan.hidden, "worker")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        interrupts = Interrupts()
        # The launcher ends its worker processes by SIGTERM: only the sweeper itself outlives one.
        here = os.getpid() == self.plan.sweeper_pid
        signals = (signal.SIGINT, signal.SIGTERM) if here else (signal.SIGINT,)
        with _output_aside(self.plan, presence.name), _signs_of_life(self.plan, presence):
            try:
                with interrupts.handle(*signals):
                    session = Session(self.plan, self.task, self.context, presence.name, interrupts)
                    try:
                        return TrialLoop(session).work()
                    finally:
                        session.log_as_worker()
            finally:
                presence.leave()


@contextmanager
def _signs_of_life(plan: Plan, presence: Presence) -> Iterator[None]:
    """Beat until the block ends; end this process if its sweeper is gone."""
    over = threading.Event()
    threading.Thread(target=_beat, args=(plan, presence, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _beat(plan: Plan, presence: Presence, over: threading.Event) -> None:
    """Go on after the work is done, too: a pool's idle process would outlive a killed sweeper."""
    # Elsewhere than on the sweeper's machine a worker outlives it, and finishes its trial.
    sweeper = Watch(plan.hidden, float("inf"))
    last = time.monotonic()
    while sweeper.is_alive(plan.sweeper):
        if over.is_set():
            time.sleep(_WATCH_SECONDS)
        elif not over.wait(_WATCH_SECONDS) and time.monotonic() - last > plan.settings.lease / 4:
            presence.beat()
            last = time.monotonic()
    if os.getpid() == plan.sweeper_pid:
        return
    if not over.is_set() or sweeper.was_killed(plan.sweeper):
        # Killed, it could not call its workers back; a new start takes the trial up again.
        os._exit(1)


@contextmanager
def _output_aside(plan: Plan, name: str) -> Iterator[None]:
    """Keep a worker's own output from the terminal's live line, in a file of the worker's."""
    if not plan.quiet or os.getpid() == plan.sweeper_pid:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(plan.hidden / f"{name}.log", "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
