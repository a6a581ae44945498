"""What a model's answers are worth."""
from tinyvision.metrics.boundary import boundary_f_score
from tinyvision.metrics.classification import accuracy, top_k_accuracy
from tinyvision.metrics.detection import DetectionAP
from tinyvision.metrics.keypoints import COCO_SIGMAS, oks
from tinyvision.metrics.panoptic import PanopticQuality
from tinyvision.metrics.language import (bleu, brevity_penalty, exact_match, modified_precision)
from tinyvision.metrics.segmentation import (Multilabel, Segmentation, confusion_matrix, dice, iou,
                                             mean_iou, pixel_accuracy)
from tinyvision.metrics.voc_ap import VocAP, voc_ap
