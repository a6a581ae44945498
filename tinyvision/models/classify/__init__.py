"""Classification: images (N, 3, H, W) to labels (N,)."""
from tinyvision.models.classify.resnet import (ResNet, resnet18, resnet34, resnet50, resnet101,
                                               resnet152, tiny_resnet)
