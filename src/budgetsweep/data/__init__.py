"""Images to learn from: read, checked, split and kept as tensors, augmented batch by batch."""

from budgetsweep.data.contents import CLASSES, changes, class_changes
from budgetsweep.data.dataset import Dataset, Images, check, held, load
from budgetsweep.data.resolve import normalization, resolve

__all__ = [
    "CLASSES",
    "Dataset",
    "Images",
    "changes",
    "check",
    "class_changes",
    "held",
    "load",
    "normalization",
    "resolve",
]
