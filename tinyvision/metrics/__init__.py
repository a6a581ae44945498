"""What a model's answers are worth."""
from tinyvision.metrics.segmentation import confusion_matrix, mean_iou
