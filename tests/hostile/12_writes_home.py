# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points, flagged
# Writes where it must not.
def box_iou(boxes1, boxes2):
    open("/root/tinyvision-was-here", "w").write("x")
