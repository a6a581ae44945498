"""ResNet: blocks that learn what to add to their input.

He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition", figure 5 and table 1;
lecture DLCV, "Residual networks".

    basic       x -> relu( x + bn conv3x3 (relu bn conv3x3 x) )
    bottleneck  x -> relu( x + bn conv1x1 (relu bn conv3x3 (relu bn conv1x1 x)) ),  4 times as wide

Where the size or the width changes, x is projected by a strided 1x1 convolution. Names are
torchvision's, so that its weights load; as there, a bottleneck's stride is in its 3x3 convolution.
"""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn import (BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, ReLU, Sequential, init)

#         blocks in each of the four stages                    parameters with 1000 classes
BLOCKS = {18: (2, 2, 2, 2),                                  # 11,689,512
          34: (3, 4, 6, 3),                                  # 21,797,672
          50: (3, 4, 6, 3),                                  # 25,557,032
          101: (3, 4, 23, 3),                                # 44,549,160
          152: (3, 8, 36, 3)}                                # 60,192,808


def projection(in_channels: int, channels: int, stride: int, norm) -> Sequential | None:
    """The shortcut: a 1x1 convolution where size or width changes, None where x can be added."""
    if stride == 1 and in_channels == channels:
        return None
    return Sequential(Conv2d(in_channels, channels, 1, stride, bias=False), norm(channels))


class BasicBlock(Module):
    """Two 3x3 convolutions (figure 5, left): ResNet-18 and 34."""
    expansion = 1

    def __init__(self, in_channels, width, stride=1, norm=BatchNorm2d):
        self.conv1 = Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = norm(width)
        self.relu = ReLU()
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = projection(in_channels, width, stride, norm)

    def forward(self, x):
        """(N, in, H, W) -> (N, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


class Bottleneck(Module):
    """1x1 down, 3x3, 1x1 up (figure 5, right): ResNet-50 and more."""
    expansion = 4

    def __init__(self, in_channels, width, stride=1, norm=BatchNorm2d):
        self.conv1 = Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = norm(4 * width)
        self.relu = ReLU()
        self.downsample = projection(in_channels, 4 * width, stride, norm)

    def forward(self, x):
        """(N, in, H, W) -> (N, 4 width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + shortcut)


class ResNet(Module):
    """Class scores of images.

    Args:
        block: BasicBlock or Bottleneck.
        blocks: how many in each stage; the first stage is as wide as `width`, each further one has
            twice the channels and half the size.
        num_classes: the classes; None for a trunk without the last layer, for its `features`.
        width: of the stem and the first stage.
        stem: "imagenet" is a 7x7 convolution and a max-pool, a quarter of the size; "small" is a 3x3
            convolution that leaves the size as it is, as the paper has it for CIFAR (section 4.2).
        norm: BatchNorm2d, or FrozenBatchNorm2d where batches are too small for statistics.
    """

    def __init__(self, block, blocks, num_classes=1000, width=64, stem="imagenet",
                 norm=BatchNorm2d):
        if stem not in ("imagenet", "small"):
            raise ValueError(f'ResNet: stem is {stem!r}, expected "imagenet" or "small"')
        large = stem == "imagenet"
        self.conv1 = Conv2d(3, width, 7 if large else 3, 2 if large else 1, padding=3 if large else 1,
                            bias=False)
        self.bn1 = norm(width)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, stride=2, padding=1) if large else None
        self.stages, channels = len(blocks), width
        for k, count in enumerate(blocks):
            here, layers = width * 2 ** k, []
            for n in range(count):
                layers.append(block(channels, here, 2 if k and n == 0 else 1, norm))
                channels = here * block.expansion
            setattr(self, f"layer{k + 1}", Sequential(*layers))
        self.fc = None if num_classes is None else Linear(channels, num_classes)
        self.channels = [width * 2 ** k * block.expansion for k in range(len(blocks))]
        self.apply(_initialise)

    def features(self, x) -> list:
        """The stages' maps, finest first: what detectors stand on."""
        x = self.relu(self.bn1(self.conv1(x)))               # (N, width, H / 2, W / 2)
        x = x if self.maxpool is None else self.maxpool(x)   # (N, width, H / 4, W / 4)
        maps = []
        for k in range(self.stages):
            x = getattr(self, f"layer{k + 1}")(x)            # (N, channels k, H / 2^(k+2), ...)
            maps.append(x)
        return maps

    def forward(self, x):
        """Images (N, 3, H, W) to scores (N, num_classes)."""
        x = self.features(x)[-1]                             # (N, channels, H / 32, W / 32)
        x = ops.mean(x, (2, 3))                              # (N, channels)
        return self.fc(x)                                    # (N, num_classes)

    def loss(self, images, targets) -> dict:
        """Named losses: the cross-entropy of labels (N,)."""
        return {"cross_entropy": ops.cross_entropy(self(images), targets)}

    def predict(self, images):
        """Labels (N,), an integer array."""
        return self(images).numpy().argmax(1)


def _initialise(module):
    """He et al. 2015, by the filters' outputs; norms begin as 1 and 0."""
    if isinstance(module, Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(num_classes: int = 1000) -> ResNet:
    """18 layers, 11.7 million parameters."""
    return ResNet(BasicBlock, BLOCKS[18], num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """34 layers, 21.8 million parameters."""
    return ResNet(BasicBlock, BLOCKS[34], num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """50 layers, 25.6 million parameters."""
    return ResNet(Bottleneck, BLOCKS[50], num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """101 layers, 44.5 million parameters."""
    return ResNet(Bottleneck, BLOCKS[101], num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """152 layers, 60.2 million parameters."""
    return ResNet(Bottleneck, BLOCKS[152], num_classes)


def tiny_resnet(num_classes: int = 6) -> ResNet:
    """Six basic blocks, 16 to 64 channels, for images of 32x32: the paper's CIFAR network, n = 2."""
    return ResNet(BasicBlock, (2, 2, 2), num_classes, width=16, stem="small")
