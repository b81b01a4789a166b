"""The GRU."""

from torch import Tensor, nn

from charlm.nets.parts.fast_gru import can_be_fast, fast_forward
from charlm.nets.parts.recurrence import Recurrent


class GRU(Recurrent):
    """Gated recurrent units: two gates decide how much of the state is kept.

    Its arguments are those of `Recurrent`.

    Source: Cho et al. 2014, EMNLP, "Learning Phrase Representations using RNN Encoder-Decoder".
    """

    layers = nn.GRU

    def forward(self, names: Tensor) -> Tensor:
        """As `Recurrent.forward`; a faster form of it in training, which gives logits of 0 in the padding."""
        return fast_forward(self, names) if can_be_fast(self) else super().forward(names)
