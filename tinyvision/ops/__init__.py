"""Every operation. One operation with its adjoint partners is one file; see any of them.

Operations take Tensors or plain arrays and return Tensors. Choosers (nms, box_iou) unwrap Tensors
and return arrays.
"""
from tinyvision.engine import STAND_INS, Tensor
from tinyvision.ops.activation import gelu, leaky_relu, relu, sigmoid, tanh
from tinyvision.ops.activation_pieces import hardsigmoid, hardswish, hardtanh, prelu, relu6
from tinyvision.ops.activation_smooth import elu, logsigmoid, mish, selu, silu, softplus
from tinyvision.ops.arithmetic import add, cast, div, exp, log, mul, neg, power, sqrt, sub
from tinyvision.ops.attention import scaled_dot_product_attention
from tinyvision.ops.avg_pool2d import adaptive_avg_pool2d, avg_pool2d
from tinyvision.ops.batch_norm import batch_norm
from tinyvision.ops.box_iou import box_area, box_convert, box_iou, mask_iou
from tinyvision.ops.conv2d import (conv1d, conv2d, conv_matrix, conv_transpose1d,
                                   conv_transpose2d)
from tinyvision.ops.corner_pool import corner_pool
from tinyvision.ops.cross_entropy import cross_entropy
from tinyvision.ops.deformable_attention import multi_scale_deformable_attention
from tinyvision.ops.embedding import embedding
from tinyvision.ops.grid_sample import affine_grid, grid_sample
from tinyvision.ops.distance_transform import border_weight_map, distance_transform
from tinyvision.ops.dropout import dropout, dropout2d, stochastic_depth
from tinyvision.ops.interpolate import bed_of_nails, interpolate
from tinyvision.ops.layer_norm import group_norm, layer_norm
from tinyvision.ops.loss_binary import (binary_cross_entropy, binary_cross_entropy_with_logits,
                                        sigmoid_focal_loss)
from tinyvision.ops.loss_boxes import (box_iou_loss, complete_box_iou_loss, distance_box_iou_loss,
                                       generalized_box_iou_loss)
from tinyvision.ops.loss_classes import (dice_loss, hinge_loss, kl_div, multi_margin_loss,
                                         nll_loss)
from tinyvision.ops.loss_embedding import pull_loss, push_loss
from tinyvision.ops.loss_points import chamfer_distance, edge_loss, nearest_points, normal_loss
from tinyvision.ops.loss_regression import (gaussian_kl, huber_loss, l1_loss, mse_loss,
                                            smooth_l1_loss)
from tinyvision.ops.matmul import linear, matmul
from tinyvision.ops.max_pool2d import adaptive_max_pool2d, max_pool2d, max_unpool2d
from tinyvision.ops.nms import batched_nms, nms, soft_nms
from tinyvision.ops.pad import pad
from tinyvision.ops.pixel_shuffle import pixel_shuffle, pixel_unshuffle
from tinyvision.ops.ps_roi import ps_roi_align, ps_roi_pool
from tinyvision.ops.recurrent import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from tinyvision.ops.roi_align import roi_align
from tinyvision.ops.roi_pool import roi_pool
from tinyvision.ops.select import abs, amax, amin, clamp, maximum, minimum, where
from tinyvision.ops.shape import (broadcast_to, cat, flatten, mean, permute, reshape, stack, sum,
                                  take, transpose)
from tinyvision.ops.softmax import log_softmax, softmax
from tinyvision.ops import (batch_norm_cuda, conv2d_cuda, layer_norm_cuda,  # isort: skip
                            nms_cuda, roi_align_cuda, roi_pool_cuda)


def _move(self, device: str) -> Tensor:
    """This tensor on "cpu" or "gpu" (itself if it is there); differentiable.

    Raises:
        DeviceError: there is no such device here.
    """
    from tinyvision.ops.move import Move
    return self if device == self.device else Move(device)(self)


_METHODS = {
    "__add__": add, "__radd__": lambda a, b: add(b, a),
    "__sub__": sub, "__rsub__": lambda a, b: sub(b, a),
    "__mul__": mul, "__rmul__": lambda a, b: mul(b, a),
    "__truediv__": div, "__rtruediv__": lambda a, b: div(b, a),
    "__pow__": power, "__rpow__": lambda a, b: power(b, a),
    "__matmul__": matmul, "__rmatmul__": lambda a, b: matmul(b, a),
    "__neg__": neg, "__getitem__": take, "astype": cast, "to": _move,
    "exp": exp, "log": log, "sqrt": sqrt, "relu": relu, "tanh": tanh, "sigmoid": sigmoid,
    "sum": sum, "mean": mean, "reshape": reshape, "flatten": flatten, "permute": permute,
    "transpose": transpose,
}
for _name, _function in _METHODS.items():
    for _class in (Tensor, *STAND_INS):                      # on these they say what is wrong
        setattr(_class, _name, _function)


def _comparison(name):
    def compare(self, other):
        other = other._data if isinstance(other, Tensor) else other
        return Tensor(getattr(self._data, name)(other))
    compare.__doc__ = f"{name} of the elements: a boolean Tensor outside the graph."
    return compare


for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(Tensor, _name, _comparison(_name))
