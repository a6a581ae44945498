# tinyvision exercise: box_iou
# expected: NO_FUNCTION, 0 points
# Nearly the right name.
def Box_IOU(boxes1, boxes2):
    return None
