"""What the launcher runs: a process that takes trials from the study until there are no more."""

import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.scripts import restore_main, with_script_allowed
from hydra_budget_sweeper.storage_url import on_server
from hydra_budget_sweeper.streams import secure_streams
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.workers.heartbeat import end_with_sweeper, heartbeat
from hydra_budget_sweeper.workers.liveness import Presence, Watch
from hydra_budget_sweeper.workers.loop import TrialLoop
from hydra_budget_sweeper.workers.session import Plan, Session
from hydra_budget_sweeper.workers.signals import Interrupts, put_off_requeue

_PATIENCE = 5  # seconds for a network's file system to show what the sweeper has written


class Worker:
    """The task function that the launcher gets; it has its plan before it is called."""

    plan: Plan

    def __init__(self, task: TaskFunction, context: HydraContext) -> None:
        self.task = task
        self.context = context
        self.place = Path.cwd()

    @property
    def __wrapped__(self) -> TaskFunction:
        """The task, for launchers that look for the module to import."""
        return self.task

    def __getstate__(self) -> dict[str, Any]:
        """Pack the worker so that its process first learns where the application's modules are.

        A process that a cluster's launcher starts does not know the folder of the script.
        """
        import cloudpickle

        return {"path": list(sys.path), "packed": cloudpickle.dumps(vars(self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        sys.path.extend(place for place in state["path"] if place not in sys.path)
        vars(self).update(pickle.loads(state["packed"]))
        restore_main(self.task)

    def __call__(self, _: DictConfig) -> int:
        """Take trials until there are no more; return how many were trained here.

        Raises:
            SweepError: The sweep's folder is not to be seen from here.
        """
        secure_streams()
        interrupts = Interrupts()
        with put_off_requeue(interrupts):
            return self._work(interrupts)

    def _work(self, interrupts: Interrupts) -> int:
        plan = self.plan
        with suppress(OSError):  # a cluster may start it anywhere: Ray where its node was started
            os.chdir(self.place)
        here = Watch(plan.hidden, plan.settings.lease).is_here(plan.sweeper)
        seen = here or _sees_folder(plan)
        if not seen:
            _go_without_folder(plan)
        presence = _presence(plan, seen)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # The launcher ends its worker processes by SIGTERM: only the sweeper itself outlives one.
        signals = (signal.SIGINT, signal.SIGTERM) if here else (signal.SIGINT,)
        try:
            with (
                _output_aside(plan, presence.name, here),
                heartbeat(presence, plan.settings.lease / 4),
                end_with_sweeper(plan.hidden, plan.sweeper) if seen else nullcontext(),
                interrupts.handle(*signals),
            ):
                context = with_script_allowed(self.context)
                session = Session(plan, self.task, context, presence.name, interrupts)
                try:
                    return TrialLoop(session).work()
                finally:
                    session.log_as_worker()
        finally:
            presence.leave()


def _sees_folder(plan: Plan) -> bool:
    watch = Watch(plan.hidden, plan.settings.lease)
    until = time.monotonic() + _PATIENCE
    while not watch.has_sign(plan.sweeper):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _go_without_folder(plan: Plan) -> None:
    """Have a folder of the same name here; claims and signs of life go by the storage's server.

    Raises:
        SweepError: There is none, and without the folder every worker would be alone.
    """
    if not on_server(plan.place.storage):
        raise SweepError(
            f"A worker's machine ({socket.gethostname()}) does not see the sweep in "
            f"{plan.place.folder}: the folder must be on a file system that all machines "
            "share. Set hydra.sweep.dir to such a place, or hydra.sweeper.storage to a database that "
            "all machines reach, such as postgresql://user@host/name."
        )
    try:
        plan.hidden.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(
            f"A worker's machine ({socket.gethostname()}) cannot make {plan.place.folder}: {error}"
        ) from None


def _presence(plan: Plan, seen: bool) -> Presence:
    place = plan.place
    store = StudyStore(place.open_storage(), place.name) if on_server(place.storage) else None
    return Presence(plan.hidden if seen and not plan.apart else None, "worker", store)


@contextmanager
def _output_aside(plan: Plan, name: str, here: bool) -> Iterator[None]:
    """Keep a worker's own output from what the sweep shows, in a file of the worker's.

    Args:
        here: It runs in the sweeper's process: there only a display on a terminal is in its way.
    """
    if here and not plan.quiet:
        yield
        return
    # A display stands in for the process's streams, which are the worker's now.
    out, err = (sys.__stdout__, sys.__stderr__) if here else (sys.stdout, sys.stderr)
    kept = os.dup(1), os.dup(2)
    with (
        open(plan.hidden / f"{name}.log", "ab") as file,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        _direct_output(file.fileno(), file.fileno())
        try:
            yield
        finally:
            _direct_output(*kept)
            for descriptor in kept:
                os.close(descriptor)


def _direct_output(out: int, err: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)
