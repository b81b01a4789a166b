"""The LSTM."""

from torch import nn

from charlm.nets.parts.recurrence import Recurrent


class LSTM(Recurrent):
    """Long short-term memory: a cell beside the hidden units keeps what three gates let in and out.

    Its arguments are those of `Recurrent`.

    Source: Hochreiter and Schmidhuber 1997, Neural Computation 9:1735-1780; Gers et al. 2000 for the forget gate.
    """

    layers = nn.LSTM
