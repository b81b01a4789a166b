"""The plain recurrent net."""

from torch import nn

from charlm.nets.parts.recurrence import Recurrent


class RNN(Recurrent):
    """Tanh units that read one character after the other and their own last values.

    Its arguments are those of `Recurrent`.

    Source: Elman 1990, Cognitive Science 14:179-211; Mikolov et al. 2010, Interspeech, for language models.
    """

    layers = nn.RNN
