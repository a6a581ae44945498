# tinyvision exercise: box_iou
# expected: SYNTAX, 0 points
# Another language by now.
def box_iou(boxes1, boxes2):
    print 'a'
