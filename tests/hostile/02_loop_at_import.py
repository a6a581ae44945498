# tinyvision exercise: box_iou
# expected: TIMEOUT, 0 points
# Never ends when it is loaded.
while True:
    pass
