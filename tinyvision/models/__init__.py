"""The architectures: one paper, one file, by task."""
from __future__ import annotations

import inspect
from types import FunctionType

from tinyvision.models import classify, detect, generate, instance, language, segment
from tinyvision.models.classify import (ResNet, resnet18, resnet34, resnet50, resnet101, resnet152,
                                        tiny_resnet)
from tinyvision.models.detect import (FasterRCNN, RetinaNet, fasterrcnn_resnet50_fpn,
                                      retinanet_resnet50_fpn, tiny_faster_rcnn, tiny_retinanet)
from tinyvision.models.generate import VAE, tiny_vae, vae
from tinyvision.models.instance import (keypointrcnn_resnet50_fpn, maskrcnn_resnet50_fpn,
                                        tiny_keypoint_rcnn, tiny_mask_rcnn)
from tinyvision.models.language import ShowAndTell, show_and_tell, tiny_show_and_tell
from tinyvision.models.segment import SegNet, UNet, tiny_segnet, tiny_unet, unet


def list_models(task: str | None = None) -> list[str]:
    """The names of all architectures, or of those of a task: classify, segment, detect,
    instance, generate, language.

    Raises:
        ValueError: there is no such task.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"list_models: task is {task!r}, expected one of {', '.join(TASKS)}")
    return sorted(name for one in ([task] if task else TASKS) for name in _builders(TASKS[one]))


def get_model(name: str, **arguments):
    """The architecture of that name, freshly initialised; `arguments` go to its function.

    Raises:
        ValueError: there is none of that name.
    """
    for module in TASKS.values():
        if name in _builders(module):
            return getattr(module, name)(**arguments)
    raise ValueError(f"get_model: there is no model {name!r}; there are {', '.join(list_models())}")


def _builders(module):
    """The functions of a task's package that give a Module: those in small letters of its files."""
    return [name for name, value in vars(module).items() if isinstance(value, FunctionType)
            and inspect.get_annotations(value).get("return", "")[:1].isupper()]


TASKS = {"classify": classify, "segment": segment, "detect": detect, "instance": instance,
         "generate": generate, "language": language}
