"""A journal with broken lines, made readable: every trial keeps its number.

A journal numbers studies and trials by the lines that begin them. So what was lost of these is put
back, as far as it shows in what follows: a line about a trial names its number, and the first such
line of a worker that has begun a trial names that trial's. What only told of a trial is left out.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.finalists import RULES, name_of
from hydra_budget_sweeper.study.identity import IDENTITY
from hydra_budget_sweeper.study.place import mark_of
from hydra_budget_sweeper.study.trials import NOTE, Note

_CREATE_STUDY, _DELETE_STUDY, _STUDY_NOTE = 0, 1, 3  # Optuna's op codes
_CREATE_TRIAL, _PARAM, _STATE, _NOTE = 4, 5, 6, 9
_LOST = {
    1: "that a study is deleted",
    2: "a note of a study",
    3: "a note of a study",
    5: "a parameter of a trial",
    6: "a trial's state or result: one that has none is trained again",
    7: "a report of a trial",
    8: "a note of a trial",
    9: "a note of a trial",
}
_ENDED = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}

Log = dict[str, Any]


@dataclass(frozen=True)
class Mended:
    """A journal's content, and in words what was done to it, a line each."""

    content: bytes
    told: tuple[str, ...]


@dataclass
class _State:
    """What the lines so far have begun."""

    studies: list[str | None] = field(default_factory=list)  # names by id; None: deleted
    trials: list[int] = field(default_factory=list)  # studies by the trial's id
    directions: list[int] = field(default_factory=list)  # of the last study
    date: str = ""

    def read(self, log: Log) -> None:
        code = log.get("op_code")
        self.date = log.get("datetime_complete") or log.get("datetime_start") or self.date
        if code == _CREATE_STUDY and log["study_name"] not in self.studies:
            self.studies.append(log["study_name"])
            self.directions = log["directions"]
        elif code == _DELETE_STUDY and self._has(log):
            self.studies[log["study_id"]] = None
        elif code == _CREATE_TRIAL and self._has(log):
            self.trials.append(log["study_id"])

    def _has(self, log: Log) -> bool:
        study = log["study_id"]
        return 0 <= study < len(self.studies) and self.studies[study] is not None

    def number(self, trial: int) -> int:
        return self.trials[:trial].count(self.trials[trial])


def mended(path: Path) -> Mended:
    """Return what a journal is to hold, so that it can be read; what ends it may stay broken.

    Raises:
        SweepError: How a study was begun cannot be told, or other lines make no sense, either.
    """
    try:
        return _mended(path)
    except SweepError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise SweepError(f"{path} cannot be mended: {error!r}. Put a copy of it back.") from None


def _mended(path: Path) -> Mended:
    lines = path.read_bytes().split(b"\n")
    logs = [_read(line) for line in lines]
    state, kept, told = _State(), [], []
    last = max((i for i, log in enumerate(logs) if log is not None), default=-1)
    at = 0
    while at <= last:
        if (log := logs[at]) is not None:
            state.read(log)
            kept.append(lines[at])
            at += 1
            continue
        end = next(i for i in range(at, last + 1) if logs[i] is not None)
        put, words = _in_place_of(b"\n".join(lines[at:end]), logs[end:], state, path.parent)
        kept += [json.dumps(new, separators=(",", ":")).encode() for new in put]
        which = f"line {at + 1}" if end == at + 1 else f"lines {at + 1} to {end}"
        told += [f"{which}: {word}" for word in words]
        at = end
    return Mended(b"\n".join([*kept, *lines[last + 1 :]]), tuple(told))


def _read(line: bytes) -> Log | None:
    try:
        log = json.loads(line)
    except ValueError:
        return None
    return log if isinstance(log, dict) and "op_code" in log else None


def _in_place_of(
    line: bytes, after: Sequence[Log | None], state: _State, folder: Path
) -> tuple[list[Log], list[str]]:
    """Return the lines to put in place of broken ones, and what that is in words."""
    put: list[Log] = []
    words: list[str] = []
    until = next((i for i, log in enumerate(after) if log is None), len(after))
    rest = [log for log in after if log is not None]
    begun = _numbers(rb'"op_code": ?(\d+)', line)
    for _ in range(_lost_studies(rest[:until], state)):
        new = _study(rest, state, folder)
        state.read(new)
        put.append(new)
        words.append(f"began the study {new['study_name']}; it is begun again")
    lost, sure = _lost_trials(rest, until, state, begun.count(_CREATE_TRIAL))
    for _ in range(lost):
        new = _trial(line, rest, state)
        state.read(new)
        put.append(new)
        number, name = state.number(len(state.trials) - 1), state.studies[new["study_id"]]
        failed = ", which has failed by that" if new["state"] == TrialState.FAIL else ""
        words.append(f"began trial {number} of {name}{failed}; the others keep their numbers")
    if not put:
        kinds = list(dict.fromkeys(_LOST[code] for code in begun if code in _LOST))
        what = "; ".join(kinds) or "a parameter, note, report or result of a trial, or of the study"
        words.append(f"left out. Lost is {what}")
    if not sure:
        words.append(
            "whether it began a trial does not show: if it did, the trials after it have a number too "
            "low, and another's parameters. Compare with leaderboard.json"
        )
    return put, words


