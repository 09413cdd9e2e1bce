"""Loss and accuracy of a network on one split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetsweep.config import Config
from budgetsweep.data import Images
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.training.number_format import Format


@dataclass(frozen=True)
class Evaluation:
    """A pass over one split without augmentation or dropout."""

    loss: float  # mean negative log-likelihood, without label smoothing
    accuracy: float  # fraction
    predictions: Tensor  # (N,) int64


def evaluate(
    network: nn.Module, split: Images, config: Config, fmt: Format, batch_size: int | None = None
) -> Evaluation:
    """Loss and accuracy in float32, as the exported network would give them.

    Leaves the network in the mode, training or not, that it was in.

    Args:
        batch_size: images a forward pass; None: `trainer.eval_batch_size`.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    losses, predictions = [], []
    batch_size = batch_size or config.trainer.eval_batch_size
    with torch.inference_mode():
        for images, labels in zip(
            split.images.split(batch_size), split.labels.split(batch_size), strict=True
        ):
            x = normalize(to_unit(images.to(device)), config.data)
            scores = network(x.contiguous(memory_format=fmt.torch_memory_format))
            losses.append(F.nll_loss(scores, labels.to(device), reduction="sum"))
            predictions.append(scores.argmax(1))
    network.train(training)
    predicted = torch.cat(predictions).cpu()
    return Evaluation(
        loss=float(torch.stack(losses).sum()) / len(split),
        accuracy=float((predicted == split.labels).double().mean()),
        predictions=predicted,
    )
