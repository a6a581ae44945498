# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points
# Writes a program for the reader of the report.
print("<script>alert(1)</script><img src=x onerror=alert(2)>")


def box_iou(boxes1, boxes2):
    raise ValueError("<script>alert('tinyvision')</script>")
