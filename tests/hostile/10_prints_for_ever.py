# tinyvision exercise: box_iou
# expected: OUTPUT_LIMIT, 0 points
# Prints ten gigabytes, if it may.
def box_iou(boxes1, boxes2):
    while True:
        print("x" * 10**5)
