"""What all detectors share: how images and targets come in, and weights of torchvision's."""
from __future__ import annotations

import re

from tinyvision.models.detect.images import check_labels, prepared
from tinyvision.nn import Module

# names in the files that torchvision published -> those that it has had since its release 0.13
OLD_NAMES = (
    (r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)", r"\1.0.0.\2"),
    (r"(head\.(?:classification|regression)_head\.conv)\.(\d+)\.(weight|bias)",
     lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}"),
    (r"(roi_heads\.mask_head)\.mask_fcn(\d+)\.(weight|bias)",
     lambda m: f"{m[1]}.{int(m[2]) - 1}.0.{m[3]}"),
)


class Detector(Module):
    """The base: subclasses have a `transform`, the number of their `labels`, and the protocol

        loss(images, targets)   a dictionary of named losses
        predict(images)         for every image a dictionary: boxes, labels, scores, ...

    Attributes:
        needs: what targets have to hold besides boxes and labels.
    """
    needs = ()

    def prepare(self, images, targets) -> tuple:
        """(the `images.Batch`, the targets as losses use them).

        Raises:
            ValueError: images or targets that do not fit, a label out of range.
        """
        batch = self.transform(images)
        ready = prepared(targets, batch, self.needs)
        check_labels(ready, self.labels)
        return batch, ready

    @staticmethod
    def name_of_weights(name: str) -> str:
        """What an array of a file of torchvision's is called here: see `weights.load_weights`."""
        for old, new in OLD_NAMES:
            name, found = re.subn(rf"\b{old}$", new, name)
            if found:
                break
        return name
