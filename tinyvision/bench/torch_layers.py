"""The trunk and the pyramid of `bench train`'s detectors, written with PyTorch, under our names.
Importing this file imports PyTorch."""
from __future__ import annotations

from torch import nn
from torch.nn import functional as F


def convolution(before, channels, kernel_size=3, stride=1, bias=True):
    """Padded so that a stride of 1 keeps the size."""
    return nn.Conv2d(before, channels, kernel_size, stride, kernel_size // 2, bias=bias)


def tower(channels, depth):
    """[conv 3x3 - relu] x depth."""
    return nn.Sequential(*(nn.Sequential(convolution(channels, channels), nn.ReLU(inplace=True))
                           for _ in range(depth)))


class Block(nn.Module):
    """ResNet's basic block."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1, self.conv2 = (convolution(before, channels, 3, stride, False),
                                  convolution(channels, channels, bias=False))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.downsample = None if before == channels else nn.Sequential(
            convolution(before, channels, 1, stride, False), nn.BatchNorm2d(channels))

    def forward(self, x):
        """(N, C, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)).add_(shortcut), inplace=True)


class Body(nn.Module):
    """ResNet with one block in each of three stages: `retinanet.tiny_backbone`'s."""

    def __init__(self, widths=(32, 32, 64, 128)):
        super().__init__()
        self.conv1, self.bn1 = convolution(3, widths[0], 7, 2, False), nn.BatchNorm2d(widths[0])
        for k, (before, here) in enumerate(zip(widths, widths[1:])):
            setattr(self, f"layer{k + 1}", nn.Sequential(Block(before, here, 2 if k else 1)))

    def forward(self, x):
        """Three maps, finest first."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        first = self.layer1(x)
        second = self.layer2(first)
        return [first, second, self.layer3(second)]


class Pyramid(nn.Module):
    """FPN on three maps."""

    def __init__(self, widths=(32, 64, 128), channels=64):
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(convolution(width, channels, 1))
                                          for width in widths)
        self.layer_blocks = nn.ModuleList(nn.Sequential(convolution(channels, channels))
                                          for _ in widths)

    def forward(self, maps):
        """[(N, C_k, H, W)] -> [(N, 64, H, W)]."""
        merged = [self.inner_blocks[-1](maps[-1])]
        for k in reversed(range(len(maps) - 1)):
            above = F.interpolate(merged[0], size=maps[k].shape[2:], mode="nearest")
            merged.insert(0, self.inner_blocks[k](maps[k]).add_(above))
        return [block(m) for block, m in zip(self.layer_blocks, merged)]


class Backbone(nn.Module):
    """Trunk and pyramid."""

    def __init__(self):
        super().__init__()
        self.body, self.fpn = Body(), Pyramid()

    def forward(self, x):
        """(N, 3, H, W) to maps."""
        return self.fpn(self.body(x))
