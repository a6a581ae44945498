"""The architectures: one paper, one file, by task."""
from tinyvision.models import classify, generate, segment
from tinyvision.models.classify import (ResNet, resnet18, resnet34, resnet50, resnet101, resnet152,
                                        tiny_resnet)
from tinyvision.models.generate import VAE, tiny_vae, vae
from tinyvision.models.segment import SegNet, UNet, tiny_segnet, tiny_unet, unet
