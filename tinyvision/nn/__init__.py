"""Layers and the Module they are made of. Names, arguments and state keys are PyTorch's."""
from tinyvision.nn import init
from tinyvision.nn.activations import (ELU, SELU, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU,
                                       LogSigmoid, LogSoftmax, Mish, PReLU, ReLU6, Sigmoid, SiLU,
                                       Softmax, Softplus, Tanh)
from tinyvision.nn.arrange import (AdaptiveAvgPool2d, AdaptiveMaxPool2d, PixelShuffle,
                                   PixelUnshuffle, Unflatten)
from tinyvision.nn.dropout import Dropout, Dropout2d, Identity, StochasticDepth
from tinyvision.nn.attention import Embedding, MultiheadAttention
from tinyvision.nn.containers import ModuleDict, ModuleList, Sequential
from tinyvision.nn.deformable_attention import MultiScaleDeformableAttention
from tinyvision.nn.init import skip_init
from tinyvision.nn.layers import (GELU, BatchNorm1d, BatchNorm2d, Conv2d, ConvTranspose2d,
                                  CrossEntropyLoss, Flatten, FrozenBatchNorm2d, GroupNorm, LayerNorm,
                                  Linear, ReLU, Upsample)
from tinyvision.nn.losses import (BCELoss, BCEWithLogitsLoss, DiceLoss, HuberLoss, KLDivLoss,
                                  L1Loss, MSELoss, MultiMarginLoss, NLLLoss, SmoothL1Loss)
from tinyvision.nn.module import Module, Parameter
from tinyvision.nn.pools import AvgPool2d, MaxPool2d, MaxUnpool2d
from tinyvision.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from tinyvision.nn.signals import Conv1d, ConvTranspose1d
from tinyvision.nn.summary import summary
from tinyvision.nn.transformer import (TransformerDecoder, TransformerDecoderLayer,
                                       TransformerEncoder, TransformerEncoderLayer)
