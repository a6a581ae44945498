# tinyvision exercise: box_iou
# expected: SYNTAX, 0 points
# Does not parse.
def box_iou(:
