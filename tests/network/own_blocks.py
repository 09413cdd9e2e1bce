"""A user's program: blocks and an activation of their own, and the application."""

import torch
from torch import nn

from budgetsweep import register_activation, register_block


@register_block("split")
def split(channels, row):
    """A k×k convolution as k×1, then 1×k."""
    k, p, s = row.kernel, row.padding, row.stride
    return nn.Sequential(
        nn.Conv2d(channels, row.width, (k, 1), (s, 1), (p, 0)),
        nn.Conv2d(row.width, row.width, (1, k), (1, s), (0, p)),
    )


@register_block("dense")
class Dense(nn.Module):
    """What comes in, and a convolution of it."""

    def __init__(self, channels, row):
        super().__init__()
        self.conv = nn.Conv2d(channels, row.width, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, self.conv(x)], dim=1)


@register_block("attention")
class Attention(nn.Module):
    """Every pixel looks at every other: products that no module of torch's stands for."""

    def __init__(self, channels, row):
        super().__init__()
        self.mix = nn.Linear(channels, 3 * channels)

    def forward(self, x):
        q, k, v = self.mix(x.flatten(2).mT).chunk(3, dim=2)
        return x + (torch.softmax(q @ k.mT, dim=2) @ v).mT.reshape(x.shape)


@register_activation("mish")
class Mish(nn.Module):
    def forward(self, x):
        return x * torch.tanh(nn.functional.softplus(x))


if __name__ == "__main__":
    from budgetsweep.commands import main

    main()
