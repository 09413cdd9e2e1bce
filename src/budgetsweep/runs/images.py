"""Whether the images of a finished run are still those that it saw."""

from __future__ import annotations

from budgetsweep.data import CLASSES, changes, class_changes, held
from budgetsweep.network.saved import SavedRun


def changed_images(run: SavedRun) -> tuple[str, str]:
    """What has changed since in a run's folder of images, in words: of its classes, and in all.

    Both are empty where nothing has, and for other datasets. Of a run that kept no note of its
    images, the classes alone are known.

    Raises:
        UserError: the folder is not there, or no longer one of classes.
    """
    now = held(run.config.data)
    if not now:
        return "", ""
    classes = class_changes({CLASSES: "\n".join(run.class_names)}, now)
    return classes, changes(run.summary.get("contents"), now) or classes
