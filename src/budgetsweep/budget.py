"""What a network costs, counted without running it, and whether that is within the budget."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from budgetsweep.config import BudgetConfig, DataConfig, ModelConfig, check
from budgetsweep.errors import BudgetError, SettingError
from budgetsweep.model import ACTIVATIONS, Network, Residual, build_model, resolve_layers

FLOAT_BYTES = 4
_WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_KEEP_SHAPE = (nn.BatchNorm2d, nn.GroupNorm, nn.Dropout, *ACTIVATIONS.values())
LIMITS = {
    "parameters": "max_parameters",
    "macs": "max_macs",
    "activation_bytes": "max_activation_bytes",
}


@dataclass(frozen=True)
class LayerCost:
    """One row of the network."""

    name: str
    operations: str
    output: tuple[int, int, int]  # channels × height × width
    parameters: int
    macs: int
    activation_bytes: int  # the row's largest operation
    receptive_field: int  # side, pixels of the image


@dataclass(frozen=True)
class Cost:
    """A network's size and the price of one image's inference."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Trainable parameters; batch norm's running statistics are not counted."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions, one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Peak of one image's inference in float32: the largest sum of an operation's input,
        output and, inside a residual row, the row's input kept for the addition. Activations,
        norms and dropout work in place."""
        return max(layer.activation_bytes for layer in self.layers)


def count(network: Network, data: DataConfig) -> Cost:
    """Count by one forward pass of shapes on the meta device, which allocates nothing."""
    meta = _shapes_only(network.to("meta").eval())
    x = torch.empty(1, data.channels, data.size, data.size, device="meta")
    layers, field, jump = [], 1, 1
    stages = [*meta.layers.named_children(), ("head", meta.head)]
    for name, stage in stages:
        with torch.no_grad(), _Recorder(stage) as recorder:
            y = stage(x)
        for kernel, stride in recorder.windows:
            field, jump = field + (kernel - 1) * jump, jump * stride
        layers.append(
            LayerCost(
                name=name,
                operations=", ".join(_describe(stage)),
                output=tuple(y.shape[1:]),
                parameters=sum(p.numel() for p in stage.parameters() if p.requires_grad),
                macs=recorder.macs,
                activation_bytes=recorder.peak(extra=x if isinstance(stage, Residual) else None),
                receptive_field=min(field, data.size) if name == "head" else field,
            )
        )
        x = y
    return Cost(tuple(layers))


def _shapes_only(network: Network) -> Network:
    """Have every operation give an empty map of the right shape.

    torch's own meta kernels import its compiler's symbolic arithmetic, which takes about as long as
    all the rest of a start, and most of the time of a count.
    """
    for module in network.modules():
        if isinstance(module, _KEEP_SHAPE):
            module.forward = _identity
        elif isinstance(module, _WINDOWS):
            module.forward = functools.partial(_slide, module)  # type: ignore[method-assign]
    return network


def _identity(x: Tensor) -> Tensor:
    return x


def _slide(module: Any, x: Tensor) -> Tensor:
    """The shape a convolution or pool gives, from a map (1, C, S, S)."""
    channels, size = x.shape[1:3]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return x.new_empty(1, channels, 1, 1)
    channels = module.out_channels if isinstance(module, nn.Conv2d) else channels
    kernel, stride, padding = (
        _side(v) for v in (module.kernel_size, module.stride, module.padding)
    )
    size = (size + 2 * padding - kernel) // stride + 1
    return x.new_empty(1, channels, size, size)


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


class _Recorder:
    """Forward hooks over one row's convolutions and pools."""

    def __init__(self, stage: nn.Module) -> None:
        self.macs, self.windows, self._bytes = 0, list[tuple[int, int]](), 0
        self._stage, self._handles = stage, list[Any]()

    def __enter__(self) -> _Recorder:
        for name, module in self._stage.named_modules():
            if isinstance(module, _WINDOWS):
                hook = functools.partial(self._record, on_skip=name.startswith("skip"))
                self._handles.append(module.register_forward_hook(hook))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: Any, args: tuple[Tensor], out: Tensor, on_skip: bool) -> None:
        self._bytes = max(self._bytes, (args[0].numel() + out.numel()) * FLOAT_BYTES)
        if isinstance(module, nn.Conv2d):
            self.macs += out.numel() * module.weight[0].numel()
            window = module.kernel_size[0], module.stride[0]
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            window = int(args[0].shape[-1]), 1
        else:
            window = int(module.kernel_size), int(module.stride)
        if not on_skip:  # the longest path sees the most
            self.windows.append(window)

    def peak(self, extra: Tensor | None) -> int:
        return self._bytes + (0 if extra is None else extra.numel() * FLOAT_BYTES)