def _numbers(pattern: bytes, line: bytes) -> list[int]:
    return [int(found) for found in re.findall(pattern, line)]


def _lost_studies(near: Sequence[Log], state: _State) -> int:
    lost, begun = 0, set(state.studies)
    n = len(state.studies)
    for log in near:
        if log["op_code"] == _CREATE_STUDY and log["study_name"] not in begun:
            begun.add(log["study_name"])
            n += 1
        elif "study_id" in log:
            lost = max(lost, log["study_id"] + 1 - n)
    return lost


def _study(rest: Sequence[Log], state: _State, folder: Path) -> Log:
    """Begin the next study anew, by what is written down with it."""
    notes: Log = {}
    for log in rest:
        if log["op_code"] == _STUDY_NOTE and log["study_id"] == len(state.studies):
            notes |= log["system_attr"]
    search = mark_of(folder).get("study") or folder.name
    name = name_of(search) if RULES in notes else search
    directions = state.directions  # the finalists' study has those of the search
    if not directions and IDENTITY in notes:
        asked = notes[IDENTITY]["direction"]
        directions = [StudyDirection[direction.upper()].value for direction in asked]
    if not directions or name in state.studies:
        raise SweepError(
            f"{folder}: the line that began a study is broken, and what follows does not tell which. "
            "Put a copy of the journal back, or start in another folder (hydra.sweep.dir)."
        )
    return _log(_CREATE_STUDY, study_name=name, directions=directions)


def _lost_trials(rest: Sequence[Log], n_near: int, state: _State, told: int) -> tuple[int, bool]:
    """Count the trials that a broken line began, and whether what follows shows how many.

    Args:
        rest: All whole lines that follow.
        n_near: How many of them there are before the next broken one.
        state: Of the lines before.
        told: How many beginnings of trials can be read in the broken line itself.
    """
    now = _State(list(state.studies), list(state.trials))
    least, exactly, later = 0, Counter[int](), False
    fresh: dict[str, int | None] = {}  # by worker, the trial that it has begun as its last
    for i, log in enumerate(rest):
        worker, n_trials = str(log.get("worker_id")), len(now.trials)
        if i < n_near:
            now.read(log)
        if len(now.trials) > n_trials:
            later = True
            if log.get("state", TrialState.RUNNING) == TrialState.RUNNING:
                fresh[worker] = None if worker in fresh else n_trials  # of two it is either
        elif "trial_id" in log:
            if i < n_near:
                least = max(least, log["trial_id"] + 1 - n_trials)
            if (trial := fresh.pop(worker, None)) is not None:
                exactly[log["trial_id"] - trial] += 1
        if i >= n_near and not fresh:
            break
    if exactly:
        return max(least, exactly.most_common(1)[0][0]), len(exactly) == 1
    return max(least, told), bool(least or told or not later)


def _trial(line: bytes, rest: Sequence[Log], state: _State) -> Log:
    """Begin the next trial anew; where no line tells of its parameters, it has failed."""
    own = [log for log in rest if log.get("trial_id") == len(state.trials)]
    notes = [log["system_attr"].get(NOTE, {}) for log in own if log["op_code"] == _NOTE]
    study = _study_of(line, any("finalist" in note for note in notes), state)
    date = state.date or datetime.now(UTC).isoformat(timespec="microseconds")
    ended = any(log["op_code"] == _STATE and log["state"] in _ENDED for log in own)
    if ended or any(log["op_code"] == _PARAM for log in own):
        return _log(_CREATE_TRIAL, study_id=study, datetime_start=date, state=TrialState.WAITING)
    note = Note(error="the line of the study's journal that began it was broken")
    return _log(
        _CREATE_TRIAL,
        study_id=study,
        datetime_start=date,
        datetime_complete=date,
        state=TrialState.FAIL,
        system_attrs={NOTE: note.said()},
    )


def _study_of(line: bytes, is_finalist: bool, state: _State) -> int:
    names = list(enumerate(state.studies))
    beside = {i for i, name in names for other in state.studies if other and name == name_of(other)}
    known = [i for i, name in names if name is not None and (i in beside) == is_finalist]
    told = [*_numbers(rb'"study_id": ?(\d+)', line), *reversed(state.trials), *known]
    return next((study for study in told if study in known), 0)


def _log(code: int, **fields: Any) -> Log:
    return {"op_code": code, "worker_id": "mended", **fields}
