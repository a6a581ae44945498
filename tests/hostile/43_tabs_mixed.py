# tinyvision exercise: box_iou
# expected: SYNTAX, 0 points
# Tabs and blanks.
def box_iou(boxes1, boxes2):
	if True:
        return 1
