# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points
# Calls itself for ever.
def box_iou(*boxes):
    return box_iou(*boxes)
