"""What a folder of images held, in a few words each part, by which a later look tells a change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from budgetsweep.data.image_folder import Sample, listed

CLASSES = "classes"  # their names, a line each; beside the parts


def contents(classes: Sequence[str], parts: Mapping[str, Sequence[Sample]]) -> dict[str, str]:
    """The classes and each part: `{"classes": ..., "train": "48 images, 3f2a91c0d4e5b677", ...}`.

    A part's digest is of each image's class, name and size in its order, so that the folder itself
    may be moved or copied.
    """
    return {CLASSES: "\n".join(classes)} | {
        part: f"{len(samples)} images, {_digest(classes, samples)}"
        for part, samples in parts.items()
    }


def _digest(classes: Sequence[str], samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for file, label in samples:
        told = (classes[label], PurePath(file.path).name, file.size)
        digest.update(f"{told!r}\n".encode())
    return digest.hexdigest()[:16]


def changes(then: Any, now: Mapping[str, str]) -> str:
    """What differs from an earlier look, in words; empty where nothing does, or none was kept."""
    if not isinstance(then, Mapping) or not then:
        return ""
    parts = sorted((then.keys() | now.keys()) - {CLASSES}, key=_in_order)
    told = [_of_part(part, str(then.get(part)), str(now.get(part))) for part in parts]
    return "; ".join(filter(None, [class_changes(then, now), *told]))


def class_changes(then: Any, now: Mapping[str, str]) -> str:
    """Which classes are gone and which are new; empty where they are the same."""
    if not isinstance(then, Mapping) or CLASSES not in then or then[CLASSES] == now.get(CLASSES):
        return ""
    before, after = (str(looked.get(CLASSES, "")).split("\n") for looked in (then, now))
    gone = listed(name for name in before if name not in after)
    new = listed(name for name in after if name not in before)
    told = [f"{names} {verb}" for names, verb in ((gone, "gone"), (new, "new")) if names]
    return f"classes: {', '.join(told) or 'in another order'}"


def _in_order(part: str) -> tuple[int, str]:
    known = ["train", "validation", "test"]
    return known.index(part) if part in known else len(known), part


def _of_part(part: str, then: str, now: str) -> str:
    if then == now:
        return ""
    (n_then, _, what), (n_now, *_) = then.partition(" "), now.partition(" ")
    if "None" in (n_then, n_now):
        told = [n if n == "None" else f"{n} images" for n in (n_then, n_now)]
        return f"{part}: {told[0]} then, {told[1]} now".replace("None", "none")
    others = " others" if n_then == n_now else ""
    return f"{part}: {n_then} {what.partition(',')[0]} then, {n_now}{others} now"
