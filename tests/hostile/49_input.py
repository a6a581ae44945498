# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points
# Asks a question that nobody answers.
def box_iou(boxes1, boxes2):
    return float(input("How many? "))
