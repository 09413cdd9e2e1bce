"""Schedules by closed form, and every update rule on a bowl."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from budgetsweep.config import OptimizerConfig, SchedulerConfig
from budgetsweep.training.optim import build_optimizer, build_scheduler

EPOCHS, STEPS = 10, 20
TOTAL = EPOCHS * STEPS


def rates(
    config: SchedulerConfig, epochs: int = EPOCHS, steps: int = STEPS, lr: float = 0.1
) -> list[float]:
    """The learning rate of every step of a run."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(OptimizerConfig(lr=lr), [weight])
    scheduler = build_scheduler(config, optimizer, epochs=epochs, steps_per_epoch=steps)
    seen = []
    for _ in range(epochs * steps):
        seen.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.zeros(1)
        optimizer.step()
        if len(seen) < epochs * steps:
            scheduler.step()
    return seen


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def test_one_cycle_rises_and_falls_as_cosines() -> None:
    seen = rates(SchedulerConfig(name="one_cycle", warmup=0.3, start_factor=0.04))
    top = 0.3 * TOTAL - 1
    assert seen[0] == pytest.approx(0.004)
    assert max(seen) == seen[int(top)] == pytest.approx(0.1)
    for step in range(TOTAL):
        if step <= top:
            expected = cosine(0.004, 0.1, step / top)
        else:
            expected = cosine(0.1, 0.004 / 1e4, (step - top) / (TOTAL - 1 - top))
        assert seen[step] == pytest.approx(expected)
    assert seen[-1] < 1e-6


def test_one_cycle_turns_momentum_the_other_way() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(OptimizerConfig(), [weight])
    scheduler = build_scheduler(SchedulerConfig(), optimizer, epochs=EPOCHS, steps_per_epoch=STEPS)
    seen = []
    for _ in range(TOTAL - 1):
        seen.append(optimizer.param_groups[0]["momentum"])
        weight.grad = torch.zeros(1)
        optimizer.step()
        scheduler.step()
    assert seen[0] == pytest.approx(0.95)
    assert min(seen) == pytest.approx(0.85)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.95)


def test_cosine_warms_up_in_a_line_and_falls_to_almost_nothing() -> None:
    config = SchedulerConfig(name="cosine", warmup=0.1, start_factor=0.04)
    seen, top = rates(config), round(0.1 * TOTAL)
    for step in range(top):
        assert seen[step] == pytest.approx(0.1 * (0.04 + 0.96 * step / top))
    for step in range(top, TOTAL):
        assert seen[step] == pytest.approx(cosine(0.1, 0, (step - top) / (TOTAL - top)))
    assert seen[top] == max(seen) == pytest.approx(0.1)
    assert seen[-1] < 1e-4


@pytest.mark.parametrize("name", ["one_cycle", "cosine"])
@pytest.mark.parametrize("end", [0.0, 0.01, 0.5])
def test_the_last_rate_is_the_share_of_the_peak_that_is_named(name: str, end: float) -> None:
    config = SchedulerConfig(name=name, warmup=0.1, end_factor=end)  # type: ignore[arg-type]
    seen = rates(config, epochs=100)
    assert max(seen) == pytest.approx(0.1)
    assert seen[-1] == pytest.approx(0.1 * end, abs=1e-6)


def test_cosine_without_warmup_starts_at_the_peak() -> None:
    assert rates(SchedulerConfig(name="cosine", warmup=0))[0] == pytest.approx(0.1)


def test_step_drops_after_its_epochs() -> None:
    seen = rates(SchedulerConfig(name="step", step_epochs=4, gamma=0.1))
    assert seen == pytest.approx([0.1 * 0.1 ** (step // STEPS // 4) for step in range(TOTAL)])


def test_constant_stays() -> None:
    assert rates(SchedulerConfig(name="constant")) == pytest.approx([0.1] * TOTAL)


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "step", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.99])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 2), (2, 1), (1, 3), (3, 2)])
def test_the_shortest_runs_have_a_schedule_too(
    name: str, warmup: float, epochs: int, steps: int
) -> None:
    config = SchedulerConfig(name=name, warmup=warmup)  # type: ignore[arg-type]
    seen = rates(config, epochs, steps)
    assert len(seen) == epochs * steps
    assert all(0 <= rate <= 0.1 + 1e-9 for rate in seen)


@pytest.mark.parametrize(
    "config",
    [
        OptimizerConfig(name="sgd", lr=0.05, momentum=0),
        OptimizerConfig(name="sgd", lr=0.05, momentum=0.9, nesterov=False),
        OptimizerConfig(name="sgd", lr=0.05, momentum=0.9, nesterov=True),
        OptimizerConfig(name="adamw", lr=0.05),
    ],
    ids=["plain", "momentum", "nesterov", "adamw"],
)
def test_every_optimizer_goes_down_a_bowl(config: OptimizerConfig) -> None:
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build_optimizer(config, [weight])
    for _ in range(200):
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        optimizer.step()
    assert float((weight.detach() ** 2).sum()) < 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    # sgd adds the decay to the gradient; adamw shrinks the weight by lr·decay, whatever the gradient
    [("sgd", 2.0 - 0.1 * (1.0 + 0.5 * 2.0)), ("adamw", 2.0 * (1 - 0.1 * 0.5) - 0.1)],
)
def test_weight_decay_is_that_of_the_rule(name: str, expected: float) -> None:
    config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.5, momentum=0)  # type: ignore[arg-type]
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer(config, [weight])
    weight.grad = torch.ones(1)
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_rules_are_torchs_own_to_the_bit(name: str) -> None:
    config = OptimizerConfig(name=name, lr=0.05, weight_decay=0.01)  # type: ignore[arg-type]
    theirs = {
        "sgd": lambda p: torch.optim.SGD(
            p, lr=0.05, momentum=config.momentum, nesterov=True, weight_decay=0.01, fused=True
        ),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.01, fused=True),
    }[name]
    ended = []
    for build in (lambda p: build_optimizer(config, p), theirs):
        weight = nn.Parameter(torch.linspace(-1, 1, 50))
        optimizer = build([weight])
        for step in range(5):
            optimizer.zero_grad()
            (weight.cos() * step).sum().backward()
            optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        ended.append((weight.detach(), optimizer.state_dict()["param_groups"]))
    assert torch.equal(ended[0][0], ended[1][0])
    assert ended[0][1] == ended[1][1]
