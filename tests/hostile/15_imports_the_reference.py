# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points, flagged
# Imports the solution.
def box_iou(boxes1, boxes2):
    from tinyvision.exercises.box_iou import box_iou as right
    return right(boxes1, boxes2)
