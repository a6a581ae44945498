# tinyvision exercise: box_iou
# expected: EXITED, 0 points, flagged
# Leaves when it is loaded.
import sys

sys.exit(0)
