"""Layers and the Module they are made of. Names, arguments and state keys are PyTorch's."""
from tinyvision.nn import init
from tinyvision.nn.attention import Embedding, MultiheadAttention, MultiScaleDeformableAttention
from tinyvision.nn.init import skip_init
from tinyvision.nn.layers import (GELU, AvgPool2d, BatchNorm2d, Conv2d, ConvTranspose2d,
                                  CrossEntropyLoss, Flatten, GroupNorm, LayerNorm, Linear,
                                  MaxPool2d, MaxUnpool2d, ReLU, Upsample)
from tinyvision.nn.module import Module, ModuleDict, ModuleList, Parameter, Sequential
from tinyvision.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from tinyvision.nn.summary import summary
from tinyvision.nn.transformer import (TransformerDecoder, TransformerDecoderLayer,
                                       TransformerEncoder, TransformerEncoderLayer)
