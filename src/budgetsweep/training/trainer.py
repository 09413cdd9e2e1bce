"""The loop: an epoch, and what is kept between epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from budgetsweep.config import Config
from budgetsweep.data import Images
from budgetsweep.data.augment import Augmentation
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.errors import DivergedError
from budgetsweep.training.device import seed_everything
from budgetsweep.training.number_format import Format
from budgetsweep.training.optim import build_optimizer, build_scheduler
from budgetsweep.training.teacher import Teacher

_CHECK_EVERY = 64  # steps between two looks at the loss; each look waits for the device

Tensors = tuple[Tensor, ...] | list[Tensor]


class Trainer:
    """A network with all that training changes: optimizer, schedule, average, epoch.

    Each epoch seeds torch's generator from the run's seed and its own number, so a run that is
    taken up after an epoch draws the same batches, augmentation and dropout.
    """

    def __init__(
        self,
        network: nn.Module,
        config: Config,
        train: Images,
        device: torch.device,
        fmt: Format,
        teacher: Teacher | None = None,
    ) -> None:
        self.config, self.device, self.fmt, self.teacher = config, device, fmt, teacher
        self.network = network.to(device, memory_format=fmt.torch_memory_format)  # type: ignore[call-overload]
        self.train_images = train.images.to(device)
        self.train_labels = train.labels.to(device)
        self.augmentation = Augmentation(config.augment, config.data)
        self.class_weights = _class_weights(config, self.train_labels)
        self.batch_size = min(config.trainer.batch_size, len(train))
        # The last, smaller batch is left out; the next epoch's shuffle brings its images back.
        self.steps_per_epoch = len(train) // self.batch_size
        self.optimizer = build_optimizer(config.optimizer, self.network.parameters())
        self.scheduler = build_scheduler(
            config.scheduler,
            self.optimizer,
            epochs=config.trainer.epochs,
            steps_per_epoch=self.steps_per_epoch,
        )
        self.average = self._averaged(config.trainer.ema)
        self.look_average = self._averaged(config.trainer.look_ema)
        self.epoch = 0
        self._logits: Callable[[Tensor], Tensor] = self.network.logits
        if config.trainer.compile:
            # On a GPU the launches of a step cost more than its arithmetic: replay them as a graph.
            mode = "reduce-overhead" if device.type == "cuda" else "default"
            self._logits = torch.compile(self._logits, mode=mode)

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and keep: the average of the weights, where there is one."""
        return self.average.module if self.average else self.network

    @property
    def looked_at(self) -> nn.Module:
        """What an early look judges: a short average of the weights, where there is one."""
        return self.look_average.module if self.look_average else self.network

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch of normalized, augmented images (B, C, S, S) and labels as `augment` gives them."""
        order = torch.randperm(len(self.train_labels), device=self.device)
        layout = self.fmt.torch_memory_format
        total = self.steps_per_epoch * self.config.trainer.epochs
        for step, index in enumerate(order.split(self.batch_size)[: self.steps_per_epoch]):
            images, labels = self.augmentation(
                to_unit(self.train_images[index]),
                self.train_labels[index],
                progress=(self.epoch * self.steps_per_epoch + step) / total,
            )
            images = normalize(images, self.config.data)
            yield images.contiguous(memory_format=layout), labels

    def train_epoch(self, on_step: Callable[[int], object] = lambda step: None) -> float:
        """Train one epoch; the mean training loss.

        Args:
            on_step: called after each step with its number in the epoch, from 1. It may evaluate
                the network: that does not change the training.

        Raises:
            DivergedError: the loss became NaN or infinite.
        """
        seed_everything(self.config.seed, self.epoch)
        losses = torch.zeros(self.steps_per_epoch, device=self.device)
        self.network.train()
        for step, (images, labels) in enumerate(self.batches(), start=1):
            loss = self._loss(images, labels)
            losses[step - 1] = loss.detach()
            if step % _CHECK_EVERY == 1 or step == self.steps_per_epoch:
                self._refuse_divergence(losses[:step])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._update()
            on_step(step)
        self.epoch += 1
        return float(losses.mean())

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, (): by labels (B,) or shares of classes (B, C), and by the teacher."""
        with self.fmt.autocast(self.device):
            scores = self._logits(images)
        loss = self._label_loss(scores.float(), labels)
        if self.teacher is None:
            return loss
        return torch.lerp(loss, self.teacher.loss(scores, images), self.config.teacher.weight)

    def _label_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The smoothed cross-entropy."""
        # cross_entropy is log-softmax and its loss in one kernel.
        smoothing, weights = self.config.trainer.label_smoothing, self.class_weights
        loss = F.cross_entropy(scores, labels, weights, label_smoothing=smoothing)
        if weights is None or labels.ndim == 1:
            return loss
        return loss * len(labels) / (labels @ weights).sum()  # torch's mean is unweighted here

    def _update(self) -> None:
        """Step optimizer, schedule and average, by the gradients that are there."""
        if self.config.optimizer.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        self.scheduler.step()
        for average in (self.average, self.look_average):
            if average:
                average.update_parameters(self.network)

    def _averaged(self, decay: float) -> AveragedModel | None:
        """A moving average of the network's weights; None without a decay."""
        if not decay:
            return None
        return AveragedModel(
            self.network, multi_avg_fn=partial(self._blend, decay), use_buffers=True
        )

    def _blend(self, most: float, average: Tensors, now: Tensors, updates: Tensor | int) -> None:
        """Move the average towards the weights as they are, fast at first.

        As TensorFlow's ExponentialMovingAverage with `num_updates`, and timm: the decay is at most
        (1 + n) / (10 + n) after n steps, or a short run would keep much of its first weights.
        """
        n = self.scheduler.last_epoch - 1  # not `updates`, for which a GPU would be waited for
        decay = min(most, (1 + n) / (10 + n))
        get_ema_multi_avg_fn(decay)(average, now, updates)

    def _refuse_divergence(self, losses: Tensor) -> None:
        """Raise DivergedError if a loss of this epoch's steps so far, (steps,), is not finite."""
        broken = (~losses.isfinite()).nonzero()
        if len(broken):
            step = int(broken[0])
            raise self.diverged("loss", float(losses[step]), self.epoch + 1, step + 1)

    def diverged(self, name: str, loss: float, epoch: int, step: int) -> DivergedError:
        """The error for a loss that is not finite; epoch and step count from 1."""
        rate = self.scheduler.get_last_lr()[0]
        return DivergedError(
            f"the {name} became {loss} in epoch {epoch}, step {step} of {self.steps_per_epoch}, "
            f"at a learning rate of {rate:.3g} and seed {self.config.seed}; try a lower optimizer.lr (now "
            f"{self.config.optimizer.lr:g}) or a longer scheduler.warmup."
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, enough to go on after this epoch."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict()["last_epoch"],
            "average": self.average.state_dict() if self.average else None,
            "look_average": self.look_average.state_dict() if self.look_average else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of a run with the same configuration."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]
        self.scheduler._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        if self.average:
            self.average.load_state_dict(state["average"])
        looked = state.get("look_average")  # None: it begins anew from these weights
        if self.look_average and looked:
            self.look_average.load_state_dict(looked)


def _class_weights(config: Config, labels: Tensor) -> Tensor | None:
    """N / (C · n) for a class with n of the N training images, (C,), as scikit-learn's `balanced`."""
    if config.trainer.class_weights == "none":
        return None
    counts = labels.bincount(minlength=config.data.classes)
    return len(labels) / (config.data.classes * counts.clamp(min=1))
