"""U-Net: an encoder, a decoder, and at every size a copy handed across.

Ronneberger, Fischer & Brox 2015, figure 1; lectures GT, KE, UW, "U-Net".

    down  k:  [conv 3x3 - relu] twice,  2x2 max-pool;  the channels double
    up    k:  2x2 transposed convolution with stride 2, half the channels;  concatenated with the map
              that stage k of the encoder made;  [conv 3x3 - relu] twice

Unlike SegNet's switches, whole maps cross over: where things are comes from the left, what they are
from below. The paper's convolutions have no padding, so that no output pixel has seen an invented
one: 572 x 572 pixels in, 388 x 388 out, and what crosses over is cropped at its middle.
"""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, Module, ReLU, Sequential

PAPER, TINY = (64, 128, 256, 512, 1024), (16, 32, 64)        # the channels, from fine to coarse


def double_conv(in_channels: int, channels: int, padding: int, norm: bool) -> Sequential:
    """Twice: a 3x3 convolution, batch norm if wanted, relu."""
    layers = []
    for first in (in_channels, channels):
        layers += [Conv2d(first, channels, 3, padding=padding, bias=not norm),
                   *([BatchNorm2d(channels)] if norm else []), ReLU()]
    return Sequential(*layers)


class UNet(Module):
    """Class scores for every pixel.

    Args:
        channels: of every size, from fine to coarse.
        num_classes: the background included, as class 0.
        in_channels: 3 for colour images.
        padding: 0 as in the paper, or 1: then the output is as large as the image.
        norm: batch norm after every 3x3 convolution (the paper is older).
    """

    def __init__(self, channels=PAPER, num_classes=2, in_channels=1, padding=0, norm=False):
        self.depth = len(channels)
        before = (in_channels, *channels)
        for k, here in enumerate(channels):
            setattr(self, f"down{k}", double_conv(before[k], here, padding, norm))
        for k in range(self.depth - 1):
            here, below = channels[k], channels[k + 1]
            setattr(self, f"up{k}", ConvTranspose2d(below, here, 2, stride=2))
            setattr(self, f"merge{k}", double_conv(2 * here, here, padding, norm))
        self.pool = MaxPool2d(2)
        self.classifier = Conv2d(channels[0], num_classes, 1)

    def forward(self, x):
        """Images (N, in_channels, H, W) to scores (N, num_classes, H', W')."""
        handed = []
        for k in range(self.depth):
            x = getattr(self, f"down{k}")(self.pool(x) if k else x)      # (N, channels k, H / 2^k, ...)
            handed.append(x)
        for k in reversed(range(self.depth - 1)):
            x = getattr(self, f"up{k}")(x)                   # (N, channels k, about H / 2^k, ...)
            x = ops.cat(fitted(handed[k], x), 1)             # (N, 2 channels k, ...)
            x = getattr(self, f"merge{k}")(x)                # (N, channels k, ...)
        return self.classifier(x)                            # (N, num_classes, H', W')

    def loss(self, images, targets) -> dict:
        """Named losses: the cross-entropy of labels (N, H', W'), -1 ignored."""
        return {"cross_entropy": ops.cross_entropy(self(images), targets)}

    def predict(self, images):
        """Labels (N, H', W'), an integer array."""
        return self(images).numpy().argmax(1)


def fitted(handed, x):
    """[the map handed across, the map from below], of one size.

    Without padding the first is larger and is cropped at its middle; with padding it may have an odd
    row or column more than twice the size below, and the second gets a row or column of zeros.
    """
    more = [a - b for a, b in zip(handed.shape[2:], x.shape[2:])]
    if max(more) > 1:
        (top, left), (H, W) = (n // 2 for n in more), x.shape[2:]
        return [handed[:, :, top:top + H, left:left + W], x]
    return [handed, ops.pad(x, (0, more[1], 0, more[0])) if any(more) else x]


def unet(num_classes: int = 2, in_channels: int = 1) -> UNet:
    """The paper's: five sizes, no padding, 31,030,658 parameters."""
    return UNet(PAPER, num_classes, in_channels)


def tiny_unet(num_classes: int = 6, in_channels: int = 3) -> UNet:
    """Three sizes of 16 to 64 channels, padded, with batch norm: as large out as in."""
    return UNet(TINY, num_classes, in_channels, padding=1, norm=True)
