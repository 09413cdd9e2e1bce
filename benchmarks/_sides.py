"""Ways to train the reference network, in processes that stay up while the ways take turns."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from torch import nn

    from budgetsweep.config import Config
    from budgetsweep.data import Images
    from budgetsweep.training.number_format import Format

WARM_UP = 5  # steps before the clock starts, in every turn
_RANDOM_IMAGES = 20_000  # where MNIST is not to be had
_EPOCHS = 1_000  # of the schedule; far more than any benchmark trains


@dataclass(frozen=True)
class Side:
    """One way to train: `ours`, `plain`, or `bare` (ours on one batch that stays the same)."""

    kind: str
    augment: bool = True
    loader_workers: int = 0  # plain only
    batch_size: int = 128
    images: int | None = None  # ours only: train whole epochs of so many images
    preset: str = ""  # ours only: another conf/augment/ than affine

    def __str__(self) -> str:
        parts = [self.kind]
        if self.kind != "bare":
            parts.append(self.preset or ("augmented" if self.augment else "not augmented"))
        if self.loader_workers:
            parts.append(f"{self.loader_workers} loader processes")
        if self.batch_size != 128:
            parts.append(f"batch {self.batch_size}")
        if self.images:
            parts.append(f"{self.images:,} images")
        return ", ".join(parts)


@dataclass(frozen=True)
class Setting:
    """What a process needs to know."""

    threads: int
    steps: int  # timed in every turn
    data: list[str] = field(default_factory=list)  # overrides: root and mirror
    random_data: bool = False
    keep_memory: bool = True  # as a run of ours does; not what others would do


class _Enough(Exception):
    """Ends an epoch when its timed steps are done."""


class Child:
    """A process with a fixed number of threads; `measure` gives images a second."""

    def __init__(self, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, setting))

    def __enter__(self) -> Child:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._end.send(None)
            self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def prepare(self, *sides: Side) -> dict[str, Any]:
        """Build and warm up; what the process says of itself."""
        told: dict[str, Any] = {}
        for side in sides:
            told = self._ask(("prepare", side))
        return told

    def start(self, side: Side) -> None:
        """Begin a turn; `finish` waits for its result."""
        self._end.send(("measure", side))

    def finish(self, timeout: float = 300) -> float:
        return float(self._answer(timeout))

    def measure(self, side: Side) -> float:
        self.start(side)
        return self.finish()

    def _ask(self, question: tuple[str, Side]) -> Any:
        self._end.send(question)
        return self._answer(300)

    def _answer(self, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        while not self._end.poll(0.2):
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the measuring process gave no answer within {timeout:g} s")
        good, answer = self._end.recv()
        if not good:
            raise RuntimeError(f"in the measuring process:\n{answer}")
        return answer


def _serve(end: Connection, setting: Setting) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # the number format is measured anew
        bench: Bench | None = None
        while (question := end.recv()) is not None:
            what, side = question
            try:
                bench = bench or Bench(setting)
                bench.prepare(side)
                end.send((True, bench.measure(side) if what == "measure" else bench.told()))
            except Exception:
                end.send((False, traceback.format_exc()))


class Bench:
    """Lives in the child: the data, and every side as a function that times its steps."""

    def __init__(self, setting: Setting) -> None:
        import torch

        from budgetsweep.training.device import keep_memory

        if setting.keep_memory:
            keep_memory()
        torch.set_num_threads(setting.threads)
        self.setting = setting
        self.train, self.real = self._load()
        self.sides: dict[Side, Callable[[], float]] = {}
        self.formats: dict[str, str] = {}

    def told(self) -> dict[str, Any]:
        return {"real_data": self.real, "images": len(self.train), "formats": self.formats}

    def prepare(self, side: Side) -> None:
        if side in self.sides:
            return
        build = {"ours": self._ours, "plain": self._plain, "bare": self._bare}[side.kind]
        self.sides[side] = build(side)
        self.sides[side]()

    def measure(self, side: Side) -> float:
        """Images a second."""
        return self.sides[side]()

    def config(self, side: Side) -> Config:
        augment = side.preset or ("affine" if side.augment else "none")
        return compose_config(
            *self.setting.data,
            f"augment={augment}",
            f"trainer.batch_size={side.batch_size}",
            f"trainer.epochs={_EPOCHS}",
            "trainer.device=cpu",
        )

    def _load(self) -> tuple[Images, bool]:
        import torch

        from budgetsweep.data import Images, load
        from budgetsweep.errors import DataError

        if not self.setting.random_data:
            try:
                return load(compose_config(*self.setting.data).data).train, True
            except DataError as error:
                print(f"random images instead of MNIST: {error}", flush=True)
        channels = compose_config(*self.setting.data).data.channels
        images = torch.randint(256, (_RANDOM_IMAGES, channels, 28, 28), dtype=torch.uint8)
        return Images(images, torch.arange(_RANDOM_IMAGES) % 10), False

    def _network(self, config: Config) -> tuple[nn.Module, Format]:
        import torch

        from budgetsweep.network.factory import build_model
        from budgetsweep.training.number_format import choose_format

        torch.manual_seed(0)
        network = build_model(config.model, config.data)
        fmt = choose_format(network, config, torch.device("cpu"))
        key = f"{self.setting.threads} threads, batch {config.trainer.batch_size}"
        self.formats[key] = f"{fmt.precision} {fmt.memory_format}"
        return network, fmt

    def _ours(self, side: Side) -> Callable[[], float]:
        import torch

        from budgetsweep.training.trainer import Trainer

        config = self.config(side)
        network, fmt = self._network(config)
        train = self.train[torch.arange(side.images)] if side.images else self.train
        trainer = Trainer(network, config, train, torch.device("cpu"), fmt)
        if side.images:
            return lambda: _timed_epoch(trainer.train_epoch, trainer.steps_per_epoch, side)
        steps = min(self.setting.steps, trainer.steps_per_epoch - WARM_UP)

        def measure() -> float:
            clock = _Clock(steps)
            with contextlib.suppress(_Enough):
                trainer.train_epoch(clock.tick)
            return steps * side.batch_size / clock.seconds

        return measure

    def _bare(self, side: Side) -> Callable[[], float]:
        import torch
        import torch.nn.functional as F

        from budgetsweep.data.pixels import normalize, to_unit
        from budgetsweep.training.optim import build_optimizer

        config = self.config(side)
        network, fmt = self._network(config)
        cpu, layout = torch.device("cpu"), fmt.torch_memory_format
        network.train().to(memory_format=layout)
        images = normalize(to_unit(self.train.images[: side.batch_size]), config.data)
        images, labels = images.contiguous(memory_format=layout), self.train.labels[: len(images)]
        optimizer = build_optimizer(config.optimizer, network.parameters())
        for group in optimizer.param_groups:
            group["lr"] = 1e-3  # the same batch again and again must not blow up
        smoothing = config.trainer.label_smoothing

        def step() -> None:
            with fmt.autocast(cpu):
                logits = network.logits(images)  # type: ignore[operator]
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return lambda: _timed(step, self.setting.steps, side)

    def _plain(self, side: Side) -> Callable[[], float]:
        import torch
        from torch.optim.lr_scheduler import OneCycleLR

        from benchmarks import plain_loop

        torch.manual_seed(0)
        network = plain_loop.make_network().train()
        dataset = _pil_dataset(self.train, plain_loop.make_transform(side.augment))
        loader = plain_loop.train_loader(dataset, side.batch_size, side.loader_workers)
        optimizer = plain_loop.make_optimizer(network, 0.1)
        scheduler = OneCycleLR(optimizer, 0.1, total_steps=_EPOCHS * len(loader))
        batches = itertools.chain.from_iterable(itertools.repeat(loader))

        def step() -> None:
            images, labels = next(batches)
            plain_loop.step(network, optimizer, scheduler, images, labels)

        return lambda: _timed(step, self.setting.steps, side)


class _Clock:
    """Counts steps; starts after the warm-up and raises when enough are done."""

    def __init__(self, steps: int) -> None:
        self._left, self._start = steps + WARM_UP, 0.0
        self._steps, self.seconds = steps, 0.0

    def tick(self, _: int) -> None:
        self._left -= 1
        if self._left == self._steps:
            self._start = time.perf_counter()
        elif self._left == 0:
            self.seconds = time.perf_counter() - self._start
            self._stop()

    def _stop(self) -> NoReturn:
        raise _Enough


def _timed(step: Callable[[], None], steps: int, side: Side) -> float:
    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * side.batch_size / (time.perf_counter() - start)


def _timed_epoch(epoch: Callable[[], float], steps: int, side: Side) -> float:
    start = time.perf_counter()
    epoch()
    return steps * side.batch_size / (time.perf_counter() - start)


def _pil_dataset(images: Images, transform: Any) -> Any:
    """torchvision's own MNIST class, which opens every image as PIL, over the given images."""
    from torchvision.datasets import MNIST

    dataset = MNIST.__new__(MNIST)
    dataset.data, dataset.targets = images.images[:, 0], images.labels
    dataset.transform, dataset.target_transform = transform, None
    return dataset


def compose_config(*overrides: str) -> Config:
    """A run's configuration, as the command line would compose it."""
    from hydra import compose, initialize_config_dir

    from budgetsweep.config import CONF_DIR, register, to_config

    register()
    with initialize_config_dir(str(CONF_DIR)):
        return to_config(compose("config", list(overrides)))


def measure_in_turns(
    children: Mapping[Side, Child], repeats: int
) -> tuple[dict[Side, list[float]], dict[str, Any]]:
    """Images a second of each side, the sides in turns, and what ours says of itself."""
    from benchmarks._measure import in_turns

    told = {side.kind: child.prepare(side) for side, child in children.items()}
    named = {str(side): functools.partial(c.measure, side) for side, c in children.items()}
    rates = in_turns(named, repeats, "images/s")
    return {side: rates[str(side)] for side in children}, told["ours"]
