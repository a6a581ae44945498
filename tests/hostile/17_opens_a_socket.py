# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points, flagged
# Asks somebody else.
import socket


def box_iou(boxes1, boxes2):
    return socket.create_connection(("192.0.2.1", 53), 1)
