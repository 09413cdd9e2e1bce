"""The other side: how a good tutorial trains a small network on MNIST.

A DataLoader over torchvision's dataset and its transforms on PIL images, float32 in torch's default
layout, SGD with a one-cycle schedule. Network, batch size, optimizer, schedule and the ranges of
the augmentation are those of the product's default run, so that only the way of doing it differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import MNIST
from torchvision.transforms import InterpolationMode

Batches = DataLoader[tuple[Tensor, Tensor]]

MEAN, STD = 0.1307, 0.3081
WIDTHS = {"stem": 8, "conv1": 16, "squeeze": 8, "conv2": 16, "conv3": 32, "conv4": 32, "conv5": 10}


@dataclass
class Settings:
    """Of one run."""

    epochs: int = 20
    batch_size: int = 128
    lr: float = 0.1
    loader_workers: int = 0


def make_network(widths: Mapping[str, int] = WIDTHS) -> nn.Sequential:
    """The published network, with other widths if asked."""
    w = {**WIDTHS, **widths}

    def block(inputs: int, outputs: int, padding: int = 0) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, padding=padding)
        return [conv, nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]

    return nn.Sequential(
        *block(1, w["stem"], padding=1),
        *block(w["stem"], w["conv1"], padding=1),
        nn.MaxPool2d(2),
        nn.Conv2d(w["conv1"], w["squeeze"], 1),
        nn.Dropout(0.05),
        *block(w["squeeze"], w["conv2"]),
        *block(w["conv2"], w["conv3"]),
        *block(w["conv3"], w["conv4"]),
        nn.MaxPool2d(2),
        nn.Dropout(0.05),
        *block(w["conv4"], w["conv5"]),
        nn.MaxPool2d(2),
        nn.Dropout(0.05),
        nn.Conv2d(w["conv5"], 10, 1),
        nn.Flatten(),
    )


def make_transform(augment: bool) -> transforms.Compose:
    to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if not augment:
        return transforms.Compose(to_tensor)
    affine = transforms.RandomAffine(
        degrees=10,
        translate=(0.08, 0.08),
        scale=(0.9, 1.1),
        interpolation=InterpolationMode.BILINEAR,
    )
    return transforms.Compose([affine, *to_tensor])


def make_loaders(
    root: str, train: Sequence[int], validation: Sequence[int], settings: Settings
) -> tuple[Batches, Batches]:
    """Batches of the training images at these indices, augmented, and of the validation images."""
    augmented = MNIST(root, train=True, transform=make_transform(augment=True))
    plain = MNIST(root, train=True, transform=make_transform(augment=False))
    workers = settings.loader_workers
    return (
        train_loader(Subset(augmented, train), settings.batch_size, workers),
        DataLoader(Subset(plain, validation), batch_size=500, num_workers=workers),
    )


def train_loader(dataset: Dataset[tuple[Tensor, Tensor]], batch_size: int, workers: int) -> Batches:
    return DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


def make_optimizer(network: nn.Module, lr: float) -> SGD:
    return SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)


def step(
    network: nn.Module, optimizer: SGD, scheduler: OneCycleLR, images: Tensor, labels: Tensor
) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(network(images), labels, label_smoothing=0.05)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


def evaluate(network: nn.Module, loader: Batches) -> float:
    """The mean negative log-likelihood."""
    network.eval()
    total, n = 0.0, 0
    with torch.no_grad():
        for images, labels in loader:
            total += F.cross_entropy(network(images), labels, reduction="sum").item()
            n += len(labels)
    return total / n


def train(network: nn.Module, loaders: tuple[Batches, Batches], settings: Settings) -> float:
    """Train and evaluate every epoch; the last validation loss."""
    loader, validation = loaders
    optimizer = make_optimizer(network, settings.lr)
    scheduler = OneCycleLR(optimizer, settings.lr, total_steps=settings.epochs * len(loader))
    loss = float("inf")
    for epoch in range(settings.epochs):
        network.train()
        for images, labels in loader:
            step(network, optimizer, scheduler, images, labels)
        loss = evaluate(network, validation)
        print(f"epoch {epoch + 1}: validation loss {loss:.4f}", flush=True)
    return loss
