# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points
# Takes one set of boxes.
def box_iou(boxes1):
    return None
