# tinyvision exercise: box_iou
Dear Professor,

I could not finish the exercise, because my dog ate my laptop. I think that the answer is
"intersection over union", isn't it?

Best regards, Ines
