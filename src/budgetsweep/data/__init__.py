"""Images to learn from: read, checked, split and kept as tensors, augmented batch by batch."""

from budgetsweep.data.dataset import Dataset, Images, load
from budgetsweep.data.resolve import normalization, resolve

__all__ = ["Dataset", "Images", "load", "normalization", "resolve"]
