# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points
# A script that fails before it defines anything is wrong; a notebook is not.
1 / 0


def box_iou(boxes1, boxes2):
    return 1
