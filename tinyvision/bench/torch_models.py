"""The networks that `bench train` trains, written with PyTorch: the same layers under our names, so
that our weights load. PyTorch is imported when one is made."""
from __future__ import annotations

import itertools


def segnet(classes: int):
    """`models.tiny_segnet`: 3x3 convolutions, max-pools that remember, unpooling."""
    import torch
    from torch import nn

    from tinyvision.models.segment.segnet import TINY

    def block(before, channels, depth):
        layers = []
        for k in range(depth):
            layers += [nn.Conv2d(channels if k else before, channels, 3, padding=1, bias=False),
                       nn.BatchNorm2d(channels), nn.ReLU()]
        return nn.Sequential(*layers)

    class SegNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            widths = [3, *(channels for channels, _ in TINY)]
            for k, (channels, depth) in enumerate(TINY):
                setattr(self, f"encoder{k}", block(widths[k], channels, depth))
                setattr(self, f"decoder{k}", block(channels, widths[k] if k else channels, depth))
            self.classifier = nn.Conv2d(widths[1], classes, 1)

        def forward(self, x):
            remembered = []
            for k in range(len(TINY)):
                x = getattr(self, f"encoder{k}")(x)
                size = x.shape[2:]
                x, switches = nn.functional.max_pool2d(x, 2, return_indices=True)
                remembered.append((switches, size))
            for k in reversed(range(len(TINY))):
                switches, size = remembered[k]
                x = nn.functional.max_unpool2d(x, switches, 2, output_size=size)
                x = getattr(self, f"decoder{k}")(x)
            return self.classifier(x)
    return SegNet()


def resnet(classes: int):
    """`models.tiny_resnet`: basic blocks behind a 3x3 stem."""
    import torch
    from torch import nn

    def convolution(before, channels, kernel_size, stride=1):
        return nn.Conv2d(before, channels, kernel_size, stride, kernel_size // 2, bias=False)

    class Block(torch.nn.Module):
        def __init__(self, before, channels, stride):
            super().__init__()
            self.conv1, self.bn1 = convolution(before, channels, 3, stride), nn.BatchNorm2d(channels)
            self.conv2, self.bn2 = convolution(channels, channels, 3), nn.BatchNorm2d(channels)
            self.relu = nn.ReLU()
            self.downsample = None
            if before != channels:
                self.downsample = nn.Sequential(convolution(before, channels, 1, stride),
                                                nn.BatchNorm2d(channels))

        def forward(self, x):
            shortcut = x if self.downsample is None else self.downsample(x)
            return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + shortcut)

    class ResNet(torch.nn.Module):
        def __init__(self, widths=(16, 32, 64)):
            super().__init__()
            self.conv1, self.bn1 = convolution(3, widths[0], 3), nn.BatchNorm2d(widths[0])
            self.relu = nn.ReLU()
            for k, (before, here) in enumerate(itertools.pairwise((widths[0], *widths))):
                setattr(self, f"layer{k + 1}", nn.Sequential(Block(before, here, 2 if k else 1),
                                                             Block(here, here, 1)))
            self.fc = nn.Linear(widths[-1], classes)

        def forward(self, x):
            x = self.relu(self.bn1(self.conv1(x)))
            for k in (1, 2, 3):
                x = getattr(self, f"layer{k}")(x)
            return self.fc(x.mean((2, 3)))
    return ResNet()


def unet(classes: int):
    """`models.tiny_unet`: three sizes, padded, with batch norm."""
    import torch
    from torch import nn

    from tinyvision.models.segment.unet import TINY

    def twice(before, channels):
        layers = []
        for first in (before, channels):
            layers += [nn.Conv2d(first, channels, 3, padding=1, bias=False),
                       nn.BatchNorm2d(channels), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for k, (before, here) in enumerate(itertools.pairwise((3, *TINY))):
                setattr(self, f"down{k}", twice(before, here))
            for k, (here, below) in enumerate(itertools.pairwise(TINY)):
                setattr(self, f"up{k}", nn.ConvTranspose2d(below, here, 2, stride=2))
                setattr(self, f"merge{k}", twice(2 * here, here))
            self.classifier = nn.Conv2d(TINY[0], classes, 1)

        def forward(self, x):
            handed = []
            for k in range(len(TINY)):
                x = getattr(self, f"down{k}")(nn.functional.max_pool2d(x, 2) if k else x)
                handed.append(x)
            for k in reversed(range(len(TINY) - 1)):
                x = torch.cat([handed[k], getattr(self, f"up{k}")(x)], 1)
                x = getattr(self, f"merge{k}")(x)
            return self.classifier(x)
    return UNet()
