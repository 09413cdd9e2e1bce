"""Distillation: a larger network, trained before, whose scores are learned beside the labels.

The loss and its temperature are those of Hinton, Vinyals and Dean 2015 (arXiv:1503.02531); that the
teacher sees each image as it was changed for the student is what Beyer et al. 2022 found to matter
(arXiv:2106.05237).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from budgetsweep.config import Config, DataConfig
from budgetsweep.data.pixels import column
from budgetsweep.errors import SettingError, UserError
from budgetsweep.network.saved import SavedRun, load_run
from budgetsweep.training.number_format import Format

_ALIKE = {"classes": "classes", "channels": "channels", "size": "pixels a side"}


class Teacher:
    """A trained network that is asked about each batch of another's training.

    Args:
        run: the network and what it was trained on.
        config: the student's; its images come normalized as this says.
    """

    def __init__(self, run: SavedRun, config: Config, device: torch.device, fmt: Format) -> None:
        self.temperature = config.teacher.temperature
        self._network = run.network.to(device, memory_format=fmt.torch_memory_format)  # type: ignore[call-overload]
        self._device, self._fmt = device, fmt
        self._rescale = None
        if (config.data.mean, config.data.std) != (run.config.data.mean, run.config.data.std):
            mean, std = _scaling(config.data, device)
            its_mean, its_std = _scaling(run.config.data, device)
            self._rescale = std / its_std, (mean - its_mean) / its_std

    def loss(self, scores: Tensor, images: Tensor) -> Tensor:
        """How far a student's scores are from the teacher's, ().

        Args:
            scores: (B, classes) before the softmax.
            images: (B, C, S, S) as the student got them.
        """
        if self._rescale is not None:
            factor, offset = self._rescale
            images = images * factor + offset
        with torch.no_grad(), self._fmt.autocast(self._device):
            wanted = self._network.logits(images)
        student, teacher = (
            F.log_softmax(s.float() / self.temperature, 1) for s in (scores, wanted)
        )
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        # Gradients shrink with the square of the temperature; the share of the loss is to stay the same.
        return divergence * self.temperature**2


def load_teacher(config: Config, device: torch.device, fmt: Format) -> Teacher | None:
    """The teacher that a run asks for, or None.

    Raises:
        SettingError: there is no trained network in `teacher.run`, or one for other images.
    """
    folder = config.teacher.run
    if folder is None:
        return None
    if not folder.strip():
        raise SettingError("teacher.run", "''", "must name a folder, or be null for no teacher.")
    try:
        run = load_run(Path(folder))
    except UserError as error:
        raise SettingError("teacher.run", folder, str(error)) from None
    for name, words in _ALIKE.items():
        theirs, ours = getattr(run.config.data, name), getattr(config.data, name)
        if theirs != ours:
            raise SettingError(
                "teacher.run",
                folder,
                f"it was trained on images of {theirs} {words}, and these have {ours}.",
                "Name a run on the same data.",
            )
    return Teacher(run, config, device, fmt)


def _scaling(data: DataConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    return column(*data.mean, device=device), column(*data.std, device=device)
