"""Detection: boxes around the objects of an image."""
from tinyvision.models.detect.faster_rcnn import (FasterRCNN, RoIHeads, fasterrcnn_resnet50_fpn,
                                                  tiny_faster_rcnn)
from tinyvision.models.detect.retinanet import RetinaNet, retinanet_resnet50_fpn, tiny_retinanet
