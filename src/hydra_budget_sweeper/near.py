"""Which of the names that there are a person may have meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_ALIKE = 0.7  # of difflib's 0 to 1: momentm and momentum, not depth and width


def near(key: str, names: Iterable[str]) -> list[str]:
    """Return what a dotted key that is not there may have meant, at most two; none where nothing is near.

    What counts is the last part, here or elsewhere: `trainer.lr` is nearer to `optimizer.lr` than to
    `trainer`, which more of it is spelled like.
    """
    by_last: dict[str, list[str]] = {}
    for name in names:
        by_last.setdefault(_last(name), []).append(name)
    alike = get_close_matches(_last(key), by_last, n=1, cutoff=_ALIKE)
    found = get_close_matches(key, by_last[alike[0]], n=2, cutoff=0) if alike else []
    return found[:1] if found and _parent(found[0]) == _parent(key) else found


def did_you_mean(found: Sequence[str]) -> str:
    """Write ` Did you mean ...?` with a space before it; empty where nothing was found."""
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _parent(key: str) -> str:
    return key.rpartition(".")[0]


def _last(key: str) -> str:
    return key.rpartition(".")[2]
