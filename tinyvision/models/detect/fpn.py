"""FPN: a pyramid of maps that all know what they see.

Lin et al. 2017, "Feature pyramid networks for object detection", figure 3; lectures DLCV, KE, DSI.

    P_k = conv3x3( M_k ),   M_k = conv1x1( C_k ) + twice as large( M_{k+1} )

C_k: the trunk's maps. Fine maps know where, coarse ones what; the top-down path adds what to where.
Names are torchvision's, so that its weights load.
"""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn import Conv2d, Module, ModuleList, Sequential, init


class PoolLevel(Module):
    """One more map: every second place of the coarsest (FPN, section 4.1)."""
    count = 1

    def forward(self, p):
        """[(N, C, H, W)] -> [(N, C, H / 2, W / 2)]."""
        return [p[-1][:, :, ::2, ::2]]


class ConvLevels(Module):
    """Two more maps, by strided convolutions (RetinaNet, section 4, footnote 2, but of the coarsest
    map of the pyramid, P5, as torchvision has it, where the paper takes the trunk's, C5)."""
    count = 2

    def __init__(self, channels):
        self.p6 = Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = Conv2d(channels, channels, 3, stride=2, padding=1)
        for layer in (self.p6, self.p7):
            init.kaiming_uniform_(layer.weight, a=1)
            init.zeros_(layer.bias)

    def forward(self, p):
        """[..., (N, C, H, W)] -> [(N, C, H / 2, W / 2), (N, C, H / 4, W / 4)]."""
        p6 = self.p6(p[-1])                                  # (N, C, H / 2, W / 2)
        return [p6, self.p7(ops.relu(p6))]


class FeaturePyramidNetwork(Module):
    """Maps of several sizes, all with `out_channels`.

    Args:
        in_channels: of the trunk's maps, finest first.
        out_channels: of the pyramid's.
        extra_blocks: a `PoolLevel` or `ConvLevels` that adds coarser maps, or None.
    """

    def __init__(self, in_channels, out_channels, extra_blocks=None):
        self.inner_blocks = ModuleList([Sequential(Conv2d(c, out_channels, 1))
                                        for c in in_channels])
        self.layer_blocks = ModuleList([Sequential(Conv2d(out_channels, out_channels, 3, padding=1))
                                        for _ in in_channels])
        for block in (*self.inner_blocks, *self.layer_blocks):
            init.kaiming_uniform_(block[0].weight, a=1)
            init.zeros_(block[0].bias)
        self.extra_blocks = extra_blocks

    def forward(self, maps):
        """[(N, C_k, H / s_k, W / s_k)] -> the same with `out_channels`, and the extra ones."""
        merged = [self.inner_blocks[-1](maps[-1])]           # [(N, out, H / s, W / s)]
        for k in reversed(range(len(maps) - 1)):
            above = ops.interpolate(merged[0], size=maps[k].shape[2:], mode="nearest")
            merged.insert(0, self.inner_blocks[k](maps[k]) + above)
        p = [block(m) for block, m in zip(self.layer_blocks, merged)]
        return p if self.extra_blocks is None else p + self.extra_blocks(p)


class BackboneWithFPN(Module):
    """A trunk and the pyramid on it.

    Args:
        body: has `features(images)` and `channels`, both finest first.
        out_channels: of the pyramid.
        first: the finest of the trunk's maps that is used, counted from 0.
        extra_blocks: see `FeaturePyramidNetwork`.
    """

    def __init__(self, body, out_channels, first=0, extra_blocks=None):
        self.body, self.first, self.out_channels = body, first, out_channels
        self.fpn = FeaturePyramidNetwork(body.channels[first:], out_channels, extra_blocks)

    def forward(self, images):
        """(N, 3, H, W) to a list of maps (N, out_channels, H / stride, W / stride)."""
        return self.fpn(self.body.features(images)[self.first:])
