"""The architectures: one paper, one file, by task."""
from tinyvision.models import segment
from tinyvision.models.segment import SegNet, tiny_segnet
