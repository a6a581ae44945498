# tinyvision exercise: box_iou
# expected: MEMORY, 0 points
# Asks for more memory than there is, little by little.
def box_iou(boxes1, boxes2):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))