def _describe(stage: nn.Module) -> Iterator[str]:
    """The operations of a row in the words of its configuration."""
    for module in stage.modules():
        match module:
            case nn.Conv2d():
                kind = "depthwise" if module.groups > 1 else "conv"
                step = f"/{module.stride[0]}" if module.stride[0] > 1 else ""
                yield f"{kind} {module.kernel_size[0]}×{module.kernel_size[1]}{step}"
            case nn.MaxPool2d() | nn.AvgPool2d():
                yield f"{'max' if isinstance(module, nn.MaxPool2d) else 'avg'} pool {module.kernel_size}"
            case nn.AdaptiveAvgPool2d():
                yield "global avg pool"
            case nn.BatchNorm2d():
                yield "BN"
            case nn.GroupNorm():
                yield "GN"
            case nn.Dropout():
                yield f"dropout {module.p:g}"
            case nn.Sequential() | Residual() | nn.Identity():
                pass
            case _:
                yield type(module).__name__


def cost_of(model: ModelConfig, data: DataConfig) -> Cost:
    """Build on the meta device and count."""
    with torch.device("meta"):
        return count(build_model(model, data), data)


def excess(cost: Cost, budget: BudgetConfig) -> dict[str, float]:
    """Each limit's (value − limit) / limit; above 0 the limit is broken."""
    limits = {name: getattr(budget, field) for name, field in LIMITS.items()}
    return {
        name: (getattr(cost, name) - limit) / limit
        for name, limit in limits.items()
        if limit is not None
    }


def violations(cfg: DictConfig) -> Mapping[str, float]:
    """The sweep's constraint: a composed configuration → each limit's relative excess.

    A network that cannot be built at all (its feature map vanishes, say) has the one violation
    `shape`. With `budget.fit` the widths adapt, so that only what cannot be made to fit is over.
    """
    model, data, budget = (OmegaConf.to_object(cfg[k]) for k in ("model", "data", "budget"))
    assert isinstance(model, ModelConfig)
    assert isinstance(data, DataConfig)
    assert isinstance(budget, BudgetConfig)
    try:
        check(model, "model.")
        if budget.fit:
            model = fit(model, data, budget)
        return {"shape": 0.0, **excess(cost_of(model, data), budget)}
    except BudgetError:
        return {"shape": 0.0, **excess(cost_of(_narrowest(model), data), budget)}
    except SettingError:
        return {"shape": 1.0}


def enforce(model: ModelConfig, data: DataConfig, budget: BudgetConfig) -> tuple[ModelConfig, Cost]:
    """The model to train and its cost: as configured, or with `budget.fit` scaled to fit.

    Raises:
        BudgetError: it is over a limit; names the count, the limit and the largest rows.
    """
    if budget.fit:
        model = fit(model, data, budget)
    cost = cost_of(model, data)
    for name, over in excess(cost, budget).items():
        if over > 0:
            raise BudgetError(_refusal(cost, name, getattr(budget, LIMITS[name])))
    return model, cost


def _refusal(cost: Cost, name: str, limit: int) -> str:
    value = getattr(cost, name)
    largest = sorted(cost.layers, key=lambda layer: getattr(layer, name), reverse=True)[:3]
    rows = ", ".join(f"{layer.name} {getattr(layer, name):,}" for layer in largest)
    return (
        f"over budget: {value:,} {name.replace('_', ' ')}, {value - limit:,} more than "
        f"budget.{LIMITS[name]}={limit:,}; largest rows: {rows}. Make a row narrower "
        f"(model.layers.{largest[0].name}.width=...), set budget.fit=true to scale all widths, "
        f"or raise the limit."
    )


def fit(model: ModelConfig, data: DataConfig, budget: BudgetConfig) -> ModelConfig:
    """The model with the largest `width_multiplier` (to 1/10,000) that meets every limit.

    Every cost grows with every width, and every width with the multiplier, so bisection finds it.

    Raises:
        BudgetError: even one channel a row is over a limit.
    """
    if all(limit is None for limit in (getattr(budget, f) for f in LIMITS.values())):
        raise SettingError("budget.fit", "true", "needs a limit to fit to, such as", "budget=20k.")

    def fits(ticks: int) -> bool:
        candidate = replace(model, width_multiplier=ticks / 10_000)
        return all(over <= 0 for over in excess(cost_of(candidate, data), budget).values())

    if not fits(1):
        narrowest = cost_of(_narrowest(model), data)
        name, _ = max(excess(narrowest, budget).items(), key=lambda item: item[1])
        raise BudgetError(
            f"nothing fits: with one channel a row the network still has "
            f"{getattr(narrowest, name):,} {name.replace('_', ' ')}, and "
            f"budget.{LIMITS[name]}={getattr(budget, LIMITS[name]):,}. Drop rows "
            f"('model.layers.NAME=null'), use model.head=gap, or raise the limit."
        )
    low, high = 1, 64 * 10_000 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return replace(model, width_multiplier=low / 10_000)


def _narrowest(model: ModelConfig) -> ModelConfig:
    return replace(model, width_multiplier=1e-9)


def widths(model: ModelConfig) -> dict[str, int]:
    """Each row's channels as built."""
    return {name: row.width or 0 for name, row in resolve_layers(model).items()}
