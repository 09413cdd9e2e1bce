"""The sweep from start to end: space, study, workers, results."""

import os
import time
import uuid
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.finals import Finals, fit_into_time
from hydra_budget_sweeper.folder import begin_in, in_resumed_folder, ownership
from hydra_budget_sweeper.functions import NamedFunctions
from hydra_budget_sweeper.results.best import BEST, BestFile
from hydra_budget_sweeper.results.command import setting
from hydra_budget_sweeper.results.finalists import FinalistsMonitor, verdict
from hydra_budget_sweeper.results.leaderboard import Leaderboard, Winner, rank_with_finalists
from hydra_budget_sweeper.results.progress import Monitor
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.results.screen import Screen
from hydra_budget_sweeper.search import read_search
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.storage_url import on_server
from hydra_budget_sweeper.study.belonging import APART
from hydra_budget_sweeper.study.finalists import (
    Standing,
    finalists_of,
    open_finalists,
)
from hydra_budget_sweeper.study.identity import identity_of, open_study, seed_of
from hydra_budget_sweeper.study.place import WORKERS, mark_of, place_of
from hydra_budget_sweeper.study.sampler import SeededSampler
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import note_of
from hydra_budget_sweeper.study.trust import refuse_pickles
from hydra_budget_sweeper.workers.launch import Workers
from hydra_budget_sweeper.workers.liveness import Presence, Watch
from hydra_budget_sweeper.workers.locks import claim_lock, exclusive
from hydra_budget_sweeper.workers.rounds import Rounds
from hydra_budget_sweeper.workers.session import Plan
from hydra_budget_sweeper.workers.signals import terminate_as_interrupt

_JOIN = "hydra.sweeper.join=true"
_FAREWELL = 5.0  # seconds for workers to end after their sweeper


def run_sweep(
    settings: Settings,
    arguments: list[str],
    screen: Screen,
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
) -> None:
    """Train `n_trials` trials within the limits, whatever it takes; then say what is best.

    Raises:
        SweepError: The sweep cannot start, or ended without what was asked for.
        SystemExit: It was interrupted (code 130).
    """
    config = in_resumed_folder(config, settings.resume)
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    hidden = folder / WORKERS
    begin_in(folder, hidden)
    with ownership(hidden, settings.join):
        presence = Presence(hidden, "sweeper")
        try:
            context = hydra_context
            sweep = Sweep(settings, arguments, screen, context, task_function, config, presence)
            sweep.run()
        finally:
            presence.leave()


