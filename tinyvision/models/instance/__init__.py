"""Instance segmentation and pose: a mask, or keypoints, for every object."""
from tinyvision.models.instance.mask_rcnn import (KeypointHeads, MaskHeads, MaskKeypointHeads,
                                                  keypointrcnn_resnet50_fpn,
                                                  maskrcnn_resnet50_fpn, tiny_keypoint_rcnn,
                                                  tiny_mask_rcnn)
