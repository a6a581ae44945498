"""Semantic segmentation: images (N, 3, H, W) to labels (N, H, W)."""
from tinyvision.models.segment.segnet import SegNet, tiny_segnet
from tinyvision.models.segment.unet import UNet, tiny_unet, unet