class Sweep:
    """One start of a sweep, from the opened study to its results."""

    def __init__(
        self,
        settings: Settings,
        arguments: list[str],
        screen: Screen,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        presence: Presence,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.settings = settings
        self.screen = screen
        self.context = context
        self.config = config
        self.folder = Path(str(config.hydra.sweep.dir)).absolute()
        self.run_id = uuid.uuid4().hex
        self.presence = presence
        # First of all: what follows may take as long as its processes take to get ready.
        self.workers = Workers(settings.n_jobs, config, task, context, quiet=screen.live)
        functions = NamedFunctions(task, context)
        self.on_end = [functions.load(name, "on_end") for name in settings.on_end]
        self.search = search = read_search(settings, arguments, config, context, functions)
        self._call_on_start(functions)
        if settings.join and on_server(settings.storage):
            _check_named(self.folder, settings)
        with exclusive(self.folder / WORKERS / "study.lock"):  # others may join at this moment
            self.place = place_of(self.folder, settings.storage, settings.study_name)
            self.store = open_study(
                self.place,
                settings.directions,
                identity_of(settings, search.space, search.base, task),
                settings.free_settings,
                joining=settings.join,
            )
            if settings.metric_names:
                self.store.name_metrics(settings.metric_names)
            self.finalists = self._finalists_in(self.store)
        refuse_pickles(self.store, search.sampler, settings.trust_study)
        # A storage of its own: an interrupt of the main thread must not leave it half-read.
        watched = self._open_store()
        beside = self._finalists_in(watched)
        self.leaderboard = Leaderboard(self.folder, watched.study(), search.space, beside)
        self.best_file = BestFile(self.folder, context.config_loader, config, search.composer)
        self.monitor = Monitor(
            watched,
            self.run_id,
            settings,
            self.leaderboard,
            self.best_file,
            screen,
            search.rules,
            self.workers.most,
        )
        self.finals_monitor: FinalistsMonitor | None = None
        self.tally = Tally(self.store.study())
        self.began = False  # to train
        seed = seed_of(self.store, settings.sampler)
        self.plan = Plan(
            run=self.run_id,
            sweeper=presence.name,
            place=self.place,
            settings=settings,
            space=search.space,
            constraints=search.limits,
            extend=search.extend,
            seed=seed,
            sampler=SeededSampler(search.sampler, seed, search.space),
            master=config,
            example=search.example,
            quiet=screen.live,
            apart=bool(mark_of(self.folder).get(APART)),
        )

    def _open_store(self) -> StudyStore:
        return StudyStore(self.place.open_storage(), self.place.name)

    def run(self) -> None:
        self._announce()
        state = "interrupted"
        problem: SweepError | None = None
        try:
            with terminate_as_interrupt():
                self._enqueue()
                self.screen.phase("looking at the space")
                self._look_at_space()
                self.screen.phase("training")
                self.began = True
                self.monitor.start()
                Rounds(self.workers, self.plan, self.store, self.tally).go_on_until(self._is_done)
                self._run_finalists()
            state = "finished"
        except KeyboardInterrupt:
            pass
        except SweepError as error:
            state, problem = "stopped", error
        try:
            best = self._close(state, problem)
        except KeyboardInterrupt:
            state = "interrupted"
        if problem is not None:
            raise problem
        if state == "interrupted":
            self._say_how_to_resume()
            raise SystemExit(130)
        if best is None:
            reason = self.store.stopped(self.run_id)
            raise SweepError(
                f"No trial was trained to its end in {self.folder}"
                + (f": {reason.reason}." if reason else ".")
            )

    def _close(self, state: str, problem: SweepError | None) -> Winner | None:
        """Write the results, whatever the end; return who is best."""
        self._release_trials()
        self.monitor.end(state, str(problem) if problem else None)
        best = self._write_best()
        if best is not None:
            self._say_best(best)
        if self.began:
            self._call_on_end()
        return best

    def _finalists_in(self, store: StudyStore) -> StudyStore | None:
        """Open the finalists' study; what an earlier start found of them stands in any case."""
        rules = self.search.rules
        if rules is None:
            return finalists_of(store)
        return open_finalists(store, rules, joining=self.settings.join)

    def _standing(self) -> Standing:
        study, finished = self.store.study(), self.tally.finished
        _, standing = rank_with_finalists(finished, study, self.finalists)
        assert standing is not None
        return standing

    def _run_finalists(self) -> None:
        """Train the best again under other seeds, unless the time is up."""
        beside = self.leaderboard.finalists
        if (
            not self.search.rules
            or not self.finalists
            or not beside
            or not self._standing().missing
        ):
            return
        if self.monitor.seconds_to_timeout() < 0:
            return
        self.screen.phase("finalists")
        self.monitor.rest()
        if not self.settings.join:
            left = self.monitor.seconds_to_timeout()
            fit_into_time(self.finalists, self._standing(), left, self.monitor.seconds_for)
        finals = Finals(self.plan, self.finalists, self.workers, self._standing)
        self.finals_monitor = monitor = FinalistsMonitor(self.monitor, beside, finals.settings)
        monitor.start()
        try:
            finals.run()
        finally:
            monitor.rest()

    def _announce(self) -> None:
        self.tally.refresh()
        log.info("Sweep folder: %s", _short(self.folder))
        if on_server(self.place.storage):
            name = setting("hydra.sweeper.study_name", self.place.name)
            log.info("To add workers on any machine: the same command with %s %s", name, _JOIN)
        if trained := self.tally.trained:
            log.info("Going on: %s trials trained", self.settings.of_all(trained))
        _warn_of_pruner(self.settings)

    def _enqueue(self) -> None:
        """Queue known points once: starting again adds only those that are new."""
        study = self.store.study()
        for params in self.search.known_points:
            study.enqueue_trial(params, skip_if_exists=True)

    def _look_at_space(self) -> None:
        """Say which share of the space fits; refuse one that nothing fits."""
        if not self.search.limits or self.search.extend is not None:
            return
        if not self.search.space.axes or not self.settings.feasibility_samples:
            return
        feasibility = self.search.feasibility()
        share, looked_at = feasibility.share(self.settings.feasibility_samples)
        self.monitor.share_feasible = share
        log.info("%.1f %% of %d random candidates are within the limits", 100 * share, looked_at)
        if feasibility.n_unjudged:
            log.warning("%d cannot be judged: %s", feasibility.n_unjudged, feasibility.problem)
        if share == 0:
            nearest = feasibility.nearest(self.search.known_points)
            if not nearest.fits:
                raise SweepError(f"No candidate is within the limits: {nearest}.")

    def _is_done(self) -> bool:
        ended = self.store.stopped(self.run_id)
        if ended is not None and ended.error:
            raise SweepError(self._with_nearest(ended.reason))
        if ended is not None:
            log.info("%s", ended.reason)
            return True
        self.tally.refresh()
        return not self.settings.left(self.tally.trained)

    def _with_nearest(self, reason: str) -> str:
        if "over the limits" not in reason:
            return reason
        nearest = self.search.feasibility().nearest(self.search.known_points)
        if nearest.fits:
            chosen = " ".join(f"{k}={v}" for k, v in nearest.params.items())
            return f"{reason}, though some fit, such as {chosen}. Enqueue one, or narrow the space."
        return f"{reason}: {nearest}."

    def _release_trials(self) -> None:
        """Leave no trial of this start RUNNING: the next start takes it up.

        Not while a worker is at it, as jobs of a cluster's may be for a moment longer: two would write
        into one folder. That the sweeper has left ends them.
        """
        self.store = self._open_store()
        self.presence.leave()
        watch = Watch(self.folder / WORKERS, self.settings.lease, store=self.store)
        until = time.monotonic() + _FAREWELL
        stores = [self.store]
        if self.finalists is not None:
            stores.append(self.store.sibling(self.finalists.name))
        for store in stores:
            for worker in {note_of(trial).worker for trial in self._running(store)}:
                while worker and watch.is_alive(worker) and time.monotonic() < until:
                    time.sleep(0.1)
        with claim_lock(self.place):
            for store in stores:
                for trial in self._running(store):
                    store.put_back(note_of(trial).worker, trial.number)

    def _running(self, store: StudyStore) -> list[FrozenTrial]:
        """The trials in the hands of this start's workers, and of none: of one ended as it took it."""
        running = [(t, note_of(t)) for t in store.trials() if t.state is TrialState.RUNNING]
        return [trial for trial, note in running if note.run == self.run_id or not note.worker]

    def _call_on_start(self, functions: NamedFunctions) -> None:
        for name in self.settings.on_start:
            function = functions.load(name, "on_start")
            try:
                function(self.config)
            except ValueError as error:  # a mistake that its message explains
                raise SweepError(str(error)) from None

    def _call_on_end(self) -> None:
        for name, function in zip(self.settings.on_end, self.on_end, strict=True):
            self.screen.phase(f"ending: {name.rpartition('.')[2].replace('_', ' ')}")
            try:
                made = function(self.folder)
                if isinstance(made, Path):
                    log.info("%s: %s", made.stem.capitalize(), _short(made))
            except ValueError as error:  # a mistake that its message explains
                log.warning("hydra.sweeper.on_end: %s: %s", name, error)
                log.debug("its traceback", exc_info=True)  # hydra.verbose=true shows it
            except (Exception, SystemExit):
                log.exception("hydra.sweeper.on_end: %s failed", name)

    def _say_how_to_resume(self) -> None:
        done = f"{self.settings.of_all(self.monitor.tally.trained)} trials"
        if self.finals_monitor is not None:
            done += f" and {self.finals_monitor.done} runs of finalists"
        named = any(o.startswith("hydra.sweep.dir=") for o in self.config.hydra.overrides.hydra)
        place = "" if named else f" with {setting('hydra.sweep.dir', str(self.folder))}"
        self.screen.end_with(f"Interrupted after {done}. To go on: the same command{place}")

    def _write_best(self) -> Winner | None:
        """Write the winner down, with several objectives the first of the front."""
        winner = self.leaderboard.winner(self.monitor.tally)
        if winner is None:
            return None
        try:
            self.best_file.write(winner)
        except OSError as error:
            log.warning("Cannot write %s: %s", self.folder / BEST, error)
        return winner

    def _say_best(self, winner: Winner) -> None:
        standing = self.leaderboard.standing(self.monitor.tally)
        if standing is not None and standing.winner is not None:
            self.screen.print(self.monitor.table([f.trial for f in standing.finalists]))
        else:
            self.screen.print(self.monitor.table(self.monitor.tally.leaders))
        for line in verdict(standing) if standing is not None else ():
            log.info("%s", line)
        best = winner.trial
        params = " ".join(
            f"{k}={_brief(v)}" for k, v in self.search.space.decode(best.params).items()
        )
        if standing is None or standing.winner is None:
            what = "Best value" if len(best.values) == 1 else "First of the front"
            value = ", ".join(f"{value:.6g}" for value in best.values)
            log.info("%s: %s (trial %d), with %s", what, value, best.number, params)
        else:
            log.info("Best parameters: %s", params)
        if (self.folder / BEST).is_file():
            log.info("Run it again: see %s", _short(self.folder / BEST))


def _brief(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(path: Path) -> str:
    """As one would type it from here."""
    return min(os.path.relpath(path), str(path), key=len)


def _check_named(folder: Path, settings: Settings) -> None:
    """Refuse to help with whatever study has this folder's name: it would be a new one."""
    if not settings.study_name and not mark_of(folder):
        raise SweepError(
            "hydra.sweeper.join=true from another folder needs hydra.sweeper.study_name: the running "
            "sweep says its name when it starts."
        )


def _warn_of_pruner(settings: Settings) -> None:
    prunes = OmegaConf.select(settings.pruner, "_target_") != "optuna.pruners.NopPruner"
    if prunes and len(settings.directions) > 1:
        log.warning("A study with several objectives cannot prune: every trial runs to its end")
