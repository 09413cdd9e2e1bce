"""Several trainings of one architecture that take their steps together, as one batched network.

On a GPU a small network's step is bound by the launches of its kernels, which several networks can
share. The method is `torch.func`'s model ensembling: the networks' tensors are stacked, and `vmap`
maps the loss over the stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from budgetsweep.config import Config
from budgetsweep.errors import SettingError
from budgetsweep.training.checkpoint import flatten
from budgetsweep.training.device import seed_everything
from budgetsweep.training.trainer import CHECK_EVERY, Trainer

MAY_DIFFER = "seed", "optimizer.lr", "optimizer.weight_decay"


def check_alike(configs: Sequence[Config]) -> None:
    """Refuse configurations that cannot be trained together.

    Raises:
        SettingError: they differ in more than `MAY_DIFFER`, or are to be compiled.
    """
    first, *others = [flatten(dataclasses.asdict(config)) for config in configs]
    for other in others:
        for key in sorted((first.keys() | other.keys()) - set(MAY_DIFFER)):
            if first.get(key) != other.get(key):
                values = f"{first.get(key)} and {other.get(key)}"
                allowed = (
                    f"networks that train together may differ only in {', '.join(MAY_DIFFER)}."
                )
                raise SettingError(key, values, allowed, "Train these one by one.")
    if others and configs[0].trainer.compile:
        allowed = "networks that train together are not compiled;"
        raise SettingError("trainer.compile", "true", allowed, "use trainer.compile=false.")


def train_epoch(
    trainers: Sequence[Trainer], on_step: Callable[[int], object] = lambda step: None
) -> list[float]:
    """`Trainer.train_epoch` for several at once; the mean training loss of each.

    Each trainer keeps its own optimizer, schedule, average and epoch, and draws the batches that it
    would draw alone; dropout draws from a stream of random numbers apart. After the epoch nothing
    ties the trainers together.

    Args:
        trainers: their configurations pass `check_alike`, their formats are equal.
        on_step: called after each step of all with its number, from 1; of several trainers it must
            leave the networks alone.

    Raises:
        DivergedError: a loss became NaN or infinite.
    """
    first, steps = trainers[0], trainers[0].steps_per_epoch
    if len(trainers) == 1:
        return [first.train_epoch(on_step)]
    parameters = [dict(t.network.named_parameters()) for t in trainers]
    buffers = [dict(t.network.named_buffers()) for t in trainers]
    weights = {n: _stack([own[n] for own in parameters]).requires_grad_() for n in parameters[0]}
    statistics = {n: _stack([own[n] for own in buffers]) for n in buffers[0]}

    def loss(tensors: tuple[dict[str, Tensor], ...], images: Tensor, labels: Tensor) -> Tensor:
        # What the network gives are log-probabilities already: log-softmax leaves them as they are.
        return first.loss(partial(functional_call, first.network, tensors), images, labels)

    losses = torch.zeros(len(trainers), steps, device=first.device)
    for trainer in trainers:
        trainer.network.train()
    seed_everything(first.config.seed, -2 - first.epoch)  # dropout's; no run's epochs go there
    for step, batches in enumerate(zip(*map(_batches, trainers), strict=False), start=1):
        images, labels = (torch.stack(tensors) for tensors in zip(*batches, strict=True))
        batched = vmap(loss, randomness="different")((weights, statistics), images, labels)
        losses[:, step - 1] = batched.detach()
        if step % CHECK_EVERY == 1 or step == steps:
            for trainer, own in zip(trainers, losses, strict=True):
                trainer.refuse_divergence(own[:step])
        batched.sum().backward()  # no loss depends on another's weights
        _hand_out_gradients(weights, parameters)
        for trainer in trainers:
            trainer.update()
        on_step(step)
    _separate([*parameters, *buffers])
    for trainer in trainers:
        trainer.epoch += 1
    return losses.mean(1).tolist()


def _batches(trainer: Trainer) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches as the trainer draws them alone, whatever is drawn between them."""
    rng = torch.random if trainer.device.type == "cpu" else torch.get_device_module(trainer.device)
    outside = rng.get_rng_state()
    seed_everything(trainer.config.seed, trainer.epoch)
    for batch in trainer.batches():
        inside = rng.get_rng_state()
        rng.set_rng_state(outside)
        yield batch
        outside = rng.get_rng_state()
        rng.set_rng_state(inside)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """A tensor (k, ...) of which the given ones become the slices."""
    like = tensors[0]
    # The slices keep their strides: fused optimizers walk a weight and its momentum in step.
    stack = torch.empty_strided(
        (len(tensors), *like.shape), (like.numel(), *like.stride()),
        dtype=like.dtype, device=like.device,
    )  # fmt: skip
    for own, part in zip(tensors, stack, strict=True):
        own.data = part.copy_(own.data)
    return stack


def _hand_out_gradients(
    weights: dict[str, Tensor], parameters: Sequence[dict[str, Tensor]]
) -> None:
    for name, stack in weights.items():
        assert stack.grad is not None
        for own, part in zip(parameters, stack.grad, strict=True):
            own[name].grad = part
        stack.grad = None


def _separate(networks: Sequence[dict[str, Tensor]]) -> None:
    """Give each tensor memory of its own again; saved as a slice, it would bring the whole stack."""
    for tensors in networks:
        for tensor in tensors.values():
            tensor.data, tensor.grad = tensor.data.clone(), None
