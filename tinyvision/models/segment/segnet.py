"""SegNet: an encoder-decoder that unpools by the places its encoder's max-pooling remembered.

Badrinarayanan, Kendall & Cipolla 2017, figure 2; lecture GT, "Symmetry in encoder/decoder".

    stage k of the encoder:  [conv 3x3 - batch norm - relu] x depth, max-pool 2x2 (switches kept)
    stage k of the decoder:  max-unpool by encoder stage k's switches, [conv - bn - relu] x depth

Nothing but the switches crosses from encoder to decoder. The last convolution gives class scores.
"""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn import BatchNorm2d, Conv2d, MaxPool2d, MaxUnpool2d, Module, ReLU, Sequential

TINY = ((16, 2), (32, 2), (64, 2))                           # each stage's (channels, depth)


def block(in_channels: int, channels: int, depth: int) -> Sequential:
    """`depth` times 3x3 convolution, batch norm and relu; the size stays."""
    layers = []
    for k in range(depth):
        layers += [Conv2d(in_channels if k == 0 else channels, channels, 3, padding=1, bias=False),
                   BatchNorm2d(channels), ReLU()]
    return Sequential(*layers)


class SegNet(Module):
    """Class scores for every pixel.

    Args:
        stages: (channels, number of convolutions) of every encoder stage; the decoder mirrors it.
        num_classes: the background included, as class 0.
        in_channels: 3 for colour images.
    """

    def __init__(self, stages=TINY, num_classes=6, in_channels=3):
        widths = [in_channels, *(channels for channels, _ in stages)]
        self.depth = len(stages)
        for k, (channels, depth) in enumerate(stages):
            setattr(self, f"encoder{k}", block(widths[k], channels, depth))
            setattr(self, f"decoder{k}", block(channels, widths[k] if k else channels, depth))
        self.pool = MaxPool2d(2, return_indices=True)
        self.unpool = MaxUnpool2d(2)
        self.classifier = Conv2d(widths[1], num_classes, 1)

    def forward(self, x):
        """Images (N, in_channels, H, W), any size, to scores (N, num_classes, H, W)."""
        remembered = []
        for k in range(self.depth):
            x = getattr(self, f"encoder{k}")(x)              # (N, channels k, H / 2^k, W / 2^k)
            size = x.shape[2:]
            x, switches = self.pool(x)                       # (N, channels k, H / 2^(k+1), ...)
            remembered.append((switches, size))
        for k in reversed(range(self.depth)):
            switches, size = remembered[k]
            x = self.unpool(x, switches, size)               # (N, channels k, H / 2^k, W / 2^k)
            x = getattr(self, f"decoder{k}")(x)              # (N, channels k - 1, H / 2^k, ...)
        return self.classifier(x)                            # (N, num_classes, H, W)

    def loss(self, images, targets) -> dict:
        """Named losses: the cross-entropy of labels (N, H, W), -1 ignored."""
        return {"cross_entropy": ops.cross_entropy(self(images), targets)}

    def predict(self, images):
        """Labels (N, H, W), an integer array."""
        return self(images).numpy().argmax(1)


def tiny_segnet(num_classes: int = 6) -> SegNet:
    """Three stages of 16 to 64 channels: learns 64x64 scenes of three shapes in about a minute."""
    return SegNet(TINY, num_classes)
